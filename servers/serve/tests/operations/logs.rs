//! Log files that are moved away while everybody writes (SIGUSR1).

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt};

use rustix::process::{Pid, Signal};

use crate::{
    clients::{Clients, ask},
    program::{Folder, Start, children, wait_until},
};

pub(crate) fn no_line_is_lost_when_files_are_moved_away(server: &str) {
    let folder = Folder::new();
    let files = [folder.text("access"), folder.text("log")];
    let options = ["--bind", "127.0.0.1:0", "--access-log", "json", "--access-log-file", &files[0]];
    let mut start = Start::new(&folder, server).options(&options).options(&["--log-file", &files[1]]);
    let drops = server == "prefork" && rustix::process::geteuid().is_root();
    if drops {
        // Who may not make files in this folder.
        start = start.options(&["--user", "nobody"]);
    }
    let mut running = start.spawn();
    let log = || fs::read_to_string(&files[1]).unwrap_or_default();
    wait_until("it listens", || log().contains(" listening on "));
    let address = crate::program::address(&log());
    let clients = Clients::start(address);
    let mut moved = Vec::new();
    for round in 0..5 {
        clients.go_on(100);
        for file in &files {
            moved.push(format!("{file}.{round}"));
            fs::rename(file, moved.last().unwrap()).unwrap();
        }
        running.send(Signal::USR1);
        wait_until("all write to the new files", || all_write_to(running.pid(), &files));
    }
    clients.go_on(100);
    assert_eq!(ask(address, "/last").map(drop), Ok(()));
    let answers = clients.end() + 1;
    if drops {
        let nobody = fs::metadata(&files[0]).unwrap().uid();
        assert_ne!(nobody, 0, "workers could not open it again");
    }
    running.send(Signal::TERM);
    assert_eq!(running.wait().code(), Some(0));
    running.wait_for_all();
    assert!(log().ends_with(" stopped; every exchange was finished\n"), "{}", log());
    let access = moved.iter().step_by(2).chain([&files[0]]).map(|file| fs::read_to_string(file).unwrap());
    let lines = access.collect::<String>();
    assert!(lines.lines().all(|line| line.starts_with("{\"time\":") && line.ends_with('}')), "{lines}");
    assert_eq!(lines.lines().count(), answers);
    assert_eq!(running.said, [""; 0], "all of it was for the file");
}

/// Whether the standard streams of a process and of its workers are these files, all of them.
fn all_write_to(pid: Pid, files: &[String; 2]) -> bool {
    let inode = |path: String| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let expected: HashSet<_> = files.iter().map(|file| inode(file.clone())).collect();
    children(pid).into_iter().chain([pid]).all(|process| {
        let streams: HashSet<_> = [1, 2].map(|fd| inode(format!("/proc/{process}/fd/{fd}"))).into();
        streams == expected && !expected.contains(&None)
    })
}
