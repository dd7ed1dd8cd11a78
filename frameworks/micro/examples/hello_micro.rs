//! Sync and async handlers side by side, on every server: `cargo run --example hello_micro -- --server threaded`.

use std::process::ExitCode;

use varvel_micro::App;

fn main() -> ExitCode {
    let mut app = App::new();
    app.get("/hello/{name}", |name: String| format!("Hello, {name}!\n"));
    app.get("/later/{n:int}", async |n: i64| format!("{n} later\n"));
    varvel_serve::run(varvel_serve::Both(app))
}
