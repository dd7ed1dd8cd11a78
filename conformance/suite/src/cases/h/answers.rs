//! H1 to H6, H14, H15, H21: what the server makes of an application's answer.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::next_is_answered;
use crate::{
    Case, Event, Failure, Framing, Head, Verdict,
    cases::refusals::{shown, with_key},
    ensure, expect_eq,
    probe::{digest, escape, pattern},
};

/// Answers of every kind, for GET and HEAD alike.
const BODIES: [(&str, &str); 8] = [
    ("an empty body", "status=200"),
    ("a body in memory", "body=hello"),
    ("a large body in memory", "size=300000"),
    ("a declared length", "header=Content-Length:5&body=hello"),
    ("a file", "file=10:50000:100000"),
    ("a stream", "stream&data=hello&data=again"),
    ("a stream of known length", "stream=10&data=hello&data=again"),
    ("an error of the application", "status=404&header=X-A:b&body=none"),
];

pub(super) fn same_head_no_body(case: &mut Case<'_>) -> Verdict {
    for (what, steps) in BODIES {
        let mut client = case.connect()?;
        client.send(case.get(steps))?;
        let get = client.response().map_err(|failure| failure.within(format_args!("GET of {what}")))?;
        client.send(case.request("HEAD", steps, ""))?;
        let head =
            client.response_to("HEAD").map_err(|failure| failure.within(format_args!("HEAD of {what}")))?;
        expect_eq(format_args!("status with {what}:"), head.status(), get.status())?;
        let named = format!("fields with {what}:");
        expect_eq(named, without_date(&head.head), without_date(&get.head))?;
        next_is_answered(case, &mut client)
            .map_err(|failure| failure.within(format_args!("HEAD of {what}")))?;
    }
    Ok(())
}

/// Name and value of all fields but Date, in order of name.
fn without_date(head: &Head) -> Vec<(String, String)> {
    let lines = head.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    let mut fields: Vec<_> =
        lines.map(|(name, value)| (name.to_lowercase(), value.escape_ascii().to_string())).collect();
    fields.sort();
    fields
}

pub(super) fn body_of_head_not_run(case: &mut Case<'_>) -> Verdict {
    for (n, steps) in ["stream&data=hello", "stream=5&data=hello", "stream&panic"].into_iter().enumerate() {
        let (request, key) = keyed(case, n, steps);
        let mut client = case.connect()?;
        client.send(request.replacen("GET", "HEAD", 1))?;
        client.response_to("HEAD")?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key)?;
        expect_eq("how often the body was polled or run:", dropped.number("polls"), Some(0))?;
    }
    Ok(())
}

pub(super) fn no_body_no_framing(case: &mut Case<'_>) -> Verdict {
    for status in [204, 304] {
        for body in ["body=hello", "stream&data=hello", "stream=5&data=hello", "file=0:5:5", "header=X-A:b"] {
            let what = format!("status {status} with {body}");
            let mut client = case.connect()?;
            client.send(case.get(&format!("status={status}&{body}")))?;
            // The reader refuses framing fields with 204 by itself.
            let response = client.response().map_err(|failure| failure.within(&what))?;
            expect_eq(format_args!("{what}: status"), response.status(), status)?;
            ensure(
                !response.head.has("transfer-encoding"),
                format_args!("{what}: no Transfer-Encoding"),
                format_args!("{:?}", response.head.fields),
            )?;
            if response.head.connection_has("close") {
                client.closed().map_err(|failure| failure.within(&what))?;
            } else {
                next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
            }
        }
    }
    Ok(())
}

pub(super) fn body_of_bodiless_not_run(case: &mut Case<'_>) -> Verdict {
    for (nth, status) in [204, 304].into_iter().enumerate() {
        let (request, key) = keyed(case, nth, &format!("status={status}&stream&data=hello"));
        case.ask(request)?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key)?;
        let what = format!("how often the body was polled or run with {status}:");
        expect_eq(what, dropped.number("polls"), Some(0))?;
    }
    Ok(())
}

pub(super) fn every_version_and_body(case: &mut Case<'_>) -> Verdict {
    for (what, steps, body) in [
        ("an empty body", "status=200", &b""[..]),
        ("an empty body with 404", "status=404", b""),
        ("a body in memory", "body=hello", b"hello"),
        ("a file", "file=0:23:23", &pattern(0, 23)),
        ("a known length", "stream=5&data=hel&data=lo", b"hello"),
        ("a declared length", "header=Content-Length:5&stream&data=hel&data=lo", b"hello"),
    ] {
        for version in ["1.1", "1.0"] {
            framed(case, what, steps, version, &[Framing::Length(body.len() as u64)], body)?;
        }
    }
    for (what, steps) in [
        ("an unknown length", "stream&data=hel&flush&data=lo"),
        ("an unknown length with 500", "status=500&stream&data=hel&flush&data=lo"),
    ] {
        framed(case, what, steps, "1.1", &[Framing::Chunked], b"hello")?;
        framed(case, what, steps, "1.0", &[Framing::Close], b"hello")?;
    }
    // A server that looks ahead may find out that nothing comes.
    framed(case, "a stream of nothing", "stream", "1.1", &[Framing::Chunked, Framing::Length(0)], b"")?;
    framed(case, "a stream of nothing", "stream", "1.0", &[Framing::Close, Framing::Length(0)], b"")
}

/// Sees that the answer to a request in this version has one of these framings, and this body.
fn framed(
    case: &mut Case<'_>,
    what: &str,
    steps: &str,
    version: &str,
    framings: &[Framing],
    body: &[u8],
) -> Verdict {
    let what = format!("{what} on {version}");
    let request = format!("GET {} HTTP/{version}\r\nHost: varvel.test\r\n\r\n", case.target(steps));
    let response = case.ask(request).map_err(|failure| failure.within(&what))?;
    ensure(
        framings.contains(&response.framing),
        format_args!("{what}: {}", framings.iter().map(Framing::to_string).collect::<Vec<_>>().join(" or ")),
        format_args!("{what}: {}", response.framing),
    )?;
    expect_eq(format_args!("{what}: body"), response.body, Bytes::copy_from_slice(body))
}

pub(super) fn excess_is_cut(case: &mut Case<'_>) -> Verdict {
    for (n, body) in [
        "body=hello",
        "stream&data=hel&data=lo",
        "stream=5&data=hello",
        "file=0:5:5",
        "stream&data=hel&flush&data=lo",
    ]
    .into_iter()
    .enumerate()
    {
        let (request, key) = keyed(case, n, &format!("header=Content-Length:3&{body}"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response().map_err(|failure| failure.within(body))?;
        expect_eq(format_args!("framing of {body}:"), response.framing, Framing::Length(3))?;
        expect_eq(format_args!("bytes of {body}:"), response.body.len(), 3)?;
        if response.head.connection_has("close") {
            client.closed()?;
        } else {
            // If the server decides to close after the head, it does so without a further byte.
            let request = format!("GET /{key}.next?body=next HTTP/1.1\r\nHost: varvel.test\r\n\r\n");
            if client.try_send(request) {
                match client.response() {
                    Ok(next) => expect_eq(format_args!("the answer behind {body}:"), next.text(), "next")?,
                    Err(failure) => {
                        client.closed().map_err(|_| failure.within(format_args!("behind {body}")))?;
                    }
                }
            }
        }
        reported(case, &key)?;
    }
    Ok(())
}

pub(super) fn shortage_breaks_off(case: &mut Case<'_>) -> Verdict {
    for (n, steps) in [
        "header=Content-Length:10&body=hello",
        "header=Content-Length:10&stream&data=hello",
        "header=Content-Length:10&stream=5&data=hello",
        "stream=10&data=hello",
        "header=Content-Length:10&stream",
    ]
    .into_iter()
    .enumerate()
    {
        let (request, key) = keyed(case, n, steps);
        let mut client = case.connect()?;
        client.send(request)?;
        let (rest, _) = client.rest().map_err(|failure| failure.within(steps))?;
        broken_off(&rest).map_err(|failure| failure.within(steps))?;
        reported(case, &key).map_err(|failure| failure.within(steps))?;
    }
    Ok(())
}

/// An answer with the declared length 10 that ended before it, or nothing at all.
fn broken_off(received: &[u8]) -> Verdict {
    let shown = received.escape_ascii().to_string();
    if received.is_empty() {
        return Ok(());
    }
    let end = received.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { return Ok(()) };
    let head = Head::parse(&received[..end + 2]).map_err(|expected| Failure::new(expected, shown.clone()))?;
    expect_eq("declared length:", head.one("content-length"), Some("10"))?;
    ensure(
        received.len() - end - 4 < 10,
        "fewer bytes than were declared, then the end of the connection",
        shown,
    )
}

pub(super) fn no_number_is_removed(case: &mut Case<'_>) -> Verdict {
    for (n, declared) in [
        "header=Content-Length:five",
        "header=Content-Length:-5",
        "header=Content-Length:%2B5",
        "header=Content-Length:5.0",
        "header=Content-Length:0x5",
        "header=Content-Length:",
        "header=Content-Length:5,%205",
        "header=Content-Length:99999999999999999999",
        "header=Content-Length:5&header=Content-Length:7",
    ]
    .into_iter()
    .enumerate()
    {
        for (m, body) in ["body=hello", "stream&data=hel&data=lo"].into_iter().enumerate() {
            let steps = format!("{declared}&{body}");
            let (request, key) = keyed(case, 10 * n + m, &steps);
            let mut client = case.connect()?;
            client.send(request)?;
            let response = client.response().map_err(|failure| failure.within(&steps))?;
            expect_eq(format_args!("body of {steps}:"), response.text(), "hello")?;
            next_is_answered(case, &mut client).map_err(|failure| failure.within(&steps))?;
            reported(case, &key).map_err(|failure| failure.within(&steps))?;
        }
    }
    Ok(())
}

pub(super) fn connection_fields_removed(case: &mut Case<'_>) -> Verdict {
    for (n, (name, value)) in [
        ("Connection", "x-mine"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=99"),
        ("Proxy-Connection", "keep-alive"),
        ("Transfer-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "x-proto"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{name}: {value}");
        let (request, key) = keyed(case, n, &format!("header={name}:{value}&header=X-Kept:yes&body=hello"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response().map_err(|failure| failure.within(&what))?;
        expect_eq(
            format_args!("answer with {what}:"),
            (response.status(), response.text()),
            (200, "hello".to_owned()),
        )?;
        expect_eq(format_args!("other field beside {what}:"), response.head.one("x-kept"), Some("yes"))?;
        let sent = match name {
            // The server may say something of its own there.
            "Connection" => response.head.connection_has(value),
            _ => response.head.has(name),
        };
        ensure(!sent, format_args!("{what} is not sent"), format_args!("{:?}", response.head.fields))?;
        next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
        reported(case, &key).map_err(|failure| failure.within(&what))?;
    }
    Ok(())
}

pub(super) fn upgrade_required_names_protocols(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get("status=426&header=Upgrade:x-proto&body=no"))?;
    let response = client.response()?;
    expect_eq("status", response.status(), 426)?;
    expect_eq("upgrade", response.head.one("upgrade"), Some("x-proto"))?;
    let fields = format!("{:?}", response.head.fields);
    ensure(response.head.connection_has("upgrade"), "Connection: upgrade beside it", fields)?;
    next_is_answered(case, &mut client)?;
    expect_eq("reports", case.settled("report").len(), 0)
}

pub(super) fn date_added_once(case: &mut Case<'_>) -> Verdict {
    let bad = with_key(b"GET /KEY HTTP/1.1\r\n\r\n", case.key());
    let requests = [
        ("200", case.get("body=x").into_bytes()),
        ("404", case.get("status=404").into_bytes()),
        ("204", case.get("status=204").into_bytes()),
        ("a stream", case.get("stream&data=x").into_bytes()),
        ("an error of the application", case.get("fail=internal").into_bytes()),
        ("a refusal", bad),
    ];
    for (what, request) in requests {
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        let date = response.head.one("date");
        ensure(
            date.is_some_and(is_date),
            format_args!("one Date with {what}"),
            format_args!("{:?}", response.head.fields),
        )?;
    }
    Ok(())
}

/// Whether a text has the form `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_date(text: &str) -> bool {
    let form = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        _ => byte == *form,
    };
    text.len() == form.len() && text.bytes().zip(form).all(fits)
}

pub(super) fn date_of_the_application_stays(case: &mut Case<'_>) -> Verdict {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let response = case.ask(case.get(&format!("header=Date:{}&body=x", escape(date))))?;
    expect_eq("Date:", response.head.one("date"), Some(date))
}

pub(super) fn bytes_as_given(case: &mut Case<'_>) -> Verdict {
    let content = pattern(0, 100_000);
    for accepted in ["", "gzip", "br", "zstd", "deflate", "gzip;q=1.0, identity;q=0", "*", "identity"] {
        for steps in [
            "size=100000",
            "stream&frames=10:10000",
            "file=0:100000:100000",
            "header=Content-Encoding:gzip&size=100000",
        ] {
            let what = format!("{steps} with Accept-Encoding: {accepted}");
            let response = case
                .ask(case.request("GET", steps, &format!("Accept-Encoding: {accepted}\r\n")))
                .map_err(|failure| failure.within(&what))?;
            let coding = steps.starts_with("header").then_some("gzip");
            expect_eq(
                format_args!("Content-Encoding of {what}:"),
                response.head.one("content-encoding"),
                coding,
            )?;
            let same = response.body.len() == content.len() && digest(&response.body) == digest(&content);
            ensure(
                same,
                format_args!("{what}: the 100,000 bytes of the application"),
                format_args!("{} others", response.body.len()),
            )?;
        }
    }
    Ok(())
}

pub(super) fn fields_as_given(case: &mut Case<'_>) -> Verdict {
    let high: Vec<u8> = (0x80..=0xff).collect();
    let given: [(&str, &[u8]); 9] = [
        ("Set-Cookie", b"a=1; Path=/"),
        ("X-Single", b"one, two"),
        ("Set-Cookie", b"b=2; Expires=Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Set-Cookie", b"a=1; Path=/"),
        ("X-High", &high),
        ("X-Spaces", b"two  inner\tkinds"),
        ("X-Empty", b""),
        ("Content-Type", b"text/plain; charset=\"utf-8\""),
        ("Server", b"the application's"),
    ];
    let steps: String =
        given.iter().map(|(name, value)| format!("header={name}:{}&", escape(value))).collect();
    let response = case.ask(case.get(&format!("{steps}body=x")))?;
    let names: BTreeSet<_> = given.iter().map(|(name, _)| *name).collect();
    for name in names {
        let expected: Vec<_> =
            given.iter().filter(|(other, _)| *other == name).map(|(_, value)| shown(value)).collect();
        let sent: Vec<_> = response.head.all(name).into_iter().map(|value| shown(value)).collect();
        expect_eq(format_args!("lines of {name}:"), sent, expected)?;
    }
    Ok(())
}

pub(super) fn odd_statuses(case: &mut Case<'_>) -> Verdict {
    for status in [100_usize, 102, 103, 199, 600, 999] {
        let (request, key) = keyed(case, status, &format!("status={status}&body=odd"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response().map_err(|failure| failure.within(status))?;
        expect_eq(format_args!("interim heads with {status}:"), response.interim.len(), 0)?;
        expect_eq(format_args!("status in place of {status}:"), response.status(), 500)?;
        ensure(response.text() != "odd", "not the body of the application", response.text())?;
        reported(case, &key).map_err(|failure| failure.within(status))?;
    }
    // 200 to 599 are the application's, whether anybody has registered them or not.
    for status in [200, 201, 299, 308, 418, 451, 499, 511, 599] {
        let response = case.ask(case.get(&format!("status={status}&body=x")))?;
        expect_eq("status:", response.status(), status)?;
    }
    Ok(())
}

/// Waits for a report about this key that is no message for the log.
fn reported(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    case.wait_for("report", |event| event.key() == key && event.text("report") != "Log")
        .map_err(|failure| failure.within("a report of it"))
}

/// A request with a key of its own, so that its reports are told from others.
fn keyed(case: &Case<'_>, n: usize, steps: &str) -> (String, String) {
    let key = format!("{}.{n}", case.key());
    (format!("GET /{key}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n\r\n"), key)
}
