//! A file that names the process.

use std::fs;

use crate::program::{Folder, Start, pid_in};

pub(crate) fn it_names_the_process_while_that_lives(server: &str) {
    let folder = Folder::new();
    let path = folder.path("pid");
    // Left by a process that was killed, which is nobody now.
    fs::write(&path, "999999999\n").unwrap();
    let options = ["--bind", "127.0.0.1:0", "--pid-file", &folder.text("pid")];
    let running = Start::new(&folder, server).options(&options).run();
    let serving = running.pid();
    assert_eq!(pid_in(&path), Some(serving));
    running.stop(serving);
    assert!(!path.exists());
}

pub(crate) fn a_second_process_does_not_start(server: &str) {
    let folder = Folder::new();
    let options = ["--bind", "127.0.0.1:0", "--pid-file", &folder.text("pid")];
    let first = Start::new(&folder, server).options(&options).run();
    let mut second = Start::new(&folder, server).options(&options).spawn();
    assert_eq!(second.wait().code(), Some(1));
    second.expect(&format!("names process {}, which is running", first.pid()));
    let serving = first.pid();
    assert_eq!(pid_in(&folder.path("pid")), Some(serving));
    first.stop(serving);
    assert!(!folder.path("pid").exists());
}
