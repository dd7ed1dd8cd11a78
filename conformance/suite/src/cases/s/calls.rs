//! S1 to S4, S13, S14, S21: which calls are made, where, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use varvel::{Caps, Policy};

use super::{bytes, held_calls, large};
use crate::{
    Case, Client, Event, Failure, Form, LIMIT, Plan, SILENCE, Tuning, Verdict,
    cases::refusals::{Refused, refused, shown},
    ensure, expect_eq,
    probe::hex,
};

pub(super) fn one_build_per_worker(case: &mut Case<'_>) -> Verdict {
    let tuning = Tuning { workers: 2, ..Tuning::default() };
    case.start(tuning)?;
    for _ in 0..10 {
        case.ask(case.get("body=x"))?;
    }
    let built = case.settled("built");
    one_build_by_each(&built)?;

    let by_serial: BTreeMap<u64, &Event> =
        built.iter().filter_map(|event| Some((event.number("serial")?, event))).collect();
    let calls = case.events("call");
    expect_eq("number of calls:", calls.len(), 10)?;
    for call in &calls {
        let build = call.number("serial").and_then(|serial| by_serial.get(&serial));
        let build =
            build.ok_or_else(|| Failure::new("calls of applications that were built", call.to_string()))?;
        expect_eq("process of the call:", call.number("pid"), build.number("pid"))?;
        let index = &call.field("worker")["index"];
        expect_eq("worker of the call:", index, &build.field("worker")["index"])?;
        // An event loop is a single thread; bridges may call elsewhere.
        if case.about().evented && case.about().form == Form::Async {
            expect_eq("thread of the call:", call.text("thread"), build.text("thread"))?;
        }
    }
    Ok(())
}

/// Sees that in each process as many workers have built as it says that there are, and each of them once.
pub(super) fn one_build_by_each(built: &[Event]) -> Verdict {
    let mut processes = BTreeMap::<_, Vec<&Event>>::new();
    for event in built {
        processes.entry(event.number("pid")).or_default().push(event);
    }
    for built in processes.values() {
        let count = built.len() as u64;
        let stated: BTreeSet<_> =
            built.iter().map(|event| event.field("worker")["workers"].as_u64()).collect();
        expect_eq("workers that a process states, of those that built:", stated, [Some(count)].into())?;
        let indices: BTreeSet<_> =
            built.iter().map(|event| event.field("worker")["index"].as_u64()).collect();
        expect_eq("workers that built:", indices, (0..count).map(Some).collect())?;
    }
    ensure(!processes.is_empty(), "builds", "none")
}

pub(super) fn stopped_under_load(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { workers: 2, ..Tuning::default() })?;
    let go = case.gate("go");
    // Its exchange has begun, so it may be called while the server stops.
    let mut late = case.connect()?;
    let request = case.get("body=late");
    let (begin, rest) = request.split_at(request.len() / 2);
    late.send(begin)?;
    let mut held = case.connect()?;
    held.send(case.get(&format!("stopping&gate={go}&body=held")))?;
    case.wait_for("waiting", |_| true)?;

    let busy = (0..4).map(|_| case.connect()).collect::<Result<Vec<_>, _>>()?;
    let more = case.get("body=busy");
    thread::scope(|scope| {
        for mut client in busy {
            let more = &more;
            // Until the server closes behind an answer.
            scope.spawn(move || while client.try_send(more) && client.response().is_ok() {});
        }
        case.wait_for_nth("call", 100)?;
        case.server().control().stop(LIMIT * 3);
        case.wait_for("stopping", |_| true).map(drop)
    })?;
    late.try_send(rest);
    // What comes of it is for S17 to say.
    let _ = late.response();
    case.open(&go);
    expect_eq("answer of the call that ran:", held.response()?.text(), "held")?;
    let ended = case.own()?.ended()?;
    ensure(matches!(ended, Ok(Ok(_))), "the server returns without an error", format_args!("{ended:?}"))?;

    let (mut built, mut over) = (BTreeSet::new(), BTreeSet::new());
    for event in case.all_events() {
        let serial = event.number("serial");
        match event.kind() {
            "built" => drop(built.insert(serial)),
            "teardown" => drop(over.insert(serial)),
            "call" => ensure(
                built.contains(&serial) && !over.contains(&serial),
                "calls between the build of an application and its teardown",
                &event,
            )?,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn pipelined_in_order(case: &mut Case<'_>) -> Verdict {
    const COUNT: usize = 100;
    let key = case.key().to_owned();
    let one = |n: usize| format!("GET /{key}.{n}?body={n} HTTP/1.1\r\nHost: varvel.test\r\n\r\n");
    let mut client = case.connect()?;
    client.send((0..COUNT).map(one).collect::<String>())?;
    for n in 0..COUNT {
        let response = client.response().map_err(|failure| failure.within(format_args!("answer {n}")))?;
        expect_eq("body of the answer:", response.text(), n.to_string())?;
    }
    let calls: Vec<String> = case.settled("call").iter().map(|call| call.key().to_owned()).collect();
    expect_eq("calls:", calls, (0..COUNT).map(|n| format!("{key}.{n}")).collect::<Vec<_>>())
}

pub(super) fn next_call_waits(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let key = case.key().to_owned();
    let host = "HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
    let mut client = case.connect()?;
    client.send(format!(
        "GET /{key}.first?stream&data=a&flush&gate={gate}&data=b {host}GET /{key}.second?body=c {host}"
    ))?;
    case.wait_for("held", |_| true)?;
    // While the first body is held, a server that runs ahead has all the time it needs.
    case.still_serves()?;
    let second = |event: &Event| event.key().ends_with(".second");
    ensure(
        !case.settled("call").iter().any(second),
        "no second call while the body of the first runs",
        "one",
    )?;
    case.open(&gate);
    expect_eq("first answer:", client.response()?.text(), "ab")?;
    expect_eq("second answer:", client.response()?.text(), "c")?;
    case.server().settle();
    let order: Vec<String> = case
        .all_events()
        .iter()
        .filter(|event| ["call", "call-ended"].contains(&event.kind()) && !event.key().ends_with(".after"))
        .map(|event| format!("{} {}", event.kind(), event.key().rsplit('.').next().unwrap_or_default()))
        .take(3)
        .collect();
    expect_eq("order:", order, vec!["call first", "call-ended first", "call second"])
}

pub(super) fn each_reason_its_status(case: &mut Case<'_>) -> Verdict {
    let long_line = format!("GET /KEY{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let long_field =
        format!("GET /KEY HTTP/1.1\r\nHost: a\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(6_000)).repeat(20));
    let many_fields = format!("GET /KEY HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let mut rows = vec![
        Refused::bad("a request line of one word", b"KEY\r\nHost: a\r\n\r\n"),
        Refused::bad("two spaces in the request line", b"GET  /KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a space in the target", b"GET /KEY x HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a control character in the target", b"GET /KEY\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a method that is no token", b"G(ET /KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("a target without a form", b"GET KEY HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("`*` with another method than OPTIONS", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refused::bad("no Host", b"GET /KEY HTTP/1.1\r\n\r\n"),
        Refused::bad(
            "two lengths",
            b"POST /KEY HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ),
        Refused::with("a foreign version", b"GET /KEY HTTP/2.0\r\nHost: a\r\n\r\n", &[505]),
        Refused::with(
            "an unknown coding",
            b"POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br, chunked\r\n\r\n0\r\n\r\n",
            &[501],
        ),
        Refused {
            what: "an unknown expectation",
            request: b"GET /KEY HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n",
            statuses: &[417],
            closes: false,
        },
    ];
    refused(case, &rows)?;
    // Large heads need no three deliveries.
    rows.clear();
    for (what, request, statuses) in [
        ("a long request line", long_line, [414]),
        ("long fields", long_field, [431]),
        ("many fields", many_fields, [431]),
    ] {
        large(case, what, &request, &statuses)?;
    }
    Ok(())
}

pub(super) fn exclusive_calls_never_overlap(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    case.start(Plan { policy: Policy::default().exclusive(), ..Plan::default() })?;
    let mut clients = held_calls(case, &gate, 3)?;
    case.wait_for("held", |_| true)?;
    overlap(case, &gate, &mut clients, 1)
}

pub(super) fn no_more_than_stated(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let tuning = Tuning { threads: 2, ..Tuning::default() };
    case.start(tuning)?;
    let built = case.wait_for("built", |_| true)?;
    let stated = built.field("worker")["concurrency"].as_u64().filter(|stated| *stated <= 64);
    let Some(stated) = stated else {
        return case.only_if(false, "it states no bound on calls, or a high one");
    };
    let mut clients = held_calls(case, &gate, stated + 2)?;
    overlap(case, &gate, &mut clients, stated)
}

/// Waits for as many calls as may run, sees that no more do, and lets all go.
fn overlap(case: &mut Case<'_>, gate: &str, clients: &mut [Client], most: u64) -> Verdict {
    case.wait_for("call", |call| call.number("overlap") == Some(most))?;
    std::thread::sleep(SILENCE);
    case.open(gate);
    for client in clients {
        expect_eq("answer:", client.response()?.text(), "held")?;
    }
    let overlaps = case.settled("call").iter().filter_map(|call| call.number("overlap")).max();
    expect_eq("most calls at once:", overlaps, Some(most))
}

pub(super) fn others_are_served_meanwhile(case: &mut Case<'_>) -> Verdict {
    let many = case.about().concurrency.is_none_or(|concurrency| concurrency > 1);
    case.only_if(case.about().evented || many, "it makes one call at a time")?;
    let gate = case.gate("go");
    let (steps, answer) = match case.about().form {
        Form::Sync => (format!("block={gate}&body=late"), None),
        // An async call must not block (A1); a job may.
        Form::Async => (format!("offload={gate}&body=soon"), Some("soon")),
    };
    let can_block = answer.is_none() || case.about().caps.contains(Caps::OFFLOAD);
    case.only_if(can_block, "nothing can block")?;
    let mut client = case.connect()?;
    client.send(case.get(&steps))?;
    case.wait_for(if answer.is_some() { "job-began" } else { "held" }, |_| true)?;
    for _ in 0..3 {
        case.still_serves()?;
    }
    if case.about().form == Form::Sync && case.about().caps.contains(Caps::UPGRADE) {
        let mut tunnel = case.connect()?;
        let steps = format!("upgrade&emit=tunnel&block={gate}");
        tunnel.send(case.request("GET", &steps, "Connection: upgrade\r\nUpgrade: test\r\n"))?;
        case.wait_for("mark", |mark| mark.text("name") == "tunnel")?;
        case.still_serves().map_err(|failure| failure.within("beside a tunnel that blocks"))?;
    }
    case.open(&gate);
    expect_eq("answer of the call that blocked:", client.response()?.text(), answer.unwrap_or("late"))
}

pub(super) fn kept_scope_is_too_late(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let mut client = case.connect()?;
    let host = "HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
    client.send(format!("GET /{key}.first?keep&body=one {host}"))?;
    expect_eq("first answer:", client.response()?.text(), "one")?;
    case.wait_for("call-ended", |event| event.key().ends_with(".first"))?;
    client.send(format!("GET /{key}.second?stale={key}.first&body=two {host}"))?;
    let second = client.response()?;
    expect_eq("second answer:", (second.interim.len(), second.text()), (0, "two".to_owned()))?;
    let result = case.wait_for("stale", |_| true)?.text("result").to_owned();
    let has_interim = case.about().caps.contains(Caps::INTERIM);
    expect_eq("interim through a kept handle:", &*result, if has_interim { "TooLate" } else { "Unsupported" })
}

pub(super) fn kept_body_reads_nothing(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let post = |name: &str, steps: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /{key}.{name}?{steps} HTTP/1.1\r\nHost: varvel.test\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let mut client = case.connect()?;
    client.send(post("first", "keep=body&body=one", "first body"))?;
    let first = client.response()?;
    expect_eq("first answer:", first.text(), "one")?;
    if first.head.connection_has("close") {
        client.closed()?;
        client = case.connect()?;
    }
    client.send(post("second", &format!("stale={key}.first&read&body=two"), "second body"))?;
    expect_eq("second answer:", client.response()?.text(), "two")?;
    let stale = case.wait_for("stale", |_| true)?;
    let pulled = stale.text("pulled");
    // What the server had handed over with the call is the application's own.
    let own = pulled.strip_prefix("data ").is_some_and(|data| hex(b"first body").starts_with(data));
    let error =
        ["Incomplete", "Malformed", "TooLarge", "Timeout", "Disconnected", "Failed"].contains(&pulled);
    ensure(own || error, "a pull through a kept body returns an error, or its own data", pulled)?;
    let read = case.wait_for("read", |event| event.key().ends_with(".second"))?;
    expect_eq("what the second call read:", shown(&bytes(read.field("hex"))), "second body")
}
