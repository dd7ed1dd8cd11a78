//! L2, L3, L9: workers as the processes or loops that they are: how they begin, and what happens when one dies.

use std::time::Instant;

use super::{in_order, monitoring::all_is_over};
use crate::{
    Case, Client, Event, Failure, LIMIT, Plan, SILENCE, Setup, Tuning, Verdict, ensure, expect_eq,
    probe::Failing,
};

/// Two workers: connections to the one that is to die, and to the other.
struct TwoWorkers {
    doomed: Client,
    /// On the same worker.
    beside: Client,
    dying: u64,
    other: Client,
}

impl TwoWorkers {
    /// Connects until there are enough.
    fn reach(case: &mut Case<'_>) -> Result<Self, Failure> {
        case.only_if(case.settled("built").len() > 1, "it runs a single worker")?;
        let mut reached: Vec<(u64, Client)> = Vec::new();
        for _ in 0..200 {
            let mut client = case.connect()?;
            reached.push((asked(case, &mut client, "describe")?, client));
            let on = |serial: u64| reached.iter().filter(|(other, _)| *other == serial).count();
            let first = reached[0].0;
            let other = reached.iter().position(|(serial, _)| *serial != first);
            if let (true, Some(other)) = (on(first) > 1, other) {
                let (_, other) = reached.swap_remove(other);
                let mut on_first = reached.into_iter().filter(|(serial, _)| *serial == first);
                if let (Some((dying, doomed)), Some((_, beside))) = (on_first.next(), on_first.next()) {
                    return Ok(Self { doomed, beside, dying, other });
                }
                break;
            }
        }
        Err(Failure::new("connections to both of two workers", "one of them got none of 200"))
    }

    /// Has the one die; goes on only if that is what became of it.
    fn kill(&mut self, case: &Case<'_>) -> Verdict {
        self.doomed.send(case.get("die&body=x"))?;
        case.wait_for("dying", |_| true)?;
        let grave = |report: &Event| report.text("report") == "Panicked" || report.text("detail") == "Error";
        let reported = case.wait_for("report", grave);
        reported.map_err(|failure| failure.within("a worker that dies is reported"))?;
        let lives = asked(case, &mut self.beside, "describe").is_ok_and(|serial| serial == self.dying);
        case.only_if(!lives, "its workers do not die of what the probe can do")
    }
}

/// Sends these steps and reads which application has answered.
fn asked(case: &Case<'_>, client: &mut Client, steps: &str) -> Result<u64, Failure> {
    client.send(case.get(steps))?;
    let description = client.response()?;
    let description: serde_json::Value = serde_json::from_slice(&description.body).unwrap_or_default();
    description["serial"].as_u64().ok_or_else(|| Failure::new("a description", description.to_string()))
}

pub(super) fn dies_alone_and_is_replaced(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    case.start(Tuning { workers: 2, ..Tuning::default() })?;
    let mut workers = TwoWorkers::reach(case)?;
    workers.other.send(case.get(&format!("gate={gate}&body=unharmed")))?;
    case.wait_for("held", |event| event.text("name") == gate)?;
    workers.kill(case)?;
    case.open(&gate);
    let unharmed =
        workers.other.response().map_err(|failure| failure.within("a call of the other worker"))?;
    expect_eq("the answer of the other worker:", unharmed.text().as_str(), "unharmed")?;

    let mut builds = 0;
    let third = |_: &Event| {
        builds += 1;
        builds == 3
    };
    let built = case.wait_for("built", third).map_err(|failure| failure.within("a worker in its place"))?;
    let until = Instant::now() + case.limit();
    loop {
        let mut client = case.connect()?;
        if Some(asked(case, &mut client, "describe")?) == built.number("serial") {
            break;
        }
        ensure(Instant::now() < until, "calls of the worker that came in its place", "none")?;
    }
    let ended = case.own()?.stop(LIMIT)?;
    in_order(&ended)
}

pub(super) fn failed_restart_leaves_the_others(case: &mut Case<'_>) -> Verdict {
    let plan = Plan { build_fails: Some((3, Failing::Error)), ..Plan::default() };
    case.start(Setup { plan, tuning: Tuning { workers: 2, ..Tuning::default() }, ..Setup::default() })?;
    let mut workers = TwoWorkers::reach(case)?;
    workers.kill(case)?;
    case.wait_for_nth("build", 3)?;
    let reported =
        case.wait_for("report", |report| report.text("text").contains("fails to build, as planned"));
    reported.map_err(|failure| failure.within("the reason why a worker is not replaced is reported"))?;
    let serial = asked(case, &mut workers.other, "describe")?;
    std::thread::sleep(SILENCE);
    for _ in 0..8 {
        let mut client = case.connect()?;
        expect_eq("who answers now:", asked(case, &mut client, "describe")?, serial)?;
    }
    expect_eq("builds, of which the third failed for good:", case.settled("build").len(), 3)?;
    let ended = case.own()?.stop(LIMIT)?;
    in_order(&ended)
}

/// L13: what dies with a worker is over for its monitor, too.
pub(super) fn a_monitor_hears(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let tuning = Tuning { workers: 2, ..Tuning::default() };
    case.start(Setup { tuning, monitored: true, ..Setup::default() })?;
    let mut workers = TwoWorkers::reach(case)?;
    // One more on the worker that is to die.
    let mut held = case.connect()?;
    while asked(case, &mut held, "describe")? != workers.dying {
        held = case.connect()?;
    }
    let (_, request) = case.numbered(1, "GET", &format!("hook&gate={gate}&body=never"), "");
    held.send(request)?;
    case.wait_for("held", |event| event.text("name") == gate)?;
    workers.kill(case)?;
    // A sync call goes on to its end.
    case.open(&gate);
    held.closed()?;
    case.wait_for("finish", |_| true)
        .map_err(|failure| failure.within("the hook of an exchange that died"))?;
    let ended = case.own()?.stop(LIMIT)?;
    in_order(&ended)?;
    all_is_over(case).map(drop)
}

pub(super) fn built_in_a_forked_child(case: &mut Case<'_>) -> Verdict {
    case.only_if(case.about().forked, "its workers are not forked processes")?;
    case.start(Tuning { workers: 2, ..Tuning::default() })?;
    case.ask(case.get("body=x"))?;
    let call = case.wait_for("call", |_| true)?;
    for built in case.settled("built") {
        let (worker, supervisor) = (built.number("pid"), built.number("parent"));
        ensure(
            worker != supervisor && worker != Some(u64::from(std::process::id())),
            "builds in processes of their own",
            &built,
        )?;
        // Another fork is to follow whenever a worker is replaced, so this holds for as long as the supervisor lives.
        if let Some(threads) = built.number("parent_threads") {
            expect_eq("threads of the process that forks:", threads, 1)?;
        }
        ensure(
            call.number("serial") != built.number("serial") || call.number("pid") == worker,
            "calls in the process of the build",
            &call,
        )?;
    }
    Ok(())
}
