//! H9 to H12: 100 (Continue), and interim heads of the application's own.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::next_is_answered;
use crate::{Case, Verdict, ensure, expect_eq};

const EXPECT: &str = "Expect: 100-continue\r\nContent-Length: 5\r\n";

pub(super) fn continue_at_the_first_pull(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    for fields in [EXPECT, "expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n"] {
        let body = if fields == EXPECT { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
        let mut client = case.connect()?;
        client.send(case.request("POST", &format!("gate={gate}&read&body=ok"), fields))?;
        if fields == EXPECT {
            case.wait_for("held", |_| true)?;
            client.silent().map_err(|failure| failure.within("before the first pull"))?;
            case.open(&gate);
        }
        expect_eq("status of the head at the first pull:", client.head()?.status, 100)?;
        client.send(body)?;
        let response = client.response()?;
        expect_eq("interim heads behind the 100:", response.interim.len(), 0)?;
        expect_eq("answer:", response.text(), "ok")?;
        next_is_answered(case, &mut client)?;
    }
    Ok(())
}

pub(super) fn no_continue_where_none_is_due(case: &mut Case<'_>) -> Verdict {
    for (what, head, body) in [
        (
            "HTTP/1.0",
            format!("POST {} HTTP/1.0\r\nHost: a\r\n{EXPECT}\r\n", case.target("emit=called&read&body=ok")),
            "hello",
        ),
        (
            "GET without a body",
            case.request("GET", "emit=called&read&body=ok", "Expect: 100-continue\r\n"),
            "",
        ),
        (
            "a body of length 0",
            case.request("POST", "emit=called&read&body=ok", "Expect: 100-continue\r\nContent-Length: 0\r\n"),
            "",
        ),
    ] {
        let mut client = case.connect()?;
        client.send(head)?;
        if !body.is_empty() {
            client.silent().map_err(|failure| failure.within(what))?;
            client.send(body)?;
        }
        let response = client.response().map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("interim heads with {what}:"), response.interim.len(), 0)?;
        expect_eq(format_args!("answer with {what}:"), response.text(), "ok")?;
    }
    Ok(())
}

pub(super) fn no_continue_behind_the_final_head(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.request("POST", &format!("stream&data=a&flush&gate={gate}&read&data=b"), EXPECT))?;
    let head = client.head()?;
    expect_eq("status:", head.status, 200)?;
    expect_eq("first chunk:", client.chunk()?, Some(Bytes::from("a")))?;
    case.open(&gate);
    // The pull may fail, or wait for the body; in the stream there is nothing but chunks, whichever it is.
    let _ = client.silent();
    client.send("hello")?;
    while client.chunk()?.is_some() {}
    expect_eq("trailers:", client.trailers()?.len(), 0)
}

pub(super) fn closes_without_the_body(case: &mut Case<'_>) -> Verdict {
    for steps in ["body=no", "status=401", "stream&data=n&data=o"] {
        let mut client = case.connect()?;
        client.send(case.request("POST", steps, EXPECT))?;
        let response = client.response().map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("interim heads with {steps}:"), response.interim.len(), 0)?;
        ensure(
            response.head.connection_has("close"),
            format_args!("{steps}: Connection: close"),
            format_args!("{:?}", response.head.fields),
        )?;
        client.closed().map_err(|failure| failure.within(steps))?;
    }
    Ok(())
}

pub(super) fn continue_on_demand(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.request("POST", &format!("interim=100&gate={gate}&read&body=ok"), EXPECT))?;
    expect_eq("head sent on demand:", client.head()?.status, 100)?;
    expect_eq("result:", case.wait_for("interim", |_| true)?.text("result"), "Ok")?;
    case.open(&gate);
    // The pull comes while the body is still under way.
    client.silent().map_err(|failure| failure.within("no second 100"))?;
    client.send("hello")?;
    let response = client.response()?;
    expect_eq("further interim heads:", response.interim.len(), 0)?;
    expect_eq("answer:", response.text(), "ok")
}

pub(super) fn continue_unexpected(case: &mut Case<'_>) -> Verdict {
    for (what, request) in [
        (
            "no expectation",
            case.request("POST", "interim=100&read&body=ok", "Content-Length: 5\r\n") + "hello",
        ),
        ("no body", case.get("interim=100&read&body=ok")),
    ] {
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("interim heads with {what}:"), response.interim.len(), 0)?;
        expect_eq("answer:", response.text(), "ok")?;
    }
    // Twice on demand is once on the wire.
    let mut client = case.connect()?;
    client.send(case.request("POST", "interim=100&interim=100&read&body=ok", EXPECT))?;
    expect_eq("head sent on demand:", client.head()?.status, 100)?;
    client.send("hello")?;
    expect_eq("further interim heads:", client.response()?.interim.len(), 0)
}

pub(super) fn interim_ahead(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.get(&format!(
        "interim=103:Link:one&interim=103:Link:two&interim=102&interim=199&gate={gate}&body=final"
    )))?;
    for (status, link) in [(103, Some("one")), (103, Some("two")), (102, None), (199, None)] {
        let head = client.head().map_err(|failure| failure.within("while the answer waits"))?;
        expect_eq("interim head:", (head.status, head.one("link")), (status, link))?;
    }
    let results: BTreeSet<_> =
        case.settled("interim").iter().map(|event| event.text("result").to_owned()).collect();
    expect_eq("results:", results.into_iter().collect::<Vec<_>>(), vec!["Ok"])?;
    case.open(&gate);
    let response = client.response()?;
    expect_eq("further interim heads:", response.interim.len(), 0)?;
    expect_eq("answer:", (response.status(), response.text()), (200, "final".to_owned()))?;
    ensure(
        !response.head.has("link"),
        "no interim field in the final head",
        format_args!("{:?}", response.head.fields),
    )?;
    next_is_answered(case, &mut client)
}

pub(super) fn interim_refused(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let rows = [
        ("to HTTP/1.0", "1.0", "interim=103&body=ok", "Unsupported"),
        ("behind the final head", "1.1", "stream&data=o&flush&interim=103&data=k", "TooLate"),
        ("with 101", "1.1", "interim=101&body=ok", "NotInterim"),
        ("with 200", "1.1", "interim=200&body=ok", "NotInterim"),
    ];
    for (n, (what, version, steps, result)) in rows.into_iter().enumerate() {
        let response =
            case.ask(format!("GET /{key}.{n}?{steps} HTTP/{version}\r\nHost: varvel.test\r\n\r\n"))?;
        expect_eq(format_args!("interim heads {what}:"), response.interim.len(), 0)?;
        expect_eq(
            format_args!("answer {what}:"),
            (response.status(), response.text()),
            (200, "ok".to_owned()),
        )?;
        let event = case.wait_for("interim", |event| event.key() == format!("{key}.{n}"))?;
        expect_eq(format_args!("result {what}:"), event.text("result"), result)?;
    }
    Ok(())
}
