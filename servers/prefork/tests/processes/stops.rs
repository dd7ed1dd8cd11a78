//! Stops, in good order and otherwise. That nothing is left of workers, [`Running::end`] sees each time.

use std::fs;

use rustix::process::Signal;

use crate::{
    clients::Connection,
    running::{Running, until},
};

/// A request that is under way.
fn under_way(running: &Running) -> Connection {
    let mut connection = Connection::to(running.address).unwrap();
    running.after(|| connection.send(&until(&running.file("go")), true).unwrap(), "waits for ");
    connection
}

pub(crate) fn a_stop_lets_requests_finish(server: &str) {
    let running = Running::start(server, &["workers=2", "drain-timeout=1h"]);
    let mut connections: Vec<Connection> = (0..3).map(|_| under_way(&running)).collect();
    running.after(|| running.signal(Signal::TERM), "varvel-prefork stopping");
    // No new ones are let in, from some moment on.
    running.wait_until("closed", || Connection::to(running.address).is_err());
    fs::write(running.file("go"), "").unwrap();
    for connection in &mut connections {
        assert!(connection.answer().is_ok());
    }
    let ended = running.end();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!((ended.numbers("cut "), ended.numbers("statistics ")), (vec![0], vec![3, 0, 0, 0]));
}

pub(crate) fn a_stop_cuts_what_takes_longer_than_it_may(server: &str) {
    let running = Running::start(server, &["workers=2", "drain-timeout=100ms"]);
    let mut connections: Vec<Connection> = (0..3).map(|_| under_way(&running)).collect();
    let ended = running.stop();
    assert!(connections.iter_mut().all(|connection| connection.answer().is_err()));
    assert_eq!(ended.numbers("cut "), [3], "{}", ended.log);
    assert!(!ended.log.contains("killed"), "{}", ended.log);
}

pub(crate) fn a_quick_stop_waits_for_nobody(server: &str) {
    for (signal, before) in [(Signal::QUIT, false), (Signal::INT, false), (Signal::INT, true)] {
        let running = Running::start(server, &["workers=2", "drain-timeout=1h"]);
        let mut connection = under_way(&running);
        if before {
            running.after(|| running.signal(Signal::TERM), "varvel-prefork stopping");
        }
        running.signal(signal);
        let ended = running.end();
        assert!(ended.status.success(), "{}", ended.log);
        assert!(connection.answer().is_err());
        assert_eq!(ended.numbers("cut "), [1], "{}", ended.log);
    }
}

pub(crate) fn workers_that_ignore_the_stop_are_killed(server: &str) {
    let running = Running::start(server, &["workers=2", "drain-timeout=100ms"]);
    let mut stuck = Connection::to(running.address).unwrap();
    stuck.send("/hang/1", true).unwrap();
    // The other one answers, and this one does not.
    let mut answers = 0;
    while answers < 8 {
        let mut other = Connection::to(running.address).unwrap();
        answers += usize::from(other.ask("/id/1", false).is_ok());
    }
    let ended = running.stop();
    assert!(stuck.answer().is_err());
    assert!(ended.log.contains("has not ended in time and is killed"), "{}", ended.log);
    assert!(ended.log.contains("it was serving GET /hang/1 for "), "{}", ended.log);
    assert_eq!(ended.numbers("cut "), [1], "{}", ended.log);
}

pub(crate) fn workers_end_when_their_supervisor_is_killed(server: &str) {
    let running = Running::start(server, &["workers=2", "drain-timeout=100ms"]);
    // One that cannot hear of it ends all the same.
    let mut stuck = Connection::to(running.address).unwrap();
    stuck.send("/hang/1", true).unwrap();
    let mut finishes = under_way(&running);
    fs::write(running.file("go"), "").unwrap();
    running.signal(Signal::KILL);
    assert!(finishes.answer().is_ok());
    running.end();
    assert!(stuck.answer().is_err());
}
