//! A program as a process, in a folder of its own.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::CHILD;

/// Only a failing test ever waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is removed with all that is in it, and anybody may look into.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("varvel-operations-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = Self(path);
        folder.install_program();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path as an option's value.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// What runs when the program is started the next time: the program of these tests.
    pub(crate) fn install_program(&self) {
        let _ = fs::remove_file(self.path("program"));
        symlink(env::current_exe().unwrap(), self.path("program")).unwrap();
    }

    /// What runs when the program is started the next time: this shell script.
    pub(crate) fn install_script(&self, script: &str) {
        let new = self.path("program.new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("program")).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process, and whatever it has started; all of them are killed with this.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far.
    pub(crate) said: Vec<String>,
    /// Where it listens first.
    pub(crate) address: SocketAddr,
}

/// The program of a folder, about to be started.
pub(crate) struct Start {
    command: Command,
}

impl Start {
    pub(crate) fn new(folder: &Folder, server: &str) -> Self {
        Self::under(&[], folder, server)
    }

    /// By way of another program, which gets its name and arguments.
    pub(crate) fn under(wrapper: &[&str], folder: &Folder, server: &str) -> Self {
        let program = folder.text("program");
        let mut words = wrapper.iter().copied().chain([&*program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--server", server, "--loops", "1"]).env(CHILD, "1");
        if server == "prefork" {
            command.args(["--workers", "2"]);
        }
        for variable in ["LISTEN_PID", "LISTEN_FDS", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(variable);
        }
        Self { command }.streams(Stdio::null(), Stdio::null())
    }

    pub(crate) fn options(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With these for its standard input and output.
    pub(crate) fn streams(mut self, input: Stdio, output: Stdio) -> Self {
        self.command.stdin(input).stdout(output);
        self
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn run(self) -> Running {
        let mut running = self.spawn();
        let line = running.expect(" listening on ");
        running.address = address(&line);
        running
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self.command.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, said: Vec::new(), address: ([0; 4], 0).into() }
    }
}

/// The address in a line that says where a program listens.
pub(crate) fn address(line: &str) -> SocketAddr {
    let (_, url) = line.split_once("http://").unwrap_or_else(|| panic!("{line}"));
    url.split_once(',').unwrap().0.parse().unwrap()
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until a line with this text is said, by whomever.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("`{text}` was not said ({error}): {:#?}", self.said),
            }
        }
    }

    /// Waits until the process that was started has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it has not ended: {:#?}", self.said);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until nobody can say anything any more: all processes have ended.
    pub(crate) fn wait_for_all(&mut self) {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.said.push(line);
        }
        assert!(Instant::now() < end, "somebody lives: {:#?}", self.said);
    }

    /// Has the program started anew, and waits until that serves and the old process has ended. Returns who serves.
    pub(crate) fn upgrade(&mut self, supervisor: Pid) -> Pid {
        kill_process(supervisor, Signal::USR2).unwrap();
        self.handover()
    }

    /// Waits until another serves, and tells who.
    pub(crate) fn handover(&mut self) -> Pid {
        let line = self.expect(" serves in place of this process");
        self.expect(" stopped; every exchange was finished");
        let (_, pid) = line.split_once("pid ").unwrap();
        Pid::from_raw(pid.split(' ').next().unwrap().parse().unwrap()).unwrap()
    }

    /// Ends the process that serves now, and waits until all have ended.
    pub(crate) fn stop(mut self, serving: Pid) {
        kill_process(serving, Signal::TERM).unwrap();
        self.expect(" stopped; every exchange was finished");
        self.wait_for_all();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Waits until this holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The processes that this one has started.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

pub(crate) fn pid_in(path: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(path).ok()?.trim().parse().ok()?)
}
