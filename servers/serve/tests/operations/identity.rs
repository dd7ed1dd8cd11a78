//! Workers that are somebody else than their supervisor.

use std::{fs, net::TcpStream};

use rustix::process::Signal;

use crate::{
    clients::ask,
    program::{Folder, Start, wait_until},
};

pub(crate) fn workers_are_whom_they_are_told_to_be() {
    let folder = Folder::new();
    let options = ["--bind", "127.0.0.1:0", "--user", "nobody", "--group", "12345"];
    let running = Start::new(&folder, "prefork").options(&options).run();
    let status = ask(running.address, "/status").unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').nth(2).unwrap();
    assert_eq!(field(&status, "Uid"), [nobody; 4]);
    assert_eq!(field(&status, "Gid"), ["12345"; 4]);
    assert_eq!(field(&status, "Groups"), ["12345"], "whoever has started it is in others");
    assert_eq!(field(&status, "CapEff"), ["0000000000000000"]);
    let supervisor = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    assert_eq!(field(&supervisor, "Uid"), ["0"; 4]);
    let serving = running.pid();
    running.stop(serving);
}

fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect()
}

pub(crate) fn workers_end_with_their_supervisor() {
    let folder = Folder::new();
    let options = ["--bind", "127.0.0.1:0", "--user", "nobody"];
    let mut running = Start::new(&folder, "prefork").options(&options).run();
    running.send(Signal::KILL);
    running.wait_for_all();
    wait_until("nobody listens", || TcpStream::connect(running.address).is_err());
}

pub(crate) fn who_is_unknown_does_not_start() {
    let folder = Folder::new();
    for (server, option, status, problem) in [
        ("prefork", ["--user", "nobody-here"], 1, "there is no user nobody-here in /etc/passwd"),
        ("prefork", ["--group", "nobody-here"], 1, "there is no group nobody-here in /etc/group"),
        ("evented", ["--user", "nobody"], 2, "--user: the evented server has no worker processes"),
        ("threaded", ["--group", "1"], 2, "--group: the threaded server has no worker processes"),
    ] {
        let start = Start::new(&folder, server).options(&["--bind", "127.0.0.1:0"]);
        let mut running = start.options(&option).spawn();
        assert_eq!(running.wait().code(), Some(status));
        running.expect(problem);
    }
}
