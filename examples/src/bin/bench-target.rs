//! Something to load: see [`varvel_examples::bench_target`].

use std::process::ExitCode;

use varvel_examples::bench_target::{OnLoops, OnThreads};
use varvel_serve::{PerServer, Program};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program::new(PerServer { threaded: OnThreads, evented: OnLoops })
        .version(env!("CARGO_PKG_VERSION"))
        .about("Costs as little as the contract allows: for measuring servers")
        .run()
}
