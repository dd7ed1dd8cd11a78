//! B5, B6, B9 to B12, B18: the body of an answer, its frames, its trailers, its end.

use bytes::Bytes;

use crate::{Case, Client, End, Failure, Form, Framing, Verdict, cases::flood::PIECE, expect_eq};

pub(super) fn trailers_if_asked_for(case: &mut Case<'_>) -> Verdict {
    for te in ["trailers", "gzip, Trailers"] {
        let fields = format!("TE: {te}\r\nConnection: TE\r\n");
        let response = case.ask(case.request("GET", "stream&data=abc&trailers=X-Sum:1", &fields))?;
        expect_eq("framing", response.framing, Framing::Chunked)?;
        expect_eq("body", response.text().as_str(), "abc")?;
        let trailers: Vec<_> = response
            .trailers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        expect_eq("trailers", trailers, [("x-sum".to_owned(), Bytes::from("1"))])?;
    }
    Ok(())
}

pub(super) fn no_trailers_otherwise(case: &mut Case<'_>) -> Verdict {
    let with_te = "TE: trailers\r\nConnection: TE\r\n";
    let rows = [
        ("without TE", case.get("stream&data=abc&trailers=X-Sum:1")),
        (
            "with a TE of something else",
            case.request("GET", "stream&data=abc&trailers=X-Sum:1", "TE: gzip\r\nConnection: TE\r\n"),
        ),
        ("with a declared length", case.request("GET", "stream=3&data=abc&trailers=X-Sum:1", with_te)),
        (
            "on HTTP/1.0",
            case.request("GET", "stream&data=abc&trailers=X-Sum:1", with_te).replace("HTTP/1.1", "HTTP/1.0"),
        ),
    ];
    for (what, request) in rows {
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("{what}, body"), response.text().as_str(), "abc")?;
        expect_eq(format_args!("{what}, trailers"), response.trailers, [])?;
    }
    Ok(())
}

pub(super) fn empty_frames_mean_nothing(case: &mut Case<'_>) -> Verdict {
    let frames = "data&data=a&data&flush&data=b&data";
    let mut client = case.connect()?;
    for length in ["", "=2"] {
        client.send(case.get(&format!("stream{length}&{frames}")))?;
        expect_eq("body", client.response()?.text().as_str(), "ab")?;
    }
    client.send(case.get(&format!("stream&{frames}")).replace("HTTP/1.1", "HTTP/1.0"))?;
    expect_eq("body on HTTP/1.0", client.response()?.text().as_str(), "ab")
}

pub(super) fn each_frame_arrives(case: &mut Case<'_>) -> Verdict {
    for (nth, length) in ["", "=3"].iter().enumerate() {
        let gates = [case.gate(&format!("{nth}a")), case.gate(&format!("{nth}b"))];
        let [first, second] = &gates;
        let steps = format!("stream{length}&data=a&flush&gate={first}&data=b&flush&gate={second}&data=c");
        let mut client = case.connect()?;
        client.send(case.get(&steps))?;
        let chunked = client.head()?.has("transfer-encoding");
        let next = |client: &mut Client| match chunked {
            true => client.chunk().map(Option::unwrap_or_default),
            false => client.exactly(1),
        };
        for (expected, gate) in [("a", Some(first)), ("b", Some(second)), ("c", None)] {
            expect_eq("the frame that was flushed:", next(&mut client)?, expected)?;
            if let Some(gate) = gate {
                case.open(gate);
            }
        }
    }
    Ok(())
}

pub(super) fn head_ahead_of_any_frame(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&flush&gate={gate}&data=late")))?;
    let head = client.head().map_err(|failure| failure.within("while the body is pending"))?;
    expect_eq("status", head.status, 200)?;
    case.open(&gate);
    expect_eq("the frame behind it:", client.chunk()?, Some(Bytes::from("late")))
}

/// Has a body fail once its first frame has arrived; returns what came behind that.
fn failed_behind_a_frame(case: &mut Case<'_>, stream: &str, version: &str) -> Result<(Bytes, End), Failure> {
    let gate = case.gate("fail");
    let mut client = case.connect()?;
    let steps = format!("{stream}&data=hello&flush&gate={gate}&fail=failed");
    client.send(case.get(&steps).replace("HTTP/1.1", version))?;
    let head = client.head()?;
    let first = match head.has("transfer-encoding") {
        true => client.chunk()?.unwrap_or_default(),
        false => client.exactly(5)?,
    };
    expect_eq("the frame ahead of the failure:", first, "hello")?;
    case.open(&gate);
    client.rest()
}

pub(super) fn no_last_chunk(case: &mut Case<'_>) -> Verdict {
    let (rest, _) = failed_behind_a_frame(case, "stream", "HTTP/1.1")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")?;
    case.wait_for("report", |report| report.text("report") == "BodyFailed").map(drop)
}

pub(super) fn short_of_its_length(case: &mut Case<'_>) -> Verdict {
    let (rest, _) = failed_behind_a_frame(case, "stream=10", "HTTP/1.1")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")
}

pub(super) fn reset_where_the_close_is_the_end(case: &mut Case<'_>) -> Verdict {
    let (rest, end) = failed_behind_a_frame(case, "stream", "HTTP/1.0")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")?;
    expect_eq("the end of the connection:", end, End::Reset)
}

pub(super) fn dropped_once_however_it_ends(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("complete", "GET", "stream&data=a"),
        ("HEAD", "HEAD", "stream&data=a"),
        ("204", "GET", "status=204&stream&data=a"),
        ("304", "GET", "status=304&stream&data=a"),
        ("a failure", "GET", "stream&data=a&fail=failed"),
        ("a panic", "GET", "stream&data=a&panic"),
        ("a bad status", "GET", "status=101&stream&data=a"),
    ];
    for (nth, (what, method, steps)) in rows.iter().enumerate() {
        let (key, request) = case.numbered(nth, method, steps, "");
        let mut client = case.connect()?;
        client.send(request)?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key);
        dropped.map_err(|failure| failure.within(what))?;
        // While the connection is still open.
        drop(client);
    }
    for (nth, (what, ..)) in rows.iter().enumerate() {
        let key = format!("{}.{nth}", case.key());
        let drops = case.settled("body-dropped").iter().filter(|event| event.key() == key).count();
        expect_eq(format_args!("drops of the body, {what}:"), drops, 1)?;
    }
    Ok(())
}

pub(super) fn dropped_when_the_client_leaves(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&frames={}:{PIECE}", 1 << 20)))?;
    client.head()?;
    client.reset();
    case.wait_for("body-dropped", |_| true)?;
    expect_eq("drops of the body:", case.settled("body-dropped").len(), 1)
}

pub(super) fn not_asked_behind_the_end(case: &mut Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Async, "a sync body is a closure that can only be called once")?;
    for steps in
        ["stream&data=a", "stream=1&data=a", "stream&data=a&fail=failed", "stream&data=a&trailers=X-A:b"]
    {
        let mut client = case.connect()?;
        client.send(case.get(steps))?;
        client.head()?;
        case.wait_for("body-dropped", |_| true)?;
    }
    let misuses: Vec<_> = case.settled("misuse").iter().map(|event| event.text("what").to_owned()).collect();
    expect_eq("what was asked behind its end:", misuses, Vec::<String>::new())
}

pub(super) fn fields_that_are_no_trailers(case: &mut Case<'_>) -> Verdict {
    let names = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Host",
        "TE",
        "Trailer",
    ];
    for (nth, name) in names.iter().enumerate() {
        let fields = "TE: trailers\r\nConnection: TE\r\n";
        let (key, request) = case.numbered(nth, "GET", &format!("stream&data=a&trailers={name}:1"), fields);
        let response = case.ask(request)?;
        expect_eq(format_args!("{name}, trailers"), response.trailers, [])?;
        let reported =
            case.wait_for("report", |report| report.key() == key && report.text("detail") == "B18");
        reported.map_err(|failure| failure.within(name))?;
    }
    Ok(())
}
