//! Says what reached the application: see [`varvel_examples::probe`].

use std::process::ExitCode;

use varvel::app_fn;
use varvel_examples::probe::probe;
use varvel_serve::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program::new(app_fn(probe))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Says what reached the application, and misbehaves on request: for examining servers")
        .run()
}
