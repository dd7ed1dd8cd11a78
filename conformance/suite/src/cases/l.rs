//! Chapter L: from the start of a server to its end.

mod deaths;
mod monitoring;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::Duration,
};

use bytes::Bytes;
use varvel::{Caps, ServeError};
use varvel_spec::ids;

use crate::{
    Case, Check, Ended, Form, LIMIT, Plan, SILENCE, Setup, Tuning, Verdict, broken::Fault::*, ensure,
    expect_eq, probe::Failing,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::L1, "failed-build", failed_build, &[ServesWithoutApplication, HidesFailedStart]),
    Check::new(
        ids::L2,
        "failed-restart-leaves-the-others",
        deaths::failed_restart_leaves_the_others,
        &[FailedRestartIsLost, FailedRestartEndsAll, RetriesFailedBuild],
    ),
    Check::new(ids::L3, "built-in-a-forked-child", deaths::built_in_a_forked_child, &[PretendsToFork]),
    Check::new(ids::L5, "one-per-build-and-last", teardown_is_last, &[SkipsTeardown, TearsDownEarly]),
    Check::new(ids::L5, "errors-are-reported", teardown_errors_are_reported, &[TeardownErrorIsLost]),
    Check::new(
        ids::L6,
        "not-before-the-build",
        not_ready_before_the_build,
        &[ReadyBeforeBuild, ResetsEarlyClients],
    ),
    Check::new(ids::L7, "endless-stream-ends-itself", endless_stream_ends_itself, &[StopsUnannounced]),
    Check::new(ids::L8, "endless-call", endless_call, &[IgnoresDeadline]),
    Check::new(ids::L8, "endless-body", endless_body, &[CutAnswerLooksComplete]),
    Check::new(ids::L8, "hooks-are-told", hooks_are_told, &[NoHookAtDeadline]),
    Check::new(
        ids::L9,
        "dies-alone-and-is-replaced",
        deaths::dies_alone_and_is_replaced,
        &[DeathIsUnreported, TheDeadStayDead, DeathTakesOthers],
    ),
    Check::new(ids::L10, "all-listeners", all_listeners, &[ServesFirstListenerOnly]),
    Check::new(ids::L11, "after-teardown", returns_after_teardown, &[ReturnsBeforeTeardown]),
    Check::new(ids::L11, "nothing-left-open", nothing_left_open, &[KeepsListener, StopIsAnError]),
    Check::new(ids::L12, "before-it-is-ready", stop_before_ready, &[IgnoresEarlyStop]),
    Check::new(ids::L12, "again-and-nearer", stop_again, &[IgnoresSecondStop]),
    Check::new(
        ids::L13,
        "each-once-and-as-hooks-see-it",
        monitoring::each_once,
        &[
            MonitorMissesFailures,
            MonitorHearsCompleted,
            MonitorHearsLate,
            MonitorMissesRefusals,
            MonitorMissesCloses,
            MonitorMistakesTunnels,
        ],
    )
    .needs(Caps::MONITOR),
    Check::new(ids::L13, "what-the-stop-cuts", monitoring::what_the_stop_cuts, &[MonitorMissesTheCut])
        .needs(Caps::MONITOR),
    Check::new(ids::L13, "what-dies-with-a-worker", deaths::a_monitor_hears, &[MonitorForgetsTheDead])
        .needs(Caps::MONITOR),
    Check::new(
        ids::L13,
        "progress-while-it-can",
        monitoring::progress_while_it_can,
        &[ProgressNeedsCalls, AnyCallStopsProgress],
    )
    .needs(Caps::MONITOR),
    Check::new(ids::L13, "no-progress-while-kept", monitoring::no_progress_while_kept, &[ProgressIsAClock])
        .needs(Caps::MONITOR),
];

/// Sees that the server returned without an error.
fn in_order(ended: &Ended) -> Verdict {
    ensure(matches!(ended, Ok(Ok(_))), "the server returns without an error", format_args!("{ended:?}"))
}

/// Starts a server that is not waited for.
fn start_unready(case: &mut Case<'_>, plan: Plan, tuning: Tuning) -> Verdict {
    case.start(Setup { tuning, plan, wait_ready: false, ..Setup::default() })
}

fn failed_build(case: &mut Case<'_>) -> Verdict {
    let two = Tuning { workers: 2, ..Tuning::default() };
    for (nth, failing, tuning) in [
        (1, Failing::Error, Tuning::default()),
        (1, Failing::Panic, Tuning::default()),
        (2, Failing::Error, two.clone()),
        (2, Failing::Panic, two),
    ] {
        let what = format!("build {nth} fails: {failing:?}");
        let gate = case.gate("build");
        let plan =
            Plan { build_fails: Some((nth, failing)), build_gate: Some(gate.clone()), ..Plan::default() };
        start_unready(case, plan, tuning)?;
        let first = case.wait_for("build", |_| true)?;
        // Processes tell of themselves alone.
        let workers = first.field("worker")["workers"].as_u64().filter(|_| !case.about().forked);
        if workers.is_some_and(|workers| workers < u64::from(nth)) {
            // With a single worker no second build can fail.
            continue;
        }
        let mut client = case.connect()?;
        client.try_send(case.get("body=served"));
        case.open(&gate);
        let ended = case.own()?.ended().map_err(|failure| failure.within(&what))?;
        ensure(
            matches!(ended, Ok(Err(ServeError::Start(_)))),
            format_args!("{what}: the server returns ServeError::Start"),
            format_args!("{ended:?}"),
        )?;
        // A process that is built may serve while others fail.
        if case.about().forked && nth > 1 {
            client.rest().map_err(|failure| failure.within(&what))?;
        } else {
            client.closed().map_err(|failure| failure.within(&what))?;
            expect_eq(format_args!("{what}: calls"), case.events("call").len(), 0)?;
        }
        let built = case.events("built").len();
        expect_eq(
            format_args!("{what}: teardowns of what was built"),
            case.events("torn-down").len(),
            built,
        )?;
    }
    Ok(())
}

fn teardown_is_last(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    case.start(Tuning { workers: 2, ..Tuning::default() })?;
    let mut clients = Vec::new();
    for (n, steps) in [
        format!("hook&gate={gate}&body=call"),
        format!("hook&stream&data=a&flush&gate={gate}&data=b"),
        format!("hook&stream=2&data=a&flush&gate={gate}&data=b"),
        "hook&body=done".to_owned(),
        format!("spawn={gate}&body=task"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = case.connect()?;
        client.send(format!("GET /{}.{n}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key()))?;
        clients.push(client);
    }
    let tunnels = case.about().caps.contains(Caps::UPGRADE);
    let (key, request) = case.numbered(
        clients.len(),
        "GET",
        &format!("hook&upgrade&gate={gate}&data=bye"),
        "Connection: upgrade\r\nUpgrade: test\r\n",
    );
    let mut tunnel = case.connect()?;
    if tunnels {
        tunnel.send(request)?;
        case.wait_for("tunnel-began", |event| event.key() == key)?;
    }
    case.wait_for_nth("call", 5 + usize::from(tunnels))?;
    case.wait_for_nth("held", 3 + usize::from(tunnels))?;
    case.server().control().stop(LIMIT * 3);
    // A server that tears down too early has the time to do so.
    std::thread::sleep(SILENCE);
    case.open(&gate);
    for client in &mut clients {
        client.response()?;
    }
    let ended = case.own()?.ended()?;
    in_order(&ended)?;
    expect_eq("hooks run:", case.events("finish").len(), 4 + usize::from(tunnels))?;
    one_teardown_per_build(case)?;

    // Which application each key belongs to, and whether it is still there.
    let mut application = BTreeMap::new();
    let mut over = BTreeSet::new();
    for event in case.all_events() {
        match event.kind() {
            "call" => {
                application.insert(event.key().to_owned(), event.number("serial"));
            }
            "teardown" => {
                over.insert(event.number("serial"));
            }
            _ => {}
        }
        let is_over = application.get(event.key()).is_some_and(|serial| over.contains(serial));
        ensure(!is_over, "nothing of a call happens once teardown has begun", event)?;
    }
    Ok(())
}

/// Sees that each application that was built was torn down once.
fn one_teardown_per_build(case: &Case<'_>) -> Verdict {
    let count = |kind: &str| {
        let mut counts = BTreeMap::new();
        for event in case.events(kind) {
            *counts.entry(event.number("serial")).or_insert(0) += 1;
        }
        counts
    };
    expect_eq("teardowns by application:", count("torn-down"), count("built"))
}

fn teardown_errors_are_reported(case: &mut Case<'_>) -> Verdict {
    for failing in [Failing::Error, Failing::Panic] {
        case.start(Plan { teardown_fails: Some(failing), ..Plan::default() })?;
        expect_eq("answer:", case.ask(case.get("body=x"))?.text(), "x")?;
        let ended = case.own()?.stop(LIMIT)?;
        in_order(&ended)?;
        let reports = case.events("report");
        ensure(!reports.is_empty(), format_args!("a report that teardown failed: {failing:?}"), "none")?;
    }
    Ok(())
}

fn not_ready_before_the_build(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("build");
    start_unready(case, Plan { build_gate: Some(gate.clone()), ..Plan::default() }, Tuning::default())?;
    case.wait_for("build", |_| true)?;
    let mut client = case.connect()?;
    client.send(case.get("body=early"))?;
    expect_eq("readiness while the build waits:", case.server().ready_within(SILENCE), None)?;
    client.silent().map_err(|failure| failure.within("a client that comes early"))?;
    case.open(&gate);
    expect_eq("readiness after the build:", case.server().wait_ready()?, true)?;
    let response = client.response().map_err(|failure| failure.within("a client that came early"))?;
    expect_eq("its answer:", response.text(), "early")
}

fn endless_stream_ends_itself(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    let mut client = case.connect()?;
    client.send(case.get("stream&data=first&flush&stopping&data=last"))?;
    client.head()?;
    expect_eq("first chunk:", client.chunk()?, Some(Bytes::from("first")))?;
    case.wait_for("waiting", |_| true)?;
    case.server().control().stop(LIMIT * 3);
    let stopping = case.wait_for("stopping", |_| true)?;
    expect_eq("is_stopping:", stopping.is("is"), true)?;
    expect_eq("last chunk:", client.chunk()?, Some(Bytes::from("last")))?;
    expect_eq("behind it:", client.chunk()?, None)?;
    client.trailers()?;
    client.closed()?;
    let ended = case.own()?.ended()?;
    in_order(&ended)
}

/// A grace that is over soon, and long enough for a busy machine to see that it was given.
const GRACE: Duration = Duration::from_millis(300);

fn endless_call(case: &mut Case<'_>) -> Verdict {
    let never = case.gate("never");
    case.start(Setup::default())?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("gate={never}&body=late")))?;
    case.wait_for("held", |_| true)?;
    let ended = case.own()?.stop(GRACE)?;
    in_order(&ended)?;
    client.closed().map_err(|failure| failure.within("the client of a call cut off"))?;
    if case.about().form == Form::Async {
        dropped(case, "future-dropped")?;
    }
    Ok(())
}

/// On servers that poll async calls themselves, what remains at the deadline is dropped before they return.
fn dropped(case: &Case<'_>, event: &str) -> Verdict {
    // Polled on a thread that sleeps in between, a call is as hard to drop as a sync one.
    if !case.about().evented {
        return Ok(());
    }
    ensure(
        !case.events(event).is_empty(),
        "what remains at the deadline is dropped",
        format_args!("no {event}"),
    )?;
    one_teardown_per_build(case)
}

fn endless_body(case: &mut Case<'_>) -> Verdict {
    let never = case.gate("never");
    for stream in ["stream", "stream=100"] {
        case.start(Setup::default())?;
        let mut client = case.connect()?;
        client.send(case.get(&format!("{stream}&data=begin&flush&gate={never}&data=late")))?;
        case.wait_for("held", |_| true)?;
        let ended = case.own()?.stop(GRACE)?;
        in_order(&ended)?;
        let (rest, _) = client.rest()?;
        let shown = String::from_utf8_lossy(&rest);
        let (_, body) = shown.split_once("\r\n\r\n").unwrap_or_default();
        ensure(body.contains("begin"), "the beginning of the answer", &shown)?;
        ensure(!body.ends_with("0\r\n\r\n") && !body.contains("late"), "an answer broken off", &shown)?;
        if case.about().form == Form::Async {
            dropped(case, "body-dropped")?;
        }
    }
    // So does the body of a request that nobody sends.
    case.start(Setup::default())?;
    let mut client = case.connect()?;
    client.send(case.request("POST", "emit=reading&read&pass", "Content-Length: 10\r\n") + "some")?;
    case.wait_for("mark", |_| true)?;
    let ended = case.own()?.stop(GRACE)?;
    in_order(&ended)?;
    if case.about().form == Form::Sync {
        let read = case.wait_for("read", |_| true)?;
        ensure(read.text("end") != "end", "an error of the body at the deadline", &read)?;
    }
    case.wait_for("call-ended", |_| true)?;
    // A sink that is written to all the time returns an error; its call ends, and so everything is torn down.
    case.start(Setup::default())?;
    let mut client = case.connect()?;
    client.small_buffers()?;
    client.send(case.get("stream&frames=1000000:65536"))?;
    case.wait_for("sent", |_| true)?;
    let ended = case.own()?.stop(GRACE)?;
    in_order(&ended)?;
    case.wait_for("body-dropped", |_| true)?;
    Ok(())
}

fn hooks_are_told(case: &mut Case<'_>) -> Verdict {
    let never = case.gate("never");
    let (about, upgrade) = (case.about(), "Connection: upgrade\r\nUpgrade: test\r\n");
    let mut rows = vec![
        (format!("hook&gate={never}&body=late"), None),
        (format!("hook&stream&data=begin&flush&gate={never}&data=late"), Some(200)),
    ];
    if about.caps.contains(Caps::DEFER) && about.form == Form::Sync {
        rows.push((format!("hook&defer&gate={never}&body=late"), None));
    }
    if about.caps.contains(Caps::UPGRADE) {
        rows.push(("hook&upgrade&data=begin&read".to_owned(), Some(101)));
    }
    for (steps, status) in rows {
        case.start(Setup::default())?;
        let mut client = case.connect()?;
        client.send(case.request("GET", &steps, upgrade))?;
        let begun = if status == Some(101) { "tunnel-began" } else { "held" };
        case.wait_for(begun, |_| true).map_err(|failure| failure.within(&steps))?;
        if status.is_some() {
            client.head()?;
            client.exactly(1)?;
        }
        let ended = case.own()?.stop(GRACE)?;
        in_order(&ended)?;
        let finish = case.wait_for("finish", |_| true)?;
        expect_eq(format_args!("outcome of {steps}:"), finish.text("outcome"), "Stopped")?;
        expect_eq(format_args!("status of {steps}:"), finish.number("status"), status)?;
    }
    Ok(())
}

fn all_listeners(case: &mut Case<'_>) -> Verdict {
    case.start(Setup { listeners: 3, ..Setup::default() })?;
    for address in case.server().addresses().to_vec() {
        let mut client = case.connect_to(address)?;
        client.send(case.get("describe"))?;
        let response =
            client.response().map_err(|failure| failure.within(format_args!("listener {address}")))?;
        let expected = format!("\"local\":\"{address}\"");
        ensure(response.text().contains(&expected), &expected, response.text())?;
    }
    Ok(())
}

fn returns_after_teardown(case: &mut Case<'_>) -> Verdict {
    let (call, teardown) = (case.gate("call"), case.gate("teardown"));
    case.start(Plan { teardown_gate: Some(teardown.clone()), ..Plan::default() })?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("gate={call}&body=x")))?;
    case.wait_for("held", |_| true)?;
    case.server().control().stop(LIMIT * 3);
    for gate in [call, teardown] {
        let early = case.server().await_end(SILENCE);
        ensure(
            early.is_none(),
            "the server returns when all is over",
            format_args!("{early:?} while {gate} holds"),
        )?;
        case.open(&gate);
        case.wait_for("teardown", |_| true)?;
    }
    expect_eq("answer:", client.response()?.text(), "x")?;
    let ended = case.own()?.ended()?;
    in_order(&ended)?;
    one_teardown_per_build(case)
}

fn nothing_left_open(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    let mut idle = case.connect()?;
    let mut fresh = case.connect()?;
    idle.send(case.get("body=x"))?;
    idle.response()?;
    let address = case.server().address();
    let ended = case.own()?.stop(LIMIT)?;
    in_order(&ended)?;
    idle.closed().map_err(|failure| failure.within("an idle connection"))?;
    fresh.closed().map_err(|failure| failure.within("a connection without a request"))?;
    let bound = TcpListener::bind(address);
    ensure(bound.is_ok(), "the address can be bound again", format_args!("{bound:?}"))?;
    one_teardown_per_build(case)
}

fn stop_before_ready(case: &mut Case<'_>) -> Verdict {
    // Before it was started.
    case.start(Setup { wait_ready: false, stopped: true, ..Setup::default() })?;
    let ended = case.own()?.ended().map_err(|failure| failure.within("a stop before the start"))?;
    ensure(ended.is_ok(), "the server returns", format_args!("{ended:?}"))?;
    one_teardown_per_build(case)?;

    // While it builds.
    let gate = case.gate("build");
    start_unready(case, Plan { build_gate: Some(gate.clone()), ..Plan::default() }, Tuning::default())?;
    case.wait_for("build", |_| true)?;
    case.server().control().stop(Duration::ZERO);
    case.open(&gate);
    let ended = case.own()?.ended().map_err(|failure| failure.within("a stop during the build"))?;
    ensure(ended.is_ok(), "the server returns", format_args!("{ended:?}"))?;
    one_teardown_per_build(case)
}

fn stop_again(case: &mut Case<'_>) -> Verdict {
    let never = case.gate("never");
    for (nth, (first, second)) in [(LIMIT * 6, GRACE), (GRACE, LIMIT * 6)].into_iter().enumerate() {
        case.start(Setup::default())?;
        let mut client = case.connect()?;
        let (key, request) = case.numbered(nth, "GET", &format!("stopping&gate={never}&body=late"), "");
        client.send(request)?;
        case.wait_for("waiting", |event| event.key() == key)?;
        case.server().control().stop(first);
        // Not before the server has taken note of the first.
        case.wait_for("stopping", |event| event.key() == key)?;
        case.server().control().stop(second);
        let ended = case.own()?.ended();
        let ended = ended
            .map_err(|failure| failure.within(format_args!("a stop within {first:?}, then {second:?}")))?;
        in_order(&ended)?;
        client.closed()?;
    }
    Ok(())
}
