//! What the contract costs: beside a bare function in memory, and the bridges that run a sync application on event loops
//! beside an async one.

use std::{
    io,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Measured;

use crate::{
    bench::{Bench, Progress, cost, rate, trusted},
    machine::{self, Processors},
    page::{Table, cell, grouped, three_digits},
    results::{Results, median},
    servers::{EVENTED, FORMS, OFFLOADED},
};

/// Nanoseconds of a request in memory, as the program `contract` tells them.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct InMemory {
    bare: f64,
    contract: f64,
    inline: f64,
}

/// A measurement of a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    form: String,
    /// Of the pool, where there is one.
    threads: usize,
    connections: usize,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

const IN_MEMORY: &str = "contract-in-memory";
const SCENARIO: &str = "contract";

/// At which the forms are compared.
const CONNECTIONS: usize = 64;
const THREADS: usize = 64;

/// Where the pool is looked for its knee.
const KNEE_THREADS: [usize; 4] = [1, 4, 16, 64];
const KNEE_CONNECTIONS: [usize; 5] = [1, 4, 16, 64, 256];

/// Measures. What was there is replaced.
pub(crate) fn measure(bench: &Bench, results: &Results) -> io::Result<()> {
    let compared = (0..bench.rounds)
        .flat_map(|round| FORMS.iter().map(move |form| (form, threads(form.name), CONNECTIONS, round)));
    let pool = FORMS.iter().filter(|form| form.name == OFFLOADED);
    let knee = pool.flat_map(|pool| {
        KNEE_THREADS
            .iter()
            .flat_map(move |threads| KNEE_CONNECTIONS.map(|connections| (pool, *threads, connections, 0)))
    });
    // One of them is compared already.
    let knee = knee.filter(|(_, threads, connections, _)| (*threads, *connections) != (THREADS, CONNECTIONS));
    let all: Vec<_> = compared.chain(knee).collect();

    let mut progress = Progress::new(1 + all.len());
    let in_memory = measure_in_memory(bench)?;
    let InMemory { bare, contract, .. } = in_memory;
    progress.step("in memory", &format!("{contract:.0} ns by the contract, {bare:.0} ns by a function"));
    results.write(IN_MEMORY, &[in_memory])?;
    let mut rows = Vec::new();
    for (form, threads, connections, round) in all {
        let measured = bench.measure_on(form, threads, &format!("--expect 13 --connections {connections}"));
        let threads_too = if form.name == OFFLOADED { format!(" by {threads}") } else { String::new() };
        progress.measured(&format!("{connections} connections, {}{threads_too}", form.name), &measured);
        if let Ok(measured) = measured {
            rows.push(Row { form: form.name.into(), threads, connections, round, measured });
        }
    }
    results.write(SCENARIO, &rows)
}

fn measure_in_memory(bench: &Bench) -> io::Result<InMemory> {
    let mut command = Command::new(bench.programs.folder.join("contract"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let processors = Processors::one_each()?;
    let process = machine::on(&processors.server, || command.spawn())?;
    Ok(serde_json::from_slice(&process.wait_with_output()?.stdout)?)
}

/// Tables of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    let kind = |row: &Row| (row.form.clone(), row.threads, row.connections);
    let rows = trusted(rows, |row| &row.measured, kind);
    let own = |form: &str, threads: usize, connections: usize, of: fn(&Measured) -> f64| {
        let own = rows.iter().filter(|row| (row.threads, row.connections) == (threads, connections));
        own.filter(|row| row.form == form).map(|row| of(&row.measured)).collect::<Vec<_>>()
    };
    let mut page = String::from("## The contract\n\n");
    let live = least(own(EVENTED, threads(EVENTED), CONNECTIONS, cost));
    if let Some(InMemory { bare, contract, inline }) = results.read(IN_MEMORY)?.first() {
        let mut table = Table::new(["a hello in memory", "ns", "above a function"]);
        table.row("a function, called with the head", [three_digits(*bare), cell(None::<u8>)]);
        for (name, figure) in [("an async application", contract), ("a sync one, inline", inline)] {
            table.row(name, [three_digits(*figure), three_digits(figure - bare)]);
        }
        page += &table.finish();
        page += "The same parser and serializer without a socket; the function is what one would write into a server. \
                 What is above it are request, scope and answer as values, a future, panics that are contained, and \
                 hooks at the end.";
        if let Some(live) = live {
            let share = (contract - bare) / live / 10.0;
            page += &format!(" That is {share:.1} % of the {} µs below.", three_digits(live));
        }
        page += "\n\n";
    } else {
        return Ok(String::new());
    }

    let title = format!("{CONNECTIONS} connections, one loop");
    let mut table = Table::new([title.as_str(), "µs of processor time", "above an async one", "requests/s"]);
    for form in &FORMS {
        let figure = least(own(form.name, threads(form.name), CONNECTIONS, cost));
        let above = figure.zip(live).filter(|_| form.name != EVENTED);
        let above = above.map(|(figure, live)| format!("{:+.1} %", (figure / live - 1.0) * 100.0));
        let rate = median(own(form.name, threads(form.name), CONNECTIONS, rate)).map(grouped);
        table.row(form.name, [cell(figure.map(three_digits)), cell(above), cell(rate)]);
    }
    page += &table.finish();

    let heads = KNEE_CONNECTIONS.map(|connections| connections.to_string());
    let title = "requests/s (µs) of a pool, by its threads and connections";
    let mut table = Table::new([title].into_iter().chain(heads.iter().map(String::as_str)));
    for threads in KNEE_THREADS {
        let cells = KNEE_CONNECTIONS.map(|connections| {
            let figure = |of| median(own(OFFLOADED, threads, connections, of));
            cell(
                figure(rate)
                    .zip(figure(cost))
                    .map(|(rate, cost)| format!("{} ({})", grouped(rate), three_digits(cost))),
            )
        });
        table.row(&threads.to_string(), cells);
    }
    page += &table.finish();
    page += "The least of the rounds, or their median for rates. Loop and pool share one processor, so that more threads \
             cannot make more of it; a call on the pool is worth its price where it would block.\n\n";
    Ok(page)
}

/// With which a form is compared to the others.
fn threads(form: &str) -> usize {
    if form == OFFLOADED { THREADS } else { 1 }
}

/// What nobody disturbed is the least.
fn least(values: Vec<f64>) -> Option<f64> {
    values.into_iter().min_by(f64::total_cmp)
}
