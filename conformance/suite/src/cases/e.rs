//! Chapter E: errors, panics, and clients that leave.

use std::{thread, time::Duration};

use varvel::{Caps, Policy};
use varvel_spec::ids;

use crate::{
    Case, Check, Client, Event, Failure, Form, Plan, SILENCE, Tuning, Verdict, broken::Fault::*, ensure,
    expect_eq, probe::Failing,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        ids::E1,
        "500-without-detail",
        error_without_detail,
        &[TellsErrorToClient, ErrorEndsConnection],
    ),
    Check::new(ids::E2, "not-a-byte", not_a_byte, &[AbortIs500]),
    Check::new(
        ids::E3,
        "each-kind-its-status",
        each_kind_its_status,
        &[UnavailableIs500, NoRetryAfter, BodyErrorIs500, MalformedKeepsConnection],
    ),
    Check::new(
        ids::E3,
        "errors-of-the-request-body",
        errors_of_the_request_body,
        &[BodyErrorIs500, AllFaultsAreMalformed],
    ),
    Check::new(ids::E3, "trailers-too-large", trailers_too_large, &[LargeTrailersAre400]),
    Check::new(ids::E4, "nothing-behind-a-failure", nothing_behind_a_failure, &[SecondHead]),
    Check::new(
        ids::E5,
        "each-failure-once",
        each_failure_once,
        &[ReportsTwice, ReportsNothing, ReportsWithoutRequest],
    ),
    Check::new(ids::E5, "leaving-is-no-failure", leaving_is_no_failure, &[ReportsDisconnects]),
    Check::new(ids::E6, "thousand-panics", thousand_panics, &[PanicKillsConnection, PanicLeaksPlace]),
    Check::new(ids::E6, "in-a-body", panics_in_a_body, &[FailedAnswerLooksComplete]),
    Check::new(ids::E7, "in-a-hook", panic_in_a_hook, &[HookPanicCloses, HookPanicIsLost]),
    Check::new(ids::E7, "in-a-destructor", panic_in_a_destructor, &[DropPanicCloses, DropPanicIsLost]),
    Check::new(ids::E7, "in-teardown", panic_in_teardown, &[TeardownPanicIsLost]),
    Check::new(
        ids::E8,
        "future-is-dropped",
        future_is_dropped,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E8, "body-is-dropped", body_is_dropped, &[NeverNoticesDisconnect, DisconnectWakesNobody])
        .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E9, "noticed-by-writing", noticed_by_writing, &[IgnoresFailedWrites]),
    Check::new(ids::E10, "finished-all-the-same", finished_all_the_same, &[CancelsDespiteFinish])
        .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E11, "sink-refuses", sink_refuses, &[IgnoresFailedWrites]),
    Check::new(
        ids::E12,
        "truth-of-every-ending",
        truth_of_every_ending,
        &[HookNeverFires, HookKnowsNoStatus, HookCountsFraming, HookSaysCompleted],
    ),
    Check::new(ids::E12, "client-gone", hook_of_a_client_gone, &[HookSaysCompleted, HookNeverFires]),
    Check::new(ids::E12, "client-too-slow", hook_of_a_client_too_slow, &[HookSaysCompleted]),
    Check::new(ids::E12, "not-before-the-end", hook_not_before_the_end, &[HookFiresEarly]),
    Check::new(ids::E12, "end-of-the-tunnel", hook_at_the_end_of_a_tunnel, &[TunnelHookFiresEarly])
        .needs(Caps::UPGRADE),
    Check::new(ids::E12, "stopped", hook_of_a_stopped_exchange, &[NoHookAtDeadline, HookSaysCompleted]),
    Check::new(ids::E13, "what-waits-is-dropped", what_waits_is_dropped, &[IgnoresEndOfSending])
        .needs(Caps::DISCONNECT_WATCH)
        .lacks(Caps::HALF_CLOSE),
    Check::new(ids::E13, "what-is-ready-is-sent", what_is_ready_is_sent, &[DiscardsForHalfClosed]),
    Check::new(
        ids::E14,
        "all-answers-to-the-half-closed",
        all_answers_to_the_half_closed,
        &[AnswersOneBeforeEnd, SinkRefusesHalfClosed],
    )
    .needs(Caps::HALF_CLOSE),
    Check::new(ids::E15, "sync-calls-run-on", sync_calls_run_on, &[IgnoresFailedWrites]),
    Check::new(
        ids::E16,
        "who-watches-is-woken",
        who_watches_is_woken,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E16, "over-counts-as-gone", over_counts_as_gone, &[FinishedLooksConnected]),
];

/// An endless stream, as far as a check is concerned.
const ENDLESS: &str = "stream&frames=1000000:65536";

/// A request of this check with a key of its own, so that its events are told apart.
fn numbered(case: &Case<'_>, nth: usize, method: &str, steps: &str, fields: &str) -> (String, String) {
    let key = format!("{}.{nth}", case.key());
    let request = format!("{method} /{key}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n{fields}\r\n");
    (key, request)
}

/// Sees that the connection is in step and answers another request.
fn next_is_right(case: &Case<'_>, client: &mut Client) -> Verdict {
    client.send(case.get("body=next"))?;
    let next = client.response().map_err(|failure| failure.within("the next request on the connection"))?;
    expect_eq("the next answer on the connection:", (next.status(), next.text().as_str()), (200, "next"))
}

fn error_without_detail(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let mut bodies = Vec::new();
    for steps in ["fail=internal", "read&fail=internal", "panic", "panic-early"] {
        client.send(case.request("POST", steps, "Content-Length: 5\r\n") + "hello")?;
        let response = client.response()?;
        expect_eq(format_args!("status after `{steps}`"), response.status(), 500)?;
        bodies.push(response.text());
        next_is_right(case, &mut client)?;
    }
    ensure(
        bodies.iter().all(|body| *body == bodies[0] && !body.contains("probe") && body.len() < 1000),
        "one short body that tells nothing of the error",
        format_args!("{bodies:?}"),
    )
}

fn not_a_byte(case: &mut Case<'_>) -> Verdict {
    for (method, steps) in [("GET", "fail=abort"), ("POST", "read&fail=abort")] {
        let mut client = case.connect()?;
        let body = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        client.send(case.request(method, steps, body))?;
        client.closed()?;
    }
    case.still_serves()
}

fn each_kind_its_status(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("internal", 500, true),
        ("unavailable", 503, true),
        ("too-large", 413, true),
        ("malformed", 400, false),
        ("incomplete", 400, false),
        ("timeout", 408, false),
        ("failed", 500, true),
    ];
    for (kind, status, stays) in rows {
        let mut client = case.connect()?;
        client.send(case.get(&format!("fail={kind}")))?;
        let response = client.response().map_err(|failure| failure.within(kind))?;
        expect_eq(format_args!("{kind}: status"), response.status(), status)?;
        if status == 503 {
            ensure(
                response.head.has("retry-after"),
                "503 with Retry-After",
                format_args!("{:?}", response.head),
            )?;
        }
        match stays {
            true => next_is_right(case, &mut client).map_err(|failure| failure.within(kind))?,
            false => drop(client.closed().map_err(|failure| failure.within(kind))?),
        }
    }
    let mut client = case.connect()?;
    client.send(case.get("fail=disconnected"))?;
    client.closed().map(drop).map_err(|failure| failure.within("disconnected"))
}

fn errors_of_the_request_body(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning {
        body_bytes_max: Some(100),
        body_timeout: Duration::from_millis(300),
        ..Tuning::default()
    })?;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let too_long = format!("c8\r\n{}\r\n0\r\n\r\n", "x".repeat(200));
    for (what, fields, body, status) in [
        ("a chunk outside the grammar", chunked, "5\r\nhelloworld\r\n", 400),
        ("a body above the limit", chunked, too_long.as_str(), 413),
        ("a body that stops", "Content-Length: 10\r\n", "hello", 408),
    ] {
        let response = case.ask(case.request("POST", "read&pass", fields) + body);
        let response = response.map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("{what}: status"), response.status(), status)?;
    }
    Ok(())
}

fn trailers_too_large(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let mut request = case.request("POST", "read&pass", "Transfer-Encoding: chunked\r\n");
    request += "1\r\nx\r\n0\r\n";
    for nth in 0..2000 {
        request += &format!("X-{nth}: {}\r\n", "y".repeat(100));
    }
    client.try_send(request + "\r\n");
    expect_eq("status", client.response()?.status(), 431)
}

fn nothing_behind_a_failure(case: &mut Case<'_>) -> Verdict {
    for (nth, fails) in
        ["fail=failed", "panic", "fail=malformed", "fail=timeout", "fail=too-large", "fail=disconnected"]
            .iter()
            .enumerate()
    {
        let gate = case.gate(&format!("g{nth}"))?;
        let mut client = case.connect()?;
        client.send(case.get(&format!("stream&data=a&flush&gate={gate}&{fails}")))?;
        client.head()?;
        client.chunk()?;
        // Nor must a request behind it be answered.
        client.send(case.get("body=next"))?;
        case.open(&gate);
        let (rest, _) = client.rest()?;
        expect_eq(format_args!("behind the head, {fails}:"), rest.escape_ascii().to_string().as_str(), "")?;
    }
    Ok(())
}

fn each_failure_once(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("fail=internal", "AppFailed", "Internal"),
        ("fail=unavailable", "AppFailed", "Unavailable"),
        ("fail=failed", "AppFailed", "Body(Failed)"),
        ("panic", "Panicked", "Call"),
        ("panic-early", "Panicked", "Call"),
        ("stream&data=a&flush&fail=failed", "BodyFailed", "Failed"),
        ("stream&data=a&flush&panic", "Panicked", "Body"),
        ("header=Connection:x&body=a", "Contract", "H5"),
        ("header=Content-Length:5&stream&data=a", "Contract", "H4"),
        ("header=Content-Length:1&stream&data=ab", "Contract", "H4"),
        ("status=600", "Contract", "H21"),
        ("status=101", "Contract", "U7"),
    ];
    for (nth, (steps, report, detail)) in rows.iter().enumerate() {
        let (key, request) = numbered(case, nth, "GET", &format!("hook&{steps}"), "");
        let mut client = case.connect()?;
        client.send(request)?;
        let within = |failure: Failure| failure.within(steps);
        case.wait_for("finish", |event| event.key() == key).map_err(within)?;
        let seen = case.wait_for("report", |event| event.key() == key).map_err(within)?;
        expect_eq(
            format_args!("`{steps}` is reported as"),
            (seen.text("report"), seen.text("detail")),
            (*report, *detail),
        )?;
        let call = case.wait_for("call", |event| event.key() == key)?;
        expect_eq(
            format_args!("`{steps}` is reported with"),
            (seen.text("method"), seen.text("target"), seen.number("connection"), seen.number("exchange")),
            (
                "GET",
                format!("/{key}?hook&{steps}").as_str(),
                call.number("connection"),
                call.number("number"),
            ),
        )?;
    }
    let reports = case.settled("report")?;
    for (nth, (steps, ..)) in rows.iter().enumerate() {
        let key = format!("{}.{nth}", case.key());
        let count = reports.iter().filter(|report| report.key() == key).count();
        expect_eq(format_args!("reports of `{steps}`:"), count, 1)?;
    }
    Ok(())
}

fn leaving_is_no_failure(case: &mut Case<'_>) -> Verdict {
    let (key, request) = numbered(case, 0, "GET", &format!("hook&{ENDLESS}"), "");
    let mut client = case.connect()?;
    client.send(request)?;
    client.head()?;
    client.reset();
    case.wait_for("finish", |event| event.key() == key)?;

    let (key, request) = numbered(case, 1, "POST", "hook&read&pass", "Content-Length: 10\r\n");
    let mut client = case.connect()?;
    client.send(request + "hello")?;
    client.half_close()?;
    case.wait_for("finish", |event| event.key() == key)?;

    let (key, request) = numbered(case, 2, "GET", "hook&fail=disconnected", "");
    let mut client = case.connect()?;
    client.send(request)?;
    case.wait_for("finish", |event| event.key() == key)?;

    let reports: Vec<_> =
        case.settled("report")?.iter().map(|report| report.text("text").to_owned()).collect();
    expect_eq("reports of clients that left:", reports, Vec::<String>::new())
}

fn thousand_panics(case: &mut Case<'_>) -> Verdict {
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

fn panics_in_a_body(case: &mut Case<'_>) -> Verdict {
    let mut neighbour = case.connect()?;
    next_is_right(case, &mut neighbour)?;
    for nth in 0..20 {
        let gate = case.gate(&format!("g{nth}"))?;
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

fn panic_in_a_hook(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    for steps in ["hook=panic&body=fine", "hook=panic&stream&data=fine", "hook&hook=panic&hook&body=fine"] {
        client.send(case.get(steps))?;
        expect_eq("the answer:", client.response()?.text().as_str(), "fine")?;
        next_is_right(case, &mut client)?;
    }
    expect_eq("hooks that ran:", case.settled("finish")?.len(), 5)?;
    let phases: Vec<_> =
        case.events("report").iter().map(|report| report.text("detail").to_owned()).collect();
    expect_eq("panics reported during", phases, ["Hook"; 3])
}

fn panic_in_a_destructor(case: &mut Case<'_>) -> Verdict {
    let mut rows = vec![
        ("GET", "panic-on-drop&body=fine", "fine"),
        ("HEAD", "stream&panic-on-drop&data=x", ""),
        ("GET", "status=304&stream&panic-on-drop&data=x", ""),
    ];
    // A sync body is dropped by the closure that it is, which cannot be told from a panic in there.
    if case.about().evented && case.about().form == Form::Async {
        rows.push(("GET", "stream&panic-on-drop&data=fine", "fine"));
    }
    let mut client = case.connect()?;
    for (nth, (method, steps, body)) in rows.into_iter().enumerate() {
        let (key, request) = numbered(case, nth, method, steps, "");
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

fn panic_in_teardown(case: &mut Case<'_>) -> Verdict {
    case.start(Plan { teardown_fails: Some(Failing::Panic), ..Plan::default() })?;
    case.still_serves()?;
    let ended = case.own()?.stop(Duration::from_secs(5))?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    let reported = case.wait_for("report", |report| report.text("report") == "Panicked")?;
    expect_eq("the panic is reported during", reported.text("detail"), "Teardown")
}

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

fn async_only(case: &Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Async, "sync calls are not abandoned")
}

fn sync_only(case: &Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Sync, "it is about sync calls")
}

fn future_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never")?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = numbered(case, nth, "GET", &format!("hook&gate={gate}"), "");
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

fn body_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never")?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = numbered(case, nth, "GET", &format!("stream&data=a&flush&gate={gate}"), "");
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

fn noticed_by_writing(case: &mut Case<'_>) -> Verdict {
    // What lies unread behind the request hides the disconnect from reads.
    let rows = [("GET", "", case.get("body=next")), ("POST", "Content-Length: 100000\r\n", "x".repeat(1000))];
    for (nth, (method, fields, behind)) in rows.into_iter().enumerate() {
        let (key, request) = numbered(case, nth, method, &format!("hook&{ENDLESS}"), fields);
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

fn finished_all_the_same(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    case.start(finish_policy())?;
    let (first, second) = (case.gate("first")?, case.gate("second")?);
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

fn sink_refuses(case: &mut Case<'_>) -> Verdict {
    const FRAME: u64 = 16 * 1024;
    sync_only(case)?;
    let gate = case.gate("go")?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&data=a&flush&gate={gate}&frames=100000:{FRAME}")))?;
    client.head()?;
    client.chunk()?;
    client.reset();
    case.open(&gate);
    let refused = case.wait_for("push-failed", |_| true)?;
    expect_eq("the sink says", refused.text("error"), "Disconnected")?;
    let accepted = case.settled("sent")?.len() as u64 * FRAME;
    let bound = case.about().write_high_water + FRAME;
    ensure(
        accepted <= bound,
        format_args!("no more than {bound} bytes accepted after the reset"),
        format_args!("{accepted} bytes"),
    )
}

/// A hook's event.
fn finish_of(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    case.wait_for("finish", |event| event.key() == key)
}

fn truth_of_every_ending(case: &mut Case<'_>) -> Verdict {
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
        let (key, request) = numbered(case, nth, method, &format!("hook&{steps}"), "");
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
    let (key, request) = numbered(case, rows.len(), "GET", "hook&fail=abort", "");
    let mut client = case.connect()?;
    client.send(request)?;
    let finish = finish_of(case, &key)?;
    expect_eq(
        "the end of an abort, with status and bytes:",
        (finish.text("outcome"), finish.number("status"), finish.number("bytes")),
        ("Failed", None, Some(0)),
    )?;
    let (key, request) = numbered(case, rows.len() + 1, "GET", "hook&stream&data=hello&flush&panic", "");
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
    let hooks = case.settled("finish")?.len();
    expect_eq("hooks that ran, one for each exchange:", hooks, rows.len() + 2)
}

fn hook_of_a_client_gone(case: &mut Case<'_>) -> Verdict {
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

fn hook_of_a_client_too_slow(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { write_timeout: Duration::from_millis(300), ..Tuning::default() })?;
    let mut client = case.connect()?;
    client.small_buffers()?;
    client.send(case.get("hook&size=33554432"))?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("the end:", finish.text("outcome"), "TimedOut")
}

fn hook_not_before_the_end(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get("hook&size=33554432"))?;
    client.head()?;
    thread::sleep(SILENCE);
    expect_eq("hooks that ran while the client had not read:", case.settled("finish")?.len(), 0)?;
    client.exactly(32 << 20)?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("bytes", finish.number("bytes"), Some(32 << 20))
}

fn hook_at_the_end_of_a_tunnel(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let fields = "Connection: upgrade\r\nUpgrade: test\r\n";
    client.send(case.request("GET", "hook&upgrade&read=1&data=ok", fields))?;
    expect_eq("status", client.head()?.status, 101)?;
    case.wait_for("tunnel-began", |_| true)?;
    thread::sleep(SILENCE);
    expect_eq("hooks that ran while the tunnel was open:", case.settled("finish")?.len(), 0)?;
    client.send("x")?;
    expect_eq("from the tunnel:", client.exactly(2)?, b"ok")?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq(
        "the end, and the status sent:",
        (finish.text("outcome"), finish.number("status")),
        ("Completed", Some(101)),
    )
}

fn hook_of_a_stopped_exchange(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    case.start(Tuning::default())?;
    let gate = case.gate("never")?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("hook&gate={gate}")))?;
    case.wait_for("held", |_| true)?;
    let ended = case.own()?.stop(Duration::ZERO)?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("the end:", finish.text("outcome"), "Stopped")
}

fn what_waits_is_dropped(case: &mut Case<'_>) -> Verdict {
    async_only(case)?;
    let gate = case.gate("never")?;
    for (nth, steps) in [format!("gate={gate}"), format!("stream&data=a&gate={gate}")].iter().enumerate() {
        let (key, request) = numbered(case, nth, "GET", steps, "");
        let mut client = case.connect()?;
        client.send(request)?;
        client.half_close()?;
        case.wait_for("call-ended", |event| event.key() == key)?;
        // The client still listens, and learns that there will be no answer.
        client.rest()?;
    }
    Ok(())
}

fn what_is_ready_is_sent(case: &mut Case<'_>) -> Verdict {
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

fn all_answers_to_the_half_closed(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
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

fn sync_calls_run_on(case: &mut Case<'_>) -> Verdict {
    sync_only(case)?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let gate = case.gate(&format!("g{nth}"))?;
        let (key, request) = numbered(case, nth, "GET", &format!("gate={gate}&emit=after&{ENDLESS}"), "");
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

fn who_watches_is_woken(case: &mut Case<'_>) -> Verdict {
    // Nothing else must end the call.
    case.start(finish_policy())?;
    for (nth, (how, leave)) in ways_to_leave(case).into_iter().enumerate() {
        let (key, request) = numbered(case, nth, "GET", "disconnected", "");
        let mut client = case.connect()?;
        client.send(request)?;
        case.wait_for("waiting", |event| event.key() == key)?;
        leave(client);
        let woken = case.wait_for("disconnected", |event| event.key() == key);
        expect_eq("is_disconnected", woken.map_err(|failure| failure.within(how))?.is("is"), true)?;
    }
    Ok(())
}

fn over_counts_as_gone(case: &mut Case<'_>) -> Verdict {
    let (key, request) = numbered(case, 0, "GET", "keep&body=first", "");
    let mut client = case.connect()?;
    client.send(request)?;
    client.response()?;
    client.send(case.get(&format!("stale={key}&body=second")))?;
    client.response()?;
    let stale = case.wait_for("stale", |_| true)?;
    expect_eq("is_disconnected of an exchange that is over:", stale.is("disconnected"), true)
}
