//! Mistakes of operators, and what they are told.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    SERVERS,
    running::{PROBE, run},
    wire::get,
};

/// A path that nobody else uses.
fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Runs a program that must fail; gives its exit status and its standard error.
fn failure(options: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(PROBE, options, environment);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_wrong_command_line_ends_with_2_and_advice() {
    for (options, environment, expected) in [
        (&["--head-timeout", "soon"][..], &[][..], "write a number with ms, s, m, h or d"),
        (&["--server", "eventd"], &[], "'evented'"),
        (&["--server", "prefork", "--worker", "prefork"], &[], "choose threaded or evented"),
        (&["--bind", "8000"], &[], "write :PORT"),
        (&[], &[("VARVEL_THREADS", "many")], "VARVEL_THREADS: "),
    ] {
        let (status, message) = failure(options, environment);
        assert_eq!(status, Some(2), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn lines_have_a_time_and_a_process_but_for_the_journal_which_knows_both() {
    let (log, other) = (scratch("log"), scratch("other"));
    fs::write(&other, "").unwrap();
    for (journal, is_journal) in [(&log, true), (&other, false)] {
        let stderr = File::create(&log).unwrap();
        let journal = fs::metadata(journal).unwrap();
        let mut command = Command::new(PROBE);
        command.args(["--bind", "192.0.2.1:8000"]).stderr(stderr);
        let mut child =
            command.env("JOURNAL_STREAM", format!("{}:{}", journal.dev(), journal.ino())).spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let line = fs::read_to_string(&log).unwrap();
        let (before, _) = line.split_once("error: cannot listen at ").unwrap();
        if is_journal {
            assert_eq!(before, "");
        } else {
            let (time, process) = before.split_once(' ').unwrap();
            assert_eq!(process, format!("[{}] ", child.id()));
            assert!(time.len() == "2026-11-22T08:53:55.042Z".len() && time.ends_with('Z'), "{line}");
        }
    }
    for file in [log, other] {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn an_address_that_cannot_be_had_ends_with_1_and_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_socket = scratch("no-socket");
    fs::write(&no_socket, "precious").unwrap();
    for (address, expected) in [
        (taken.local_addr().unwrap().to_string(), "another process listens there"),
        (format!("unix:{}", no_socket.display()), "no socket; remove it or choose another path"),
        ("unix:/nowhere/app.sock".to_owned(), "make the folder first"),
        ("192.0.2.1:8000".to_owned(), "no interface of this machine has this address"),
        ("fd:77".to_owned(), "has to pass a listening socket"),
    ] {
        for server in SERVERS {
            let (status, message) = failure(&["--server", server, "--bind", &address], &[]);
            assert_eq!(status, Some(1), "{message}");
            assert!(message.contains(" error: cannot listen at "), "{message}");
            assert!(message.contains(expected), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
    assert_eq!(fs::read_to_string(&no_socket).unwrap(), "precious");
    fs::remove_file(&no_socket).unwrap();
}

#[test]
fn help_version_and_configuration_are_printed_with_status_0() {
    for (option, expected) in [
        ("--help", "--lame-duck-delay <TIME>"),
        ("-h", "Slow and idle clients:"),
        ("--version", "probe 0.1.0 on Varvel 0.1.0 (spec 0.1)\n"),
        ("--print-config", "server = threaded  # VARVEL_SERVER\n"),
    ] {
        let output = run(PROBE, &[option], &[("VARVEL_SERVER", "threaded")]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains(expected), "{text}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[test]
fn every_address_is_announced_and_served_and_a_socket_file_goes_with_the_program() {
    for server in SERVERS {
        let path = scratch(server);
        let unix = format!("unix:{}", path.display());
        let mut child = Command::new(PROBE)
            .args(["--server", server, "--bind", "127.0.0.1:0", "--bind", &unix])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains(" listening on http://127.0.0.1:"));
        assert!(lines.next().unwrap().unwrap().contains(&format!(" listening on {unix}, ")));
        let answer = get(UnixStream::connect(&path).unwrap(), "/status/200");
        assert_eq!(answer.status, 200, "{server}");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!path.exists(), "{server}");
    }
}
