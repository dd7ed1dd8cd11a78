//! How many requests a second, and at what cost.

use std::{collections::BTreeSet, io};

use serde::{Deserialize, Serialize};
use varvel_bench_load::drive::Measured;

use crate::{
    bench::{Bench, Progress, business, cost, is_disturbed, rate, trusted},
    chart::{self, Bar, Bars, Tone},
    page::{Table, cell, short, three_digits},
    results::{Results, median},
    servers::{LIMIT, SERVERS, Server, Style},
};

/// What a server is asked to do.
#[derive(Debug)]
pub(crate) struct Workload {
    /// As options and columns call it.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) title: &'static str,
    /// Options of the load client.
    load: &'static str,
}

/// All, in the order of tables and charts.
pub(crate) static WORKLOADS: [Workload; 11] = [
    Workload { name: "hello", title: "64 connections", load: "--expect 13" },
    Workload { name: "pipelined", title: "pipelined 16 deep", load: "--expect 13 --depth 16" },
    Workload { name: "browser", title: "a browser's headers", load: "--expect 13 --browser" },
    Workload { name: "hello-fresh", title: "64, numbered requests", load: "--expect 13 --fresh" },
    Workload { name: "browser-fresh", title: "a browser's, numbered", load: "--expect 13 --browser --fresh" },
    Workload { name: "hello1000", title: "1,000 connections", load: "--expect 13 --connections 1000" },
    Workload { name: "echo1k", title: "echo of 1 KiB", load: "--path /echo --body 1024 --expect 1024" },
    Workload { name: "echo64k", title: "echo of 64 KiB", load: "--path /echo --body 65536 --expect 65536" },
    Workload {
        name: "stream",
        title: "1 MiB in chunks",
        load: "--path /stream?n=64 --expect 1048576 --connections 16",
    },
    Workload {
        name: "wait",
        title: "1,000 wait 100 ms",
        load: "--path /wait?ms=100 --expect 2 --connections 1000 --warm-up 0.3",
    },
    Workload { name: "close", title: "a connection each", load: "--expect 13 --close" },
];

impl Workload {
    /// By its name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        WORKLOADS.iter().find(|workload| workload.name == name).ok_or_else(|| {
            let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
            format!("no such workload; there are {}", names.join(", "))
        })
    }
}

/// A measurement.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    workload: String,
    server: String,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

const SCENARIO: &str = "rates";

/// Measures. What is there of these servers under these workloads is replaced, or `add`ed to.
pub(crate) fn measure(
    bench: &Bench,
    results: &Results,
    servers: &[&'static Server],
    workloads: &[&'static Workload],
    add: bool,
) -> io::Result<()> {
    let mut rows: Vec<Row> = results.read(SCENARIO)?;
    if !add {
        rows = without(rows, servers, workloads);
    }
    let first = rows.iter().map(|row| row.round + 1).max().unwrap_or(0);
    let able = |workload: &Workload, server: &Server| !server.cannot.contains(&workload.name);
    let pairs = workloads.iter().flat_map(|workload| servers.iter().filter(|server| able(workload, server)));
    let mut progress = Progress::new(pairs.count() * bench.rounds);
    for round in first..first + bench.rounds {
        for workload in workloads {
            // Each round begins with another, so that what drifts does not favour one.
            for index in 0..servers.len() {
                let server = servers[(index + round) % servers.len()];
                if !able(workload, server) {
                    continue;
                }
                let measured = bench.measure(server, workload.load);
                progress.measured(&format!("{}, {}", workload.title, server.name), &measured);
                if let Ok(measured) = measured {
                    let (workload, server) = (workload.name.into(), server.name.into());
                    rows.push(Row { workload, server, round, measured });
                }
            }
            results.write(SCENARIO, &rows)?;
        }
    }
    Ok(())
}

/// What is left without these servers under these workloads. The yardstick stays in all rounds in which others do, as they
/// are compared to it.
fn without(rows: Vec<Row>, servers: &[&Server], workloads: &[&Workload]) -> Vec<Row> {
    let goes = |row: &Row| {
        workloads.iter().any(|workload| workload.name == row.workload)
            && servers.iter().any(|server| server.name == row.server)
    };
    let round = |row: &Row| (row.workload.clone(), row.round);
    let others: BTreeSet<_> =
        rows.iter().filter(|row| !goes(row) && row.server != LIMIT).map(round).collect();
    let is_yardstick = |row: &Row| row.server == LIMIT && others.contains(&round(row));
    rows.into_iter().filter(|row| !goes(row) || is_yardstick(row)).collect()
}

/// Tables and charts of all there is.
pub(crate) fn report(results: &Results) -> io::Result<String> {
    let rows: Vec<Row> = results.read(SCENARIO)?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let disturbed = rows.iter().filter(|row| is_disturbed(&row.measured)).count();
    let measured = rows.len();
    let rows = trusted(rows, |row| &row.measured, |row| (row.workload.clone(), row.server.clone()));
    let figures = Figures { rows };
    let mut page = String::from("## Rates and cost\n\n");
    page +=
        "The server has one processor and the client another. `limit` is an epoll loop without a parser.\n\n";
    for (style, title, suffix) in [
        (Style::Async, "Applications that are futures", ""),
        (Style::Sync, "Applications that may block", "-sync"),
    ] {
        let servers: Vec<_> = SERVERS
            .iter()
            .filter(|server| server.style == style || server.style == Style::Yardstick)
            .filter(|server| figures.rows.iter().any(|row| row.server == server.name))
            .collect();
        page += &format!("### {title}\n\n");
        let charts = [
            (
                format!("rates{suffix}"),
                "Requests per second",
                "one processor; longer is better",
                Figure::RATE,
            ),
            (
                format!("cost{suffix}"),
                "Processor time per request, in µs",
                "of the server, kernel included; shorter is better",
                Figure::COST,
            ),
        ];
        for (name, chart_title, further, figure) in charts {
            results.publish(
                &format!("{name}.svg"),
                &chart::bars(chart_title, further, &figures.panels(&servers, figure)),
            )?;
            page += &format!("![{chart_title}]({name}.svg)\n\n");
        }
        for figure in [Figure::RATE, Figure::COST, Figure::MEDIAN, Figure::TAIL] {
            page += &figures.table(&servers, figure);
        }
    }
    page += "Medians of the rounds. Ratios to `limit` are taken within a round, then their median: what drifts falls \
             out. A rate with ° was bounded by the client, as the server's processor was less than 95 % busy: \
             compare its cost instead. Latencies are those of a closed loop, so mostly queueing; pipelined, of a batch.\n\n";
    page += &format!(
        "Others disturbed {disturbed} of {measured} measurements, which count only where there is no better.\n\n"
    );
    Ok(page)
}

/// A figure of a measurement, and how it is told.
#[derive(Clone, Copy)]
struct Figure {
    title: &'static str,
    of: fn(&Measured) -> f64,
    compared: bool,
    bounded_by_client: bool,
}

impl Figure {
    const RATE: Self =
        Self { title: "requests/s (of `limit`)", of: rate, compared: true, bounded_by_client: true };
    const COST: Self = Self {
        title: "µs of processor time (of `limit`)",
        of: cost,
        compared: true,
        bounded_by_client: false,
    };
    const MEDIAN: Self =
        Self { title: "p50, ms", of: |it| it.latency.p50 / 1e3, compared: false, bounded_by_client: false };
    const TAIL: Self =
        Self { title: "p99, ms", of: |it| it.latency.p99 / 1e3, compared: false, bounded_by_client: false };
}

struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// Those that have been measured.
    fn workloads(&self) -> impl Iterator<Item = &'static Workload> {
        WORKLOADS.iter().filter(|workload| self.rows.iter().any(|row| row.workload == workload.name))
    }

    fn rows(&self, workload: &Workload, server: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.workload == workload.name && row.server == server)
    }

    fn median(&self, workload: &Workload, server: &str, of: fn(&Measured) -> f64) -> Option<f64> {
        median(self.rows(workload, server).map(|row| of(&row.measured)).collect())
    }

    fn ratio(&self, workload: &Workload, server: &str, of: fn(&Measured) -> f64) -> Option<f64> {
        let ratio = |row: &Row| {
            let limit = self.rows(workload, LIMIT).find(|limit| limit.round == row.round)?;
            Some(of(&row.measured) / of(&limit.measured))
        };
        median(self.rows(workload, server).filter_map(ratio).collect())
    }

    fn table(&self, servers: &[&Server], figure: Figure) -> String {
        let mut table = Table::new([figure.title].into_iter().chain(self.workloads().map(|it| it.title)));
        for server in servers {
            table.row(
                server.name,
                self.workloads().map(|workload| {
                    let Some(value) = self.median(workload, server.name, figure.of) else {
                        return cell(None::<u8>);
                    };
                    let busy = self.median(workload, server.name, business);
                    let mark = if figure.bounded_by_client && busy < Some(0.95) { "°" } else { "" };
                    let ratio = self.ratio(workload, server.name, figure.of).filter(|_| figure.compared);
                    let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
                    format!("{}{mark}{ratio}", three_digits(value))
                }),
            );
        }
        table.finish()
    }

    fn panels(&self, servers: &[&Server], figure: Figure) -> Vec<Bars> {
        let panel = |workload: &Workload| Bars {
            title: workload.title.into(),
            bars: servers
                .iter()
                .map(|server| {
                    let value = self.median(workload, server.name, figure.of);
                    let label = cell(value.map(if figure.bounded_by_client { short } else { three_digits }));
                    Bar { name: server.name.into(), value, label, tone: tone(server) }
                })
                .collect(),
        };
        self.workloads().map(panel).collect()
    }
}

/// The colour of a server, in all charts the same.
pub(crate) fn tone(server: &Server) -> Tone {
    let peers = || SERVERS.iter().filter(|peer| peer.package.is_some());
    match (server.style, peers().position(|peer| peer.name == server.name)) {
        (Style::Yardstick, _) => Tone::Limit,
        (_, Some(index)) => Tone::Peer(index),
        (Style::Async, None) => Tone::Ours(0),
        (Style::Sync, None) => Tone::Ours(1),
    }
}

#[cfg(test)]
mod tests {
    use varvel_bench_load::latency::Latency;

    use super::*;
    use crate::servers::EVENTED;

    fn row(workload: &str, server: &str, round: usize) -> Row {
        let measured = Measured {
            requests: 1,
            seconds: 1.0,
            server_cpu: 1.0,
            client_cpu: 1.0,
            others_cpu: 0.0,
            latency: Latency::default(),
            errors: 0,
            loops: Vec::new(),
        };
        Row { workload: workload.into(), server: server.into(), round, measured }
    }

    #[test]
    fn measuring_some_again_leaves_the_others_and_what_they_are_compared_to() {
        let rows = vec![
            row("hello", LIMIT, 0),
            row("hello", EVENTED, 0),
            row("hello", "hyper", 0),
            row("hello", LIMIT, 1),
            row("hello", EVENTED, 1),
            row("close", LIMIT, 0),
            row("close", EVENTED, 0),
        ];
        let again = [LIMIT, EVENTED].map(|name| Server::named(name).unwrap());
        let left = without(rows, &again, &[Workload::named("hello").unwrap()]);
        let left: Vec<_> = left.iter().map(|row| (&*row.workload, &*row.server, row.round)).collect();
        let expected =
            [("hello", LIMIT, 0), ("hello", "hyper", 0), ("close", LIMIT, 0), ("close", EVENTED, 0)];
        assert_eq!(left, expected);
    }
}
