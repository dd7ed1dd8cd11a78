//! E12: what hooks are told.

use std::{thread, time::Duration};

use super::{ENDLESS, async_only};
use crate::{Case, Event, Failure, SILENCE, Tuning, Verdict, ensure, expect_eq};

/// A hook's event.
fn finish_of(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    let finish = case.wait_for("finish", |event| event.key() == key);
    finish.map_err(|failure| failure.within(format_args!("of the request {key}")))
}

pub(super) fn truth_of_every_ending(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("GET", "body=hello", 200),
        ("HEAD", "body=hello", 200),
        ("GET", "status=304&body=hello", 304),
        ("GET", "status=204&stream&data=hello", 204),
        ("GET", "stream&data=hello&data&data=world", 200),
        ("GET", "file=10:1000:4000", 200),
        ("GET", "header=Content-Length:3&stream&data=hello", 200),
        ("GET", "fail=internal", 500),
        ("GET", "fail=unavailable", 503),
        ("GET", "panic", 500),
        ("GET", "status=101", 500),
    ];
    for (nth, (method, steps, status)) in rows.iter().enumerate() {
        let (key, request) = case.numbered(nth, method, &format!("hook&{steps}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response_to(method).map_err(|failure| failure.within(steps))?;
        let finish = finish_of(case, &key).map_err(|failure| failure.within(steps))?;
        expect_eq(
            format_args!("the end of {method} `{steps}`, with status and bytes:"),
            (finish.text("outcome"), finish.number("status"), finish.number("bytes")),
            ("Completed", Some(*status), Some(response.body.len() as u64)),
        )?;
    }
    let (key, request) = case.numbered(rows.len(), "GET", "hook&fail=abort", "");
    let mut client = case.connect()?;
    client.send(request)?;
    let finish = finish_of(case, &key)?;
    expect_eq(
        "the end of an abort, with status and bytes:",
        (finish.text("outcome"), finish.number("status"), finish.number("bytes")),
        ("Failed", None, Some(0)),
    )?;
    let (key, request) = case.numbered(rows.len() + 1, "GET", "hook&stream&data=hello&flush&panic", "");
    client = case.connect()?;
    client.send(request)?;
    client.rest()?;
    // A server that held the head back has answered 500, which is an answer.
    let outcome = finish_of(case, &key)?;
    let seen = (outcome.text("outcome"), outcome.number("status"));
    ensure(
        [("Failed", Some(200)), ("Completed", Some(500))].contains(&seen),
        "the end of an answer whose body failed: Failed with 200",
        format_args!("{seen:?}"),
    )?;
    let hooks = case.settled("finish").len();
    expect_eq("hooks that ran, one for each exchange:", hooks, rows.len() + 2)
}

pub(super) fn hook_of_a_client_gone(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get(&format!("hook&{ENDLESS}")))?;
    client.head()?;
    client.reset();
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq(
        "the end, and the status sent:",
        (finish.text("outcome"), finish.number("status")),
        ("Disconnected", Some(200)),
    )
}

pub(super) fn hook_of_a_client_too_slow(case: &mut Case<'_>) -> Verdict {
    const LENGTH: u64 = 32 << 20;
    case.start(Tuning { write_timeout: Duration::from_millis(300), ..Tuning::default() })?;
    let sized = format!("header=Content-Length:{LENGTH}&stream");
    let rows = [
        format!("size={LENGTH}"),
        format!("{sized}&frames=512:65536"),
        "stream&frames=512:65536".to_owned(),
        "stream&frames=4:8388608".to_owned(),
    ];
    for (nth, steps) in rows.iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", &format!("hook&{steps}"), "");
        let mut client = case.connect()?;
        client.small_buffers()?;
        client.send(request)?;
        let head = client.head()?;
        let finish = finish_of(case, &key).map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("the end of `{steps}`:"), finish.text("outcome"), "TimedOut")?;
        // What has arrived was handed over, and not all of it was.
        let (arrived, _) = client.rest()?;
        let is_chunked = head.has("transfer-encoding");
        let arrived = if is_chunked { content_of(&arrived) } else { arrived.len() as u64 };
        let bytes = finish.number("bytes").unwrap_or_default();
        ensure(
            (arrived..LENGTH).contains(&bytes),
            format_args!("from {arrived} bytes, which have arrived, to less than {LENGTH} (`{steps}`)"),
            format_args!("{bytes} bytes"),
        )?;
    }
    Ok(())
}

/// How many bytes of content are in these chunks, the last of which may be cut short.
fn content_of(mut chunks: &[u8]) -> u64 {
    let mut content = 0;
    while let Some(end) = chunks.windows(2).position(|pair| pair == b"\r\n") {
        let size =
            std::str::from_utf8(&chunks[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let (Some(size), rest) = (size, &chunks[end + 2..]) else { break };
        content += size.min(rest.len()) as u64;
        chunks = rest.get(size + 2..).unwrap_or_default();
    }
    content
}

pub(super) fn hook_not_before_the_end(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get("hook&size=33554432"))?;
    client.head()?;
    thread::sleep(SILENCE);
    expect_eq("hooks that ran while the client had not read:", case.settled("finish").len(), 0)?;
    client.exactly(32 << 20)?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("bytes", finish.number("bytes"), Some(32 << 20))
}

pub(super) fn hook_at_the_end_of_a_tunnel(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let fields = "Connection: upgrade\r\nUpgrade: test\r\n";
    client.send(case.request("GET", "hook&upgrade&read=1&data=ok", fields))?;
    expect_eq("status", client.head()?.status, 101)?;
    case.wait_for("tunnel-began", |_| true)?;
    thread::sleep(SILENCE);
    expect_eq("hooks that ran while the tunnel was open:", case.settled("finish").len(), 0)?;
    client.send("x")?;
    expect_eq("from the tunnel:", client.exactly(2)?, "ok")?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq(
        "the end, the status sent, and the bytes written:",
        (finish.text("outcome"), finish.number("status"), finish.number("bytes")),
        ("Completed", Some(101), Some(2)),
    )
}

pub(super) fn hook_given_after_the_end(case: &mut Case<'_>) -> Verdict {
    let (key, request) = case.numbered(0, "GET", "keep=scope&body=first", "");
    let mut client = case.connect()?;
    client.send(request)?;
    client.response()?;
    case.wait_for("call-ended", |event| event.key() == key)?;
    client.send(case.get(&format!("hook&stale={key}&body=second")))?;
    client.response()?;
    // The hook of the second shows that the exchange of the first is over.
    case.wait_for("finish", |event| event.key() == case.key())?;
    let finish = finish_of(case, &key)?;
    expect_eq(
        "the end that a late hook is told, with status and bytes:",
        (finish.text("outcome"), finish.number("status"), finish.number("bytes")),
        ("Completed", Some(200), Some(5)),
    )?;
    let order: Vec<_> = case.all_events().iter().map(|event| event.kind().to_owned()).collect();
    let at = |kind: &str| order.iter().position(|other| other == kind);
    ensure(at("finish") < at("stale"), "a late hook that runs at once", format_args!("{order:?}"))
}

pub(super) fn hook_of_a_stopped_exchange(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    case.start(Tuning::default())?;
    let gate = case.gate("never");
    let mut client = case.connect()?;
    client.send(case.get(&format!("hook&gate={gate}")))?;
    case.wait_for("held", |_| true)?;
    let ended = case.own()?.stop(Duration::ZERO)?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("the end:", finish.text("outcome"), "Stopped")
}
