use varvel_micro::{App, AsyncBody, Request};

fn main() {
    App::new().post("/", |_request: Request<AsyncBody>| "a sync handler reads a `ReadBody`");
}
