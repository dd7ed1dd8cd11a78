//! The program as a process, and single requests to it.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::CHILD;

/// Only a failing test ever waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that serves; killed if a test fails.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it has said until it listened.
    pub(crate) said: String,
    pub(crate) address: SocketAddr,
    /// The process lives as long as this.
    _stdin: ChildStdin,
}

impl Running {
    pub(crate) fn start(server: &str, bind: &str, options: &[&str]) -> Self {
        Self::start_under("", server, bind, options)
    }

    /// Starts it from a shell that has done something first, such as lowering a limit.
    pub(crate) fn start_under(shell: &str, server: &str, bind: &str, options: &[&str]) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{shell}\nexec \"$@\""), "sh"])
            .arg(env::current_exe().unwrap())
            .args(["--server", server, "--loops", "2", "--bind", bind])
            .args(options)
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let address = ([0; 4], 0).into();
        let mut running = Self { child, stderr, said: String::new(), address, _stdin: stdin };
        while !running.said.contains(" listening on ") {
            let read = running.stderr.read_line(&mut running.said).unwrap();
            assert_ne!(read, 0, "it has not listened: {}", running.said);
        }
        let (_, url) = running.said.split_once("http://").unwrap();
        running.address = url.split_once(',').unwrap().0.parse().unwrap();
        running
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Has it stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.terminate();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("stopped; every exchange was finished\n"), "{said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| format!("connect: {e}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// The answer to one request, the only one of its connection: the id of a process.
pub(crate) fn ask(mut stream: TcpStream) -> Result<u32, String> {
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).map_err(|e| format!("write: {e}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| format!("read: {e} after {answer:?}"))?;
    let id = answer.split_once("\r\n\r\n").and_then(|(_, body)| body.parse().ok());
    id.ok_or_else(|| format!("answer: {answer:?}"))
}
