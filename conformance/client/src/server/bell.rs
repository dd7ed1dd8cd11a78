//! Waking: who was woken, and a bell that the test's thread can wait for when others may ring it.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Rung by every wake-up and by every job that ends or falls asleep.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    /// How many offloaded jobs run on threads of their own.
    jobs: usize,
    /// How many of them block until they are woken.
    asleep: usize,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.lock().rung = true;
        self.rung.notify_all();
    }

    /// Whether it was rung since it was hushed.
    pub(crate) fn is_rung(&self) -> bool {
        self.lock().rung
    }

    /// Forgets that it was rung; to be done before looking for who was woken.
    pub(crate) fn hush(&self) {
        self.lock().rung = false;
    }

    /// Waits until it is rung, in real time; `false` if that takes too long.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !state.rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.rung.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How many jobs are at work.
    pub(crate) fn jobs(&self) -> usize {
        let state = self.lock();
        state.jobs - state.asleep
    }

    /// Whether there are jobs, at work or asleep.
    pub(crate) fn has_jobs(&self) -> bool {
        self.lock().jobs > 0
    }

    pub(crate) fn job_begins(&self) {
        self.lock().jobs += 1;
    }

    pub(crate) fn job_ends(&self) {
        self.lock().jobs -= 1;
        self.ring();
    }

    /// Blocks a job's thread until this is done. The job is at work again as soon as it is woken, and not only when its thread
    /// notices: whoever woke it can wait for what it does then.
    pub(crate) fn block_job_on(self: &Arc<Self>, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
        let sleeper = Arc::new(Sleeper {
            thread: thread::current(),
            is_woken: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            bell: Arc::clone(self),
        });
        let waker = Waker::from(Arc::clone(&sleeper));
        while poll(&mut Context::from_waker(&waker)).is_pending() {
            sleeper.sleep();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that blocks.
struct Sleeper {
    thread: Thread,
    is_woken: AtomicBool,
    is_asleep: AtomicBool,
    bell: Arc<Bell>,
}

impl Sleeper {
    /// Sleeps until it is woken; not at all if it was since it woke up.
    fn sleep(&self) {
        let mut state = self.bell.lock();
        if !self.is_woken.load(SeqCst) {
            self.is_asleep.store(true, SeqCst);
            state.asleep += 1;
        }
        drop(state);
        self.bell.ring();
        while !self.is_woken.swap(false, SeqCst) {
            thread::park();
        }
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        let mut state = self.bell.lock();
        self.is_woken.store(true, SeqCst);
        if self.is_asleep.swap(false, SeqCst) {
            state.asleep -= 1;
        }
        drop(state);
        self.thread.unpark();
    }
}

/// Something that is polled when it was woken: a call, a background task, a factory at work.
pub(crate) struct Task {
    woken: AtomicBool,
    bell: Arc<Bell>,
    jobs: Arc<Jobs>,
}

/// How many jobs that something offloaded run, apart from it as they may outlive it.
#[derive(Default)]
pub(crate) struct Jobs(AtomicUsize);

impl Jobs {
    pub(crate) fn one_begins(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    pub(crate) fn one_ends(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    pub(crate) fn running(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Task {
    /// A task that wants to be polled.
    pub(crate) fn new(bell: &Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), bell: Arc::clone(bell), jobs: Arc::default() })
    }

    /// Whether it was woken since the last time this was asked.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    /// Whether it wants to be polled.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(SeqCst)
    }

    /// The jobs that it has offloaded.
    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// How many wakers of it are somewhere.
    pub(crate) fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.bell.ring();
    }
}
