//! See [`varvel_bench_load`].

use std::{io, process::ExitCode};

use clap::Parser;
use varvel_bench_load::{
    descriptors,
    drive::{Load, drive},
    hold::{Hold, hold},
};

/// Loads an HTTP/1.1 server and prints what that came to, as JSON.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Keeps connections busy for a while.
    Drive(Load),
    /// Opens connections and leaves them idle until standard input ends.
    Hold(Hold),
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    descriptors::raise_limit()?;
    match command {
        Command::Drive(load) => println!("{}", serde_json::to_string(&drive(&load)?)?),
        Command::Hold(what) => hold(&what, &mut io::stdin(), &mut io::stdout())?,
    }
    Ok(())
}
