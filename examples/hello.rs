//! The smallest async program: `cargo run --example hello`, or `-- --server threaded` for the same on threads.

use std::process::ExitCode;

use http::{Request, Response};
use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};

async fn hello(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    Ok(Response::new(AsyncBody::full(format!("Hello from {}\n", request.uri().path()))))
}

fn main() -> ExitCode {
    varvel_serve::run(app_fn(hello))
}
