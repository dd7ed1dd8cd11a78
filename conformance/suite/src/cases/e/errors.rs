//! E1 to E5: what the client sees of an error, and the operator.

use std::time::Duration;

use super::{ENDLESS, next_is_right};
use crate::{Case, Failure, Tuning, Verdict, ensure, expect_eq};

pub(super) fn error_without_detail(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn not_a_byte(case: &mut Case<'_>) -> Verdict {
    for (method, steps) in [("GET", "fail=abort"), ("POST", "read&fail=abort")] {
        let mut client = case.connect()?;
        let body = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        client.send(case.request(method, steps, body))?;
        client.closed()?;
    }
    case.still_serves()
}

pub(super) fn each_kind_its_status(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn errors_of_the_request_body(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn trailers_too_large(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let mut request = case.request("POST", "read&pass", "Transfer-Encoding: chunked\r\n");
    request += "1\r\nx\r\n0\r\n";
    for nth in 0..2000 {
        request += &format!("X-{nth}: {}\r\n", "y".repeat(100));
    }
    client.try_send(request + "\r\n");
    expect_eq("status", client.response()?.status(), 431)
}

pub(super) fn nothing_behind_a_failure(case: &mut Case<'_>) -> Verdict {
    for (nth, fails) in
        ["fail=failed", "panic", "fail=malformed", "fail=timeout", "fail=too-large", "fail=disconnected"]
            .iter()
            .enumerate()
    {
        let gate = case.gate(&format!("g{nth}"));
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

pub(super) fn each_failure_once(case: &mut Case<'_>) -> Verdict {
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
        let (key, request) = case.numbered(nth, "GET", &format!("hook&{steps}"), "");
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
    let reports = case.settled("report");
    for (nth, (steps, ..)) in rows.iter().enumerate() {
        let key = format!("{}.{nth}", case.key());
        let count = reports.iter().filter(|report| report.key() == key).count();
        expect_eq(format_args!("reports of `{steps}`:"), count, 1)?;
    }
    Ok(())
}

pub(super) fn leaving_is_no_failure(case: &mut Case<'_>) -> Verdict {
    let (key, request) = case.numbered(0, "GET", &format!("hook&{ENDLESS}"), "");
    let mut client = case.connect()?;
    client.send(request)?;
    client.head()?;
    client.reset();
    case.wait_for("finish", |event| event.key() == key)?;

    let (key, request) = case.numbered(1, "POST", "hook&read&pass", "Content-Length: 10\r\n");
    let mut client = case.connect()?;
    client.send(request + "hello")?;
    client.half_close()?;
    case.wait_for("finish", |event| event.key() == key)?;

    let (key, request) = case.numbered(2, "GET", "hook&fail=disconnected", "");
    let mut client = case.connect()?;
    client.send(request)?;
    case.wait_for("finish", |event| event.key() == key)?;

    let reports: Vec<_> =
        case.settled("report").iter().map(|report| report.text("text").to_owned()).collect();
    expect_eq("reports of clients that left:", reports, Vec::<String>::new())
}
