//! may_minihttp, on stackful coroutines. It has neither chunked answers nor `Connection: close`.

use std::{
    io::{self, Read},
    time::Duration,
};

use may_minihttp::{HttpServer, HttpService, Request, Response};
use varvel_bench_peers::{HELLO, Options, number};

fn main() {
    let options = Options::from_command_line();
    // It pins its threads, but which processor it runs on is for the caller to say.
    may::config().set_worker_pin(false);
    may::config().set_workers(options.threads).set_stack_size(0x1000);
    let server = HttpServer(Application).start(options.bind).expect("an address that is free");
    server.join().expect("serving does not end");
}

#[derive(Clone)]
struct Application;

impl HttpService for Application {
    fn call(&mut self, request: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain");
        let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
        match path {
            "/" => response.body(HELLO),
            "/echo" => {
                let mut body = Vec::new();
                request.body().read_to_end(&mut body)?;
                response.body_vec(body);
            }
            "/wait" => {
                may::coroutine::sleep(Duration::from_millis(number(Some(query))));
                response.body("ok");
            }
            _ => {
                response.status_code(404, "Not Found");
            }
        }
        Ok(())
    }
}
