//! A program under test.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a machine with a lot to do; only a failing test ever waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_probe");
pub(crate) const BENCH_TARGET: &str = env!("CARGO_BIN_EXE_bench-target");
pub(crate) const BENCH_TARGET_RESOURCE: &str = env!("CARGO_BIN_EXE_bench-target-resource");
pub(crate) const GALLERY: &str = env!("CARGO_BIN_EXE_gallery");

/// A program that serves; killed if a test fails.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts a program at a free port, and waits until it says that it listens.
    pub(crate) fn start(program: &str, server: &str, options: &[&str]) -> Self {
        Self::start_with(program, server, options, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn start_with(
        program: &str,
        server: &str,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        // Shown if the test fails.
        println!("{program} --server {server} {}", options.join(" "));
        let mut command = Command::new(program);
        command
            .args(["--server", server, "--bind", "127.0.0.1:0"])
            .args(options)
            .envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, stderr, stdout, address: ([0, 0, 0, 0], 0).into() };
        let line = running.line_with(" listening on http://");
        assert!(line.contains(&format!(" info: varvel-{server} ")), "{line}");
        let (_, rest) = line.split_once("http://").unwrap();
        let (address, _) = rest.split_once(',').unwrap();
        running.address = address.parse().unwrap();
        running
    }

    /// Waits for a line on standard error that contains a text.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            if self.stderr.read_line(&mut line).unwrap() == 0 {
                panic!("no line with {text:?} in:\n{before}");
            }
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
            before += &line;
        }
    }

    /// Waits for the next line on standard output, which is the access log's.
    pub(crate) fn log_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; gives the exit status and what was left to read of standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (status, rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that is expected to end by itself.
pub(crate) fn run(program: &str, options: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.args(options).envs(environment.iter().copied());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// Waits for a program that is expected to end soon.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the program goes on and on");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
