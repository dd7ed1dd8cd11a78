//! The threads of a server, of whatever kind: started here, and waited for at the end.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::Instant,
};

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
