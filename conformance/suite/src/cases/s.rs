//! Chapter S: how, when and with what an application is called.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::Value;
use varvel_spec::ids;

use super::refusals::{Refused, refused, with_key};
use crate::{
    Case, Check, Client, Event, Failure, Form, LIMIT, Plan, Response, SILENCE, Setup, Tuning, Verdict,
    broken::Fault::*, ensure, expect_eq,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::S1, "one-build-per-worker", one_build_per_worker, &[BuildPerConnection]),
    Check::new(ids::S3, "pipelined-in-order", pipelined_in_order, &[CallsTwice, ForgetsPipelined]),
    Check::new(ids::S3, "next-call-waits", next_call_waits, &[ForgetsPipelined]),
    Check::new(
        ids::S4,
        "each-reason-its-status",
        each_reason_its_status,
        &[CallsForRefused, ServesAfterRefusal, RefusesAllWith400],
    ),
    Check::new(ids::S5, "method-as-sent", method_as_sent, &[UppercasesMethod, RefusesUnknownMethods]),
    Check::new(
        ids::S6,
        "path-and-query-as-sent",
        path_and_query_as_sent,
        &[ResolvesDotSegments, MergesSlashes, DecodesPath, DropsEmptyQuery],
    ),
    Check::new(ids::S6, "fragment-refused", fragment_refused, &[CutsFragment]),
    Check::new(ids::S7, "every-form-of-target", every_form_of_target, &[RawTargetIsUri]),
    Check::new(ids::S8, "whose-authority", whose_authority, &[AuthorityIsHost]),
    Check::new(ids::S9, "values-byte-for-byte", values_byte_for_byte, &[KeepsTrailingSpace, MasksHighBytes]),
    Check::new(ids::S9, "equal-names-stay-apart", equal_names_stay_apart, &[MergesFields]),
    Check::new(ids::S10, "no-transfer-encoding", no_transfer_encoding, &[DeliversTransferEncoding]),
    Check::new(
        ids::S10,
        "all-other-fields",
        all_other_fields,
        &[RewritesHost, WithholdsUnderscores, WithholdsConnection],
    ),
    Check::new(ids::S11, "length-that-is-known", length_that_is_known, &[WithholdsLength, ChunkedLengthZero]),
    Check::new(
        ids::S12,
        "forged-fields-change-nothing",
        forged_fields_change_nothing,
        &[TrustsForwardedFor, SwapsAddresses],
    ),
    Check::new(ids::S13, "exclusive-calls-never-overlap", exclusive_calls_never_overlap, &[IgnoresExclusive]),
    Check::new(ids::S13, "no-more-than-stated", no_more_than_stated, &[ExceedsConcurrency]),
    Check::new(ids::S14, "others-are-served-meanwhile", others_are_served_meanwhile, &[OneCallAtATime]),
    Check::new(
        ids::S15,
        "beyond-the-limits",
        beyond_the_limits,
        &[NoHeadLimit, NoLineLimit, NoFieldCountLimit],
    ),
    Check::new(ids::S15, "within-the-limits", within_the_limits, &[RefusesLongHeads]),
    Check::new(ids::S16, "connections-are-bounded", connections_are_bounded, &[NoConnectionLimit]),
    Check::new(
        ids::S17,
        "running-calls-finish",
        running_calls_finish,
        &[StopCutsCalls, StopKeepsAccepting, StopLeavesIdle, KeepsAliveWhileStopping],
    ),
    Check::new(ids::S18, "limits-are-kept", limits_are_kept, &[OverstatesLimits]),
    Check::new(ids::S18, "workers-are-there", workers_are_there, &[OverstatesWorkers]),
    Check::new(ids::S19, "version-as-received", version_as_received, &[SaysVersion11, TakesHigherMinorFor10]),
    Check::new(
        ids::S20,
        "bad-hosts-refused",
        bad_hosts_refused,
        &[IgnoresMissingHost, IgnoresSecondHost, IgnoresHostValue],
    ),
    Check::new(ids::S20, "good-hosts-served", good_hosts_served, &[RefusesHostWithPort]),
    Check::new(ids::S21, "kept-scope-is-too-late", kept_scope_is_too_late, &[StaleInterimIsSent]),
    Check::new(ids::S21, "kept-body-reads-nothing", kept_body_reads_nothing, &[StaleBodyReads]),
    Check::new(ids::S22, "head-in-time", head_in_time, &[RenewsHeadTimeout]),
    Check::new(ids::S22, "idle-in-time", idle_in_time, &[NoIdleTimeout]),
    Check::new(ids::S22, "body-in-time", body_in_time, &[NoBodyTimeout]),
    Check::new(ids::S22, "reading-in-time", reading_in_time, &[NoWriteTimeout]),
];

/// Asks for a description of a request, with this request line and these fields, each of which ends in CRLF.
fn described(case: &mut Case<'_>, request_line: &str, fields: &[u8]) -> Result<Value, Failure> {
    let mut request = format!("{request_line}\r\n").into_bytes();
    request.extend_from_slice(fields);
    request.extend_from_slice(b"\r\n");
    let response =
        case.ask(with_key(&request, case.key())).map_err(|failure| failure.within(request_line))?;
    read_description(&response).map_err(|failure| failure.within(request_line))
}

fn read_description(response: &Response) -> Result<Value, Failure> {
    let seen = || format!("status {}, {:?}", response.status(), response.text());
    serde_json::from_slice(&response.body)
        .map_err(|_| Failure::new("the probe's description of the request", seen()))
}

/// The bytes of a value in hex.
fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).filter_map(byte).collect()
}

/// Bytes in hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes, readable in a message.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Name and value of all fields that were delivered, in the order of the map.
fn fields(description: &Value) -> Vec<(String, String)> {
    let pairs = description["fields"].as_array().into_iter().flatten();
    pairs.map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), shown(&bytes(&pair[1])))).collect()
}

/// The values of one of them.
fn values(description: &Value, name: &str) -> Vec<String> {
    fields(description).into_iter().filter(|(field, _)| field == name).map(|(_, value)| value).collect()
}

fn one_build_per_worker(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.workers = 2;
    case.start(tuning)?;
    for _ in 0..10 {
        case.ask(case.get("body=x"))?;
    }
    let built = case.settled("built")?;
    let workers = built.first().and_then(|event| event.field("worker")["workers"].as_u64());
    expect_eq("number of builds:", Some(built.len() as u64), workers)?;
    let indices: BTreeSet<u64> =
        built.iter().filter_map(|event| event.field("worker")["index"].as_u64()).collect();
    expect_eq("workers that built:", indices.len(), built.len())?;

    let by_serial: BTreeMap<u64, &Event> =
        built.iter().filter_map(|event| Some((event.number("serial")?, event))).collect();
    let calls = case.events("call");
    expect_eq("number of calls:", calls.len(), 10)?;
    for call in &calls {
        let build = call.number("serial").and_then(|serial| by_serial.get(&serial));
        let build =
            build.ok_or_else(|| Failure::new("calls of applications that were built", call.to_string()))?;
        expect_eq("process of the call:", call.number("pid"), build.number("pid"))?;
        let index = &call.field("worker")["index"];
        expect_eq("worker of the call:", index, &build.field("worker")["index"])?;
        // An event loop is a single thread; bridges may call elsewhere.
        if case.about().evented && case.about().form == Form::Async {
            expect_eq("thread of the call:", call.text("thread"), build.text("thread"))?;
        }
    }
    Ok(())
}

fn pipelined_in_order(case: &mut Case<'_>) -> Verdict {
    const COUNT: usize = 100;
    let key = case.key().to_owned();
    let one = |n: usize| format!("GET /{key}.{n}?body={n} HTTP/1.1\r\nHost: varvel.test\r\n\r\n");
    let mut client = case.connect()?;
    client.send((0..COUNT).map(one).collect::<String>())?;
    for n in 0..COUNT {
        let response = client.response().map_err(|failure| failure.within(format_args!("answer {n}")))?;
        expect_eq("body of the answer:", response.text(), n.to_string())?;
    }
    let calls: Vec<String> = case.settled("call")?.iter().map(|call| call.key().to_owned()).collect();
    expect_eq("calls:", calls, (0..COUNT).map(|n| format!("{key}.{n}")).collect::<Vec<_>>())
}

fn next_call_waits(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let key = case.key().to_owned();
    let host = "HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
    let mut client = case.connect()?;
    client.send(format!(
        "GET /{key}.first?stream&data=a&flush&gate={gate}&data=b {host}GET /{key}.second?body=c {host}"
    ))?;
    case.wait_for("held", |_| true)?;
    // While the first body is held, a server that runs ahead has all the time it needs.
    case.still_serves()?;
    let second = |event: &Event| event.key().ends_with(".second");
    ensure(
        !case.settled("call")?.iter().any(second),
        "no second call while the body of the first runs",
        "one",
    )?;
    case.open(&gate);
    expect_eq("first answer:", client.response()?.text(), "ab")?;
    expect_eq("second answer:", client.response()?.text(), "c")?;
    case.server().settle()?;
    let order: Vec<String> = case
        .all_events()
        .iter()
        .filter(|event| ["call", "call-ended"].contains(&event.kind()) && !event.key().ends_with(".after"))
        .map(|event| format!("{} {}", event.kind(), event.key().rsplit('.').next().unwrap_or_default()))
        .take(3)
        .collect();
    expect_eq("order:", order, vec!["call first", "call-ended first", "call second"])
}

fn each_reason_its_status(case: &mut Case<'_>) -> Verdict {
    let long_line = format!("GET /KEY{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let long_field =
        format!("GET /KEY HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(6_000)).repeat(20));
    let many_fields = format!("GET /KEY HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let mut rows = vec![
        Refused::bad("a request line of one word", b"KEY\r\nHost: a\r\n\r\n"),
        Refused::bad("two spaces in the request line", b"GET  /KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a space in the target", b"GET /KEY x HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a control character in the target", b"GET /KEY\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a method that is no token", b"G(ET /KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a target without a form", b"GET KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("`*` with another method than OPTIONS", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("no Host", b"GET /KEY HTTP/1.1\r\n\r\n"),
        Refused::bad(
            "two lengths",
            b"POST /KEY HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ),
        Refused::with("a foreign version", b"GET /KEY HTTP/2.0\r\nHost: a\r\n\r\n", &[505]),
        Refused::with(
            "an unknown coding",
            b"POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br, chunked\r\n\r\n0\r\n\r\n",
            &[501],
        ),
        Refused {
            what: "an unknown expectation",
            request: b"GET /KEY HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n",
            statuses: &[417],
            closes: false,
        },
    ];
    refused(case, &rows)?;
    // Large heads need no three deliveries.
    rows.clear();
    for (what, request, statuses) in [
        ("a long request line", long_line, [414]),
        ("long fields", long_field, [431]),
        ("many fields", many_fields, [431]),
    ] {
        large(case, what, &request, &statuses)?;
    }
    Ok(())
}

/// A head that is too large: it may be refused and closed before all of it was sent.
fn large(case: &mut Case<'_>, what: &str, request: &str, statuses: &[u16]) -> Verdict {
    let mut client = case.connect()?;
    client.try_send(with_key(request.as_bytes(), case.key()));
    let response = client.response().map_err(|failure| failure.within(what))?;
    ensure(
        statuses.contains(&response.status()),
        format_args!("{what}: one of {statuses:?}"),
        format_args!("status {}", response.status()),
    )?;
    client.closed().map_err(|failure| failure.within(what))?;
    case.still_serves()?;
    let called = case.settled("call")?.into_iter().find(|call| !call.key().ends_with(".after"));
    ensure(called.is_none(), format_args!("{what}: no call"), "one")
}

fn method_as_sent(case: &mut Case<'_>) -> Verdict {
    for method in
        ["PURGE", "get", "M-SEARCH", "Post", "!#$%&'*+-.^_`|~09AZaz", "AMETHODOFTHIRTYTWOCHARACTERSINALL"]
    {
        let description = described(case, &format!("{method} /KEY HTTP/1.1"), b"Host: varvel.test\r\n")?;
        expect_eq("method:", description["method"].as_str(), Some(method))?;
    }
    Ok(())
}

fn path_and_query_as_sent(case: &mut Case<'_>) -> Verdict {
    let rows = [
        "/KEY/a%2Fb",
        "/KEY/%2e/%2E%2E/x",
        "/KEY/./x/../y",
        "/KEY/..",
        "/../KEY",
        "/KEY//a///b//",
        "//KEY/a",
        "/KEY/%C3%A9%00%ff",
        "/KEY/a;b=c,d:e@f!$&'()*+",
        "/KEY?",
        "/KEY??describe",
        "/KEY?describe&a=%26&b=%2F/?&c=+",
        "/KEY?&&describe&&",
        "/",
    ];
    for row in rows {
        let target = row.replace("KEY", case.key());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*target, None),
        };
        // A query that is not recognised as one with `describe` still gets through to the event of the call.
        let description = if row == "/KEY??describe" {
            case.ask(format!("GET {target} HTTP/1.1\r\nHost: varvel.test\r\n\r\n"))?;
            case.wait_for("call", |call| call.text("query").starts_with('?'))?.value().clone()
        } else {
            described(case, &format!("GET {target} HTTP/1.1"), b"Host: varvel.test\r\n")?
        };
        expect_eq(format_args!("path of {target}:"), description["path"].as_str(), Some(path))?;
        expect_eq(format_args!("query of {target}:"), description["query"].as_str(), query)?;
        expect_eq(format_args!("URI of {target}:"), description["uri"].as_str(), Some(&*target))?;
    }
    for (absolute, uri) in [
        ("http://varvel.test/KEY/%2e//x", "/KEY/%2e//x"),
        ("http://varvel.test/KEY?", "/KEY?"),
        ("http://varvel.test", "/"),
        ("HTTP://varvel.test:80?describe", "/?describe"),
    ] {
        let description = described(case, &format!("GET {absolute} HTTP/1.1"), b"Host: varvel.test\r\n")?;
        let uri = uri.replace("KEY", case.key());
        let seen = format!(
            "{}{}",
            description["path"].as_str().unwrap_or_default(),
            description["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default()
        );
        expect_eq(format_args!("path and query of {absolute}:"), seen, uri)?;
    }
    Ok(())
}

fn fragment_refused(case: &mut Case<'_>) -> Verdict {
    refused(
        case,
        &[
            Refused::bad("a fragment", b"GET /KEY#part HTTP/1.1\r\nHost: a\r\n\r\n"),
            Refused::bad("a fragment behind a query", b"GET /KEY?a#part HTTP/1.1\r\nHost: a\r\n\r\n"),
            Refused::bad(
                "a fragment of an absolute form",
                b"GET http://a/KEY#part HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
        ],
    )
}

fn every_form_of_target(case: &mut Case<'_>) -> Verdict {
    for (method, target) in [
        ("GET", "/KEY/%2e/../x//y?"),
        ("GET", "http://Varvel.Test:80/KEY/%2e?"),
        ("GET", "http://varvel.test"),
        ("OPTIONS", "*"),
        ("CONNECT", "varvel.test:443"),
    ] {
        let target = target.replace("KEY", case.key());
        let description = described(case, &format!("{method} {target} HTTP/1.1"), b"Host: varvel.test\r\n")?;
        expect_eq("raw target:", shown(&bytes(&description["target"])), target)?;
    }
    Ok(())
}

fn whose_authority(case: &mut Case<'_>) -> Verdict {
    for (request_line, host, authority) in [
        ("GET /KEY HTTP/1.1", Some("host.test:8080"), Some("host.test:8080")),
        ("GET http://target.test/KEY HTTP/1.1", Some("host.test"), Some("target.test")),
        ("GET http://target.test:81/KEY HTTP/1.1", Some("target.test"), Some("target.test:81")),
        ("CONNECT target.test:443 HTTP/1.1", Some("host.test"), Some("target.test:443")),
        ("OPTIONS * HTTP/1.1", Some("host.test"), Some("host.test")),
        ("GET /KEY HTTP/1.1", Some(""), None),
        ("GET /KEY HTTP/1.0", None, None),
        ("GET /KEY HTTP/1.0", Some("host.test"), Some("host.test")),
        ("GET http://target.test/KEY HTTP/1.0", None, Some("target.test")),
    ] {
        let line = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
        let description = described(case, request_line, line.as_bytes())?;
        let what = format!("{request_line} with Host {host:?}:");
        expect_eq(format_args!("authority of {what}"), description["authority"].as_str(), authority)?;
        let hosts = values(&description, "host");
        expect_eq(
            format_args!("Host of {what}"),
            hosts,
            host.map(str::to_owned).into_iter().collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

fn values_byte_for_byte(case: &mut Case<'_>) -> Verdict {
    let high: Vec<u8> = (0x80..=0xff).collect();
    let rows: [(&[u8], &[u8]); 8] = [
        (b" plain", b"plain"),
        (b"tight", b"tight"),
        (b" \t  spaces around \t ", b"spaces around"),
        (b" two  inner\tkinds", b"two  inner\tkinds"),
        (b" \"quoted\\\" text\" ", b"\"quoted\\\" text\""),
        (b"", b""),
        (b"   ", b""),
        (&high, &high),
    ];
    let mut lines = b"Host: varvel.test\r\n".to_vec();
    for (n, (line, _)) in rows.iter().enumerate() {
        lines.extend_from_slice(format!("X-{n}:").as_bytes());
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\r\n");
    }
    let description = described(case, "GET /KEY HTTP/1.1", &lines)?;
    for (n, (line, value)) in rows.iter().enumerate() {
        let delivered = values(&description, &format!("x-{n}"));
        expect_eq(format_args!("value of {:?}:", shown(line)), delivered, vec![shown(value)])?;
    }
    Ok(())
}

fn equal_names_stay_apart(case: &mut Case<'_>) -> Verdict {
    let lines =
        b"Host: varvel.test\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2, 3\r\nCookie: b=2\r\nX-a: \r\nX-A: 1\r\n";
    let description = described(case, "GET /KEY HTTP/1.1", lines)?;
    expect_eq("values of X-A:", values(&description, "x-a"), vec!["1", "2, 3", "", "1"])?;
    expect_eq("values of Cookie:", values(&description, "cookie"), vec!["a=1", "b=2"])
}

fn no_transfer_encoding(case: &mut Case<'_>) -> Verdict {
    let request = case.request("POST", "describe", "Transfer-Encoding: chunked\r\nX-A: b\r\n");
    let response = case.ask(format!("{request}5\r\nhello\r\n0\r\n\r\n"))?;
    let mut names: Vec<_> = fields(&read_description(&response)?).into_iter().map(|(name, _)| name).collect();
    names.sort();
    expect_eq("fields:", names, vec!["host", "x-a"])
}

fn all_other_fields(case: &mut Case<'_>) -> Verdict {
    let sent = [
        ("Host", "host.test"),
        ("Connection", "keep-alive, x-hop"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Hop", "1"),
        ("TE", "trailers"),
        ("Trailer", "X-Later"),
        ("Content-Length", "0"),
        ("Accept-Encoding", "gzip"),
        ("X_Under_Score", "1"),
        ("X-Under-Score", "2"),
        ("Forwarded", "for=192.0.2.1"),
        ("Via", "1.1 proxy.test"),
        ("Date", "yesterday"),
        ("!#$%&'*+-.^_`|~9", "odd"),
    ];
    let lines: String = sent.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // The target's authority differs from Host, which is delivered as sent all the same.
    let description = described(case, "POST http://target.test/KEY HTTP/1.1", lines.as_bytes())?;
    let mut seen = fields(&description);
    seen.sort();
    let mut expected: Vec<_> =
        sent.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
    expected.sort();
    expect_eq("fields:", seen, expected)
}

fn length_that_is_known(case: &mut Case<'_>) -> Verdict {
    for (what, fields, body, length) in [
        ("a request without a body", "", "", Some(0)),
        ("Content-Length: 0", "Content-Length: 0\r\n", "", Some(0)),
        ("Content-Length: 5", "Content-Length: 5\r\n", "hello", Some(5)),
        ("an empty chunked body", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", None),
        ("a chunked body", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
    ] {
        let request = case.request("POST", "describe", fields);
        let response = case.ask(request + body).map_err(|failure| failure.within(what))?;
        let description = read_description(&response)?;
        expect_eq(format_args!("exact_len of {what}:"), description["exact_len"].as_u64(), length)?;
    }
    Ok(())
}

fn forged_fields_change_nothing(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request(
        "GET",
        "describe",
        "Forwarded: for=192.0.2.1;proto=https;by=192.0.2.2\r\nX-Forwarded-For: 192.0.2.3\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: forged.test\r\nX-Real-IP: 192.0.2.4\r\n",
    ))?;
    let description = read_description(&client.response()?)?;
    let peer = client.local_address()?.to_string();
    expect_eq("peer:", description["peer"].as_str(), Some(&*peer))?;
    let local = case.server().address().to_string();
    expect_eq("local:", description["local"].as_str(), Some(&*local))?;
    expect_eq("is_secure:", description["secure"].as_bool(), Some(false))?;
    expect_eq("tls:", description["tls"].as_bool(), Some(false))?;
    expect_eq("authority:", description["authority"].as_str(), Some("varvel.test"))
}

fn exclusive_calls_never_overlap(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut plan = Plan::default();
    plan.policy = plan.policy.exclusive();
    case.start(plan)?;
    let mut clients = held_calls(case, &gate, 3)?;
    case.wait_for("held", |_| true)?;
    overlap(case, &gate, &mut clients, 1)
}

fn no_more_than_stated(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut tuning = Tuning::default();
    tuning.threads = 2;
    case.start(tuning)?;
    let built = case.wait_for("built", |_| true)?;
    let stated = built.field("worker")["concurrency"].as_u64().filter(|stated| *stated <= 64);
    let Some(stated) = stated else {
        return case.only_if(false, "it states no bound on calls, or a high one");
    };
    let mut clients = held_calls(case, &gate, stated + 2)?;
    overlap(case, &gate, &mut clients, stated)
}

/// Sends so many requests, on a connection each, that wait at a gate.
fn held_calls(case: &mut Case<'_>, gate: &str, count: u64) -> Result<Vec<Client>, Failure> {
    let request = case.get(&format!("gate={gate}&body=held"));
    let send = |_| {
        let mut client = case.connect()?;
        client.send(&request)?;
        Ok(client)
    };
    (0..count).map(send).collect()
}

/// Waits for as many calls as may run, sees that no more do, and lets all go.
fn overlap(case: &mut Case<'_>, gate: &str, clients: &mut [Client], most: u64) -> Verdict {
    case.wait_for("call", |call| call.number("overlap") == Some(most))?;
    std::thread::sleep(SILENCE);
    case.open(gate);
    for client in clients {
        expect_eq("answer:", client.response()?.text(), "held")?;
    }
    let overlaps = case.settled("call")?.iter().filter_map(|call| call.number("overlap")).max();
    expect_eq("most calls at once:", overlaps, Some(most))
}

fn others_are_served_meanwhile(case: &mut Case<'_>) -> Verdict {
    let many = case.about().concurrency.is_none_or(|concurrency| concurrency > 1);
    case.only_if(case.about().evented || many, "it makes one call at a time")?;
    let gate = case.gate("go")?;
    let (steps, answer) = match case.about().form {
        Form::Sync => (format!("block={gate}&body=late"), None),
        // An async call must not block (A1); a job may.
        Form::Async => (format!("offload={gate}&body=soon"), Some("soon")),
    };
    let can_block = answer.is_none() || case.about().caps.contains(varvel::Caps::OFFLOAD);
    case.only_if(can_block, "nothing can block")?;
    let mut client = case.connect()?;
    client.send(case.get(&steps))?;
    case.wait_for(if answer.is_some() { "job-began" } else { "held" }, |_| true)?;
    for _ in 0..3 {
        case.still_serves()?;
    }
    case.open(&gate);
    expect_eq("answer of the call that blocked:", client.response()?.text(), answer.unwrap_or("late"))
}

fn beyond_the_limits(case: &mut Case<'_>) -> Verdict {
    let head = "GET /KEY HTTP/1.1\r\nHost: a\r\n";
    for (what, request, statuses) in [
        (
            "a request line of 100 kB",
            format!("GET /KEY{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
            &[414_u16][..],
        ),
        ("a method of 100 kB", format!("{} /KEY HTTP/1.1\r\n\r\n", "X".repeat(100_000)), &[400, 414, 501]),
        ("a field of 100 kB", format!("{head}X: {}\r\n\r\n", "x".repeat(100_000)), &[431]),
        ("a field name of 100 kB", format!("{head}{}: x\r\n\r\n", "x".repeat(100_000)), &[431]),
        (
            "fields of 100 kB together",
            format!("{head}{}\r\n", format!("X: {}\r\n", "x".repeat(1_000)).repeat(100)),
            &[431],
        ),
        ("101 fields", format!("{head}{}\r\n", "X: y\r\n".repeat(100)), &[431]),
        ("70,000 fields", format!("{head}{}\r\n", "X: y\r\n".repeat(70_000)), &[431]),
        (
            "70,000 names",
            format!("{head}{}\r\n", (0..70_000).map(|n| format!("{n}: y\r\n")).collect::<String>()),
            &[431],
        ),
    ] {
        large(case, what, &request, statuses)?;
    }
    Ok(())
}

fn within_the_limits(case: &mut Case<'_>) -> Verdict {
    let long = case.get("body=fine").replace("?body", &format!("/{}?body", "x".repeat(7_000)));
    expect_eq("answer to a request line of 7 kB:", case.ask(long)?.text(), "fine")?;
    let fields = |count: usize, length: usize| format!("X: {}\r\n", "x".repeat(length)).repeat(count);
    for (what, fields) in [("99 fields", fields(99, 1)), ("50 kB of fields", fields(10, 5_000))] {
        let response =
            case.ask(case.request("GET", "body=fine", &fields)).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("answer to {what}:"), response.text(), "fine")?;
    }
    Ok(())
}

fn connections_are_bounded(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut tuning = Tuning::default();
    tuning.connections_max = 4;
    case.start(tuning)?;
    let clients = held_calls(case, &gate, 8)?;
    for nth in 1..=4 {
        case.wait_for("call", |call| call.number("overlap") == Some(nth))?;
    }
    std::thread::sleep(SILENCE);
    expect_eq("calls with four connections allowed:", case.settled("call")?.len(), 4)?;
    case.open(&gate);
    for mut client in clients {
        // Those beyond the bound may have been turned away.
        match client.response() {
            Ok(response) if response.status() == 503 => {}
            Ok(response) => expect_eq("answer:", response.text(), "held")?,
            Err(_) => {
                client.closed()?;
            }
        }
    }
    Ok(())
}

fn running_calls_finish(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    case.start(Setup::default())?;
    let mut idle = case.connect()?;
    idle.send(case.get("body=idle"))?;
    idle.response()?;
    let mut running = case.connect()?;
    running.send(case.get(&format!("stopping&gate={gate}&body=done")))?;
    case.wait_for("waiting", |_| true)?;

    case.server().control().stop(LIMIT * 3);
    case.wait_for("held", |_| true)?;
    idle.closed().map_err(|failure| failure.within("an idle connection"))?;
    not_accepting(case)?;

    case.open(&gate);
    let response = running.response().map_err(|failure| failure.within("the call that ran"))?;
    expect_eq("its answer:", response.text(), "done")?;
    ensure(
        response.head.connection_has("close"),
        "Connection: close",
        format_args!("{:?}", response.head.fields),
    )?;
    running.closed()?;
    let ended = case.own()?.ended()?;
    ensure(matches!(ended, Ok(Ok(_))), "the server returns without an error", format_args!("{ended:?}"))
}

/// Waits until new connections are no longer served.
fn not_accepting(case: &mut Case<'_>) -> Verdict {
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = format!("GET /{}.new?body=new HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
        if case.ask(request).is_err() {
            return Ok(());
        }
        ensure(Instant::now() < deadline, "no new connection is served after the stop", "each was")?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn limits_are_kept(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.head_bytes_max = 8_000;
    tuning.header_count_max = 20;
    tuning.body_bytes_max = Some(1_000);
    case.start(tuning)?;
    let limits = case.wait_for("built", |_| true)?.field("worker")["limits"].clone();
    let limit = |name: &str| limits[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let bounded = |name: &str| limit(name).filter(|limit| *limit > 0 && *limit < 1_000_000);

    // A test of each bound from both sides, with some room where a server may count this or that.
    let mut probe = |what: String, request: String, served: bool| {
        let mut client = case.connect()?;
        client.try_send(request);
        let status = client.response().map_err(|failure| failure.within(&what))?.status();
        ensure(
            (status == 200) == served,
            format_args!("{what} is {}", if served { "served" } else { "refused" }),
            status,
        )
    };
    let host = "GET /limits?body=fine HTTP/1.1\r\nHost: a\r\n";
    if let Some(most) = bounded("header_count_max") {
        for (count, served) in [(most, true), (most + 1, false)] {
            probe(
                format!("a head with {count} fields"),
                format!("{host}{}\r\n", "X: y\r\n".repeat(count - 1)),
                served,
            )?;
        }
    }
    if let Some(most) = bounded("head_bytes_max") {
        for (size, served) in [(most - 200, true), (most + 200, false)] {
            let field = "x".repeat(size - host.len() - "X: \r\n\r\n".len());
            probe(format!("a head of {size} bytes"), format!("{host}X: {field}\r\n\r\n"), served)?;
        }
    }
    if let Some(most) = bounded("body_bytes_max") {
        for (size, served) in [(most, true), (most + 1, false)] {
            let head = format!(
                "POST /limits?read&pass&body=fine HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
            );
            probe(format!("a body of {size} bytes"), head + &"x".repeat(size), served)?;
        }
    }
    Ok(())
}

fn workers_are_there(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.workers = 3;
    case.start(tuning)?;
    let serials: BTreeSet<_> = (0..6)
        .map(|_| {
            let description = read_description(&case.ask(case.get("describe"))?)?;
            Ok(description["serial"].as_u64())
        })
        .collect::<Result<_, Failure>>()?;
    let built = case.settled("built")?;
    let stated: BTreeSet<_> = built.iter().map(|event| event.field("worker")["workers"].as_u64()).collect();
    expect_eq("workers stated:", stated.into_iter().collect::<Vec<_>>(), vec![Some(built.len() as u64)])?;
    ensure(
        serials.len() <= built.len(),
        "calls only of applications that were built",
        format_args!("{serials:?}"),
    )?;
    let info = built[0].field("worker");
    let pids: BTreeSet<_> = built.iter().map(|event| event.number("pid")).collect();
    let here = Some(u64::from(std::process::id()));
    match info["process"].as_str() {
        Some("Single") => expect_eq("processes:", pids.into_iter().collect::<Vec<_>>(), vec![here])?,
        _ => ensure(!pids.contains(&here), "workers in processes of their own", format_args!("{pids:?}"))?,
    }
    if info["lifetime"] == "Resident" {
        let builds = case.events("build").len();
        expect_eq("builds of a server whose applications live as long as it:", builds, built.len())?;
    }
    Ok(())
}

fn version_as_received(case: &mut Case<'_>) -> Verdict {
    for (sent, version) in
        [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("1.2", "HTTP/1.1"), ("1.9", "HTTP/1.1")]
    {
        let description = described(case, &format!("GET /KEY HTTP/{sent}"), b"Host: varvel.test\r\n")?;
        expect_eq(
            format_args!("version of a request in {sent}:"),
            description["version"].as_str(),
            Some(version),
        )?;
    }
    Ok(())
}

fn bad_hosts_refused(case: &mut Case<'_>) -> Verdict {
    let mut rows = vec![
        Refused::bad("no Host", b"GET /KEY HTTP/1.1\r\n\r\n"),
        Refused::bad("no Host with an absolute form", b"GET http://a/KEY HTTP/1.1\r\n\r\n"),
        Refused::bad("two equal Host lines", b"GET /KEY HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        Refused::bad("two Host lines", b"GET /KEY HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n"),
        Refused::bad("two Host lines in 1.0", b"GET /KEY HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        Refused::bad("an empty Host and another", b"GET /KEY HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n"),
    ];
    let values = [
        "a b",
        "a, b",
        "user@a",
        "user:secret@a",
        "a/b",
        "a?b",
        "a#b",
        "a:b",
        "a:-1",
        "a:80:80",
        "[::1",
        "::1",
        "[::1]x",
        "[not an address]",
        "a\\b",
        "<a>",
        "http://a",
    ];
    let requests: Vec<_> =
        values.iter().map(|value| format!("GET /KEY HTTP/1.1\r\nHost: {value}\r\n\r\n")).collect();
    rows.extend(requests.iter().zip(values).map(|(request, value)| Refused::bad(value, request.as_bytes())));
    let old = b"GET /KEY HTTP/1.0\r\nHost: a b\r\n\r\n";
    rows.push(Refused::bad("an invalid Host in 1.0", old));
    refused(case, &rows)
}

fn good_hosts_served(case: &mut Case<'_>) -> Verdict {
    let hosts = [
        "",
        "varvel.test",
        "Varvel.Test:8080",
        "varvel.test:",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[2001:db8::1]:8080",
        "x_y.test",
        "a.b-c.test.",
    ];
    for host in hosts {
        let description = described(case, "GET /KEY HTTP/1.1", format!("Host: {host}\r\n").as_bytes())?;
        expect_eq("Host:", values(&description, "host"), vec![host])?;
    }
    described(case, "GET /KEY HTTP/1.0", b"")?;
    Ok(())
}

fn kept_scope_is_too_late(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let mut client = case.connect()?;
    let host = "HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
    client.send(format!("GET /{key}.first?keep&body=one {host}"))?;
    expect_eq("first answer:", client.response()?.text(), "one")?;
    case.wait_for("call-ended", |event| event.key().ends_with(".first"))?;
    client.send(format!("GET /{key}.second?stale={key}.first&body=two {host}"))?;
    let second = client.response()?;
    expect_eq("second answer:", (second.interim.len(), second.text()), (0, "two".to_owned()))?;
    let result = case.wait_for("stale", |_| true)?.text("result").to_owned();
    let has_interim = case.about().caps.contains(varvel::Caps::INTERIM);
    expect_eq("interim through a kept handle:", &*result, if has_interim { "TooLate" } else { "Unsupported" })
}

fn kept_body_reads_nothing(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let post = |name: &str, steps: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /{key}.{name}?{steps} HTTP/1.1\r\nHost: varvel.test\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let mut client = case.connect()?;
    client.send(post("first", "keep=body&body=one", "first body"))?;
    let first = client.response()?;
    expect_eq("first answer:", first.text(), "one")?;
    if first.head.connection_has("close") {
        client.closed()?;
        client = case.connect()?;
    }
    client.send(post("second", &format!("stale={key}.first&read&body=two"), "second body"))?;
    expect_eq("second answer:", client.response()?.text(), "two")?;
    let stale = case.wait_for("stale", |_| true)?;
    let pulled = stale.text("pulled");
    // What the server had handed over with the call is the application's own.
    let own = pulled.strip_prefix("data ").is_some_and(|data| hex(b"first body").starts_with(data));
    let error =
        ["Incomplete", "Malformed", "TooLarge", "Timeout", "Disconnected", "Failed"].contains(&pulled);
    ensure(own || error, "a pull through a kept body returns an error, or its own data", pulled)?;
    let read = case.wait_for("read", |event| event.key().ends_with(".second"))?;
    expect_eq("what the second call read:", shown(&bytes(read.field("hex"))), "second body")
}

fn head_in_time(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.head_timeout = Duration::from_millis(400);
    case.start(tuning)?;
    let mut stalled = case.connect()?;
    // On a machine that is busy the time may be over before this is sent.
    stalled.try_send("GET /stalled HTTP/1.1\r\nHost: a\r\nX:");
    let mut dribbling = case.connect()?;
    dribbling.try_send("GET /dribbling HTTP/1.1\r\nHost: a\r\nX:");
    // A byte now and then, which renews nothing. The server's close makes sending fail at last.
    let deadline = Instant::now() + LIMIT;
    while dribbling.try_send("x") {
        ensure(
            Instant::now() < deadline,
            "a head without an end is given up",
            format_args!("not within {LIMIT:?}"),
        )?;
        std::thread::sleep(Duration::from_millis(50));
    }
    for (what, client) in [("a head that stalls", &mut stalled), ("a head that dribbles", &mut dribbling)] {
        let (rest, _) = client.rest().map_err(|failure| failure.within(what))?;
        let is_timeout = rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 ");
        ensure(is_timeout, format_args!("{what}: 408, or only a close"), shown(&rest))?;
    }
    expect_eq("calls:", case.settled("call")?.len(), 0)?;
    case.still_serves()
}

fn idle_in_time(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.keep_alive_timeout = Duration::from_millis(200);
    tuning.head_timeout = Duration::from_secs(2);
    case.start(tuning)?;
    let mut fresh = case.connect()?;
    let mut used = case.connect()?;
    used.send(case.get("body=x"))?;
    used.response()?;
    used.closed().map_err(|failure| failure.within("a connection idle behind its answer"))?;
    let (rest, _) = fresh.rest().map_err(|failure| failure.within("a connection that never sent a byte"))?;
    let is_timeout = rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 ");
    ensure(is_timeout, "408, or only a close", shown(&rest))
}

fn body_in_time(case: &mut Case<'_>) -> Verdict {
    case.calls_may_wait()?;
    let mut tuning = Tuning::default();
    tuning.body_timeout = Duration::from_millis(300);
    case.start(tuning)?;
    let request = case.request("POST", "read&pass&body=x", "Content-Length: 10\r\n");
    let mut client = case.connect()?;
    client.send(request + "abc")?;
    let read = case.wait_for("read", |_| true)?;
    expect_eq("what reading came to:", read.text("end"), "Timeout")?;
    let (rest, _) = client.rest()?;
    ensure(rest.starts_with(b"HTTP/1.1 408 "), "408, and a close", shown(&rest))
}

fn reading_in_time(case: &mut Case<'_>) -> Verdict {
    let mut tuning = Tuning::default();
    tuning.write_timeout = Duration::from_millis(300);
    case.start(tuning)?;
    let mut client = case.connect()?;
    client.small_buffers()?;
    client.send(case.get("stream&frames=1000000:65536"))?;
    case.wait_for("body-dropped", |_| true)?;
    // What lies in the buffers of the sockets is all there is.
    client.rest()?;
    case.still_serves()
}
