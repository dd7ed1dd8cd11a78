//! The probe's end of the socket to the [recorder](crate::Recorder): events go there, the names of gates come back.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
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
        Self { path: Some(path), connected: Mutex::new(None), gates: Arc::default() }
    }

    /// To no recorder.
    pub(crate) fn none() -> Self {
        let link = Self { path: None, connected: Mutex::new(None), gates: Arc::default() };
        link.open_all();
        link
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

    /// Lets go whatever waits at any gate, now or later.
    pub(crate) fn open_all(&self) {
        self.gates.change(|state| state.over = true);
    }

    fn with_stream(&self, act: impl FnOnce(&mut UnixStream)) {
        let Some(path) = &self.path else { return };
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.as_ref().is_none_or(|(pid, _)| *pid != process::id()) {
            let Ok(stream) = UnixStream::connect(path) else { return };
            if let Ok(reading) = stream.try_clone() {
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
