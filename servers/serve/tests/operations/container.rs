//! As the first process of a container, whose end is that of all.

use std::{process::Command, sync::LazyLock};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    clients::{Clients, ask},
    program::{Folder, Running, Start, children, wait_until},
};

/// Runs a program as process 1 of a namespace of its own.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether the system and our privileges allow it.
pub(crate) fn are_possible() -> bool {
    static POSSIBLE: LazyLock<bool> = LazyLock::new(|| {
        let tried = Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    });
    *POSSIBLE
}

/// A program as process 1 of a namespace of its own, and its number outside.
fn start(folder: &Folder) -> (Running, Pid) {
    let running = Start::under(&CONTAINER, folder, "prefork").options(&["--bind", "127.0.0.1:0"]).run();
    let first = children(running.pid())[0];
    (running, first)
}

/// Has process 1 start the program anew, by a signal to it, and waits until that serves.
fn upgrade(running: &mut Running, first: Pid) {
    kill_process(first, Signal::USR2).unwrap();
    running.expect(" serves in place of this process");
}

pub(crate) fn signals_reach_whoever_serves() {
    let folder = Folder::new();
    let (mut running, first) = start(&folder);
    let clients = Clients::start(running.address);
    assert_eq!(ask(running.address, "/supervisor"), Ok("1".to_owned()));
    let mut supervisors = vec!["1".to_owned()];
    for _ in 0..3 {
        upgrade(&mut running, first);
        clients.go_on(100);
        let supervisor = ask(running.address, "/supervisor").unwrap();
        assert!(!supervisors.contains(&supervisor), "{supervisor} of {supervisors:?}");
        supervisors.push(supervisor);
    }
    kill_process(first, Signal::HUP).unwrap();
    running.expect("reloaded: ");
    kill_process(first, Signal::TTIN).unwrap();
    running.expect("SIGTTIN: 3 workers from now on");
    clients.end();
    // Those between have ended, and nobody is left of them.
    wait_until("process 1 has one child", || children(first).len() == 1);
    kill_process(first, Signal::TERM).unwrap();
    assert_eq!(running.wait().code(), Some(0));
    running.expect(" stopped; every exchange was finished");
}

pub(crate) fn the_status_is_that_of_whoever_served_last() {
    let folder = Folder::new();
    let (mut running, first) = start(&folder);
    upgrade(&mut running, first);
    wait_until("process 1 has one child", || children(first).len() == 1);
    kill_process(children(first)[0], Signal::KILL).unwrap();
    assert_eq!(running.wait().code(), Some(128 + 9));
}

pub(crate) fn orphans_are_taken_in() {
    let folder = Folder::new();
    let (mut running, first) = start(&folder);
    for upgraded in [false, true] {
        if upgraded {
            upgrade(&mut running, first);
        }
        assert_eq!(ask(running.address, "/orphan"), Ok("3".to_owned()));
        let expected = if upgraded { 1 } else { 2 };
        wait_until("the orphan is gone", || children(first).len() == expected);
    }
    kill_process(first, Signal::QUIT).unwrap();
    assert_eq!(running.wait().code(), Some(0));
}
