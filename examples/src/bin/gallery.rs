//! What servers, contract and frameworks can do, for a browser: see [`varvel_examples::gallery`].

use std::process::ExitCode;

use varvel_examples::gallery::Gallery;
use varvel_serve::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program::new(Gallery::default())
        .version(env!("CARGO_PKG_VERSION"))
        .about("Shows in a browser what Varvel's servers, their contract and the frameworks on it can do")
        .run()
}
