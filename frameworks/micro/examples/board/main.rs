//! A board of notes and pictures: sign in, write, and see what others write. `cargo run -p varvel-micro --example board`

use std::{error::Error, process::ExitCode};

use varvel_micro::cookies::Keys;

mod board;
mod notes;
mod pictures;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // A secret in a file would have people stay signed in over a restart.
    let app = board::app(Keys::generate(), &std::env::temp_dir().join("varvel-board"))?;
    Ok(varvel_serve::run(varvel_serve::Both(app)))
}
