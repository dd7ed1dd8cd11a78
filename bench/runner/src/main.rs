//! The benchmark of Varvel: its servers beside others, on one machine.

mod balance;
mod bench;
mod chart;
mod client;
mod contract;
mod fairness;
mod frameworks;
mod growth;
mod machine;
mod memory;
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
    growth::Growing,
    rates::{WORKLOADS, Workload},
    results::Results,
    servers::{EVENTED, LIMIT, Programs, SERVERS, Server, THREADED},
};

/// Measures Varvel's servers beside others and writes tables and charts.
///
/// Without a command it measures everything, within some minutes. Nothing else should run meanwhile: what others
/// disturb is measured again, and left out if that does not help.
#[derive(Parser)]
#[command(name = "bench/run", bin_name = "bench/run", version)]
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
    #[arg(
        long,
        global = true,
        env = "BENCH_TARGET",
        default_value = "../target/release/bench-target",
        hide = true
    )]
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
    /// What idle connections cost, and how fast a fresh request is answered meanwhile.
    Memory {
        /// How many connections. A million takes some 10 GiB of the kernel's memory.
        #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 100_000])]
        connections: Vec<usize>,
    },
    /// Processor time per request as connections, header fields and bodies grow.
    Growth {
        /// What grows [default: all].
        #[arg(long, value_delimiter = ',')]
        only: Vec<Growing>,
        /// How many connections at most.
        #[arg(long, default_value_t = 100_000)]
        connections_max: usize,
    },
    /// What one connection that behaves badly does to 63 others.
    Fairness,
    /// How two event loops share connections and requests.
    Balance,
    /// What the contract costs beside a bare function, and sync applications on event loops beside async ones.
    Contract,
    /// What frameworks cost beside the bare contract, in process, and a hello through one behind a server.
    Frameworks,
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
    let files_max = usize::try_from(descriptors::raise_limit()?).unwrap_or(usize::MAX);
    let results = Results::in_folder(&options.results)?;
    let programs = Programs::find(&options.bench_target)?;
    let bench = Bench { programs, rounds: options.rounds, seconds: options.seconds, files_max };
    let servers = |default: &[&str]| options.servers(default);
    match &options.scenario {
        Some(Scenario::Rates { workloads, add }) => {
            let workloads = if workloads.is_empty() { WORKLOADS.iter().collect() } else { workloads.clone() };
            rates::measure(&bench, &results, &with_limit(servers(&ALL)), &workloads, *add)?;
        }
        Some(Scenario::Memory { connections }) => {
            memory::measure(&bench, &results, &servers(&THRIFTY), connections)?;
        }
        Some(Scenario::Growth { only, connections_max }) => {
            let which = if only.is_empty() { &Growing::ALL[..] } else { only };
            growth::measure(&bench, &results, &with_limit(servers(&GROWING)), which, *connections_max)?;
        }
        Some(Scenario::Fairness) => fairness::measure(&bench, &results, &servers(&FAIR))?,
        Some(Scenario::Balance) => balance::measure(&bench, &results, &servers(&BALANCED))?,
        Some(Scenario::Contract) => contract::measure(&bench, &results)?,
        Some(Scenario::Frameworks) => frameworks::measure(&bench, &results)?,
        Some(Scenario::Report) => {}
        None => {
            rates::measure(&bench, &results, &with_limit(servers(&ALL)), &WORKLOADS.each_ref(), false)?;
            memory::measure(&bench, &results, &servers(&THRIFTY), &[1000, 10_000])?;
            let once = Bench { rounds: 1, ..bench.clone() };
            growth::measure(&once, &results, &with_limit(servers(&GROWING)), &Growing::ALL, 100_000)?;
            fairness::measure(&once, &results, &servers(&FAIR))?;
            balance::measure(&once, &results, &servers(&BALANCED))?;
            contract::measure(&bench, &results)?;
            frameworks::measure(&bench, &results)?;
        }
    }
    report::write(&results)
}

/// Which servers a scenario is about, unless others are named.
const ALL: [&str; 9] =
    [LIMIT, EVENTED, "hyper", "axum", "actix-web", "may_minihttp", THREADED, "tiny_http", "rouille"];
/// Those that can hold many connections.
const THRIFTY: [&str; 6] = [EVENTED, "hyper", "axum", "actix-web", "may_minihttp", THREADED];
const GROWING: [&str; 4] = [LIMIT, EVENTED, "hyper", THREADED];
const FAIR: [&str; 5] = [EVENTED, "hyper", "axum", "actix-web", THREADED];
const BALANCED: [&str; 4] = [EVENTED, "hyper", "axum", "actix-web"];

impl Options {
    fn servers(&self, default: &[&str]) -> Vec<&'static Server> {
        let named = |server: &&Server| match self.servers.is_empty() {
            true => default.contains(&server.name),
            false => self.servers.iter().any(|named| named.name == server.name),
        };
        SERVERS.iter().filter(named).collect()
    }
}

/// The yardstick comes along where ratios are to it.
fn with_limit(mut servers: Vec<&'static Server>) -> Vec<&'static Server> {
    if servers.iter().all(|server| server.name != LIMIT) {
        servers.insert(0, &SERVERS[0]);
    }
    servers
}
