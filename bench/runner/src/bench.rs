//! What all scenarios need: programs, processors, patience, and a word on how far it is.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use varvel_bench_load::drive::Measured;

use crate::{
    client::Driving,
    machine::{DISTURBED, Processors},
    page::{grouped, three_digits},
    servers::{Programs, Running, Server},
};

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// Where they are.
    pub(crate) programs: Programs,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// How long each time.
    pub(crate) seconds: f64,
    /// How many files a process may open.
    pub(crate) files_max: usize,
}

/// Files of a process that are no connections to it: our servers leave 1,024 to the application.
const FILES_OTHER: usize = 1100;

/// How often a measurement that others disturbed is repeated.
const REPEATS: usize = 2;

impl Bench {
    /// A server on one processor under load from another, afresh. Repeated when others disturb; the least disturbed
    /// counts.
    pub(crate) fn measure(&self, server: &Server, options: &str) -> io::Result<Measured> {
        self.measure_on(server, 1, options)
    }

    /// The same with so many threads.
    pub(crate) fn measure_on(&self, server: &Server, threads: usize, options: &str) -> io::Result<Measured> {
        let mut best = self.measure_once(server, threads, options)?;
        for _ in 0..REPEATS {
            if !is_disturbed(&best) {
                break;
            }
            let again = self.measure_once(server, threads, options)?;
            if disturbance(&again) < disturbance(&best) {
                best = again;
            }
        }
        Ok(best)
    }

    fn measure_once(&self, server: &Server, threads: usize, options: &str) -> io::Result<Measured> {
        let processors = Processors::one_each()?;
        let running = Running::start(server, &self.programs, &processors.server, threads)?;
        let Processors { server, client } = &processors;
        let options = format!("{options} --processors {},{}", server[0], client[0]);
        Driving::start(&self.programs, client, &running, self.seconds, &options)?.finish()
    }

    /// How many processes so many connections need: of the server, and of the client as well.
    pub(crate) fn processes(&self, connections: usize) -> usize {
        connections.div_ceil((self.files_max - FILES_OTHER.min(self.files_max / 3)).max(1))
    }

    /// Says so if that is more than one.
    pub(crate) fn say_processes(&self, connections: usize) {
        let processes = self.processes(connections);
        if processes > 1 {
            eprintln!(
                "A process may open {} files here (`ulimit -Hn`), so {processes} processes of the server share {} \
                 connections. To measure one process, raise the limit before: as root by `ulimit -Hn {}`, for good \
                 in /etc/security/limits.conf.",
                grouped(self.files_max as f64),
                grouped(connections as f64),
                connections + FILES_OTHER,
            );
        }
    }
}

/// Whether others took too much for the figures to count.
pub(crate) fn is_disturbed(measured: &Measured) -> bool {
    disturbance(measured) > DISTURBED
}

fn disturbance(measured: &Measured) -> f64 {
    measured.others_cpu / measured.seconds
}

/// The rows that count: those that nobody disturbed or, where there are none, all of the same kind.
pub(crate) fn trusted<Row, Kind: Ord>(
    rows: Vec<Row>,
    measured: impl Fn(&Row) -> &Measured,
    kind: impl Fn(&Row) -> Kind,
) -> Vec<Row> {
    let is_quiet = |row: &Row| !is_disturbed(measured(row));
    let quiet: BTreeSet<Kind> = rows.iter().filter(|row| is_quiet(row)).map(&kind).collect();
    rows.into_iter().filter(|row| is_quiet(row) || !quiet.contains(&kind(row))).collect()
}

/// Microseconds of the server's processor time for a request.
pub(crate) fn cost(measured: &Measured) -> f64 {
    measured.server_cpu * 1e6 / measured.requests.max(1) as f64
}

/// Requests in a second.
pub(crate) fn rate(measured: &Measured) -> f64 {
    measured.requests as f64 / measured.seconds
}

/// The share of a processor that the server used.
pub(crate) fn business(measured: &Measured) -> f64 {
    measured.server_cpu / measured.seconds
}

/// Tells on standard error how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    done: usize,
    total: usize,
    since: Instant,
}

impl Progress {
    /// Of so many steps.
    pub(crate) fn new(total: usize) -> Self {
        Self { done: 0, total, since: Instant::now() }
    }

    /// Another is done.
    pub(crate) fn step(&mut self, what: &str, came: &str) {
        self.done += 1;
        let each = self.since.elapsed().as_secs_f64() / self.done as f64;
        let left = Duration::from_secs_f64(each * self.total.saturating_sub(self.done) as f64).as_secs();
        let left = format!("{}:{:02} left", left / 60, left % 60);
        eprintln!("[{:3}/{}, {left}] {what:36} {came}", self.done, self.total);
    }

    /// The same for a measurement.
    pub(crate) fn measured(&mut self, what: &str, measured: &io::Result<Measured>) {
        let came = match measured {
            Err(error) => format!("failed: {error}"),
            Ok(measured) => format!(
                "{:>9} requests/s {:>6} µs each{}{}",
                grouped(rate(measured)),
                three_digits(cost(measured)),
                if measured.errors > 0 {
                    format!(", {} connections broke", measured.errors)
                } else {
                    String::new()
                },
                if is_disturbed(measured) { ", disturbed by others" } else { "" },
            ),
        };
        self.step(what, &came);
    }
}
