//! L13: what the monitor of a launch is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use varvel::{Caps, PROGRESS_INTERVAL};

use super::{GRACE, in_order};
use crate::{Case, Event, Failure, Form, LIMIT, SILENCE, Setup, Tuning, Verdict, ensure, expect_eq};

fn monitored(tuning: Tuning) -> Setup {
    Setup { tuning, monitored: true, ..Setup::default() }
}

/// How an exchange ended: outcome, status and bytes.
type Ending = (String, Option<u64>, Option<u64>);

fn ending(event: &Event) -> Ending {
    (event.text("outcome").to_owned(), event.number("status"), event.number("bytes"))
}

/// Sees that the monitor of a server that has ended knows of every call, and of the end of all that it was told of, once
/// and as hooks were told, which only exchanges with a key of their own may have; how many connections there were.
pub(super) fn all_is_over(case: &Case<'_>) -> Result<usize, Failure> {
    let opened = case.events("connection-opened").len();
    if opened > 0 {
        // A call that outlives its server keeps the connection.
        let closed = case.wait_for_nth("connection-closed", opened);
        closed.map_err(|failure| failure.within("the end of each connection"))?;
    }
    let (mut open, mut open_max) = (0_i64, 0);
    let (mut called, mut begun) = (BTreeSet::new(), BTreeSet::new());
    let mut under_way = BTreeMap::new();
    let mut ended: BTreeMap<String, Vec<Ending>> = BTreeMap::new();
    for event in case.all_events() {
        match event.kind() {
            "connection-opened" => open += 1,
            "connection-closed" => open -= 1,
            "exchange-began" => {
                ensure(open > 0, "an exchange begins on a connection that was opened before", &event)?;
                begun.insert(event.key().to_owned());
                under_way.insert(event.number("ticket"), event.clone());
            }
            "call" => {
                ensure(begun.contains(event.key()), "the monitor hears of a call before it is made", &event)?;
                called.insert(event.key().to_owned());
            }
            "exchange-ended" => {
                let known = under_way.remove(&event.number("ticket")).is_some();
                ensure(known, "the end of an exchange that goes on", &event)?;
                ended.entry(event.key().to_owned()).or_default().push(ending(&event));
            }
            _ => {}
        }
        ensure(open >= 0, "no connection is closed that was not opened", &event)?;
        open_max = open_max.max(open);
    }
    expect_eq("connections that the monitor takes for open:", open, 0)?;
    expect_eq(
        "exchanges that the monitor takes for under way:",
        under_way.into_values().next(),
        None::<Event>,
    )?;
    expect_eq("exchanges without a call:", begun.difference(&called).next(), None::<&String>)?;
    for finish in case.events("finish") {
        let told = ended.remove(finish.key()).unwrap_or_default();
        expect_eq(format_args!("what became of {}:", finish.key()), told, [ending(&finish)])?;
    }
    Ok(opened)
}

pub(super) fn each_once(case: &mut Case<'_>) -> Verdict {
    let (go, stay) = (case.gate("go"), case.gate("stay"));
    case.start(monitored(Tuning::default()))?;
    let mut nth = 0;
    let mut next = |case: &Case<'_>, steps: &str, fields: &str| {
        nth += 1;
        case.numbered(nth, "GET", steps, fields)
    };

    // One after the other, and two at once.
    let mut kept = case.connect()?;
    for steps in [
        "body=whole",
        "hook&body=whole",
        "hook&stream&data=a&flush&data=b",
        "hook&status=404",
        "hook&fail=internal",
        "hook&panic",
    ] {
        kept.send(next(case, steps, "").1)?;
        kept.response().map_err(|failure| failure.within(steps))?;
    }
    let two = next(case, "body=one", "").1 + &next(case, "body=two", "").1;
    kept.send(two)?;
    kept.response()?;
    kept.response()?;
    let (slow, request) = next(case, "timer=50&body=slow", "");
    kept.send(request)?;
    kept.response()?;

    // Broken off, by the application and by the client.
    let mut broken = case.connect()?;
    broken.send(next(case, "hook&stream&data=a&flush&fail=failed", "").1)?;
    broken.rest()?;
    let mut leaving = case.connect()?;
    let (left, request) = next(case, &format!("hook&gate={go}&body=late"), "");
    leaving.send(request)?;
    case.wait_for("held", |event| event.key() == left)?;
    leaving.reset();
    case.open(&go);
    case.wait_for("finish", |event| event.key() == left)?;

    // Refused.
    let mut refused = case.connect()?;
    refused.send("GET / HTTP/1.1\r\n\r\n")?;
    expect_eq("the status of a request without Host:", refused.response()?.status(), 400)?;
    let mut connections = 4;

    if case.about().caps.contains(Caps::UPGRADE) {
        let fields = "Connection: upgrade\r\nUpgrade: test\r\n";
        let (key, request) = next(case, &format!("hook&upgrade&gate={stay}&data=bye"), fields);
        let mut tunnel = case.connect()?;
        tunnel.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        let over = case.settled("exchange-ended").iter().any(|event| event.key() == key);
        ensure(!over, "a tunnel goes on while its continuation does", "its end")?;
        let closed = case.events("connection-closed").len();
        ensure(closed <= 3, "the connection of a tunnel is open", format_args!("{closed} were closed"))?;
        case.open(&stay);
        tunnel.rest()?;
        connections += 1;
    }
    drop(kept);
    let ended = case.own()?.stop(LIMIT)?;
    in_order(&ended)?;

    expect_eq("connections:", all_is_over(case)?, connections)?;
    let refusals: Vec<_> = case.events("refused").iter().map(|event| event.number("status")).collect();
    expect_eq("refusals:", refusals, [Some(400)])?;
    let slow = case.wait_for("exchange-ended", |event| event.key() == slow)?;
    ensure(slow.number("micros") >= Some(50_000), "how long a call took that waited for 50 ms", &slow)
}

pub(super) fn what_the_stop_cuts(case: &mut Case<'_>) -> Verdict {
    let never = case.gate("never");
    case.start(monitored(Tuning::default()))?;
    let mut reading = case.connect()?;
    reading.send(case.request("POST", "hook&emit=reading&read&pass", "Content-Length: 10\r\n") + "some")?;
    case.wait_for("mark", |_| true)?;
    let (key, request) = case.numbered(1, "GET", &format!("hook&stream&data=a&flush&gate={never}"), "");
    let mut streaming = case.connect()?;
    streaming.send(request)?;
    case.wait_for("held", |event| event.key() == key)?;
    let idle = case.connect()?;
    let ended = case.own()?.stop(GRACE)?;
    in_order(&ended)?;
    // A sync call goes on to its end.
    case.open(&never);
    all_is_over(case)?;
    drop(idle);
    let outcomes = case.events("exchange-ended");
    let outcomes: Vec<_> = outcomes.iter().map(|event| event.text("outcome")).collect();
    expect_eq("what became of the exchanges:", outcomes, ["Stopped", "Stopped"])
}

/// Sees that progress is told of so many times from now on.
fn progress(case: &Case<'_>, times: usize, when: &str) -> Verdict {
    case.server().settle();
    let recorder = case.server().recorder();
    let mut told = 0;
    let next = recorder.wait_since(recorder.position(), "progress", |event| {
        told += usize::from(event.kind() == "progress");
        told == times
    });
    next.map(drop).map_err(|failure| failure.within(format_args!("{times} times, {when}")))
}

pub(super) fn progress_while_it_can(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    case.start(monitored(Tuning::default()))?;
    progress(case, 3, "while nothing happens")?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("gate={gate}&body=x")))?;
    case.wait_for("held", |_| true)?;
    let bound = case.wait_for("built", |_| true)?.field("worker")["concurrency"].as_u64();
    if bound != Some(1) {
        progress(case, 3, "while one of several calls waits")?;
    }
    case.open(&gate);
    client.response().map(drop)
}

/// Longer than may pass without progress.
const A_WHILE: Duration = PROGRESS_INTERVAL.saturating_add(SILENCE);

pub(super) fn no_progress_while_kept(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let keeps = !case.about().evented || case.about().form == Form::Async;
    case.only_if(keeps, "its sync calls may run beside its event loop")?;
    case.start(monitored(Tuning { threads: 2, ..Tuning::default() }))?;
    let built = case.wait_for("built", |_| true)?;
    // A loop is kept by a single call.
    let calls = built.field("worker")["concurrency"].as_u64().unwrap_or(1) as usize;
    let mut clients = Vec::new();
    for nth in 0..calls {
        let (key, request) = case.numbered(nth, "GET", &format!("block={gate}&body=kept"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        clients.push((key, client));
    }
    let began = case.wait_for("exchange-began", |_| true)?;
    let progress_so_far = |case: &Case<'_>| -> Result<usize, Failure> {
        let told = case.settled("progress");
        Ok(told.iter().filter(|event| event.number("worker") == began.number("worker")).count())
    };
    // That a thread had become free before may still be told.
    thread::sleep(A_WHILE);
    let before = progress_so_far(case)?;
    thread::sleep(A_WHILE);
    expect_eq("progress while nothing can go on:", progress_so_far(case)? - before, 0)?;
    if case.about().evented {
        let started = |event: &Event| ["exchange-began", "exchange-polling"].contains(&event.kind());
        let last = case.all_events().into_iter().rfind(started);
        let last = last.as_ref().map(Event::key);
        expect_eq("the exchange that keeps the loop:", last, clients.first().map(|(key, _)| key.as_str()))?;
    }
    case.open(&gate);
    for (_, client) in &mut clients {
        client.response()?;
    }
    progress(case, 1, "when it can go on")
}
