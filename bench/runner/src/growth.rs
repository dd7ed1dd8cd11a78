//! How the cost of a request grows with the work: with connections, with header fields, with bodies.

use std::io;

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Measured;

use crate::{
    bench::{Bench, Progress, cost, trusted},
    chart::{self, Line, Plot},
    client::Driving,
    machine::Processors,
    page::{Table, cell, grouped, three_digits},
    rates::tone,
    results::{Results, median},
    servers::{Running, SERVERS, Server},
};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Deserialize, Serialize)]
pub(crate) enum Growing {
    /// Connections, of which 64 at a time have a request under way.
    Connections,
    /// Header fields of the request.
    Fields,
    /// Bytes of the body that is echoed.
    Body,
}

impl Growing {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Connections, Self::Fields, Self::Body];

    fn steps(self) -> &'static [usize] {
        match self {
            Self::Connections => &[1, 10, 100, 1000, 10_000, 100_000],
            Self::Fields => &[1, 3, 10, 30, 100],
            Self::Body => &[0, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20],
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Connections => "connections, at most 64 active",
            Self::Fields => "header fields",
            Self::Body => "bytes of body, echoed",
        }
    }
}

/// A measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    growing: Growing,
    amount: usize,
    server: String,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

const SCENARIO: &str = "growth";

/// How many connections have a request under way at a time.
const ACTIVE: usize = 64;

/// Measures. What is there of what grows is replaced, of these servers.
pub(crate) fn measure(
    bench: &Bench,
    results: &Results,
    servers: &[&'static Server],
    which: &[Growing],
    connections_max: usize,
) -> io::Result<()> {
    let mut rows: Vec<Row> = results.read(SCENARIO)?;
    let is_again =
        |row: &Row| which.contains(&row.growing) && servers.iter().any(|server| server.name == row.server);
    rows.retain(|row| !is_again(row));
    let steps = which.iter().flat_map(|growing| growing.steps().iter().map(move |step| (*growing, *step)));
    let steps: Vec<_> = steps
        .filter(|(growing, step)| *growing != Growing::Connections || *step <= connections_max)
        .collect();
    if which.contains(&Growing::Connections) {
        bench.say_processes(connections_max);
    }
    let mut progress = Progress::new(steps.len() * servers.len() * bench.rounds);
    for round in 0..bench.rounds {
        for (growing, amount) in &steps {
            for server in servers {
                let measured = match growing {
                    Growing::Connections => spread(bench, server, *amount),
                    // `Host` is one of them.
                    Growing::Fields => bench.measure(server, &format!("--expect 13 --fields {}", amount - 1)),
                    Growing::Body => {
                        let options =
                            format!("--connections 16 --path /echo --body {amount} --expect {amount}");
                        bench.measure(server, &options)
                    }
                };
                let what = format!("{} {}, {}", grouped(*amount as f64), growing.title(), server.name);
                progress.measured(&what, &measured);
                if let Ok(measured) = measured {
                    let (growing, amount, server) = (*growing, *amount, server.name.into());
                    rows.push(Row { growing, amount, server, round, measured });
                }
            }
        }
        results.write(SCENARIO, &rows)?;
    }
    Ok(())
}

/// Over as many processes of server and client as it takes.
fn spread(bench: &Bench, server: &Server, connections: usize) -> io::Result<Measured> {
    let processors = Processors::one_each()?;
    let processes = bench.processes(connections);
    if processes == 1 {
        return bench.measure(server, &format!("--expect 13 --connections {connections} --active {ACTIVE}"));
    }
    let start = || Running::start(server, &bench.programs, &processors.server, 1);
    let running: Vec<_> = (0..processes).map(|_| start()).collect::<io::Result<_>>()?;
    let options = format!(
        "--expect 13 --together --connections {} --active {}",
        connections / processes,
        ACTIVE.div_ceil(processes),
    );
    let start = |each| Driving::start(&bench.programs, &processors.client, each, bench.seconds, &options);
    let mut clients: Vec<_> = running.iter().map(start).collect::<io::Result<_>>()?;
    Driving::begin_together(&mut clients)?;
    let parts = clients.into_iter().map(Driving::finish).collect::<io::Result<Vec<_>>>()?;
    // What is spent by one of them is foreign to the others, so nobody can tell what others did.
    let mut whole = Measured { others_cpu: 0.0, ..parts[0].clone() };
    for part in &parts[1..] {
        whole.requests += part.requests;
        whole.server_cpu += part.server_cpu;
        whole.client_cpu += part.client_cpu;
        whole.errors += part.errors;
    }
    Ok(whole)
}

/// Tables and charts of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let rows = trusted(rows, |row| &row.measured, |row| (row.growing, row.amount, row.server.clone()));
    let servers: Vec<_> =
        SERVERS.iter().filter(|server| rows.iter().any(|row| row.server == server.name)).collect();
    let figure = |growing: Growing, amount: usize, server: &Server| {
        let own = rows.iter().filter(|row| (row.growing, row.amount) == (growing, amount));
        let own = own.filter(|row| row.server == server.name);
        median(own.map(|row| cost(&row.measured)).collect())
    };
    let mut page = String::from("## Growth\n\n");
    let (mut plots, mut tables) = (Vec::new(), String::new());
    for growing in Growing::ALL {
        let steps = growing.steps().iter().copied();
        let steps: Vec<_> = steps
            .filter(|step| rows.iter().any(|row| (row.growing, row.amount) == (growing, *step)))
            .collect();
        if steps.is_empty() {
            continue;
        }
        let heads: Vec<_> = steps.iter().map(|step| grouped(*step as f64)).collect();
        let mut table = Table::new([growing.title()].into_iter().chain(heads.iter().map(String::as_str)));
        let mut lines = Vec::new();
        for server in &servers {
            let figures = || steps.iter().map(|step| figure(growing, *step, server));
            table.row(server.name, figures().map(|figure| cell(figure.map(three_digits))));
            // An empty body has no place on a logarithmic axis.
            let points = steps.iter().zip(figures()).filter(|(step, _)| **step > 0);
            let points = points.filter_map(|(step, figure)| Some((*step as f64, figure?)));
            lines.push(Line { name: server.name.into(), points: points.collect(), tone: tone(server) });
        }
        tables += &table.finish();
        plots.push(Plot {
            title: String::new(),
            below: growing.title().into(),
            logarithmic: growing == Growing::Body,
            lines,
        });
    }
    let title = "Processor time per request as the work grows, in µs";
    results.publish("growth.svg", &chart::plots(title, "of the server, kernel included", &plots))?;
    page += &format!("![{title}](growth.svg)\n\nProcessor time of the server per request, in µs.\n\n");
    page += &tables;
    page += "With few connections the server wakes up for each request; with more it finds several at a time. When \
             there are more connections than active ones they take turns, so that each request comes on one that \
             has been idle.\n\n";
    Ok(page)
}
