//! The program as a process, and what it says.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{CHILD, program::MOOD};

/// Only a failing test ever waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor; killed if a test fails, and its workers with it.
pub(crate) struct Running {
    child: Child,
    /// The supervisor: the child, or who has taken over from it.
    supervisor: Pid,
    log: Arc<Log>,
    pub(crate) address: SocketAddr,
    directory: PathBuf,
}

#[derive(Default)]
struct Log {
    /// The lines, and whether there will be no more.
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

/// What it came to.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Everything that was said.
    pub(crate) log: String,
}

impl Running {
    /// Starts it, and waits until all workers serve.
    pub(crate) fn start(kind: &str, settings: &[&str]) -> Self {
        let running = Self::launch(kind, settings, "");
        running.wait_for("hook when_ready");
        running
    }

    /// Starts it with workers in a mood, and waits for nothing but the address.
    pub(crate) fn launch(kind: &str, settings: &[&str], mood: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("varvel-processes-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("mood"), mood).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .arg(kind)
            .args(settings)
            .env(CHILD, "1")
            .env(MOOD, directory.join("mood"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let (stderr, filling) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || filling.fill(stderr));
        let supervisor = Pid::from_child(&child);
        let mut running = Self { child, supervisor, log, address: ([0; 4], 0).into(), directory };
        let line = running.wait_for("address ");
        running.address = line.trim_start_matches("address ").parse().unwrap();
        running
    }

    /// From now on workers are in this mood when they are built.
    pub(crate) fn set_mood(&self, mood: &str) {
        // Nobody may read half of it.
        fs::write(self.file("next"), mood).unwrap();
        fs::rename(self.file("next"), self.file("mood")).unwrap();
    }

    /// A name in the test's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn id(&self) -> u32 {
        self.supervisor.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.supervisor, signal).unwrap();
    }

    /// Has the program started again, and waits until that has taken over.
    pub(crate) fn upgrade(&mut self) {
        let words = self.count("cut ");
        let line = self.after(|| self.signal(Signal::USR2), "supervisor ");
        let pid = line.trim_start_matches("supervisor ").parse().unwrap();
        self.supervisor = Pid::from_raw(pid).unwrap();
        self.wait_for_more("cut ", words);
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// How many lines there are with this in them.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line with this in it, and returns the first.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_for_more(text, 0)
    }

    /// Waits until more than so many lines have this in them, and returns the next.
    pub(crate) fn wait_for_more(&self, text: &str, than: usize) -> String {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().filter(|line| line.contains(text)).nth(than) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!lines.1 && !left.is_zero(), "never said `{text}` {} times: {:#?}", than + 1, lines.0);
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Does something, and waits for a line with this in it that was not there before.
    pub(crate) fn after(&self, act: impl FnOnce(), text: &str) -> String {
        let before = self.count(text);
        act();
        self.wait_for_more(text, before)
    }

    /// The processes of the workers, as the system knows them.
    pub(crate) fn workers(&self) -> BTreeSet<u32> {
        let id = self.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until there are so many worker processes and each of them serves.
    pub(crate) fn wait_whole(&self, count: usize) {
        self.wait_until(&format!("{count} workers serve"), || {
            let (workers, lines) = (self.workers(), self.lines());
            let serves = |pid: &u32| {
                let said = |line: &String| {
                    line.starts_with("hook worker_ready") && line.ends_with(&format!(" {pid}"))
                };
                lines.iter().any(said)
            };
            workers.len() == count && workers.iter().all(serves)
        });
    }

    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "not {what}: {:#?}", self.lines());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Has it stop in good order.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        assert!(ended.status.success(), "{}", ended.log);
        ended
    }

    /// Waits until it has ended, and sees that nothing is left of it.
    pub(crate) fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end: {:#?}", self.lines());
            thread::sleep(Duration::from_millis(2));
        };
        let lines = self.lines();
        let workers =
            lines.iter().filter_map(|line| line.strip_prefix("hook after_fork in ")?.split(' ').next());
        for pid in workers {
            let pid: i32 = pid.parse().unwrap();
            // After a supervisor that was killed, workers end by themselves.
            self.wait_until(&format!("worker {pid} gone"), || {
                test_kill_process(Pid::from_raw(pid).unwrap()).is_err()
            });
        }
        // Who took over is not ours to wait for.
        self.wait_until("the supervisor gone", || test_kill_process(self.supervisor).is_err());
        // Its last words may still be in the pipe, which a process that outlives it may keep open.
        self.wait_until("its last word", || {
            let (lines, over) = &*self.log.lines.lock().unwrap();
            *over || lines.iter().any(|line| line.starts_with("cut ") || line.starts_with("error "))
        });
        Ended { status, log: self.lines().join("\n") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.supervisor != Pid::from_child(&self.child) {
            let _ = kill_process(self.supervisor, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Log {
    fn fill(&self, stderr: impl BufRead) {
        for line in stderr.lines() {
            let Ok(line) = line else { break };
            self.lines.lock().unwrap().0.push(line);
            self.changed.notify_all();
        }
        self.lines.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

impl Ended {
    /// The numbers behind the word that the last line with it begins with.
    pub(crate) fn numbers(&self, word: &str) -> Vec<u64> {
        let line = self.log.lines().rev().find_map(|line| line.strip_prefix(word));
        let line = line.unwrap_or_else(|| panic!("no `{word}`: {}", self.log));
        line.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect()
    }
}

/// A path that a client asks for to be answered once the file exists.
pub(crate) fn until(file: &Path) -> String {
    format!("/until{}", file.display())
}
