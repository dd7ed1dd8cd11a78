//! What the bench target promises, seen from the wire.

use std::io::Write;

use crate::{
    SERVERS,
    running::{BENCH_TARGET, BENCH_TARGET_RESOURCE, Running},
    wire::{ask, get},
};

#[test]
fn every_route_answers_on_every_server() {
    for server in SERVERS {
        let target = Running::start(BENCH_TARGET, server, &["--threads", "2"]);
        let hello = get(target.connect(), "/");
        assert_eq!((hello.status, hello.body().as_str()), (200, "Hello, World!"), "{server}");
        assert_eq!(hello.field("content-type"), Some("text/plain"));
        assert_eq!(hello.field("content-length"), Some("13"));
        let echo = ask(target.connect(), "POST /echo\r\nContent-Length: 4\r\n\r\nping");
        assert_eq!(echo.body(), "ping", "{server}");
        assert_eq!(get(target.connect(), "/wait?ms=10").body(), "ok", "{server}");
        let stream = get(target.connect(), "/stream?n=64");
        assert_eq!(stream.field("content-length"), None, "{server}");
        assert_eq!(stream.body().len(), 64 * 16 * 1024, "{server}");
        assert_eq!(get(target.connect(), "/nothing").status, 404);
    }
}

#[test]
fn through_the_framework_hello_is_the_same() {
    for server in SERVERS {
        let [bare, framework] = [BENCH_TARGET, BENCH_TARGET_RESOURCE].map(|program| {
            let hello = get(Running::start(program, server, &[]).connect(), "/");
            let fields = ["content-type", "content-length", "transfer-encoding"];
            (hello.status, fields.map(|name| hello.field(name).map(str::to_owned)), hello.body())
        });
        assert_eq!(framework, bare, "{server}");
    }
}

#[test]
fn who_waits_holds_no_thread() {
    for server in SERVERS {
        let target = Running::start(BENCH_TARGET, server, &["--threads", "1"]);
        // Each would keep the only thread for longer than the test is willing to wait.
        let waiting = [(); 4].map(|()| {
            let mut stream = target.connect();
            stream.write_all(b"GET /wait?ms=600000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream
        });
        assert_eq!(get(target.connect(), "/").body(), "Hello, World!", "{server}");
        drop(waiting);
    }
}
