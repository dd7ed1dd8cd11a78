//! rouille, on a pool of threads above tiny_http.

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use rouille::{Request, Response, ResponseBody, Server};
use varvel_bench_peers::{HELLO, Options, number};

/// Waiting takes a thread, so it gets more than there are processors.
const THREADS: usize = 256;

fn main() {
    let options = Options::from_command_line();
    Server::new(options.bind, answer).expect("an address that is free").pool_size(THREADS).run();
}

fn answer(request: &Request) -> Response {
    let number = number(Some(request.raw_query_string()));
    match request.url().as_str() {
        "/" => Response::text(HELLO),
        "/echo" => {
            let mut body = Vec::new();
            let read = request.data().map(|mut data| data.read_to_end(&mut body));
            if matches!(read, Some(Ok(_))) {
                Response::from_data("text/plain", body)
            } else {
                Response::empty_400()
            }
        }
        "/wait" => {
            thread::sleep(Duration::from_millis(number));
            Response::text("ok")
        }
        _ => {
            let chunks = io::repeat(b'x').take(number * 16 * 1024);
            let data = ResponseBody::from_reader(chunks);
            Response { status_code: 200, headers: Vec::new(), data, upgrade: None }
        }
    }
}
