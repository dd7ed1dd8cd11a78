//! S15 to S18, S22: what a server bounds, in size, in number and in time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{calls::one_build_by_each, held_calls, large, read_description};
use crate::{
    Case, Client, Failure, LIMIT, SILENCE, Setup, Tuning, Verdict, cases::refusals::shown, ensure, expect_eq,
};

pub(super) fn beyond_the_limits(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn within_the_limits(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn connections_are_bounded(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let tuning = Tuning { connections_max: 4, ..Tuning::default() };
    case.start(tuning)?;
    let clients = held_calls(case, &gate, 8)?;
    for nth in 1..=4 {
        case.wait_for("call", |call| call.number("overlap") == Some(nth))?;
    }
    std::thread::sleep(SILENCE);
    expect_eq("calls with four connections allowed:", case.settled("call").len(), 4)?;
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

pub(super) fn running_calls_finish(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
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

pub(super) fn begun_heads_are_finished(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    let mut begun = case.connect()?;
    let request = case.get("body=done");
    let (begin, rest) = request.split_at(request.len() / 2);
    begun.send(begin)?;
    let mut running = case.connect()?;
    running.send(case.get("stopping&body=stopped"))?;
    case.wait_for("waiting", |_| true)?;
    // The server must have read the beginning, of which nobody hears.
    std::thread::sleep(SILENCE);
    case.server().control().stop(LIMIT * 3);
    expect_eq("answer of a call that ran:", running.response()?.text(), "stopped")?;
    begun.silent().map_err(|failure| failure.within("a head that had begun"))?;
    begun.send(rest)?;
    let response = begun.response().map_err(|failure| failure.within("a request that had begun"))?;
    expect_eq("its answer:", response.text(), "done")?;
    begun.closed()?;
    let ended = case.own()?.ended()?;
    ensure(matches!(ended, Ok(Ok(_))), "the server returns without an error", format_args!("{ended:?}"))
}

/// Waits until new connections are no longer served, but turned away: who is left in a queue waits for an answer that does
/// not come.
fn not_accepting(case: &mut Case<'_>) -> Verdict {
    let deadline = Instant::now() + case.limit();
    loop {
        let request = format!("GET /{}.new?body=new HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
        if let Err(failure) = case.ask(request) {
            let turned_away = "a client that comes after the stop is turned away";
            return ensure(!failure.nothing_came(), turned_away, &failure.seen);
        }
        ensure(Instant::now() < deadline, "no new connection is served after the stop", "each was")?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn limits_are_kept(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning {
        head_bytes_max: 8_000,
        header_count_max: 20,
        body_bytes_max: Some(1_000),
        ..Tuning::default()
    };
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

pub(super) fn workers_are_there(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning { workers: 3, ..Tuning::default() };
    case.start(tuning)?;
    let serials: BTreeSet<_> = (0..6)
        .map(|_| {
            let description = read_description(&case.ask(case.get("describe"))?)?;
            Ok(description["serial"].as_u64())
        })
        .collect::<Result<_, Failure>>()?;
    let built = case.settled("built");
    one_build_by_each(&built)?;
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

/// For a head, in the check of it.
const HEAD_TIME: Duration = Duration::from_millis(400);

/// A connection on which a request was answered. On a machine that is busy the time for its head may be over before the
/// check has sent it: then another.
fn answered(case: &mut Case<'_>) -> Result<Client, Failure> {
    let deadline = Instant::now() + case.limit();
    loop {
        let mut client = case.connect()?;
        let began = Instant::now();
        let sent = client.send(case.get("body=first"));
        let was_late = began.elapsed() > HEAD_TIME / 4;
        match sent.and_then(|()| client.response()) {
            Ok(response) => {
                expect_eq("first answer:", response.text(), "first")?;
                return Ok(client);
            }
            Err(failure) if !was_late || Instant::now() >= deadline => return Err(failure),
            Err(_) => {}
        }
    }
}

pub(super) fn head_in_time(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { head_timeout: HEAD_TIME, ..Tuning::default() })?;
    let mut stalled = case.connect()?;
    // On a machine that is busy the time may be over before this is sent.
    stalled.try_send("GET /stalled HTTP/1.1\r\nHost: a\r\nX:");
    let mut second = answered(case)?;
    second.try_send("GET /second HTTP/1.1\r\nHost: a\r\nX:");
    let mut dribbling = case.connect()?;
    dribbling.try_send("GET /dribbling HTTP/1.1\r\nHost: a\r\nX:");
    // A byte now and then, which renews nothing. The server's close makes sending fail at last.
    let deadline = Instant::now() + case.limit();
    while dribbling.try_send("x") {
        ensure(
            Instant::now() < deadline,
            "a head without an end is given up",
            format_args!("not within {:?}", case.limit()),
        )?;
        std::thread::sleep(Duration::from_millis(50));
    }
    for (what, client) in [
        ("a head that stalls", &mut stalled),
        ("a second head that stalls", &mut second),
        ("a head that dribbles", &mut dribbling),
    ] {
        let (rest, _) = client.rest().map_err(|failure| failure.within(what))?;
        let is_timeout = rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 ");
        ensure(is_timeout, format_args!("{what}: 408, or only a close"), shown(&rest))?;
    }
    let called = case.settled("call").into_iter().find(|call| call.key() != case.key());
    ensure(called.is_none(), "no call for a head that did not end", format_args!("{called:?}"))?;
    answered(case).map(drop).map_err(|failure| failure.within("the server still answers"))
}

pub(super) fn idle_in_time(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning {
        keep_alive_timeout: Duration::from_millis(200),
        head_timeout: Duration::from_secs(2),
        ..Tuning::default()
    };
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

pub(super) fn body_in_time(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning { body_timeout: Duration::from_millis(300), ..Tuning::default() };
    case.start(tuning)?;
    let request = case.request("POST", "read&pass&body=x", "Content-Length: 10\r\n");
    let mut client = case.connect()?;
    client.send(request + "abc")?;
    let read = case.wait_for("read", |_| true)?;
    expect_eq("what reading came to:", read.text("end"), "Timeout")?;
    let (rest, _) = client.rest()?;
    ensure(rest.starts_with(b"HTTP/1.1 408 "), "408, and a close", shown(&rest))
}

pub(super) fn reading_in_time(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning { write_timeout: Duration::from_millis(300), ..Tuning::default() };
    case.start(tuning)?;
    let mut client = case.connect()?;
    client.small_buffers()?;
    client.send(case.get("stream&frames=1000000:65536"))?;
    case.wait_for("body-dropped", |_| true)?;
    // What lies in the buffers of the sockets is all there is.
    client.rest()?;
    for (nth, steps) in ["hook&size=33554432", "hook&file=0:33554432:33554432"].iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", steps, "");
        let mut client = case.connect()?;
        client.small_buffers()?;
        client.send(request)?;
        let finish = case.wait_for("finish", |event| event.key() == key);
        let finish = finish.map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("the end of `{steps}`:"), finish.text("outcome"), "TimedOut")?;
        client.rest()?;
    }
    case.still_serves()
}
