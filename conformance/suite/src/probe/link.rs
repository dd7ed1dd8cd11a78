//! The probe's end of the socket to the [recorder](crate::Recorder): events go there, the names of gates come back.

use std::{
    collections::BTreeSet,
    fs::File,
    future::poll_fn,
    io::{self, BufRead, BufReader, Seek, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    thread,
};

use serde_json::Value;

/// One for all of a server's workers; after a fork it connects anew.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where the recorder listens; without one nothing is told, and all gates are open.
    path: Option<PathBuf>,
    /// The process that forks the others, if there is one. It must have no second thread, so no gate is known there.
    supervisor: Option<u32>,
    /// Which process it belongs to, and its connection.
    connected: Mutex<Option<(u32, UnixStream)>>,
    gates: Arc<Gates>,
}

#[derive(Debug, Default)]
struct Gates {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    open: BTreeSet<String>,
    /// The recorder is gone, and nobody could open a gate any more.
    over: bool,
    wakers: Vec<Waker>,
}

impl Link {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Some(path), supervisor: None, connected: Mutex::new(None), gates: Arc::default() }
    }

    /// Of this process and those that it is going to fork.
    pub(crate) fn of_supervisor(path: PathBuf) -> Self {
        Self { supervisor: Some(process::id()), ..Self::new(path) }
    }

    /// To no recorder.
    pub(crate) fn none() -> Self {
        let open = GateState { over: true, ..GateState::default() };
        let gates = Gates { state: Mutex::new(open), opened: Condvar::new() };
        Self { path: None, supervisor: None, connected: Mutex::new(None), gates: Arc::new(gates) }
    }

    /// Where the recorder listens, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether there is a recorder to tell.
    pub(super) fn has_recorder(&self) -> bool {
        self.path.is_some()
    }

    /// Tells the recorder. Once the recorder is gone nobody wants to know.
    pub(crate) fn emit(&self, event: Value) {
        self.with_stream(|stream| {
            let _ = stream.write_all(format!("{event}\n").as_bytes());
        });
    }

    /// Blocks until a gate is open.
    pub(crate) fn wait(&self, gate: &str) {
        self.with_stream(|_| ());
        let state = self.gates.lock();
        let closed = self.gates.opened.wait_while(state, |state| !state.is_open(gate));
        drop(closed.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until a gate is open, without blocking.
    pub(crate) async fn pass(&self, gate: &str) {
        self.with_stream(|_| ());
        poll_fn(|cx| {
            let mut state = self.gates.lock();
            if state.is_open(gate) {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Counts a build, and says which it is of those in all processes, from 1.
    pub(super) fn count_build(&self) -> io::Result<u64> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut file = File::options().create(true).append(true).open(builds(path))?;
        // Whoever appends finds itself behind what it has appended, whatever others do.
        file.write_all(b".")?;
        file.stream_position()
    }

    fn with_stream(&self, act: impl FnOnce(&mut UnixStream)) {
        let Some(path) = &self.path else { return };
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.as_ref().is_none_or(|(pid, _)| *pid != process::id()) {
            let Ok(stream) = UnixStream::connect(path) else { return };
            if self.supervisor == Some(process::id()) {
                let _ = stream.shutdown(Shutdown::Read);
            } else if let Ok(reading) = stream.try_clone() {
                let gates = Arc::clone(&self.gates);
                thread::spawn(move || gates.read(reading));
            }
            *connected = Some((process::id(), stream));
        }
        if let Some((_, stream)) = connected.as_mut() {
            act(stream);
        }
    }
}

/// The file in which the builds of all processes are counted, beside the recorder's socket.
pub(crate) fn builds(recorder: &Path) -> PathBuf {
    recorder.with_extension("builds")
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: UnixStream) {
        for gate in BufReader::new(stream).lines() {
            let Ok(gate) = gate else { break };
            self.change(|state| {
                state.open.insert(gate);
            });
        }
        self.change(|state| state.over = true);
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.opened.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }
}

impl GateState {
    fn is_open(&self, gate: &str) -> bool {
        self.over || self.open.contains(gate)
    }
}
