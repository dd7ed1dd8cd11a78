//! B7, B8, B15, B16: who produces waits for who consumes, in both directions.

use bytes::Bytes;
use varvel::Caps;

use super::{CHUNKED, chunk};
use crate::{
    Case, Failure, SILENCE, Verdict,
    cases::flood::{FLOOD, PIECE, SOCKET_BUFFERS, until_stalled},
    ensure, expect_eq,
    probe::pattern,
};

pub(super) fn stalled_application(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    for (nth, fields) in [format!("Content-Length: {FLOOD}\r\n"), CHUNKED.to_owned()].iter().enumerate() {
        let (key, request) = case.numbered(nth, "POST", &format!("read=1&gate={gate}"), fields);
        let mut client = case.connect()?;
        client.send(request)?;
        if nth == 1 {
            client.send(format!("{FLOOD:x}\r\n"))?;
        }
        client.send("x")?;
        case.wait_for("held", |event| event.key() == key)?;
        let accepted = client.send_until_stalled([b'x'; 4096], FLOOD as usize, 2 * SILENCE)? as u64;
        let bound = case.about().read_ahead + SOCKET_BUFFERS;
        ensure(
            accepted <= bound,
            format_args!("no more than {bound} bytes taken while the application does not pull"),
            format_args!("{accepted} bytes of {FLOOD}"),
        )?;
    }
    Ok(())
}

pub(super) fn stalled_client(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get(&format!("stream&frames={}:{PIECE}", FLOOD / PIECE)))?;
    let produced = until_stalled(case, "produced")? * PIECE;
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

pub(super) fn body_outlives_its_call(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", "Content-Length: 10\r\n"))?;
    client.send("hello")?;
    case.wait_for("call", |_| true)?;
    client.send("world")?;
    expect_eq("the echo:", client.response()?.text().as_str(), "helloworld")
}

pub(super) fn echo_in_constant_memory(case: &mut Case<'_>) -> Verdict {
    case.only_if(
        case.about().caps.contains(Caps::FULL_DUPLEX),
        "the echo may wait for the end of the request",
    )?;
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", &format!("Content-Length: {}\r\n", 2 * FLOOD)))?;
    let accepted = client.send_until_stalled([b'x'; 4096], 2 * FLOOD as usize, 2 * SILENCE)? as u64;
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

pub(super) fn frame_by_frame_both_ways(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", CHUNKED))?;
    for nth in 0..50 {
        let frame = format!("frame {nth}");
        client.send(chunk(frame.as_bytes()))?;
        if nth == 0 {
            client.head()?;
        }
        expect_eq("the echo of a frame:", client.chunk()?, Some(Bytes::from(frame)))?;
    }
    client.send(chunk(b""))?;
    expect_eq("the end of the echo:", client.chunk()?, None)
}
