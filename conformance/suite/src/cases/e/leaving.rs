//! E8 to E11, E13 to E16: clients that leave, or only stop sending.

use std::{
    thread,
    time::{Duration, Instant},
};

use varvel::{Caps, OnDisconnect, Policy};

use super::{ENDLESS, async_only};
use crate::{Case, Client, Failure, Form, Plan, SILENCE, Verdict, ensure, expect_eq};

/// A way to leave, by name.
type Leave = (&'static str, fn(Client));

/// How a client can leave so that this server can notice.
fn ways_to_leave(case: &Case<'_>) -> Vec<Leave> {
    let mut ways: Vec<Leave> = vec![("reset", Client::reset)];
    // On the wire a close is no more than the end of sending, until the server writes.
    if !case.about().caps.contains(Caps::HALF_CLOSE) {
        ways.push(("close", Client::close));
    }
    ways
}

pub(super) fn future_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never");
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", &format!("hook&gate={gate}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        leave(client);
        let dropped = case.wait_for("future-dropped", |event| event.key() == key);
        let dropped = dropped.map_err(|failure| failure.within(how))?;
        expect_eq("the future had completed:", dropped.is("completed"), false)?;
        let finish = case.wait_for("finish", |event| event.key() == key)?;
        expect_eq("the exchange is said to be", finish.text("outcome"), "Disconnected")?;
        let order: Vec<_> = case
            .all_events()
            .iter()
            .filter(|event| event.key() == key && ["future-dropped", "finish"].contains(&event.kind()))
            .map(|event| event.kind().to_owned())
            .collect();
        expect_eq("in this order:", order, ["future-dropped", "finish"])?;
    }
    Ok(())
}

pub(super) fn within_a_second(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never");
    let mut took = Vec::new();
    // A machine that is busy is given several chances.
    for nth in 0..3 {
        let (key, request) = case.numbered(nth, "GET", &format!("gate={gate}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        let left = Instant::now();
        client.reset();
        case.wait_for("future-dropped", |event| event.key() == key)?;
        took.push(left.elapsed());
        if took[nth] <= Duration::from_secs(1) {
            return Ok(());
        }
    }
    Err(Failure::new("a future dropped within a second of the disconnect", format!("after {took:?}")))
}

pub(super) fn body_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never");
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", &format!("stream&data=a&flush&gate={gate}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        client.head()?;
        client.chunk()?;
        leave(client);
        let dropped = case.wait_for("body-dropped", |event| event.key() == key);
        let dropped = dropped.map_err(|failure| failure.within(how))?;
        expect_eq("the body had ended:", dropped.is("ended"), false)?;
    }
    Ok(())
}

pub(super) fn noticed_by_writing(case: &mut Case<'_>) -> Verdict {
    // What lies unread behind the request hides the disconnect from reads.
    let rows = [("GET", "", case.get("body=next")), ("POST", "Content-Length: 100000\r\n", "x".repeat(1000))];
    for (nth, (method, fields, behind)) in rows.into_iter().enumerate() {
        let (key, request) = case.numbered(nth, method, &format!("hook&{ENDLESS}"), fields);
        let mut client = case.connect()?;
        client.send(request + &behind)?;
        client.head()?;
        client.reset();
        let finish = case.wait_for("finish", |event| event.key() == key)?;
        expect_eq("the exchange is said to be", finish.text("outcome"), "Disconnected")?;
    }
    Ok(())
}

fn finish_policy() -> Plan {
    Plan { policy: Policy::default().finish_on_disconnect(), ..Plan::default() }
}

pub(super) fn finished_all_the_same(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    case.start(finish_policy())?;
    let (first, second) = (case.gate("first"), case.gate("second"));
    let mut client = case.connect()?;
    client.send(case.get(&format!(
        "disconnected&gate={first}&emit=called&stream&data=a&gate={second}&data=b&emit=produced"
    )))?;
    case.wait_for("waiting", |_| true)?;
    client.reset();
    case.wait_for("held", |event| event.text("name") == first)?;
    case.open(&first);
    case.wait_for("held", |event| event.text("name") == second)?;
    case.open(&second);
    case.wait_for("mark", |event| event.text("name") == "produced").map(drop)
}

pub(super) fn sink_refuses(case: &mut Case<'_>) -> Verdict {
    const FRAME: u64 = 16 * 1024;
    sync_only(case)?;
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&data=a&flush&gate={gate}&frames=100000:{FRAME}")))?;
    client.head()?;
    client.chunk()?;
    client.reset();
    case.open(&gate);
    let refused = case.wait_for("push-failed", |_| true)?;
    expect_eq("the sink says", refused.text("error"), "Disconnected")?;
    let accepted = case.settled("sent").len() as u64 * FRAME;
    // One frame may exceed each of the two marks of a bridge.
    let high_water = case.about().write_high_water;
    let bound = high_water + high_water / 4 + 2 * FRAME;
    ensure(
        accepted <= bound,
        format_args!("no more than {bound} bytes accepted after the reset"),
        format_args!("{accepted} bytes"),
    )
}

pub(super) fn what_waits_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never");
    for (nth, steps) in [format!("gate={gate}"), format!("stream&data=a&gate={gate}")].iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", steps, "");
        let mut client = case.connect()?;
        client.send(request)?;
        client.half_close()?;
        case.wait_for("call-ended", |event| event.key() == key)?;
        // The client still listens, and learns that there will be no answer.
        client.rest()?;
    }
    Ok(())
}

pub(super) fn answered_all_the_same(case: &mut Case<'_>) -> Verdict {
    let mut policy = Policy::default();
    policy.on_disconnect = OnDisconnect::Answer;
    case.start(Plan { policy, ..Plan::default() })?;
    for (nth, steps) in
        ["disconnected&body=answered", "stream&disconnected&data=answered"].into_iter().enumerate()
    {
        let (key, request) = case.numbered(nth, "GET", steps, "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("waiting", |event| event.key() == key)?;
        client.half_close()?;
        let told = case.wait_for("disconnected", |event| event.key() == key);
        expect_eq("is_disconnected", told.map_err(|failure| failure.within(steps))?.is("is"), true)?;
        let response = client.response().map_err(|failure| failure.within(steps))?;
        expect_eq("the answer to a client that still reads:", response.text().as_str(), "answered")?;
    }
    Ok(())
}

pub(super) fn what_is_ready_is_sent(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("GET", "body=ready", "", ""),
        ("GET", "stream&data=re&data=ady", "", ""),
        ("POST", "read&body=ready", "Content-Length: 5\r\n", "hello"),
    ];
    for _ in 0..20 {
        for (method, steps, fields, body) in rows {
            let mut client = case.connect()?;
            client.send(case.request(method, steps, fields) + body)?;
            client.half_close()?;
            let response = client.response().map_err(|failure| failure.within(steps))?;
            expect_eq(format_args!("`{steps}`:"), response.text().as_str(), "ready")?;
            client.closed()?;
        }
    }
    Ok(())
}

pub(super) fn all_answers_to_the_half_closed(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.get(&format!("gate={gate}&stream&data=first")) + &case.get("stream&data=second"))?;
    client.half_close()?;
    case.wait_for("held", |_| true)?;
    client.silent()?;
    case.open(&gate);
    expect_eq("the first answer:", client.response()?.text().as_str(), "first")?;
    expect_eq("the second answer:", client.response()?.text().as_str(), "second")?;
    client.closed().map(drop)
}

pub(super) fn sync_calls_run_on(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let gate = case.gate(&format!("g{nth}"));
        let (key, request) = case.numbered(nth, "GET", &format!("gate={gate}&emit=after&{ENDLESS}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        leave(client);
        thread::sleep(SILENCE);
        case.open(&gate);
        let after = case.wait_for("mark", |event| event.key() == key);
        after.map_err(|failure| failure.within(format_args!("after a {how}")))?;
        case.wait_for("push-failed", |event| event.key() == key)?;
    }
    Ok(())
}

pub(super) fn who_watches_is_woken(case: &mut Case<'_>) -> Verdict {
    // Nothing else must end the call.
    case.start(finish_policy())?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", "disconnected", "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("waiting", |event| event.key() == key)?;
        leave(client);
        let woken = case.wait_for("disconnected", |event| event.key() == key);
        expect_eq("is_disconnected", woken.map_err(|failure| failure.within(how))?.is("is"), true)?;
    }
    Ok(())
}

pub(super) fn another_thread_is_woken(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("never");
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = case.numbered(nth, "GET", &format!("watch&gate={gate}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("held", |event| event.key() == key)?;
        leave(client);
        let woken = case.wait_for("disconnected", |event| event.key() == key);
        expect_eq("is_disconnected", woken.map_err(|failure| failure.within(how))?.is("is"), true)?;
    }
    Ok(())
}

pub(super) fn over_counts_as_gone(case: &mut Case<'_>) -> Verdict {
    let (key, request) = case.numbered(0, "GET", "keep&body=first", "");
    let mut client = case.connect()?;
    client.send(request)?;
    client.response()?;
    client.send(case.get(&format!("stale={key}&body=second")))?;
    client.response()?;
    let stale = case.wait_for("stale", |_| true)?;
    expect_eq("is_disconnected of an exchange that is over:", stale.is("disconnected"), true)
}

fn sync_only(case: &Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Sync, "it is about sync calls")
}
