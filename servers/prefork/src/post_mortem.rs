//! What can be told of a worker that dies: how, where its threads were, and which requests it was serving.

use std::{fs, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::{param::page_size, process::Pid};

use crate::scoreboard::Board;

/// How many exchanges are named; the log is read by people.
const EXCHANGES_MAX: usize = 20;

/// Whether a process was ended by force, in the midst of what it did.
pub(crate) fn is_violent(status: ExitStatus) -> bool {
    !status.success()
}

/// How a process ended, as the end of a sentence about it.
pub(crate) fn ending(status: ExitStatus, failure: Option<&str>) -> String {
    match (failure, status.code(), status.signal()) {
        (Some(text), ..) => format!("failed: {text}"),
        (None, Some(code), _) => format!("exited with status {code}"),
        (None, None, Some(signal)) => {
            let name = signal_hook::low_level::signal_name(signal);
            format!("was ended by {}", name.map_or_else(|| format!("signal {signal}"), str::to_owned))
        }
        _ => "ended".to_owned(),
    }
}

/// The exchanges that a process has not finished, a line each.
pub(crate) fn exchanges(board: &Board) -> Vec<String> {
    let unfinished = board.unfinished();
    let all = board.exchanges_under_way().max(unfinished.len() as u64);
    let mut lines = Vec::new();
    for exchange in unfinished.iter().take(EXCHANGES_MAX) {
        let at = if exchange.is_current { ", at which its event loop was" } else { "" };
        let (age, connection, number) = (exchange.age.as_secs_f32(), exchange.connection, exchange.exchange);
        let request = &exchange.request;
        lines.push(format!(
            "  it was serving {request} for {age:.1} s{at} (connection {connection} exchange {number})"
        ));
    }
    match all - lines.len() as u64 {
        0 => {}
        more if lines.is_empty() => lines.push(format!("  it was serving {more} requests")),
        more => lines.push(format!("  and {more} more")),
    }
    lines
}

/// What each thread of a process does, as the system sees it: `varvel-loop-0 runs`, `hello sleeps in futex_do_wait`.
pub(crate) fn threads(pid: Pid) -> Vec<String> {
    let directory = format!("/proc/{pid}/task");
    let threads = fs::read_dir(directory).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let at = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
            let place = if matches!(&*at, "" | "0") { String::new() } else { format!(" in {at}") };
            Some(match rest.trim_start().chars().next()? {
                'R' => format!("thread {name} runs"),
                'S' => format!("thread {name} sleeps{place}"),
                'D' => format!("thread {name} waits for a device{place}"),
                'T' | 't' => format!("thread {name} is stopped"),
                state => format!("thread {name} is in state {state}"),
            })
        })
        .collect()
}

/// What a process occupies of the machine's memory, in bytes.
pub(crate) fn rss(pid: Pid) -> Option<u64> {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = pages.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}
