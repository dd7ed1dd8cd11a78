//! Signals: what runs is finished, what does not end is cut, and the exit status says that all went well.

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::{
    SERVERS,
    running::{PROBE, Running},
    wire::{get, read_answer, read_head},
};

/// A request that the application has begun to read, and waits for the rest of: the 100 says so.
fn hold(probe: &Running) -> std::net::TcpStream {
    let mut stream = probe.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    assert_eq!(read_head(&mut stream).status, 100);
    stream
}

#[test]
fn a_running_request_is_finished_before_the_end() {
    for (server, signal) in
        SERVERS.into_iter().flat_map(|server| [(server, Signal::TERM), (server, Signal::INT)])
    {
        let mut probe = Running::start(PROBE, server, &["--drain-timeout", "1h"]);
        let mut held = hold(&probe);
        probe.signal(signal);
        probe.line_with(" stopping");
        held.write_all(b"hello").unwrap();
        let answer = read_answer(&held);
        assert_eq!(answer.status, 200, "{server}");
        assert!(answer.body().contains("\"body_len\":5"), "{server}");
        let (status, rest) = probe.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
        assert!(
            rest.ends_with(&format!(" info: varvel-{server} stopped; every exchange was finished\n")),
            "{rest}"
        );
        assert_eq!(rest.lines().count(), 1, "{rest}");
    }
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &["--drain-timeout", "100ms"]);
        let mut held = hold(&probe);
        probe.signal(Signal::TERM);
        let (status, rest) = probe.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
        assert!(
            rest.ends_with(&format!(" info: varvel-{server} stopped; 1 exchange was cut off\n")),
            "{rest}"
        );
        // Closed or reset, but not answered.
        let mut answer = Vec::new();
        let _ = held.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{server}: {answer:?}");
    }
}

#[test]
fn a_quick_stop_does_not_wait() {
    for server in SERVERS {
        for (first, second) in [(None, Signal::QUIT), (Some(Signal::INT), Signal::INT)] {
            let mut probe = Running::start(PROBE, server, &["--drain-timeout", "1h"]);
            let _held = hold(&probe);
            if let Some(first) = first {
                probe.signal(first);
                probe.line_with(" stopping");
            }
            probe.signal(second);
            let (status, rest) = probe.end();
            assert_eq!(status.code(), Some(0), "{server}: {rest}");
        }
    }
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &["--drain-timeout", "1h", "--keep-alive-timeout", "1h"]);
        let mut idle = probe.connect();
        idle.write_all(b"GET /status/204 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(read_head(&mut idle).status, 204);
        probe.signal(Signal::TERM);
        let (status, rest) = probe.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
    }
}

#[test]
fn a_lame_duck_serves_until_its_time_is_over() {
    for server in SERVERS {
        let mut probe = Running::start(PROBE, server, &["--lame-duck-delay", "1h"]);
        probe.signal(Signal::TERM);
        probe.line_with(" stopping in 3600 s;");
        assert_eq!(get(probe.connect(), "/status/200").status, 200, "{server}");
        probe.signal(Signal::QUIT);
        let (status, rest) = probe.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
    }
}
