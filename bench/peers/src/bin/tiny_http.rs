//! tiny_http.

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use tiny_http::{Header, Request, Response, Server};
use varvel_bench_peers::{HELLO, Options, number};

fn main() {
    let options = Options::from_command_line();
    let server = Server::http(options.bind).expect("an address that is free");
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    // Who has left meanwhile needs no answer.
                    let _ = answer(request);
                }
            });
        }
    });
}

fn answer(mut request: Request) -> io::Result<()> {
    let url = request.url().to_owned();
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let number = number(Some(query));
    match path {
        "/" => {
            let text = Header::from_bytes("Content-Type", "text/plain").expect("a header");
            request.respond(Response::from_string(HELLO).with_header(text))
        }
        "/echo" => {
            let mut body = Vec::new();
            request.as_reader().read_to_end(&mut body)?;
            request.respond(Response::from_data(body))
        }
        "/wait" => {
            // Its few threads take the requests of all connections: to wait, one has to leave them.
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(number));
                request.respond(Response::from_string("ok"))
            });
            Ok(())
        }
        _ => {
            let chunks = io::repeat(b'x').take(number * 16 * 1024);
            request.respond(Response::new(200.into(), Vec::new(), chunks, None, None))
        }
    }
}
