//! The smallest sync program: it may block, on threads as well as beside an event loop.

use std::process::ExitCode;

use http::{Request, Response};
use varvel::{AppResult, ReadBody, Scope, WriteBody, sync_fn};

fn hello(request: Request<ReadBody>, _scope: Scope) -> AppResult {
    Ok(Response::new(WriteBody::full(format!("Hello from {}\n", request.uri().path()))))
}

fn main() -> ExitCode {
    varvel_serve::run(sync_fn(hello))
}
