//! Whether two event loops share the work.

use std::io;

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Share;

use crate::{
    bench::{Bench, Progress, cost},
    client::Driving,
    machine::Processors,
    page::{Table, cell, grouped, three_digits},
    results::Results,
    servers::{Running, SERVERS, Server},
};

/// A measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    server: String,
    connections: usize,
    /// Microseconds of a request with one loop on one processor, and with two on two.
    cost_one: f64,
    cost_two: f64,
    loops: Vec<Share>,
}

const SCENARIO: &str = "balance";

const LOOPS: usize = 2;

const CONNECTIONS: [usize; 3] = [64, 256, 1000];

/// Measures. What is there of these servers is replaced.
pub(crate) fn measure(bench: &Bench, results: &Results, servers: &[&'static Server]) -> io::Result<()> {
    let mut rows: Vec<Row> = results.read(SCENARIO)?;
    rows.retain(|row| !servers.iter().any(|server| server.name == row.server));
    let mut progress = Progress::new(servers.len() * CONNECTIONS.len());
    for connections in CONNECTIONS {
        for server in servers {
            let what = format!("{connections} connections, {}", server.name);
            match balance(bench, server, connections) {
                Ok(row) => {
                    let loops: Vec<_> = row.loops.iter().map(|share| share.connections.to_string()).collect();
                    progress.step(&what, &format!("{} connections on the loops", loops.join(" and ")));
                    rows.push(row);
                }
                Err(error) => progress.step(&what, &format!("failed: {error}")),
            }
        }
        results.write(SCENARIO, &rows)?;
    }
    Ok(())
}

fn balance(bench: &Bench, server: &Server, connections: usize) -> io::Result<Row> {
    let load = format!("--expect 13 --connections {connections}");
    let cost_one = cost(&bench.measure(server, &load)?);
    let processors = Processors::two_for_server()?;
    let running = Running::start(server, &bench.programs, &processors.server, LOOPS)?;
    let options = format!("{load} --by-loop");
    let client = Driving::start(&bench.programs, &processors.client, &running, bench.seconds, &options)?;
    let mut measured = client.finish()?;
    // A loop without connections is one, too.
    measured.loops.resize(LOOPS.max(measured.loops.len()), Share::default());
    let (server, cost_two, loops) = (server.name.into(), cost(&measured), measured.loops);
    Ok(Row { server, connections, cost_one, cost_two, loops })
}

/// A table of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut page = String::from("## Balance\n\n");
    for connections in CONNECTIONS {
        let title = format!("{} connections, two loops", grouped(connections as f64));
        let mut table = Table::new([
            title.as_str(),
            "connections of each",
            "requests of each",
            "the busiest above the mean",
            "µs with one loop",
            "with two",
        ]);
        for server in &SERVERS {
            let own = |row: &&Row| row.server == server.name && row.connections == connections;
            let Some(row) = rows.iter().find(own) else { continue };
            let each = |of: fn(&Share) -> f64| {
                let each: Vec<_> = row.loops.iter().map(|share| grouped(of(share))).collect();
                each.join(" / ")
            };
            let total: u64 = row.loops.iter().map(|share| share.requests).sum();
            let most = row.loops.iter().map(|share| share.requests).max().unwrap_or(0);
            let above = most as f64 * row.loops.len() as f64 / total as f64 - 1.0;
            table.row(
                server.name,
                [
                    each(|share| share.connections as f64),
                    each(|share| share.requests as f64),
                    cell(above.is_finite().then(|| format!("{:.1} %", above * 100.0))),
                    three_digits(row.cost_one),
                    three_digits(row.cost_two),
                ],
            );
        }
        page += &table.finish();
    }
    page += "Which loop has a connection is read from the kernel's list of each epoll instance. Two loops are worth \
             twice one as far as a request costs them the same; where there are but two processors, the client \
             takes its part of both.\n\n";
    Ok(page)
}
