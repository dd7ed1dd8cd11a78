//! Chapter B: bodies, how they flow, wait and end.

use std::{thread, time::Duration};

use varvel::Caps;
use varvel_spec::ids;

use crate::{
    Case, Check, Client, End, Event, Failure, Form, Framing, Plan, SILENCE, Tuning, Verdict,
    broken::Fault::*, ensure, expect_eq, probe::pattern,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::B1, "chunks-split-anywhere", chunks_split_anywhere, &[DeliversChunkSizes]),
    Check::new(ids::B1, "end-stays-the-end", end_stays_the_end, &[EndTurnsIntoError]),
    Check::new(ids::B2, "length-cut-at-every-byte", length_cut_at_every_byte, &[CutBodyLooksComplete]),
    Check::new(ids::B2, "chunks-cut-at-every-byte", chunks_cut_at_every_byte, &[CutBodyLooksComplete]),
    Check::new(
        ids::B3,
        "broken-chunks-are-malformed",
        broken_chunks_are_malformed,
        &[IgnoresChunkEnd, TakesOddChunkSizes, TakesSignedLength],
    ),
    Check::new(ids::B3, "beyond-the-limit", beyond_the_limit, &[NoBodyLimit, AllFaultsAreMalformed]),
    Check::new(ids::B3, "declared-beyond-the-limit", declared_beyond_the_limit, &[NoBodyLimit]),
    Check::new(ids::B3, "without-progress", without_progress, &[NoBodyTimeout, AllFaultsAreMalformed]),
    Check::new(ids::B4, "trailers-come-last", trailers_come_last, &[DropsRequestTrailers, TrailersComeFirst])
        .needs(Caps::TRAILERS_IN),
    Check::new(ids::B5, "trailers-if-asked-for", trailers_if_asked_for, &[DropsResponseTrailers])
        .needs(Caps::TRAILERS_OUT),
    Check::new(ids::B5, "no-trailers-otherwise", no_trailers_otherwise, &[TrailersUnasked]),
    Check::new(ids::B6, "empty-frames-mean-nothing", empty_frames_mean_nothing, &[EmptyFrameEnds]),
    Check::new(ids::B7, "stalled-application", stalled_application, &[ReadsAheadWithoutBound]),
    Check::new(ids::B8, "stalled-client", stalled_client, &[AcceptsWithoutBound]),
    Check::new(ids::B9, "each-frame-arrives", each_frame_arrives, &[HoldsFramesBack]),
    Check::new(ids::B9, "head-ahead-of-any-frame", head_ahead_of_any_frame, &[HoldsHeadBack]),
    Check::new(ids::B10, "no-last-chunk", no_last_chunk, &[FailedAnswerLooksComplete]),
    Check::new(ids::B10, "short-of-its-length", short_of_its_length, &[FailedAnswerLooksComplete]),
    Check::new(
        ids::B10,
        "reset-where-the-close-is-the-end",
        reset_where_the_close_is_the_end,
        &[ClosesFailedAnswerInOrder],
    ),
    Check::new(ids::B11, "dropped-once-however-it-ends", dropped_once_however_it_ends, &[KeepsUnusedBody]),
    Check::new(
        ids::B11,
        "dropped-when-the-client-leaves",
        dropped_when_the_client_leaves,
        &[IgnoresFailedWrites],
    ),
    Check::new(ids::B12, "not-asked-behind-the-end", not_asked_behind_the_end, &[PollsAfterEnd]),
    Check::new(
        ids::B13,
        "regions-of-one-file-at-once",
        regions_of_one_file_at_once,
        &[IgnoresFileOffset, IgnoresFileLength, UsesFilePosition],
    ),
    Check::new(ids::B14, "file-that-shrank", file_that_shrank, &[PadsShortFiles]),
    Check::new(ids::B15, "body-outlives-its-call", body_outlives_its_call, &[BodyEndsWithCall]),
    Check::new(ids::B15, "echo-in-constant-memory", echo_in_constant_memory, &[AcceptsWithoutBound]),
    Check::new(ids::B16, "frame-by-frame-both-ways", frame_by_frame_both_ways, &[HoldsFramesBack])
        .needs(Caps::FULL_DUPLEX),
    Check::new(ids::B17, "trailers-are-no-fields", trailers_are_no_fields, &[MergesTrailers]),
    Check::new(
        ids::B18,
        "fields-that-are-no-trailers",
        fields_that_are_no_trailers,
        &[SendsAnyTrailer, RemovesTrailersSilently],
    )
    .needs(Caps::TRAILERS_OUT),
];

/// What the buffers of the two sockets between client and server may hold, as Linux lets them grow, in bytes.
const SOCKET_BUFFERS: u64 = 12 << 20;

/// More than all buffers together hold, in bytes.
const FLOOD: u64 = 32 << 20;

/// Bytes of one piece of a flood.
const PIECE: u64 = 64 << 10;

/// Ways to say that the body is chunked, and that it has a length.
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// A request of this check with a key of its own, so that its events are told apart.
fn numbered(case: &Case<'_>, nth: usize, steps: &str, fields: &str) -> (String, String) {
    let key = format!("{}.{nth}", case.key());
    let request = format!("POST /{key}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n{fields}\r\n");
    (key, request)
}

/// Waits for what reading the request body has come to.
fn read_of(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    case.wait_for("read", |event| event.key() == key)
}

/// A chunk as the grammar has it.
fn chunk(data: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

fn chunks_split_anywhere(case: &mut Case<'_>) -> Verdict {
    let body = b"3\r\nabc\r\n0004;name=\"va;lue\"\r\ndefg\r\n1\r\n\n\r\n0\r\n\r\n";
    let mut client = case.connect()?;
    for at in 1..body.len() {
        client.send(case.request("POST", "echo", CHUNKED))?;
        client.send_pieces([&body[..at], &body[at..]])?;
        let response = client.response().map_err(|failure| failure.within(format_args!("split at {at}")))?;
        expect_eq(format_args!("split at {at}, the decoded body:"), response.text().as_str(), "abcdefg\n")?;
    }
    Ok(())
}

fn end_stays_the_end(case: &mut Case<'_>) -> Verdict {
    for (nth, (fields, body)) in
        [("Content-Length: 3\r\n", "abc"), (CHUNKED, "3\r\nabc\r\n0\r\n\r\n")].iter().enumerate()
    {
        let (key, request) = numbered(case, nth, "read&pull&pull", fields);
        expect_eq("status", case.ask(request + body)?.status(), 200)?;
        let read = read_of(case, &key)?;
        expect_eq("the end of the body:", read.text("end"), "end")?;
        let pulled: Vec<_> = case.settled("pulled")?.into_iter().filter(|event| event.key() == key).collect();
        let frames: Vec<_> = pulled.iter().map(|event| event.text("frame")).collect();
        expect_eq("pulls behind the end:", frames, ["end", "end"])?;
    }
    Ok(())
}

/// Sends every true part of a body and ends the sending side there. The policy is to finish, lest the disconnect cancel
/// the call before it has read.
fn cut_at_every_byte(case: &mut Case<'_>, fields: &str, body: &[u8]) -> Verdict {
    case.start(Plan { policy: varvel::Policy::default().finish_on_disconnect(), ..Plan::default() })?;
    for at in 0..body.len() {
        let (key, request) = numbered(case, at, "read", fields);
        let mut client = case.connect()?;
        client.send(request.as_bytes())?;
        client.send(&body[..at])?;
        client.half_close()?;
        let read = read_of(case, &key).map_err(|failure| failure.within(format_args!("cut at {at}")))?;
        expect_eq(
            format_args!("a body cut at {at} of {} bytes ends:", body.len()),
            read.text("end"),
            "Incomplete",
        )?;
    }
    Ok(())
}

fn length_cut_at_every_byte(case: &mut Case<'_>) -> Verdict {
    cut_at_every_byte(case, "Content-Length: 6\r\n", b"abcdef")
}

fn chunks_cut_at_every_byte(case: &mut Case<'_>) -> Verdict {
    cut_at_every_byte(case, CHUNKED, b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")
}

fn broken_chunks_are_malformed(case: &mut Case<'_>) -> Verdict {
    let bodies: &[&[u8]] = &[
        b"x\r\n",
        b"\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\0b\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello world\r\n0\r\n\r\n",
        b"11111111111111111\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: a\nb\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
    ];
    for (nth, body) in bodies.iter().enumerate() {
        let (key, request) = numbered(case, nth, "read", CHUNKED);
        let mut client = case.connect()?;
        client.send([request.as_bytes(), body].concat())?;
        let read = read_of(case, &key);
        let read = read.map_err(|failure| failure.within(body.escape_ascii()))?;
        expect_eq(format_args!("`{}` ends:", body.escape_ascii()), read.text("end"), "Malformed")?;
    }
    Ok(())
}

fn with_body_limit(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { body_bytes_max: Some(1000), ..Tuning::default() })
}

fn beyond_the_limit(case: &mut Case<'_>) -> Verdict {
    with_body_limit(case)?;
    for (nth, (size, end)) in [(600, "TooLarge"), (500, "end")].into_iter().enumerate() {
        let (key, request) = numbered(case, nth, "read", CHUNKED);
        let body = [chunk(&vec![b'x'; size]), chunk(&vec![b'x'; size]), chunk(b"")].concat();
        let mut client = case.connect()?;
        client.send([request.as_bytes(), &body].concat())?;
        let read = read_of(case, &key)?;
        expect_eq(format_args!("{} bytes where 1000 are allowed end:", 2 * size), read.text("end"), end)?;
    }
    Ok(())
}

fn declared_beyond_the_limit(case: &mut Case<'_>) -> Verdict {
    with_body_limit(case)?;
    let (_, request) = numbered(case, 0, "read&pass", "Content-Length: 1001\r\n");
    let mut client = case.connect()?;
    client.send(request + &"x".repeat(1001))?;
    expect_eq("status", client.response()?.status(), 413)?;
    let (_, request) = numbered(case, 1, "read&pass", "Content-Length: 1000\r\n");
    expect_eq("status of what is just within", case.ask(request + &"x".repeat(1000))?.status(), 200)
}

fn without_progress(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning { body_timeout: Duration::from_millis(300), ..Tuning::default() })?;
    for (nth, (fields, begin)) in
        [("Content-Length: 10\r\n", "abc"), (CHUNKED, "5\r\nab"), (CHUNKED, "5")].iter().enumerate()
    {
        let (key, request) = numbered(case, nth, "read", fields);
        let mut client = case.connect()?;
        client.send(request + begin)?;
        expect_eq("a body whose sender has stopped ends:", read_of(case, &key)?.text("end"), "Timeout")?;
    }
    Ok(())
}

fn trailers_come_last(case: &mut Case<'_>) -> Verdict {
    let body = "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n";
    let steps = "pull&pull&pull&pull&pull&pull";
    expect_eq("status", case.ask(case.request("POST", steps, CHUNKED) + body)?.status(), 200)?;
    let pulled = case.settled("pulled")?;
    let frames: Vec<_> = pulled.iter().map(|event| event.text("frame")).collect();
    let first_end = frames.iter().position(|frame| *frame == "end").unwrap_or(frames.len());
    let (last, data) = frames[..first_end].split_last().ok_or_else(|| Failure::new("frames", "none"))?;
    ensure(
        *last == "trailers x-sum:31 x-more:32" && data.iter().all(|frame| frame.starts_with("data ")),
        "data, then one frame of trailers, then the end",
        format_args!("{frames:?}"),
    )
}

fn trailers_if_asked_for(case: &mut Case<'_>) -> Verdict {
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
        expect_eq("trailers", trailers, [("x-sum".to_owned(), b"1".to_vec())])?;
    }
    Ok(())
}

fn no_trailers_otherwise(case: &mut Case<'_>) -> Verdict {
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

fn empty_frames_mean_nothing(case: &mut Case<'_>) -> Verdict {
    let frames = "data&data=a&data&flush&data=b&data";
    let mut client = case.connect()?;
    for length in ["", "=2"] {
        client.send(case.get(&format!("stream{length}&{frames}")))?;
        expect_eq("body", client.response()?.text().as_str(), "ab")?;
    }
    client.send(case.get(&format!("stream&{frames}")).replace("HTTP/1.1", "HTTP/1.0"))?;
    expect_eq("body on HTTP/1.0", client.response()?.text().as_str(), "ab")
}

fn stalled_application(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    for (nth, fields) in [format!("Content-Length: {FLOOD}\r\n"), CHUNKED.to_owned()].iter().enumerate() {
        let (key, request) = numbered(case, nth, &format!("read=1&gate={gate}"), fields);
        let mut client = case.connect()?;
        client.send(request)?;
        if nth == 1 {
            client.send(format!("{FLOOD:x}\r\n"))?;
        }
        client.send("x")?;
        case.wait_for("held", |event| event.key() == key)?;
        let accepted = client.send_until_stalled(FLOOD as usize, 2 * SILENCE)? as u64;
        let bound = case.about().read_ahead + SOCKET_BUFFERS;
        ensure(
            accepted <= bound,
            format_args!("no more than {bound} bytes taken while the application does not pull"),
            format_args!("{accepted} bytes of {FLOOD}"),
        )?;
    }
    Ok(())
}

/// Waits until the probe stops producing frames; returns how many there are.
fn frames_until_stalled(case: &Case<'_>) -> Result<u64, Failure> {
    case.wait_for("produced", |_| true)?;
    let mut before = 0;
    loop {
        let produced = case.events("produced").len() as u64;
        if produced == before {
            return Ok(produced);
        }
        before = produced;
        thread::sleep(2 * SILENCE);
    }
}

fn stalled_client(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&frames={}:{PIECE}", FLOOD / PIECE)))?;
    let produced = frames_until_stalled(case)? * PIECE;
    let bound = case.about().write_high_water + PIECE + SOCKET_BUFFERS;
    ensure(
        produced <= bound,
        format_args!("no more than {bound} bytes produced while the client does not read"),
        format_args!("{produced} bytes of {FLOOD}"),
    )?;
    client.head()?;
    let mut arrived = Vec::new();
    while (arrived.len() as u64) < produced + PIECE {
        arrived.extend(client.chunk()?.ok_or_else(|| Failure::new("more chunks", "the last one"))?);
    }
    ensure(
        arrived == pattern(0, arrived.len() as u64),
        "the frames in their order once the client reads",
        "other bytes",
    )
}

fn each_frame_arrives(case: &mut Case<'_>) -> Verdict {
    for (nth, length) in ["", "=3"].iter().enumerate() {
        let gates = [case.gate(&format!("{nth}a"))?, case.gate(&format!("{nth}b"))?];
        let [first, second] = &gates;
        let steps = format!("stream{length}&data=a&flush&gate={first}&data=b&flush&gate={second}&data=c");
        let mut client = case.connect()?;
        client.send(case.get(&steps))?;
        let chunked = client.head()?.has("transfer-encoding");
        let next = |client: &mut Client| match chunked {
            true => client.chunk().map(Option::unwrap_or_default),
            false => client.exactly(1),
        };
        for (expected, gate) in [(b"a", Some(first)), (b"b", Some(second)), (b"c", None)] {
            expect_eq("the frame that was flushed:", next(&mut client)?, expected)?;
            if let Some(gate) = gate {
                case.open(gate);
            }
        }
    }
    Ok(())
}

fn head_ahead_of_any_frame(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&flush&gate={gate}&data=late")))?;
    let head = client.head().map_err(|failure| failure.within("while the body is pending"))?;
    expect_eq("status", head.status, 200)?;
    case.open(&gate);
    expect_eq("the frame behind it:", client.chunk()?, Some(b"late".to_vec()))
}

/// Has a body fail once its first frame has arrived; returns what came behind that.
fn failed_behind_a_frame(
    case: &mut Case<'_>,
    stream: &str,
    version: &str,
) -> Result<(Vec<u8>, End), Failure> {
    let gate = case.gate("fail")?;
    let mut client = case.connect()?;
    let steps = format!("{stream}&data=hello&flush&gate={gate}&fail=failed");
    client.send(case.get(&steps).replace("HTTP/1.1", version))?;
    let head = client.head()?;
    let first = match head.has("transfer-encoding") {
        true => client.chunk()?.unwrap_or_default(),
        false => client.exactly(5)?,
    };
    expect_eq("the frame ahead of the failure:", first, b"hello")?;
    case.open(&gate);
    client.rest()
}

fn no_last_chunk(case: &mut Case<'_>) -> Verdict {
    let (rest, _) = failed_behind_a_frame(case, "stream", "HTTP/1.1")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")?;
    case.wait_for("report", |report| report.text("report") == "BodyFailed").map(drop)
}

fn short_of_its_length(case: &mut Case<'_>) -> Verdict {
    let (rest, _) = failed_behind_a_frame(case, "stream=10", "HTTP/1.1")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")
}

fn reset_where_the_close_is_the_end(case: &mut Case<'_>) -> Verdict {
    let (rest, end) = failed_behind_a_frame(case, "stream", "HTTP/1.0")?;
    expect_eq("behind the failure:", rest.escape_ascii().to_string().as_str(), "")?;
    expect_eq("the end of the connection:", end, End::Reset)
}

fn dropped_once_however_it_ends(case: &mut Case<'_>) -> Verdict {
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
        let (key, request) = numbered(case, nth, steps, "");
        let mut client = case.connect()?;
        client.send(request.replacen("POST", method, 1))?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key);
        dropped.map_err(|failure| failure.within(what))?;
        // While the connection is still open.
        drop(client);
    }
    for (nth, (what, ..)) in rows.iter().enumerate() {
        let key = format!("{}.{nth}", case.key());
        let drops = case.settled("body-dropped")?.iter().filter(|event| event.key() == key).count();
        expect_eq(format_args!("drops of the body, {what}:"), drops, 1)?;
    }
    Ok(())
}

fn dropped_when_the_client_leaves(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&frames={}:{PIECE}", 1 << 20)))?;
    client.head()?;
    client.reset();
    case.wait_for("body-dropped", |_| true)?;
    expect_eq("drops of the body:", case.settled("body-dropped")?.len(), 1)
}

fn not_asked_behind_the_end(case: &mut Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Async, "a sync body is a closure that can only be called once")?;
    for steps in
        ["stream&data=a", "stream=1&data=a", "stream&data=a&fail=failed", "stream&data=a&trailers=X-A:b"]
    {
        let mut client = case.connect()?;
        client.send(case.get(steps))?;
        client.head()?;
        case.wait_for("body-dropped", |_| true)?;
    }
    let misuses: Vec<_> = case.settled("misuse")?.iter().map(|event| event.text("what").to_owned()).collect();
    expect_eq("what was asked behind its end:", misuses, Vec::<String>::new())
}

fn regions_of_one_file_at_once(case: &mut Case<'_>) -> Verdict {
    const FILE: u64 = 4 << 20;
    let regions = [(1_000, 3 << 20), (FILE - 2_500_000, 2_500_000), (17, 0), (77_777, 1)];
    let mut clients = Vec::new();
    for (offset, len) in regions {
        let mut client = case.connect()?;
        client.send(case.get(&format!("file={offset}:{len}:{FILE}")))?;
        clients.push((client, offset, len));
    }
    let mut left: Vec<_> = Vec::new();
    for (mut client, offset, len) in clients {
        expect_eq("Content-Length", client.head()?.one("content-length"), Some(len.to_string().as_str()))?;
        left.push((client, offset, len));
    }
    // A piece of each in turn, so that all of them are under way.
    while left.iter().any(|(_, _, len)| *len > 0) {
        for (client, offset, len) in &mut left {
            let piece = (*len).min(PIECE);
            let same = client.exactly(piece as usize)? == pattern(*offset, piece);
            ensure(same, format_args!("the {piece} bytes at {offset} of the file"), "other bytes")?;
            (*offset, *len) = (*offset + piece, *len - piece);
        }
    }
    for (client, ..) in &mut left {
        client.send(case.get("body=next"))?;
        expect_eq("the answer behind it:", client.response()?.text().as_str(), "next")?;
    }
    Ok(())
}

fn file_that_shrank(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get("file=1000:10000:4000"))?;
    let head = client.head()?;
    if head.status != 500 {
        expect_eq("Content-Length", head.one("content-length"), Some("10000"))?;
        let (rest, _) = client.rest()?;
        ensure(
            pattern(1000, 3000).starts_with(&rest),
            "at most the 3000 bytes that there are, and then the end",
            format_args!("{} bytes: ...{}", rest.len(), rest[rest.len().saturating_sub(20)..].escape_ascii()),
        )?;
    }
    case.wait_for("report", |report| ["BodyFailed", "AppFailed"].contains(&report.text("report"))).map(drop)
}

fn body_outlives_its_call(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", "Content-Length: 10\r\n"))?;
    client.send("hello")?;
    case.wait_for("call", |_| true)?;
    client.send("world")?;
    expect_eq("the echo:", client.response()?.text().as_str(), "helloworld")
}

fn echo_in_constant_memory(case: &mut Case<'_>) -> Verdict {
    case.only_if(
        case.about().caps.contains(Caps::FULL_DUPLEX),
        "the echo may wait for the end of the request",
    )?;
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", &format!("Content-Length: {}\r\n", 2 * FLOOD)))?;
    let accepted = client.send_until_stalled(2 * FLOOD as usize, 2 * SILENCE)? as u64;
    let about = case.about();
    let bound = about.read_ahead + about.write_high_water + 2 * SOCKET_BUFFERS;
    ensure(
        accepted <= bound,
        format_args!("no more than {bound} bytes taken while the client does not read"),
        format_args!("{accepted} bytes of {}", 2 * FLOOD),
    )?;
    client.head()?;
    let mut arrived = 0;
    while arrived < accepted {
        let chunk = client.chunk()?.ok_or_else(|| Failure::new("more chunks", "the last one"))?;
        ensure(chunk.iter().all(|byte| *byte == b'x'), "the bytes that were sent", "other bytes")?;
        arrived += chunk.len() as u64;
    }
    expect_eq("bytes echoed:", arrived, accepted)
}

fn frame_by_frame_both_ways(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", CHUNKED))?;
    for nth in 0..50 {
        let frame = format!("frame {nth}");
        client.send(chunk(frame.as_bytes()))?;
        if nth == 0 {
            client.head()?;
        }
        expect_eq("the echo of a frame:", client.chunk()?, Some(frame.into_bytes()))?;
    }
    client.send(chunk(b""))?;
    expect_eq("the end of the echo:", client.chunk()?, None)
}

fn trailers_are_no_fields(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    let body = "3\r\nabc\r\n0\r\nAuthorization: forged\r\nHost: evil.test\r\nX-Own: 1\r\n\r\n";
    for steps in ["read&describe", "echo"] {
        client.send(case.request("POST", steps, CHUNKED) + body)?;
        client.response()?;
    }
    client.send(case.get("describe"))?;
    client.response()?;
    for call in case.settled("call")? {
        let fields = call.field("fields").to_string();
        ensure(
            !fields.contains("authorization") && !fields.contains("x-own"),
            "header fields without those of the trailers",
            fields,
        )?;
    }
    Ok(())
}

fn fields_that_are_no_trailers(case: &mut Case<'_>) -> Verdict {
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
        let (key, request) = numbered(case, nth, &format!("stream&data=a&trailers={name}:1"), fields);
        let response = case.ask(request)?;
        expect_eq(format_args!("{name}, trailers"), response.trailers, [])?;
        let reported =
            case.wait_for("report", |report| report.key() == key && report.text("detail") == "B18");
        reported.map_err(|failure| failure.within(name))?;
    }
    Ok(())
}
