//! The stopping signal of a worker, and who waits for it (spec L7).

use std::task::{Context, Poll, Waker};

use crate::{
    containment::wake_all,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// When so many watch, all are woken for nothing: those that still live come back, the others are forgotten. An
/// application that watches from each request would else leave a waker behind with each.
const WATCHERS_MAX: usize = 1024;

/// Raised once, and for all.
#[derive(Debug, Default)]
pub struct Stopping {
    raised: AtomicBool,
    watchers: Mutex<Vec<Waker>>,
}

impl Stopping {
    /// Raises the signal and wakes who waits for it.
    pub fn raise(&self) {
        // Under the lock, so that nobody can begin to wait in between. Waking happens outside: a waker may do anything.
        let watchers = {
            let mut watchers = self.lock();
            self.raised.store(true, SeqCst);
            std::mem::take(&mut *watchers)
        };
        wake_all(watchers);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(SeqCst)
    }

    /// Completes once it was raised.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut watchers = self.lock();
        if self.is_raised() {
            return Poll::Ready(());
        }
        let crowd = if watchers.len() >= WATCHERS_MAX { std::mem::take(&mut *watchers) } else { Vec::new() };
        if !watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            watchers.push(cx.waker().clone());
        }
        drop(watchers);
        crowd.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Wake};

    use super::*;

    struct Polls(Arc<Stopping>, AtomicBool);

    impl Wake for Polls {
        fn wake(self: Arc<Self>) {
            let waker = Waker::noop();
            self.1.store(self.0.poll(&mut Context::from_waker(waker)).is_ready(), SeqCst);
        }
    }

    #[test]
    fn a_waker_may_look_at_the_signal_that_wakes_it() {
        let stopping = Arc::new(Stopping::default());
        let polls = Arc::new(Polls(Arc::clone(&stopping), AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&polls));
        assert!(stopping.poll(&mut Context::from_waker(&waker)).is_pending());
        stopping.raise();
        assert!(polls.1.load(SeqCst));
    }

    #[test]
    fn watchers_that_never_come_back_are_forgotten() {
        let stopping = Arc::new(Stopping::default());
        for _ in 0..10 * WATCHERS_MAX {
            let waker = Waker::from(Arc::new(Polls(Arc::default(), AtomicBool::new(false))));
            assert!(stopping.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(stopping.lock().len() <= WATCHERS_MAX);
    }
}
