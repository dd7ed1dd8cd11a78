//! The load client, as other processes.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use varvel_bench_load::drive::Measured;

use crate::{
    machine,
    servers::{Programs, Running},
};

/// A client under way.
#[derive(Debug)]
pub(crate) struct Driving(Child);

impl Driving {
    /// Loads a server as the options of `load drive` say.
    pub(crate) fn start(
        programs: &Programs,
        processors: &[usize],
        server: &Running,
        options: &str,
    ) -> io::Result<Self> {
        let mut command = Command::new(programs.load());
        command.args(["drive", &server.address.to_string(), "--watch", &server.pid().to_string()]);
        command
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        machine::on(processors, || command.spawn()).map(Self)
    }

    /// Waits until it is done.
    pub(crate) fn finish(self) -> io::Result<Measured> {
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// A client that holds idle connections until it is released or dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    process: Child,
    release: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Holding {
    /// Begins to open connections.
    pub(crate) fn start(
        programs: &Programs,
        processors: &[usize],
        server: &Running,
        connections: usize,
    ) -> io::Result<Self> {
        let mut command = Command::new(programs.load());
        command.args(["hold", &server.address.to_string(), "--connections", &connections.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = machine::on(processors, || command.spawn())?;
        let missing = || io::Error::other("a pipe is missing");
        let lines = BufReader::new(process.stdout.take().ok_or_else(missing)?);
        Ok(Self { release: process.stdin.take(), lines, process })
    }

    /// Waits until more are open; how many.
    pub(crate) fn progress(&mut self) -> io::Result<usize> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        line.trim().parse().map_err(|_| io::Error::other("a client could not open all its connections"))
    }

    /// Ends it; how many of a hundred connections still answered.
    pub(crate) fn release(mut self) -> io::Result<usize> {
        self.release = None;
        self.progress()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
