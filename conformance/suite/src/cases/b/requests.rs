//! B1 to B4, B17: the body of a request, to its end or its fault.

use std::time::Duration;

use super::{CHUNKED, chunk};
use crate::{Case, Event, Failure, Plan, Tuning, Verdict, ensure, expect_eq};

/// Waits for what reading the request body has come to.
fn read_of(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    case.wait_for("read", |event| event.key() == key)
}

pub(super) fn chunks_split_anywhere(case: &mut Case<'_>) -> Verdict {
    let body = b"3\r\nabc\r\n0004;name=\"va;lue\"\r\ndefg\r\n1\r\n\n\r\n0\r\n\r\n";
    let mut client = case.connect()?;
    for at in 1..body.len() {
        client.send(case.request("POST", "echo", CHUNKED))?;
        client.send_pieces([&body[..at], &body[at..]])?;
        let response = client.response().map_err(|failure| failure.within(format_args!("split at {at}")))?;
        expect_eq(format_args!("split at {at}, the decoded body:"), response.text().as_str(), "abcdefg\n")?;
    }
    Ok(())
}

pub(super) fn end_stays_the_end(case: &mut Case<'_>) -> Verdict {
    for (nth, (fields, body)) in
        [("Content-Length: 3\r\n", "abc"), (CHUNKED, "3\r\nabc\r\n0\r\n\r\n")].iter().enumerate()
    {
        let (key, request) = case.numbered(nth, "POST", "read&pull&pull", fields);
        expect_eq("status", case.ask(request + body)?.status(), 200)?;
        let read = read_of(case, &key)?;
        expect_eq("the end of the body:", read.text("end"), "end")?;
        let pulled: Vec<_> = case.settled("pulled").into_iter().filter(|event| event.key() == key).collect();
        let frames: Vec<_> = pulled.iter().map(|event| event.text("frame")).collect();
        expect_eq("pulls behind the end:", frames, ["end", "end"])?;
    }
    Ok(())
}

/// Sends every true part of a body and ends the sending side there. The policy is to finish, lest the disconnect cancel
/// the call before it has read.
fn cut_at_every_byte(case: &mut Case<'_>, fields: &str, body: &[u8]) -> Verdict {
    case.start(Plan { policy: varvel::Policy::default().finish_on_disconnect(), ..Plan::default() })?;
    for at in 0..body.len() {
        let (key, request) = case.numbered(at, "POST", "read", fields);
        let mut client = case.connect()?;
        client.send(request.as_bytes())?;
        client.send(&body[..at])?;
        client.half_close()?;
        let read = read_of(case, &key).map_err(|failure| failure.within(format_args!("cut at {at}")))?;
        expect_eq(
            format_args!("a body cut at {at} of {} bytes ends:", body.len()),
            read.text("end"),
            "Incomplete",
        )?;
    }
    Ok(())
}

pub(super) fn length_cut_at_every_byte(case: &mut Case<'_>) -> Verdict {
    cut_at_every_byte(case, "Content-Length: 6\r\n", b"abcdef")
}

pub(super) fn chunks_cut_at_every_byte(case: &mut Case<'_>) -> Verdict {
    cut_at_every_byte(case, CHUNKED, b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")
}

pub(super) fn reset_at_every_byte(case: &mut Case<'_>) -> Verdict {
    // The disconnect must not cancel the call before it has read.
    case.start(Plan { policy: varvel::Policy::default().finish_on_disconnect(), ..Plan::default() })?;
    for (nth, (fields, body)) in
        [("Content-Length: 6\r\n", "abcdef"), (CHUNKED, "3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")].iter().enumerate()
    {
        for at in 0..body.len() {
            let (key, request) = case.numbered(100 * nth + at, "POST", "emit=reading&read", fields);
            let mut client = case.connect()?;
            client.send(request + &body[..at])?;
            case.wait_for("mark", |event| event.key() == key)?;
            client.reset();
            let read =
                read_of(case, &key).map_err(|failure| failure.within(format_args!("reset at {at}")))?;
            expect_eq(
                format_args!("a body reset at {at} of {} bytes ends:", body.len()),
                read.text("end"),
                "Disconnected",
            )?;
        }
    }
    case.still_serves()
}

pub(super) fn broken_chunks_are_malformed(case: &mut Case<'_>) -> Verdict {
    let bodies: &[&[u8]] = &[
        b"x\r\n",
        b"\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\0b\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello world\r\n0\r\n\r\n",
        b"11111111111111111\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: a\nb\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
    ];
    for (nth, body) in bodies.iter().enumerate() {
        let (key, request) = case.numbered(nth, "POST", "read", CHUNKED);
        let mut client = case.connect()?;
        client.send([request.as_bytes(), body].concat())?;
        let read = read_of(case, &key);
        let read = read.map_err(|failure| failure.within(body.escape_ascii()))?;
        expect_eq(format_args!("`{}` ends:", body.escape_ascii()), read.text("end"), "Malformed")?;
    }
    Ok(())
}

pub(super) fn endless_lines_are_malformed(case: &mut Case<'_>) -> Verdict {
    const LONG: usize = 2 << 20;
    let extensions = format!("1;{}\r\nx\r\n", "x".repeat(1000)).repeat(LONG / 1000);
    let rows = [
        ("an extension of 2 MiB", format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(LONG))),
        ("extensions of 2 MiB together", extensions + "0\r\n\r\n"),
        ("a trailer of 2 MiB", format!("0\r\nX: {}\r\n\r\n", "x".repeat(LONG))),
    ];
    for (nth, (what, body)) in rows.iter().enumerate() {
        let (key, request) = case.numbered(nth, "POST", "read&pass", CHUNKED);
        let mut client = case.connect()?;
        client.send(request)?;
        // The server may have answered and closed before the end.
        client.try_send(body);
        let read = read_of(case, &key).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("{what} ends:"), read.text("end"), "Malformed")?;
    }
    case.still_serves()
}

fn with_body_limit(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { body_bytes_max: Some(1000), ..Tuning::default() })
}

pub(super) fn beyond_the_limit(case: &mut Case<'_>) -> Verdict {
    with_body_limit(case)?;
    for (nth, (size, end)) in [(600, "TooLarge"), (500, "end")].into_iter().enumerate() {
        let (key, request) = case.numbered(nth, "POST", "read", CHUNKED);
        let body = [chunk(&vec![b'x'; size]), chunk(&vec![b'x'; size]), chunk(b"")].concat();
        let mut client = case.connect()?;
        client.send([request.as_bytes(), &body].concat())?;
        let read = read_of(case, &key)?;
        expect_eq(format_args!("{} bytes where 1000 are allowed end:", 2 * size), read.text("end"), end)?;
    }
    Ok(())
}

pub(super) fn declared_beyond_the_limit(case: &mut Case<'_>) -> Verdict {
    with_body_limit(case)?;
    let (_, request) = case.numbered(0, "POST", "read&pass", "Content-Length: 1001\r\n");
    let mut client = case.connect()?;
    client.send(request + &"x".repeat(1001))?;
    expect_eq("status", client.response()?.status(), 413)?;
    let (_, request) = case.numbered(1, "POST", "read&pass", "Content-Length: 1000\r\n");
    expect_eq("status of what is just within", case.ask(request + &"x".repeat(1000))?.status(), 200)
}

pub(super) fn without_progress(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { body_timeout: Duration::from_millis(300), ..Tuning::default() })?;
    for (nth, (fields, begin)) in
        [("Content-Length: 10\r\n", "abc"), (CHUNKED, "5\r\nab"), (CHUNKED, "5")].iter().enumerate()
    {
        let (key, request) = case.numbered(nth, "POST", "read", fields);
        let mut client = case.connect()?;
        client.send(request + begin)?;
        expect_eq("a body whose sender has stopped ends:", read_of(case, &key)?.text("end"), "Timeout")?;
    }
    Ok(())
}

pub(super) fn trailers_come_last(case: &mut Case<'_>) -> Verdict {
    let body = "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n";
    let steps = "pull&pull&pull&pull&pull&pull";
    expect_eq("status", case.ask(case.request("POST", steps, CHUNKED) + body)?.status(), 200)?;
    let pulled = case.settled("pulled");
    let frames: Vec<_> = pulled.iter().map(|event| event.text("frame")).collect();
    let first_end = frames.iter().position(|frame| *frame == "end").unwrap_or(frames.len());
    let (last, data) = frames[..first_end].split_last().ok_or_else(|| Failure::new("frames", "none"))?;
    ensure(
        *last == "trailers x-sum:31 x-more:32" && data.iter().all(|frame| frame.starts_with("data ")),
        "data, then one frame of trailers, then the end",
        format_args!("{frames:?}"),
    )
}

pub(super) fn trailers_are_no_fields(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let body = "3\r\nabc\r\n0\r\nAuthorization: forged\r\nHost: evil.test\r\nX-Own: 1\r\n\r\n";
    for steps in ["read&describe", "echo"] {
        client.send(case.request("POST", steps, CHUNKED) + body)?;
        client.response()?;
    }
    client.send(case.get("describe"))?;
    client.response()?;
    for call in case.settled("call") {
        let fields = call.field("fields").to_string();
        ensure(
            !fields.contains("authorization") && !fields.contains("x-own"),
            "header fields without those of the trailers",
            fields,
        )?;
    }
    Ok(())
}
