//! System calls, by strace.

use std::{collections::BTreeMap, process::Command};

use crate::{Result, counted, workload::Workload};

pub fn is_installed() -> bool {
    counted::is_installed("strace")
}

/// How often each system call is made for a request, as a difference like [`crate::callgrind::profile`].
pub fn system_calls(workload: &Workload) -> Result<BTreeMap<String, f64>> {
    let [few, many] = workload.exchange.rounds;
    let mut calls = run(workload, many)?;
    for (name, count) in run(workload, few)? {
        *calls.entry(name).or_default() -= count;
    }
    let requests = ((many - few) * workload.exchange.depth) as f64;
    calls.values_mut().for_each(|count| *count /= requests);
    Ok(calls)
}

fn run(workload: &Workload, rounds: u64) -> Result<BTreeMap<String, f64>> {
    let table = counted::run(workload, rounds, |output| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-U", "calls,name", "-o", output]);
        strace
    })?;
    Ok(table.lines().filter_map(row).collect())
}

/// `12 recvfrom`; other rows are heading, lines and sum, and `???(`, which is a thread that begins or ends.
fn row(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_whitespace();
    let (calls, name) = (words.next()?.parse().ok()?, words.next()?);
    (name != "total" && !name.starts_with('?')).then(|| (name.to_owned(), calls))
}
