//! What all threads of a server share, and all of its connections refer to.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread::{Builder, JoinHandle},
    time::Instant,
};

use http::HeaderMap;
use varvel::{Event, Phase, Report, Reporter, RequestId, WorkerInfo};
use varvel_server_kit::{
    access_log::AccessLog, gateway::panic_message, http_date::DateLine, worker_pool::WorkerPool,
};

use crate::{connection::Connection, pool::Pool, table::Table, tasks::Tasks, worker::Stopping};

/// Everything but the application, the poller and the listeners.
pub(crate) struct Shared {
    pub(crate) info: WorkerInfo,
    pub(crate) http: Arc<varvel_http1::Config>,
    pub(crate) table: Table,
    pub(crate) pool: Pool<Arc<Connection>>,
    pub(crate) offload: WorkerPool,
    pub(crate) tasks: Arc<Tasks>,
    /// The threads of the pool, of the tunnels and of the tasks.
    pub(crate) threads: Arc<Threads>,
    pub(crate) stopping: Stopping,
    /// Connections in whose outbox answers wait for company, while a call runs that may take its time.
    pub(crate) held: Mutex<Vec<Arc<Connection>>>,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) access_log: Option<AccessLog>,
    /// How many exchanges were cut at the deadline.
    pub(crate) cut: AtomicU64,
}

impl Shared {
    /// How much is read at once, in bytes: no more than may be held unread (spec B7).
    pub(crate) fn read_limit(&self) -> usize {
        usize::try_from(self.info.limits.read_ahead).unwrap_or(usize::MAX)
    }

    /// Lets go of answers that wait for company. Tells whether there were any.
    pub(crate) fn release_held(&self) -> bool {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in &held {
            connection.release();
        }
        !held.is_empty()
    }

    /// Tells the reporter.
    pub(crate) fn report(&self, request: Option<RequestId<'_>>, event: Event<'_>) {
        self.reporter.report(&match request {
            Some(request) => Report::of(request, event),
            None => Report::new(event),
        });
    }
}

/// What each thread that serves has for itself.
pub(crate) struct Tools {
    /// An empty map with room for the fields of the next request.
    pub(crate) spare: HeaderMap,
    pub(crate) date: DateLine,
}

impl Tools {
    pub(crate) fn new() -> Self {
        Self { spare: HeaderMap::new(), date: DateLine::new() }
    }

    /// The `date` line for now.
    pub(crate) fn date_line(&mut self) -> &[u8] {
        self.date.refresh();
        self.date.as_bytes()
    }
}

/// Runs code of the application; a panic in it is reported and goes no further (spec E6, E7).
pub(crate) fn contain<T>(
    during: Phase,
    report: impl FnOnce(Event<'_>),
    code: impl FnOnce() -> T,
) -> Option<T> {
    // Whatever the panic left half done belongs to the application, which is told by its own means.
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(panic) => {
            report(Event::Panicked { during, message: panic_message(&*panic) });
            discard(panic);
            None
        }
    }
}

/// Drops what a panic carried, which may panic once more.
fn discard(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}

/// The threads of a server, to be waited for at the end.
#[derive(Default)]
pub(crate) struct Threads {
    state: Mutex<ThreadsState>,
    /// Told when a thread is about to end.
    ending: Condvar,
}

#[derive(Default)]
struct ThreadsState {
    /// Of threads that may still run; those that ended are forgotten from time to time.
    handles: Vec<JoinHandle<()>>,
    /// How many run.
    running: usize,
}

impl Threads {
    /// Starts a thread; `false` if the system gives none.
    pub(crate) fn start(self: &Arc<Self>, name: &str, run: impl FnOnce() + Send + 'static) -> bool {
        let threads = Arc::clone(self);
        let run = move || {
            // Also if it panics.
            let _leave = Leave(threads);
            run();
        };
        let mut state = self.lock();
        let Ok(handle) = Builder::new().name(name.to_owned()).spawn(run) else { return false };
        state.running += 1;
        if state.handles.len() == state.handles.capacity() {
            state.handles.retain(|handle| !handle.is_finished());
        }
        state.handles.push(handle);
        true
    }

    /// Waits until all have ended, or until `deadline`; tells how many have not.
    pub(crate) fn join(&self, deadline: Instant) -> usize {
        let mut state = self.lock();
        while state.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return state.running;
            }
            state = self.ending.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            // A panic that got as far as this was told by the panic hook.
            let _ = handle.join();
        }
        0
    }

    fn lock(&self) -> MutexGuard<'_, ThreadsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a thread out when it ends.
struct Leave(Arc<Threads>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ending.notify_all();
    }
}
