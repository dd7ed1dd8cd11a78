//! S5 to S12, S19, S20: the request as the application sees it.

use serde_json::Value;

use super::{bytes, read_description};
use crate::{
    Case, Failure, Verdict,
    cases::refusals::{Refused, refused, shown, with_key},
    expect_eq,
};

pub(super) fn method_as_sent(case: &mut Case<'_>) -> Verdict {
    for method in
        ["PURGE", "get", "M-SEARCH", "Post", "!#$%&'*+-.^_`|~09AZaz", "AMETHODOFTHIRTYTWOCHARACTERSINALL"]
    {
        let description = described(case, &format!("{method} /KEY HTTP/1.1"), b"Host: varvel.test\r\n")?;
        expect_eq("method:", description["method"].as_str(), Some(method))?;
    }
    Ok(())
}

pub(super) fn path_and_query_as_sent(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn fragment_refused(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn every_form_of_target(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn whose_authority(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn values_byte_for_byte(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn equal_names_stay_apart(case: &mut Case<'_>) -> Verdict {
    let lines =
        b"Host: varvel.test\r\nX-A: 1\r\nCookie: a=1\r\nx-a: 2, 3\r\nCookie: b=2\r\nX-a: \r\nX-A: 1\r\n";
    let description = described(case, "GET /KEY HTTP/1.1", lines)?;
    expect_eq("values of X-A:", values(&description, "x-a"), vec!["1", "2, 3", "", "1"])?;
    expect_eq("values of Cookie:", values(&description, "cookie"), vec!["a=1", "b=2"])
}

pub(super) fn no_transfer_encoding(case: &mut Case<'_>) -> Verdict {
    let request = case.request("POST", "describe", "Transfer-Encoding: chunked\r\nX-A: b\r\n");
    let response = case.ask(format!("{request}5\r\nhello\r\n0\r\n\r\n"))?;
    let mut names: Vec<_> = fields(&read_description(&response)?).into_iter().map(|(name, _)| name).collect();
    names.sort();
    expect_eq("fields:", names, vec!["host", "x-a"])
}

pub(super) fn all_other_fields(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn length_that_is_known(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn forged_fields_change_nothing(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn version_as_received(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn bad_hosts_refused(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn good_hosts_served(case: &mut Case<'_>) -> Verdict {
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

/// Asks for a description of a request, with this request line and these fields, each of which ends in CRLF.
fn described(case: &mut Case<'_>, request_line: &str, fields: &[u8]) -> Result<Value, Failure> {
    let mut request = format!("{request_line}\r\n").into_bytes();
    request.extend_from_slice(fields);
    request.extend_from_slice(b"\r\n");
    let response =
        case.ask(with_key(&request, case.key())).map_err(|failure| failure.within(request_line))?;
    read_description(&response).map_err(|failure| failure.within(request_line))
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
