//! H7, H13, H23: what becomes of a connection, and of bytes that nobody read.

use super::{next_is_answered, no_smuggled_call, smuggled};
use crate::{Case, End, Verdict, ensure, expect_eq};

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Open,
    /// Open, and the server must say so.
    OpenAndSaid,
    Closed,
}

pub(super) fn every_version_and_option(case: &mut Case<'_>) -> Verdict {
    let known = "body=x";
    let unknown = "stream&data=x";
    for (version, fields, steps, then) in [
        ("1.1", "", known, Then::Open),
        ("1.1", "", unknown, Then::Open),
        ("1.1", "Connection: keep-alive\r\n", known, Then::Open),
        ("1.1", "Connection: x-other\r\n", known, Then::Open),
        ("1.1", "Connection: close\r\n", known, Then::Closed),
        ("1.1", "Connection: close\r\n", unknown, Then::Closed),
        ("1.1", "Connection: Close\r\n", known, Then::Closed),
        ("1.1", "connection: CLOSE\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other, close\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other,\t close ,x-more\r\n", known, Then::Closed),
        ("1.1", "Connection: ,,close\r\n", known, Then::Closed),
        ("1.1", "Connection: keep-alive, close\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other\r\nX: y\r\nConnection: close\r\n", known, Then::Closed),
        ("1.1", "Connection: closed\r\n", known, Then::Open),
        ("1.1", "Connection: x-close\r\n", known, Then::Open),
        ("1.0", "", known, Then::Closed),
        ("1.0", "", unknown, Then::Closed),
        ("1.0", "Connection: keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: Keep-Alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: x-other, keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: x-other\r\nConnection: keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: keep-alive\r\n", unknown, Then::Closed),
        ("1.0", "Connection: keep-alive, close\r\n", known, Then::Closed),
    ] {
        let what = format!("{version} with {:?} and {steps}", fields);
        let target = case.target(steps);
        let mut client = case.connect()?;
        client.send(format!("GET {target} HTTP/{version}\r\nHost: varvel.test\r\n{fields}\r\n"))?;
        // The end of an answer without a length is the close itself.
        let response = client.response().map_err(|failure| failure.within(&what))?;
        let says = |option| response.head.connection_has(option);
        let said = format!("{:?}", response.head.fields);
        match then {
            Then::Closed => {
                ensure(says("close"), format_args!("{what}: Connection: close"), said)?;
                client.closed().map_err(|failure| failure.within(&what))?;
            }
            Then::Open | Then::OpenAndSaid => {
                ensure(!says("close"), format_args!("{what}: no Connection: close"), &said)?;
                let must_say = then == Then::OpenAndSaid;
                ensure(
                    !must_say || says("keep-alive"),
                    format_args!("{what}: Connection: keep-alive"),
                    &said,
                )?;
                next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
            }
        }
    }
    Ok(())
}

pub(super) fn nothing_behind_close(case: &mut Case<'_>) -> Verdict {
    let behind = format!("GET /{}.behind?body=behind HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
    for first in [
        case.request("GET", "body=first", "Connection: close\r\n"),
        case.request("POST", "read&body=first", "Connection: close\r\nContent-Length: 5\r\n") + "hello",
        format!("GET {} HTTP/1.0\r\n\r\n", case.target("body=first")),
    ] {
        let mut client = case.connect()?;
        client.send(first + &behind)?;
        expect_eq("first answer:", client.response()?.text(), "first")?;
        client.closed()?;
    }
    let called = case.settled("call").into_iter().any(|call| call.key().ends_with(".behind"));
    ensure(!called, "no call for what stands behind `close`", "one")
}

pub(super) fn unread_is_no_request(case: &mut Case<'_>) -> Verdict {
    let smuggled = smuggled(case);
    let small = smuggled.repeat(3);
    let large = smuggled.repeat(4 * 1024 * 1024 / smuggled.len());
    for (size, body) in [("small", &small), ("large", &large)] {
        for chunked in [false, true] {
            for steps in ["body=early", "read=5&body=early", "drop-request&body=early", "fail=unavailable"] {
                let what = format!("a {size} body, chunked: {chunked}, {steps}");
                let mut request = if chunked {
                    let mut request =
                        case.request("POST", steps, "Transfer-Encoding: chunked\r\n").into_bytes();
                    for piece in body.chunks(64 * 1024) {
                        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        request.extend_from_slice(piece);
                        request.extend_from_slice(b"\r\n");
                    }
                    request.extend_from_slice(b"0\r\n\r\n");
                    request
                } else {
                    let mut request = case
                        .request("POST", steps, &format!("Content-Length: {}\r\n", body.len()))
                        .into_bytes();
                    request.extend_from_slice(body);
                    request
                };
                request.extend_from_slice(case.get("body=next").as_bytes());
                let mut client = case.connect()?;
                let sent = client.try_send(&request);
                let response = client.response().map_err(|failure| failure.within(&what))?;
                let expected = if steps.starts_with("fail") { 503 } else { 200 };
                expect_eq(format_args!("{what}: status"), response.status(), expected)?;
                // Either the next request is answered, or the connection ends.
                if sent && !response.head.connection_has("close") {
                    match client.response() {
                        Ok(next) => expect_eq(format_args!("{what}: next answer"), next.text(), "next")?,
                        Err(_) => client.closed().map(|_| ()).map_err(|failure| failure.within(&what))?,
                    }
                } else {
                    client.closed().map_err(|failure| failure.within(&what))?;
                }
            }
        }
    }
    no_smuggled_call(case)?;
    case.still_serves()
}

pub(super) fn client_that_sends_on(case: &mut Case<'_>) -> Verdict {
    let body = "Content-Length: 67108864\r\n";
    let refused = format!("POST /{} HTTP/1.1\r\n{body}\r\n", case.key());
    for (what, request, status) in [
        ("a body that nobody reads", case.request("POST", "body=enough", body), 200),
        ("a request that is refused", refused, 400),
    ] {
        let mut client = case.connect()?;
        client.send(request)?;
        // More than the server has taken when it answers, and less than the system holds for it.
        client.try_send(vec![b'x'; 256 * 1024]);
        let response = client.response().map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("{what}: status"), response.status(), status)?;
        client.try_send(vec![b'x'; 1024]);
        expect_eq(format_args!("{what}: the end"), client.closed()?, End::Closed)?;
    }
    Ok(())
}
