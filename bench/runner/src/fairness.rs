//! What one connection can do to the others.

use std::io;

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Measured;

use crate::{
    bench::{Bench, Progress, rate, trusted},
    page::{Table, cell, three_digits},
    results::{Results, median},
    servers::{SERVERS, Server},
};

/// A measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    server: String,
    neighbour: String,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

const SCENARIO: &str = "fairness";

/// As the load client calls them, and what they do. The first does nothing.
const NEIGHBOURS: [(&str, &str); 4] = [
    ("none", "alone"),
    ("pipelines", "one pipelines without end"),
    ("uploads", "one uploads without end"),
    ("never-reads", "one never reads"),
];

/// Measures. What is there of these servers is replaced.
pub(crate) fn measure(bench: &Bench, results: &Results, servers: &[&'static Server]) -> io::Result<()> {
    let mut rows: Vec<Row> = results.read(SCENARIO)?;
    rows.retain(|row| !servers.iter().any(|server| server.name == row.server));
    let mut progress = Progress::new(servers.len() * NEIGHBOURS.len() * bench.rounds);
    for round in 0..bench.rounds {
        for server in servers {
            for (neighbour, title) in NEIGHBOURS {
                let option = if neighbour == "none" { "" } else { "--neighbour" };
                let value = if neighbour == "none" { "" } else { neighbour };
                let options = format!("--expect 13 --connections 63 {option} {value}");
                let measured = bench.measure(server, &options);
                progress.measured(&format!("{title}, {}", server.name), &measured);
                if let Ok(measured) = measured {
                    let (server, neighbour) = (server.name.into(), neighbour.into());
                    rows.push(Row { server, neighbour, round, measured });
                }
            }
        }
        results.write(SCENARIO, &rows)?;
    }
    Ok(())
}

/// A table of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let rows = trusted(rows, |row| &row.measured, |row| (row.server.clone(), row.neighbour.clone()));
    let own = |server: &str, neighbour: &str, of: fn(&Measured) -> f64| {
        let own = rows.iter().filter(|row| row.server == server && row.neighbour == neighbour);
        median(own.map(|row| of(&row.measured)).collect())
    };
    let mut page = String::from("## Fairness\n\n");
    for (title, of) in [
        ("p99 of 63 others, ms", (|it| it.latency.p99 / 1e3) as fn(&Measured) -> f64),
        ("requests/s of 63 others", rate),
    ] {
        let mut table = Table::new([title].into_iter().chain(NEIGHBOURS.map(|(_, title)| title)));
        for server in SERVERS.iter().filter(|server| rows.iter().any(|row| row.server == server.name)) {
            let alone = own(server.name, NEIGHBOURS[0].0, of);
            table.row(
                server.name,
                NEIGHBOURS.map(|(neighbour, _)| {
                    let figure = own(server.name, neighbour, of);
                    let times = figure.zip(alone).filter(|_| neighbour != NEIGHBOURS[0].0);
                    let times =
                        times.map_or(String::new(), |(figure, alone)| format!(" ({:.1}×)", figure / alone));
                    cell(figure.map(|figure| three_digits(figure) + &times))
                }),
            );
        }
        page += &table.finish();
    }
    page += "63 connections ask as fast as they are answered, and a further one behaves badly. Server and client have \
             a processor each, so what the bad one is served is taken from the others.\n\n";
    Ok(page)
}
