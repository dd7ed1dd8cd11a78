//! Chapter W: what an application may ask of its worker, and deferred replies.

use std::{cell::Cell, time::Duration};

use varvel::Caps;
use varvel_spec::ids;

use crate::{
    Case, Check, Event, Failure, Form, SILENCE, Setup, Tuning, Verdict, broken::Fault::*, ensure, expect_eq,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        ids::W1,
        "in-the-order-of-deadlines",
        in_the_order_of_deadlines,
        &[TimersFireLate, TimersNeverWake],
    ),
    Check::new(ids::W1, "soon-after", soon_after, &[TimersAreCoarse, TimersNeverWake]),
    Check::new(
        ids::W1,
        "wakes-who-polled-last",
        wakes_who_polled_last,
        &[TimersWakeFirstTask, TimersNeverWake],
    ),
    Check::new(
        ids::W2,
        "outlives-its-request",
        task_outlives_its_request,
        &[SpawnDelaysAnswer, SpawnPollsOnce],
    )
    .needs(Caps::SPAWN),
    Check::new(ids::W2, "awaited-by-the-drain", task_awaited_by_the_drain, &[StopDropsTasks])
        .needs(Caps::SPAWN),
    Check::new(ids::W2, "dropped-at-the-deadline", task_dropped_at_the_deadline, &[TasksSurviveDeadline])
        .needs(Caps::SPAWN),
    Check::new(ids::W3, "on-a-thread-of-its-own", job_on_a_thread_of_its_own, &[RunsJobsInline])
        .needs(Caps::OFFLOAD),
    Check::new(
        ids::W3,
        "accepted-or-given-back",
        accepted_or_given_back,
        &[ForgetsQueuedJobs, FullPoolForgets],
    )
    .needs(Caps::OFFLOAD),
    Check::new(ids::W4, "more-replies-than-threads", more_replies_than_threads, &[DeferralHoldsPlace])
        .needs(Caps::DEFER),
    Check::new(ids::W5, "client-gone-before", client_gone_before, &[NeverNoticesDisconnect])
        .needs(Caps::DEFER.with(Caps::DISCONNECT_WATCH)),
    Check::new(ids::W5, "half-closed-client", half_closed_client, &[HalfClosedReplyIsLost])
        .needs(Caps::DEFER.with(Caps::DISCONNECT_WATCH)),
    Check::new(ids::W5, "dropped-unanswered", dropped_unanswered, &[DroppedReplyHangs]).needs(Caps::DEFER),
    Check::new(ids::W6, "panicking-task", panicking_task, &[ServicePanicIsLost]).needs(Caps::SPAWN),
    Check::new(ids::W6, "panicking-jobs", panicking_jobs, &[ServicePanicIsLost, JobPanicKillsThread])
        .needs(Caps::OFFLOAD),
    Check::new(ids::W7, "reply-overtakes-placeholder", reply_overtakes_placeholder, &[EarlyReplyIsLost])
        .needs(Caps::DEFER),
    Check::new(ids::W8, "once-for-each-call", once_for_each_call, &[NeverGivesDeferral]).needs(Caps::DEFER),
    Check::new(ids::W8, "replaced-placeholder", replaced_placeholder, &[NeverGivesDeferral])
        .needs(Caps::DEFER),
];

fn sync_only(case: &Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Sync, "only sync calls are deferred")
}

/// Waits until there have been so many events of a kind.
fn wait_for_many(case: &Case<'_>, kind: &str, count: usize) -> Verdict {
    // Each event is looked at once.
    let seen = Cell::new(0);
    let all = |_: &Event| {
        seen.set(seen.get() + 1);
        seen.get() == count
    };
    if count > 0 {
        case.wait_for(kind, all)
            .map_err(|_| Failure::new(format!("{count} events: {kind}"), format!("{}", seen.get())))?;
    }
    Ok(())
}

/// The keys of the timers that have fired, in that order.
fn timers(case: &Case<'_>) -> Result<Vec<String>, Failure> {
    let events = case.settled("timer");
    for event in &events {
        expect_eq("a timer fired ahead of its deadline:", event.is("early"), false)?;
    }
    Ok(events.iter().map(|event| event.key().to_owned()).collect())
}

fn in_the_order_of_deadlines(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { threads: 64, ..Tuning::default() })?;
    // The long one is there to see whether it holds up others, in whatever order they were set.
    let long = format!("{}.long", case.key());
    let mut clients = Vec::new();
    for nth in 0..40_u64 {
        let (key, milliseconds) = match nth {
            20 => (long.clone(), 15_000),
            _ => (format!("{}.{nth}", case.key()), nth * 37 % 40 * 5),
        };
        let mut client = case.connect()?;
        client.send(format!("GET /{key}?timer={milliseconds} HTTP/1.1\r\nHost: varvel.test\r\n\r\n"))?;
        if key != long {
            clients.push(client);
        }
    }
    for mut client in clients {
        expect_eq("status", client.response()?.status(), 200)?;
    }
    let fired = timers(case)?;
    expect_eq("timers that fired:", fired.len(), 39)?;
    ensure(!fired.contains(&long), "the longest not among them", format_args!("{fired:?}"))
}

fn soon_after(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    let mut late = Vec::new();
    // A machine that is busy is given several chances.
    for _ in 0..5 {
        expect_eq("status", case.ask(case.get("timer=20"))?.status(), 200)?;
        let timers = case.settled("timer");
        late.extend(timers.last().and_then(|timer| timer.number("late_us")));
        if late.last().is_some_and(|late| *late <= 100_000) {
            return Ok(());
        }
    }
    Err(Failure::new(
        "a timer of an idle worker, late by 100 ms at most",
        format!("by {late:?} microseconds"),
    ))
}

fn wakes_who_polled_last(case: &mut Case<'_>) -> Verdict {
    expect_eq("status", case.ask(case.get("timer-moved=50&timer-moved=50"))?.status(), 200)?;
    expect_eq("timers that fired:", timers(case)?.len(), 2)
}

fn task_outlives_its_request(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let response = case.ask(case.get(&format!("spawn={gate}&body=answer")))?;
    expect_eq("the answer while the task waits:", response.text().as_str(), "answer")?;
    case.wait_for("task-began", |_| true)?;
    case.wait_for("call-ended", |_| true)?;
    case.open(&gate);
    case.wait_for("task-ended", |_| true).map(drop)
}

/// Starts a server of the check's own with a task that waits.
fn with_task(case: &mut Case<'_>) -> Result<String, Failure> {
    case.start(Setup::default())?;
    let gate = case.gate("go");
    case.ask(case.get(&format!("spawn={gate}")))?;
    case.wait_for("task-began", |_| true)?;
    Ok(gate)
}

fn task_awaited_by_the_drain(case: &mut Case<'_>) -> Verdict {
    let gate = with_task(case)?;
    case.server().control().stop(Duration::from_secs(60));
    let early = case.server().await_end(SILENCE);
    ensure(early.is_none(), "a server that waits for its task", format_args!("it returned {early:?}"))?;
    case.open(&gate);
    let ended = case.own()?.ended()?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    case.wait_for("task-ended", |_| true).map(drop)
}

fn task_dropped_at_the_deadline(case: &mut Case<'_>) -> Verdict {
    with_task(case)?;
    let ended = case.own()?.stop(Duration::ZERO)?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    let kinds: Vec<_> =
        ["task-dropped", "teardown"].into_iter().map(|kind| (kind, case.events(kind).len())).collect();
    expect_eq("the task's end, and teardown:", kinds, [("task-dropped", 1), ("teardown", 1)])
}

fn job_on_a_thread_of_its_own(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let response = case.ask(case.get(&format!("offload={gate}&body=answer")))?;
    expect_eq("the answer while the job waits:", response.text().as_str(), "answer")?;
    let job = case.wait_for("job-began", |_| true)?;
    let call = case.wait_for("call", |_| true)?;
    // A sync call of an evented server may itself have run on the pool, and left its thread to the job.
    let on_the_pool = case.about().evented && case.about().form == Form::Sync;
    ensure(
        on_the_pool || job.text("thread") != call.text("thread"),
        "the job on another thread than the call",
        format_args!("both on {}", job.text("thread")),
    )?;
    case.open(&gate);
    case.wait_for("job-ended", |_| true).map(drop)
}

fn accepted_or_given_back(case: &mut Case<'_>) -> Verdict {
    // Jobs that wait would be in the way of other checks.
    case.start(Setup::default())?;
    let gate = case.gate("go");
    let jobs = format!("offload={gate}&").repeat(100);
    // The sync calls of an evented server may run on the same pool, behind jobs that wait for the gate.
    let calls = if case.about().evented && case.about().form == Form::Sync { 1 } else { 4 };
    for _ in 0..calls {
        expect_eq("status", case.ask(case.get(&jobs))?.status(), 200)?;
    }
    let offloaded = case.settled("offloaded");
    let accepted = offloaded.iter().filter(|event| event.is("accepted")).count();
    expect_eq("jobs that were handed over or given back:", offloaded.len(), calls * 100)?;
    case.open(&gate);
    wait_for_many(case, "job-ended", accepted)?;
    expect_eq("jobs that ran:", case.settled("job-ended").len(), accepted)
}

fn more_replies_than_threads(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    case.start(Tuning { threads: 4, ..Tuning::default() })?;
    let gate = case.gate("go");
    let mut clients = Vec::new();
    for nth in 0..40 {
        let key = format!("{}.{nth}", case.key());
        let mut client = case.connect()?;
        client
            .send(format!("GET /{key}?defer&gate={gate}&body={nth} HTTP/1.1\r\nHost: varvel.test\r\n\r\n"))?;
        case.wait_for("call", |event| event.key() == key)?;
        clients.push(client);
    }
    case.still_serves()?;
    case.open(&gate);
    for (nth, client) in clients.iter_mut().enumerate() {
        expect_eq("a deferred answer:", client.response()?.text().as_str(), nth.to_string().as_str())?;
        client.send(case.get("body=next"))?;
        expect_eq("the next answer on the connection:", client.response()?.text().as_str(), "next")?;
    }
    Ok(())
}

fn client_gone_before(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let mut client = case.connect()?;
    client.send(case.get("hook&defer&disconnected&body=late"))?;
    case.wait_for("waiting", |_| true)?;
    client.reset();
    let replied = case.wait_for("replied", |_| true)?;
    expect_eq("send returns Ok:", replied.is("ok"), false)?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("the end of the exchange:", finish.text("outcome"), "Disconnected")
}

fn half_closed_client(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let mut client = case.connect()?;
    client.send(case.get("defer&disconnected&body=late"))?;
    case.wait_for("waiting", |_| true)?;
    client.half_close()?;
    let replied = case.wait_for("replied", |_| true)?;
    expect_eq("send returns Ok:", replied.is("ok"), true)?;
    expect_eq("the answer:", client.response()?.text().as_str(), "late")
}

fn dropped_unanswered(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let mut client = case.connect()?;
    client.send(case.get("defer&panic"))?;
    expect_eq("status", client.response()?.status(), 500)?;
    let report = case.wait_for("report", |_| true)?;
    expect_eq(
        "it is reported as",
        (report.text("report"), report.text("detail")),
        ("AppFailed", "Internal"),
    )?;
    client.send(case.get("body=next"))?;
    expect_eq("the next answer on the connection:", client.response()?.text().as_str(), "next")
}

fn panicking_task(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    let gate = case.gate("go");
    expect_eq("status", case.ask(case.get(&format!("spawn={gate}&spawn-panic")))?.status(), 200)?;
    let report = case.wait_for("report", |_| true)?;
    expect_eq(
        "it is reported as",
        (report.text("report"), report.text("detail")),
        ("Panicked", "Background"),
    )?;
    case.open(&gate);
    case.wait_for("task-ended", |_| true)?;
    case.still_serves()
}

fn panicking_jobs(case: &mut Case<'_>) -> Verdict {
    case.start(Setup::default())?;
    for _ in 0..20 {
        expect_eq("status", case.ask(case.get("offload-panic"))?.status(), 200)?;
    }
    let accepted = case.settled("offloaded").iter().filter(|event| event.is("accepted")).count();
    wait_for_many(case, "report", accepted)?;
    let phases: Vec<_> = case.events("report").iter().map(|event| event.text("detail").to_owned()).collect();
    ensure(
        phases.iter().all(|phase| phase == "Background"),
        "panics in the background",
        format_args!("{phases:?}"),
    )?;
    let gate = case.gate("go");
    case.ask(case.get(&format!("offload={gate}")))?;
    case.wait_for("job-began", |_| true)?;
    case.still_serves()
}

fn reply_overtakes_placeholder(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let mut client = case.connect()?;
    for _ in 0..20 {
        client.send(case.get("defer=early&stream&data=ear&data=ly"))?;
        expect_eq("the answer:", client.response()?.text().as_str(), "early")?;
    }
    for replied in case.settled("replied") {
        expect_eq("send returns Ok:", replied.is("ok"), true)?;
    }
    Ok(())
}

fn once_for_each_call(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let mut client = case.connect()?;
    for _ in 0..2 {
        client.send(case.get("take-deferral&take-deferral&body=plain"))?;
        expect_eq("the answer:", client.response()?.text().as_str(), "plain")?;
    }
    let some: Vec<_> = case.settled("deferral").iter().map(|event| event.is("some")).collect();
    expect_eq("deferrals", some, [true, false, true, false])
}

fn replaced_placeholder(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.get(&format!("defer=replaced&gate={gate}&body=late")))?;
    expect_eq("the answer:", client.response()?.text().as_str(), "replaced")?;
    case.open(&gate);
    let replied = case.wait_for("replied", |_| true)?;
    expect_eq("send of what nobody waits for returns Ok:", replied.is("ok"), false)?;
    client.send(case.get("body=next"))?;
    expect_eq("the next answer on the connection:", client.response()?.text().as_str(), "next")
}
