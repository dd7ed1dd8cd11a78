//! The benchmark of Varvel: its servers beside others, on one machine.

mod bench;
mod chart;
mod client;
mod machine;
mod page;
mod rates;
mod report;
mod results;
mod servers;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use varvel_bench_load::descriptors;

use crate::{
    bench::Bench,
    rates::Workload,
    results::Results,
    servers::{LIMIT, Programs, SERVERS, Server},
};

/// Measures Varvel's servers beside others and writes tables and charts.
///
/// Without a command it measures everything, within some minutes. Nothing else should run meanwhile: what others
/// disturb is measured again, and left out if that does not help.
#[derive(Parser)]
#[command(name = "bench/run", version)]
struct Options {
    #[command(subcommand)]
    scenario: Option<Scenario>,

    /// How often everything is measured; medians count.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,

    /// How long each measurement takes.
    #[arg(long, global = true, default_value_t = 1.0)]
    seconds: f64,

    /// Which servers, such as `evented,hyper`.
    #[arg(long, global = true, value_delimiter = ',', value_parser = Server::named)]
    servers: Vec<&'static Server>,

    /// Where the results are.
    #[arg(long, global = true, value_name = "FOLDER", default_value = "results")]
    results: PathBuf,

    /// The program with our servers.
    #[arg(long, global = true, env = "BENCH_TARGET", hide = true)]
    bench_target: PathBuf,
}

#[derive(Subcommand)]
enum Scenario {
    /// Requests per second and processor time per request.
    Rates {
        /// Which workloads, such as `hello,close` [default: all].
        #[arg(long, value_delimiter = ',', value_parser = Workload::named)]
        workloads: Vec<&'static Workload>,
        /// Adds rounds to those that are there instead of replacing them.
        #[arg(long)]
        add: bool,
    },
    /// Writes tables and charts anew from what was measured.
    Report,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> io::Result<()> {
    descriptors::raise_limit()?;
    let results = Results::in_folder(&options.results)?;
    let programs = Programs::find(&options.bench_target)?;
    let bench = Bench { programs, rounds: options.rounds, seconds: options.seconds };
    let chosen = |default: &dyn Fn(&Server) -> bool| -> Vec<&'static Server> {
        if options.servers.is_empty() {
            return SERVERS.iter().filter(|server| default(server)).collect();
        }
        // The yardstick comes along, as ratios are to it.
        SERVERS
            .iter()
            .filter(|it| it.name == LIMIT || options.servers.iter().any(|s| s.name == it.name))
            .collect()
    };
    match options.scenario {
        Some(Scenario::Rates { workloads, add }) => {
            let all = rates::WORKLOADS.iter().collect();
            let workloads = if workloads.is_empty() { all } else { workloads };
            rates::measure(&bench, &results, &chosen(&|_| true), &workloads, add)?;
        }
        Some(Scenario::Report) => {}
        None => {}
    }
    report::write(&results)
}
