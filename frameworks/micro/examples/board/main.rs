//! A board of notes: sign in, write, read. `cargo run -p varvel-micro --example board`

use std::process::ExitCode;

mod board;

fn main() -> ExitCode {
    // A secret in a file would have people stay signed in over a restart.
    varvel_serve::run(varvel_serve::Both(board::app(varvel_micro::cookies::Keys::generate())))
}
