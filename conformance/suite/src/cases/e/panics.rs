//! E6, E7: panics, wherever they happen.

use std::{thread, time::Duration};

use super::next_is_right;
use crate::{Case, Client, Failure, Form, Plan, Verdict, ensure, expect_eq, probe::Failing};

pub(super) fn thousand_panics(case: &mut Case<'_>) -> Verdict {
    let mut neighbour = case.connect()?;
    next_is_right(case, &mut neighbour)?;
    let clients = (0..8).map(|_| case.connect()).collect::<Result<Vec<_>, _>>()?;
    let requests: Vec<String> =
        ["panic", "body=ok", "panic-early", "stream&data=ok"].map(|steps| case.get(steps)).into();
    let burst = requests.concat().repeat(10);
    thread::scope(|scope| {
        let bursts: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let burst = &burst;
                scope.spawn(move || (0..7).try_for_each(|_| panics_in_step(&mut client, burst)))
            })
            .collect();
        bursts.into_iter().try_for_each(|burst| {
            burst.join().unwrap_or_else(|_| Err(Failure::new("a verdict", "a panic of the check itself")))
        })
    })?;
    next_is_right(case, &mut neighbour)?;
    case.still_serves()
}

/// Sends a burst of requests of which every other panics, and reads the answers.
fn panics_in_step(client: &mut Client, burst: &str) -> Verdict {
    client.send(burst)?;
    for _ in 0..20 {
        expect_eq("status of a panic", client.response()?.status(), 500)?;
        let response = client.response()?;
        expect_eq("the answer between panics:", (response.status(), response.text().as_str()), (200, "ok"))?;
    }
    Ok(())
}

pub(super) fn panics_in_a_body(case: &mut Case<'_>) -> Verdict {
    let mut neighbour = case.connect()?;
    next_is_right(case, &mut neighbour)?;
    for nth in 0..20 {
        let gate = case.gate(&format!("g{nth}"));
        let mut client = case.connect()?;
        client.send(case.get(&format!("stream&data=a&flush&gate={gate}&panic")))?;
        client.head()?;
        client.chunk()?;
        case.open(&gate);
        let (rest, _) = client.rest()?;
        expect_eq("behind the panic:", rest.escape_ascii().to_string().as_str(), "")?;
    }
    next_is_right(case, &mut neighbour)
}

pub(super) fn panic_in_a_hook(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    for steps in ["hook=panic&body=fine", "hook=panic&stream&data=fine", "hook&hook=panic&hook&body=fine"] {
        client.send(case.get(steps))?;
        expect_eq("the answer:", client.response()?.text().as_str(), "fine")?;
        next_is_right(case, &mut client)?;
    }
    expect_eq("hooks that ran:", case.settled("finish").len(), 5)?;
    let phases: Vec<_> =
        case.events("report").iter().map(|report| report.text("detail").to_owned()).collect();
    expect_eq("panics reported during", phases, ["Hook"; 3])
}

pub(super) fn panic_in_a_destructor(case: &mut Case<'_>) -> Verdict {
    let mut rows = vec![
        ("GET", "panic-on-drop&body=fine", "fine"),
        ("HEAD", "stream&panic-on-drop&data=x", ""),
        ("GET", "status=304&stream&panic-on-drop&data=x", ""),
    ];
    // A sync body is dropped by the closure that it is, which cannot be told from a panic in there.
    if case.about().form == Form::Async {
        rows.push(("GET", "stream&panic-on-drop&data=fine", "fine"));
    }
    let mut client = case.connect()?;
    for (nth, (method, steps, body)) in rows.into_iter().enumerate() {
        let (key, request) = case.numbered(nth, method, steps, "");
        client.send(request)?;
        let response = client.response_to(method).map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("{method} `{steps}`:"), response.text().as_str(), body)?;
        next_is_right(case, &mut client).map_err(|failure| failure.within(steps))?;
        let reported = case.wait_for("report", |report| report.key() == key);
        let reported = reported.map_err(|failure| failure.within(steps))?;
        expect_eq("the panic is reported during", reported.text("detail"), "Drop")?;
    }
    Ok(())
}

pub(super) fn panic_in_teardown(case: &mut Case<'_>) -> Verdict {
    case.start(Plan { teardown_fails: Some(Failing::Panic), ..Plan::default() })?;
    case.still_serves()?;
    let ended = case.own()?.stop(Duration::from_secs(5))?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    let reported = case.wait_for("report", |report| report.text("report") == "Panicked")?;
    expect_eq("the panic is reported during", reported.text("detail"), "Teardown")
}
