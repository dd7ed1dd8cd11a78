//! How connections are spread over workers that accept from one socket.

use std::{collections::BTreeMap, fs};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    clients::Connection,
    running::{Running, until},
};

pub(crate) fn connections_that_come_at_once_are_shared_out_evenly(server: &str) {
    for count in [64, 512] {
        let running = Running::start(server, &["workers=4", "loops=2"]);
        // Nobody says anything before all are there, so no worker is busy with those that it has.
        let mut connections: Vec<_> = (0..count).map(|_| Connection::to(running.address).unwrap()).collect();
        let mut parts = BTreeMap::new();
        for connection in &mut connections {
            *parts.entry(pid_of(connection)).or_insert(0) += 1;
        }
        let (least, most) = (parts.values().min().unwrap(), parts.values().max().unwrap());
        assert!(parts.len() == 4 && *most <= 2 * least, "{count}: {parts:?}");
        drop(connections);
        running.stop();
    }
}

pub(crate) fn where_one_hangs_the_others_take_its_part(server: &str) {
    let running = Running::start(server, &["workers=2", "worker-timeout=60s"]);
    let mut stuck = Connection::to(running.address).unwrap();
    let pid = pid_of(&mut stuck);
    stuck.send("/hang/1", true).unwrap();
    running.wait_for(&format!("process {pid} hangs"));
    // Most of these are more than the other's share.
    let mut connections: Vec<_> = (0..32).map(|_| Connection::to(running.address).unwrap()).collect();
    assert!(connections.iter_mut().all(|connection| pid_of(connection) != pid));
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    running.stop();
}

pub(crate) fn who_has_no_thread_left_leaves_clients_to_who_has(server: &str) {
    let running = Running::start(server, &["workers=2", "threads=1"]);
    let mut kept = Connection::to(running.address).unwrap();
    let pid = pid_of(&mut kept);
    let file = running.file("go");
    kept.send(&until(&file), true).unwrap();
    running.wait_for("waits for ");
    // One after the other, so that the other worker is free for each.
    for _ in 0..20 {
        assert_ne!(pid_of(&mut Connection::to(running.address).unwrap()), pid);
    }
    fs::write(file, "").unwrap();
    kept.answer().unwrap();
    running.stop();
}

/// The process that serves a connection.
fn pid_of(connection: &mut Connection) -> u32 {
    let answer = connection.ask("/id/1", true).unwrap();
    answer.body.strip_prefix("1 ").and_then(|pid| pid.parse().ok()).unwrap()
}
