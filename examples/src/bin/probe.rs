//! Says what reached the application, and misbehaves on request, for examining servers from the outside: the routes of
//! `conformance/suite/ROUTES.md`.

use std::process::ExitCode;

use varvel_conformance::{Probe, silence_planned_panics};
use varvel_serve::{PerServer, Program, kind};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    silence_planned_panics();
    Program::new(PerServer { threaded: Probe::routes(), evented: Probe::routes() })
        .version(env!("CARGO_PKG_VERSION"))
        .about("Says what reached the application, and misbehaves on request: for examining servers")
        .run::<kind::Forms<kind::SyncFactory, kind::AsyncFactory>>()
}
