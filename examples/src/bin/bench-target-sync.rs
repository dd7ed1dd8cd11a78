//! The sync form of [`varvel_examples::bench_target`] on either server: on the evented one by a bridge, which is what is
//! measured then.

use std::process::ExitCode;

use varvel_examples::bench_target::OnThreads;
use varvel_serve::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program::new(OnThreads)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Costs as little as the contract allows, as a function that may block")
        .run()
}
