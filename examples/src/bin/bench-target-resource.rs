//! The hello of `bench-target` through a framework, to measure what that costs behind a server.

use std::process::ExitCode;

use varvel_resource::{App, AsyncRequest, AsyncResponse, Resource, Responders, Result};
use varvel_serve::{Program, kind};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Hello;

impl Resource for Hello {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
    }
}

impl Hello {
    async fn on_get(&self, _req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.set_content_type("text/plain");
        resp.set_data("Hello, World!");
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut app = App::new();
    app.add_route("/", Hello).expect("the only route");
    Program::new(app)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Costs as little as varvel-resource allows: for measuring it")
        .run::<kind::AsyncFactory>()
}
