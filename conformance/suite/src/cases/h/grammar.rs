//! H8, H16 to H20: requests outside the grammar, most of them faults that servers were caught with.

use super::{no_smuggled_call, smuggled};
use crate::{
    Case, Verdict,
    cases::refusals::{Delivery, Refused, refused, shown},
    expect_eq,
};

pub(super) fn ambiguous_lengths(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, String)> = [
        ("both framings", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("both framings the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("both framings, length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths the other way round", "Content-Length: 6\r\nContent-Length: 5\r\n"),
        ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("a length of 0 and another", "Content-Length: 0\r\nContent-Length: 5\r\n"),
    ]
    .map(|(what, fields)| (what.to_owned(), fields.to_owned()))
    .to_vec();
    for value in [
        "5, 5",
        "5, 6",
        "5,",
        ",5",
        "+5",
        "-5",
        "-0",
        "5.0",
        "5e0",
        "0x5",
        "5_0",
        "5 5",
        "5;x",
        "\"5\"",
        "five",
        "",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "-18446744073709551611",
        "\u{665}",
    ] {
        rows.push((format!("Content-Length: {value}"), format!("Content-Length: {value}\r\n")));
    }
    refuse_all(case, "1.1", &rows)
}

pub(super) fn ambiguous_codings(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, String)> = Vec::new();
    for value in [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, identity",
        "chunked, chunked",
        "chunked,chunked",
        "xchunked",
        "chunkedx",
        "chunk",
        "\"chunked\"",
        "chunked;x=y",
        "chunked x",
        "x chunked",
        "chunked, ",
        "",
        "\x0bchunked",
        "chunked\x0b",
        "cow, ",
        ",",
        "chu nked",
        "gzip;chunked",
    ] {
        rows.push((format!("Transfer-Encoding: {value:?}"), format!("Transfer-Encoding: {value}\r\n")));
    }
    for (what, fields) in [
        ("chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked and then another line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("chunked and then an empty line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"),
    ] {
        rows.push((what.to_owned(), fields.to_owned()));
    }
    // A list may end in empty elements, which count for nothing (RFC 9110 section 5.6.1).
    rows.retain(|(_, fields)| !fields.contains("chunked, \r\n"));
    refuse_all(case, "1.1", &rows)?;
    refuse_all(
        case,
        "1.0",
        &[
            ("chunked on HTTP/1.0".to_owned(), "Transfer-Encoding: chunked\r\n".to_owned()),
            (
                "chunked with keep-alive on HTTP/1.0".to_owned(),
                "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            ),
        ],
    )
}

/// Refuses POST requests with these fields, behind which stand bytes that are a body by one reading of them and the
/// beginning of a request by another.
fn refuse_all(case: &mut Case<'_>, version: &str, rows: &[(String, String)]) -> Verdict {
    let request = |fields: &str| {
        format!("POST /KEY?read&body=x HTTP/{version}\r\nHost: a\r\n{fields}\r\n0\r\n\r\nGET /KEY.smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            .into_bytes()
    };
    let requests: Vec<_> = rows.iter().map(|(what, fields)| (what, request(fields))).collect();
    let refusals: Vec<_> = requests.iter().map(|(what, request)| Refused::bad(what, request)).collect();
    refused(case, &refusals)
}

pub(super) fn folds_and_spaces(case: &mut Case<'_>) -> Verdict {
    let rows: Vec<(String, String)> = [
        ("a folded value", "X: a\r\n b\r\n"),
        ("a value folded with a tab", "X: a\r\n\tb\r\n"),
        ("an empty fold", "X: a\r\n \r\nY: z\r\n"),
        ("a folded length", "Content-Length: 1\r\n 0\r\n"),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n"),
        ("a space before the colon", "X : a\r\n"),
        ("a tab before the colon", "X\t: a\r\n"),
        ("a space before the colon of a length", "Content-Length : 5\r\n"),
        ("a space before the colon of a coding", "Transfer-Encoding : chunked\r\n"),
    ]
    .map(|(what, fields)| (what.to_owned(), fields.to_owned()))
    .to_vec();
    refuse_all(case, "1.1", &rows)
}

/// Chunked bodies outside the grammar, each with what comes before the fault.
const BAD_CHUNKS: [(&str, &[u8]); 24] = [
    ("a size that is no number", b"xyz\r\nhello\r\n0\r\n\r\n"),
    ("no size", b"\r\nhello\r\n0\r\n\r\n"),
    ("a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("a space ahead of the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("text behind the size", b"5 x\r\nhello\r\n0\r\n\r\n"),
    ("a comma behind the size", b"5,5\r\nhello\r\n0\r\n\r\n"),
    ("a quoted size", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size far beyond 64 bits", b"fffffffffffffffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
    ("too few bytes announced", b"4\r\nhello\r\n0\r\n\r\n"),
    ("too many bytes announced", b"6\r\nhello\r\n0\r\n\r\n"),
    ("no line end behind the data", b"5\r\nhello0\r\n\r\n"),
    ("other bytes behind the data", b"5\r\nhelloXX0\r\n\r\n"),
    ("LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
    ("CR behind the data", b"5\r\nhello\r0\r\n\r\n"),
    ("LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
    ("CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
    ("LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL in an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
    ("LF behind the last chunk", b"5\r\nhello\r\n0\n\r\n"),
];

pub(super) fn bad_chunks(case: &mut Case<'_>) -> Verdict {
    for (what, body) in BAD_CHUNKS {
        malformed_body(case, what, body)?;
    }
    case.still_serves()?;
    no_smuggled_call(case)
}

/// Sends a chunked body in each delivery, and sees that it comes to Malformed, 400 and a close.
fn malformed_body(case: &mut Case<'_>, what: &str, body: &[u8]) -> Verdict {
    for delivery in Delivery::ALL {
        let what = format!("{what}, delivered {delivery}");
        let mut request =
            case.request("POST", "read&pass&body=read", "Transfer-Encoding: chunked\r\n").into_bytes();
        request.extend_from_slice(body);
        request.extend_from_slice(&smuggled(case));
        let mut client = case.connect()?;
        delivery.cut(&request).into_iter().all(|piece| client.try_send(piece));
        let response = client.response().map_err(|failure| failure.within(&what))?;
        expect_eq(format_args!("{what}: status"), response.status(), 400)?;
        client.closed().map_err(|failure| failure.within(&what))?;
    }
    Ok(())
}

pub(super) fn bad_line_ends(case: &mut Case<'_>) -> Verdict {
    let head: &[&str] = &["POST /KEY?read&body=x HTTP/1.1", "Host: a", "X-A: b", "Content-Length: 0", ""];
    let mut rows = Vec::new();
    for nth in 0..head.len() {
        for (name, end) in [("LF", "\n"), ("CR", "\r"), ("CR CR LF", "\r\r\n")] {
            let lines: Vec<_> = head
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{line}{}", if n == nth { end } else { "\r\n" }))
                .collect();
            rows.push((format!("{name} at the end of line {nth}"), lines.concat()));
        }
    }
    for (nth, line) in head.iter().enumerate().take(4) {
        for (name, byte) in [("NUL", "\0"), ("CR", "\r"), ("LF", "\n")] {
            let at = line.len() - 1;
            let bad = format!("{}{byte}{}", &line[..at], &line[at..]);
            let lines: Vec<_> = head
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{}\r\n", if n == nth { &*bad } else { line }))
                .collect();
            rows.push((format!("{name} inside line {nth}"), lines.concat()));
        }
    }
    let refusals: Vec<_> =
        rows.iter().map(|(what, request)| Refused::bad(what, request.as_bytes())).collect();
    refused(case, &refusals)
}

pub(super) fn bad_line_ends_in_bodies(case: &mut Case<'_>) -> Verdict {
    for (what, body) in [
        ("LF behind a size", &b"5\nhello\r\n0\r\n\r\n"[..]),
        ("LF behind the last chunk", b"5\r\nhello\r\n0\n\r\n"),
        ("LF behind a trailer", b"5\r\nhello\r\n0\r\nX-A: b\n\r\n"),
        ("LF for the last line", b"5\r\nhello\r\n0\r\nX-A: b\r\n\n"),
        ("CR inside a trailer", b"5\r\nhello\r\n0\r\nX-A: b\rc\r\n\r\n"),
        ("NUL inside a trailer", b"5\r\nhello\r\n0\r\nX-A: b\0c\r\n\r\n"),
    ] {
        malformed_body(case, what, body)?;
    }
    no_smuggled_call(case)
}

pub(super) fn empty_line_ahead(case: &mut Case<'_>) -> Verdict {
    let request = case.get("body=fine");
    let response = case.ask(format!("\r\n{request}"))?;
    expect_eq("answer to a first request behind an empty line:", response.text(), "fine")?;
    // Left over by clients that end a body with a line end too many.
    let mut client = case.connect()?;
    let post = case.request("POST", "read&body=post", "Content-Length: 5\r\n");
    client.send(format!("{post}hello\r\n{request}"))?;
    expect_eq("answer to POST:", client.response()?.text(), "post")?;
    expect_eq("answer to a request behind an empty line:", client.response()?.text(), "fine")
}

pub(super) fn malformed_fields(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, Vec<u8>)> = Vec::new();
    for line in [
        &b": value"[..],
        b":",
        b"Two words: value",
        b"X(a): value",
        b"X/a: value",
        b"X\"a\": value",
        b"X,a: value",
        b"X\x01: value",
        b"X\xe9: value",
        b"No-Colon",
        b"No colon but words",
        b"X: a\x01b",
        b"X: \x1b[0m",
        b"X: a\x7fb",
        b"X: a\x0bb",
        b"X:\x0ca",
        b"\x0b: a",
        b"=: a\x02",
    ] {
        let mut request = b"GET /KEY HTTP/1.1\r\nHost: a\r\n".to_vec();
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n\r\n");
        rows.push((format!("the line {:?}", shown(line)), request));
    }
    for (what, request) in [
        ("a space ahead of the first field", &b"GET /KEY HTTP/1.1\r\n Host: a\r\n\r\n"[..]),
        ("a tab ahead of the first field", b"GET /KEY HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
        ("a line of a space ahead of the first field", b"GET /KEY HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
    ] {
        rows.push((what.to_owned(), request.to_vec()));
    }
    let refusals: Vec<_> = rows.iter().map(|(what, request)| Refused::bad(what, request)).collect();
    refused(case, &refusals)
}

pub(super) fn foreign_and_malformed_versions(case: &mut Case<'_>) -> Verdict {
    let line = |version: &str| format!("GET /KEY{version}\r\nHost: a\r\n\r\n");
    let foreign = [" HTTP/2.0", " HTTP/3.0", " HTTP/0.9", " HTTP/9.9"].map(line);
    let malformed = [
        " HTTP/1.",
        " HTTP/1",
        " HTTP/.1",
        " HTTP/1.1.1",
        " HTTP/11",
        " HTTP/1.10",
        " HTTP/01.1",
        " HTTP/1,1",
        " HTTP/a.b",
        " http/1.1",
        " Http/1.1",
        " HTTPS/1.1",
        " HTTP 1.1",
        " HTTP/ 1.1",
        " HTTP/1.1x",
        " HTTP/1.1 ",
        "  HTTP/1.1",
        " XHTTP/1.1",
        " HTTP/-1.1",
        " ",
        "",
    ]
    .map(line);
    let mut rows: Vec<_> = foreign
        .iter()
        .map(|request| Refused::with("a foreign version", request.as_bytes(), &[505]))
        .collect();
    rows.extend(
        malformed
            .iter()
            .map(|request| Refused::bad(request.lines().next().unwrap_or_default(), request.as_bytes())),
    );
    refused(case, &rows)
}

pub(super) fn unknown_expectations(case: &mut Case<'_>) -> Verdict {
    let requests = ["200-ok", "100-continues", "wonders=yes", "continue"]
        .map(|value| (value, format!("GET /KEY HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\n\r\n")));
    let rows: Vec<_> = requests
        .iter()
        .map(|(what, request)| Refused { what, request: request.as_bytes(), statuses: &[417], closes: false })
        .collect();
    refused(case, &rows)
}

pub(super) fn expectation_in_any_case(case: &mut Case<'_>) -> Verdict {
    for value in ["100-continue", "100-Continue", "100-CONTINUE"] {
        let fields = format!("Expect: {value}\r\nContent-Length: 5\r\n");
        let mut client = case.connect()?;
        client.send(case.request("POST", "read&body=ok", &fields))?;
        expect_eq(format_args!("first head with {value}:"), client.head()?.status, 100)?;
        client.send("hello")?;
        expect_eq(format_args!("answer with {value}:"), client.response()?.text(), "ok")?;
    }
    Ok(())
}

pub(super) fn coding_ahead_of_chunked(case: &mut Case<'_>) -> Verdict {
    let requests =
        ["gzip, chunked", "GZip,chunked", "identity, chunked", "x-own, gzip, chunked"].map(|value| {
            let head = format!("POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n");
            (value, head + "5\r\nhello\r\n0\r\n\r\n")
        });
    let mut rows: Vec<_> =
        requests.iter().map(|(what, request)| Refused::with(what, request.as_bytes(), &[501])).collect();
    // Line by line, the first is one that does not end in `chunked` (H8).
    let two_lines = b"POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    rows.push(Refused::with("gzip and chunked on two lines", two_lines, &[501, 400]));
    refused(case, &rows)
}
