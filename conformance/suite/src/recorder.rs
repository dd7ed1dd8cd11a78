//! What happened inside the server, as the probe and the server's reports tell it.
//!
//! ```text
//!   probe, reporter  --one JSON object per line-->  recorder     (Unix stream, one per process of the server)
//!                    <------ names of gates ------
//! ```
//!
//! Events of one process arrive in the order in which they happened. It is a socket rather than a channel so that
//! servers whose workers are processes are seen as well; and whatever a process has told before a check looks is in the
//! recorder's end of its socket by then, so [`Recorder::settle`] misses nothing and asks nobody.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Write},
    net::Shutdown,
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, recv},
};
use serde_json::Value;

use crate::{Failure, client::LIMIT, probe::builds};

/// Collects events, waits for them, and opens the gates at which calls are held.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    path: PathBuf,
    /// How long is waited for an event.
    limit: Duration,
}

#[derive(Debug)]
struct Shared {
    listener: UnixListener,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// For late comers, who are told of them when they connect.
    gates: BTreeSet<String>,
    /// No gate holds anybody any more.
    all_open: bool,
    processes: Vec<Process>,
    over: bool,
}

/// The connection to a process of the server.
#[derive(Debug)]
struct Process {
    stream: Arc<UnixStream>,
    /// The beginning of a line.
    unread: Vec<u8>,
}

/// Something that happened inside the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(Value);

impl Event {
    /// What sort of thing it was, such as `call`; the list stands with the [probe](crate::probe).
    pub fn kind(&self) -> &str {
        self.text("event")
    }

    /// The key of the request it belongs to, which is the first segment of its path; empty if it belongs to none.
    pub fn key(&self) -> &str {
        self.text("key")
    }

    /// A field that is text; empty if there is none.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// A field that is a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    /// A field that is true or false; false if there is none.
    pub fn is(&self, field: &str) -> bool {
        self.0[field].as_bool().unwrap_or_default()
    }

    /// A field that is anything.
    pub fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    /// All of it, such as a description of a request.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

impl From<Value> for Event {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Recorder {
    /// Listens at a socket of its own in the directory for temporary files.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("varvel-conformance-{}-{number}.sock", process::id()));
        // What a killed process with the same number left behind.
        let _ = fs::remove_file(&path);
        let _ = fs::remove_file(builds(&path));
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { listener, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept());
        Ok(Self { shared, path, limit: LIMIT })
    }

    /// Waits for events no longer than this. Default: [`LIMIT`].
    pub(crate) fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Where the probe connects to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for an event, among those that there have been too; `what` says it in words. Each event is looked at once,
    /// in order.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn wait_for(&self, what: &str, found: impl FnMut(&Event) -> bool) -> Result<Event, Failure> {
        self.wait_since(0, what, found)
    }

    /// The same among those from a [position](Self::position) on.
    ///
    /// # Errors
    /// If it does not come in time.
    pub(crate) fn wait_since(
        &self,
        position: usize,
        what: &str,
        mut found: impl FnMut(&Event) -> bool,
    ) -> Result<Event, Failure> {
        let deadline = Instant::now() + self.limit;
        let mut looked_at = position;
        let mut state = self.shared.lock();
        loop {
            if let Some(event) = state.events[looked_at..].iter().find(|event| found(event)) {
                return Ok(event.clone());
            }
            looked_at = state.events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::new(format!("an event: {what}"), "it did not happen").by_waiting());
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The events so far for which `wanted` holds, in their order.
    pub fn events(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.events_since(0, wanted)
    }

    /// The same among those from a [position](Self::position) on.
    pub(crate) fn events_since(&self, position: usize, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.shared.lock().events[position..].iter().filter(|event| wanted(event)).cloned().collect()
    }

    /// How many events there have been: what happens from now on comes behind them.
    pub(crate) fn position(&self) -> usize {
        self.shared.lock().events.len()
    }

    /// Lets go whatever waits at this gate, now or later.
    pub fn open(&self, gate: &str) {
        let mut state = self.shared.lock();
        if state.gates.insert(gate.to_owned()) {
            state.processes.iter().for_each(|process| process.open(gate));
        }
    }

    /// Lets go whatever waits at any gate, now or later.
    pub(crate) fn open_all(&self) {
        let mut state = self.shared.lock();
        state.all_open = true;
        state.processes.iter().for_each(Process::open_all);
    }

    /// Takes in everything that has happened so far.
    pub(crate) fn settle(&self) {
        let mut state = self.shared.lock();
        self.shared.meet(&mut state);
        let State { processes, events, .. } = &mut *state;
        processes.retain_mut(|process| process.read(events));
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.over = true;
        for process in state.processes.drain(..) {
            let _ = process.stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that accepts, which then ends.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(builds(&self.path));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>) {
        loop {
            wait_for_input(&self.listener);
            let mut state = self.lock();
            if state.over {
                return;
            }
            self.meet(&mut state);
        }
    }

    /// Accepts the processes that have come.
    fn meet(self: &Arc<Self>, state: &mut State) {
        while let Ok((stream, _)) = self.listener.accept() {
            // Systems differ in whether that is inherited.
            let _ = stream.set_nonblocking(false);
            let process = Process { stream: Arc::new(stream), unread: Vec::new() };
            state.gates.iter().for_each(|gate| process.open(gate));
            if state.all_open {
                process.open_all();
            }
            let (shared, stream) = (Arc::clone(self), Arc::clone(&process.stream));
            state.processes.push(process);
            thread::spawn(move || shared.follow(&stream));
        }
    }

    /// Takes in what a process tells, for as long as it lives.
    fn follow(&self, stream: &Arc<UnixStream>) {
        loop {
            wait_for_input(stream);
            let mut state = self.lock();
            let State { processes, events, .. } = &mut *state;
            let is_this = |process: &Process| Arc::ptr_eq(&process.stream, stream);
            let Some(index) = processes.iter().position(is_this) else { return };
            if !processes[index].read(events) {
                processes.swap_remove(index);
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Blocks until something can be read.
fn wait_for_input(socket: &impl AsFd) {
    while poll(&mut [PollFd::new(socket, PollFlags::IN)], None) == Err(Errno::INTR) {}
}

/// How much is read at once, and how often: together more than a socket can hold, so that all that was there is read, but not
/// for ever what a busy server adds.
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 256;

impl Process {
    fn open(&self, gate: &str) {
        // One that has gone waits at no gate, nor does one that does not listen.
        let _ = (&*self.stream).write_all(format!("{gate}\n").as_bytes());
    }

    fn open_all(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads what there is. `false` once there will be no more.
    fn read(&mut self, events: &mut Vec<Event>) -> bool {
        let mut chunk = [0; CHUNK];
        let mut lives = true;
        for _ in 0..CHUNKS {
            match recv(&self.stream, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    lives = false;
                    break;
                }
                Ok((length, _)) => {
                    self.unread.extend_from_slice(&chunk[..length]);
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    lives = error == Errno::AGAIN;
                    break;
                }
            }
        }
        let complete = self.unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = self.unread[..complete].split(|byte| *byte == b'\n');
        events.extend(lines.filter_map(|line| serde_json::from_slice(line).ok().map(Event)));
        self.unread.drain(..complete);
        lives
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::probe::Link;

    #[test]
    fn events_arrive_in_order_and_gates_open_for_early_and_late() {
        let recorder = Recorder::start().unwrap();
        recorder.open("early");
        let link = Link::new(recorder.path().to_owned());
        for n in 0..100 {
            link.emit(json!({ "event": "step", "key": "k", "n": n }));
        }
        let last = recorder.wait_for("step 99", |event| event.number("n") == Some(99)).unwrap();
        assert_eq!((last.kind(), last.key()), ("step", "k"));
        let numbers: Vec<_> =
            recorder.events(|_| true).iter().filter_map(|event| event.number("n")).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());

        link.wait("early");
        let waiting = thread::spawn(move || link.wait("late"));
        recorder.open("late");
        waiting.join().unwrap();
    }
}
