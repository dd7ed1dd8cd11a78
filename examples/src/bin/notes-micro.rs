//! The notes service on `varvel-micro`: see [`varvel_examples::notes`].

use std::process::ExitCode;

use varvel_examples::notes;

fn main() -> ExitCode {
    match notes::open() {
        Ok(store) => varvel_serve::run(varvel_serve::Both(notes::micro::app(store))),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
