//! Sync code as a future: it runs on a thread of its own, but only while it is polled.
//!
//! ```text
//!   the test's thread                         the code's thread
//!   resume  ---------- the turn --------->    runs ...
//!     waits                                   ... until it must wait for something that is polled
//!   Poll::Pending  <-- the turn ----------    waits
//! ```
//!
//! Of the two only one runs at a time, so what a sync application does is as repeatable as what an async one does. Code
//! that waits for something of which the test knows nothing keeps the turn; the test waits for it no longer than its
//! patience, and is woken when it comes to rest after all.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// The test's side. Dropping it has the code run to its end, with [`wait`] giving up (spec E15).
pub(crate) struct Coroutine {
    shared: Arc<Shared>,
    patience: Duration,
}

thread_local! {
    /// The coroutine whose code runs on this thread.
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    turn: Turn,
    /// Wakes the test's side; here while the code has the turn.
    waker: Option<Waker>,
    /// The test's side lost its patience, and is to be woken when the code gives the turn back.
    unattended: bool,
    abandoned: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Turn {
    #[default]
    Test,
    Code,
    /// The code has returned.
    Over,
}

impl Coroutine {
    /// Prepares to run this code, which must not unwind.
    pub(crate) fn new(patience: Duration, code: impl FnOnce() + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            // Also when the code unwinds after all.
            let _over = Over(&own);
            if own.await_turn() {
                CURRENT.set(Some(Arc::clone(&own)));
                code();
            }
        });
        Self { shared, patience }
    }

    /// Lets the code run until it waits; ready once it has returned.
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        match state.turn {
            Turn::Over => return Poll::Ready(()),
            Turn::Test => {
                state.turn = Turn::Code;
                state.waker = Some(cx.waker().clone());
                self.shared.changed.notify_all();
                state = self.shared.wait(state, self.patience);
                state.unattended = state.turn == Turn::Code;
            }
            Turn::Code => state.waker = Some(cx.waker().clone()),
        }
        if state.turn == Turn::Over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.patience;
        let mut state = self.shared.lock();
        state.abandoned = true;
        while state.turn != Turn::Over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It waits for something of its own; there is no way to end a thread.
                return;
            }
            state.turn = Turn::Code;
            self.shared.changed.notify_all();
            state = self.shared.wait(state, left);
        }
    }
}

/// Polls until it is done; a coroutine gives its turn up in between. One that was abandoned sleeps, and is waited for no
/// longer if it `is_on_hold`: if only the test could wake it.
pub(crate) fn block_on(
    poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    is_on_hold: impl Fn(&Waker) -> bool,
) {
    if wait(&mut *poll).is_some() {
        return;
    }
    let shared = CURRENT.with_borrow(Clone::clone);
    sleep_until_ready(|cx| {
        let polled = poll(cx);
        if let Some(shared) = shared.as_ref().filter(|_| polled.is_pending() && is_on_hold(cx.waker())) {
            shared.pass(Turn::Over);
        }
        polled
    });
}

/// Waits for something that is polled: a coroutine gives its turn up, any other thread sleeps. `None` once the coroutine
/// was abandoned and what it waits for is still not there.
pub(crate) fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let Some(shared) = CURRENT.with_borrow(Clone::clone) else { return Some(sleep_until_ready(poll)) };
    loop {
        let state = shared.lock();
        let (waker, abandoned) = (state.waker.clone(), state.abandoned);
        drop(state);
        let waker = waker.unwrap_or_else(|| Waker::noop().clone());
        if let Poll::Ready(ready) = poll(&mut Context::from_waker(&waker)) {
            return Some(ready);
        }
        drop(waker);
        if abandoned {
            return None;
        }
        shared.pass(Turn::Test);
        shared.await_turn();
    }
}

/// Whether the coroutine on this thread was abandoned.
pub(crate) fn is_abandoned() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|shared| shared.lock().abandoned))
}

fn sleep_until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(ready) = poll(&mut Context::from_waker(&waker)) {
            return ready;
        }
        thread::park();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is the code's turn; `false` if it was abandoned.
    fn await_turn(&self) -> bool {
        let waited = self.changed.wait_while(self.lock(), |state| state.turn != Turn::Code);
        !waited.unwrap_or_else(PoisonError::into_inner).abandoned
    }

    /// Waits while the code has the turn.
    fn wait<'s>(&self, state: MutexGuard<'s, State>, patience: Duration) -> MutexGuard<'s, State> {
        let has_turn = |state: &mut State| state.turn == Turn::Code;
        let waited = self.changed.wait_timeout_while(state, patience, has_turn);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The code gives its turn up.
    fn pass(&self, turn: Turn) {
        let mut state = self.lock();
        state.turn = turn;
        let unattended = std::mem::take(&mut state.unattended);
        // Dropped before the test goes on, which counts the wakers that are left.
        let waker = state.waker.take().filter(|_| unattended);
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.pass(Turn::Over);
    }
}
