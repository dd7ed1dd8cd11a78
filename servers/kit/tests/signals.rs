//! Signals are the process's, so each case runs in a child: this binary again, which prints what it is asked for.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use varvel_server_kit::shutdown::{Request, Signals, StopRequest};

const CHILD: &str = "VARVEL_TEST_SIGNALS_CHILD";

/// The child's part; nothing when run as a test.
#[test]
fn child() {
    if env::var_os(CHILD).is_some() {
        let mut signals = Signals::install().unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nREADY").unwrap();
        loop {
            let request = match signals.wait().unwrap() {
                Request::Stop(StopRequest::Graceful) => "GRACEFUL",
                Request::Stop(StopRequest::Quick) => "QUICK",
                Request::ReopenLogs => "REOPEN",
            };
            writeln!(out, "{request}").unwrap();
        }
    }
}

struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "READY"));
        Self { child, lines }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn expect(&mut self, request: &str) {
        assert_eq!(self.lines.next().unwrap().unwrap(), request);
    }

    /// The signal that ended the child.
    fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().signal()
    }
}

#[test]
fn a_second_interrupt_hurries_and_a_third_ends_the_process() {
    let mut run = Run::start();
    run.send(Signal::INT);
    run.expect("GRACEFUL");
    run.send(Signal::INT);
    run.expect("QUICK");
    run.send(Signal::INT);
    assert_eq!(run.end(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_supervisor_that_repeats_itself_does_not_cut_the_drain_short() {
    let mut run = Run::start();
    run.send(Signal::TERM);
    run.expect("GRACEFUL");
    run.send(Signal::TERM);
    run.send(Signal::TERM);
    run.send(Signal::QUIT);
    run.expect("QUICK");
    run.send(Signal::TERM);
    assert_eq!(run.end(), Some(Signal::TERM.as_raw()));
}

#[test]
fn quit_is_quick_from_the_start() {
    let mut run = Run::start();
    run.send(Signal::QUIT);
    run.expect("QUICK");
    run.send(Signal::KILL);
    run.end();
}

#[test]
fn logs_are_reopened_before_and_while_the_server_stops() {
    let mut run = Run::start();
    for request in ["GRACEFUL", "QUICK"] {
        run.send(Signal::USR1);
        run.expect("REOPEN");
        run.send(Signal::INT);
        run.expect(request);
    }
    run.send(Signal::INT);
    assert_eq!(run.end(), Some(Signal::INT.as_raw()));
}
