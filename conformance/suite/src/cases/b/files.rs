//! B13, B14: files as bodies.

use crate::{Case, Verdict, cases::flood::PIECE, ensure, expect_eq, probe::pattern};

pub(super) fn regions_of_one_file_at_once(case: &mut Case<'_>) -> Verdict {
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

pub(super) fn file_that_shrank(case: &mut Case<'_>) -> Verdict {
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
