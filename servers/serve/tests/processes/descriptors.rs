//! The limit on open files, which is one on connections.

use std::net::TcpStream;

use crate::running::{Running, ask, connect};

pub(crate) fn a_low_soft_limit_does_not_bound_the_connections(server: &str) {
    let options = ["--max-connections", "200"];
    let running = Running::start_under("ulimit -Sn 64", server, "127.0.0.1:0", &options);
    assert!(!running.said.contains("warning"), "{}", running.said);
    serve_together(&running, 200);
    running.stop();
}

pub(crate) fn a_low_hard_limit_is_told_and_clients_beyond_it_wait(server: &str) {
    for (options, warning) in [
        (&["--max-connections", "1000"][..], " warning: this process may open 100 files, too few for "),
        (&[], " info: varvel-"),
    ] {
        let running = Running::start_under("ulimit -n 100", server, "127.0.0.1:0", options);
        assert!(running.said.lines().next().unwrap().contains(warning), "{}", running.said);
        assert!(running.said.ends_with(", 75 connections at most\n"), "{}", running.said);
        serve_together(&running, 75);
        // More than there are descriptors: who is beyond is served when others have gone.
        let clients: Vec<TcpStream> = (0..150).map(|_| connect(running.address).unwrap()).collect();
        for client in clients {
            assert_eq!(ask(client), Ok(running.id()));
        }
        running.stop();
    }
}

/// Has so many clients answered while all of them are connected.
fn serve_together(running: &Running, count: usize) {
    let clients: Vec<TcpStream> = (0..count).map(|_| connect(running.address).unwrap()).collect();
    for client in clients.iter().rev() {
        assert_eq!(ask(client.try_clone().unwrap()), Ok(running.id()));
    }
}
