//! Threads for jobs that may block, so that the threads that serve connections need not.
//!
//! The pool starts a thread when a job comes and none is idle, up to its limit; a thread that had nothing to do
//! for a while ends. Beyond the limit jobs wait in a bounded queue, and beyond that they are handed back: what to
//! do with the excess (503, run it here, wait) is the server's decision and not ours (spec W3).
//!
//! Waking a thread costs more than most jobs, and threads that are awake for no reason preempt each other. So at most one
//! at a time is on its way to the queue, and whoever takes a job and leaves others there calls the next: many short jobs
//! are done by the few that are awake, while behind a job that blocks there is always another thread, if there is one.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use varvel::Job;

/// Told of each job that panicked, on the thread that ran it, with what was panicked with.
pub type PanicHandler = Box<dyn Fn(Box<dyn Any + Send>) + Send + Sync + 'static>;

/// How long a thread waits for its next job before it ends.
pub const IDLE_TIME: Duration = Duration::from_secs(10);

/// A bounded pool of threads in front of a bounded queue.
///
/// Dropping it lets running and waiting jobs finish, without waiting for them.
pub struct WorkerPool {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    threads_max: usize,
    queue_max: usize,
    idle_time: Duration,
    on_panic: PanicHandler,
    state: Mutex<State>,
    /// Signalled when a thread is called and when the pool stops. Sleeping threads wait here.
    work: Condvar,
    /// Signalled when the pool stops and a job is done. `shutdown` waits here.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    /// While there is something in it, a thread is called, or all that there can be are running.
    queue: VecDeque<Job>,
    /// Threads that exist, from the moment they are asked of the system: running, called, or asleep.
    threads: usize,
    /// Those of them that are inside a job.
    running: usize,
    /// One of them was woken or started, and has not come to the queue yet. Whichever comes first has heeded the call.
    called: bool,
    /// Threads started so far, for their names.
    started: u64,
    stopping: bool,
}

/// What a [`WorkerPool::shutdown`] left undone at its deadline.
pub struct Unfinished {
    /// Jobs still running. They cannot be ended from outside; their threads end with them.
    pub running: usize,
    /// Jobs that were never begun, oldest first.
    pub waiting: Vec<Job>,
}

impl WorkerPool {
    /// A pool of at most `threads_max` threads (at least one), called `name` and a number, with room for
    /// `queue_max` jobs that wait. Starts no thread yet.
    pub fn new(name: &str, threads_max: usize, queue_max: usize, on_panic: PanicHandler) -> Self {
        Self::with_idle_time(name, threads_max, queue_max, on_panic, IDLE_TIME)
    }

    /// As [`new`](Self::new), with threads that end after `idle_time` without work.
    pub fn with_idle_time(
        name: &str,
        threads_max: usize,
        queue_max: usize,
        on_panic: PanicHandler,
        idle_time: Duration,
    ) -> Self {
        let shared = Shared {
            name: name.to_owned(),
            threads_max: threads_max.max(1),
            queue_max,
            idle_time,
            on_panic,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Has `job` run soon, after those submitted before it have begun. Never blocks.
    ///
    /// Gives the job back when all threads are busy and the queue is full, when there is no thread and none can
    /// be started, and once [`shutdown`](Self::shutdown) began.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.stopping {
            return Err(job);
        }
        // Jobs that a thread is about to take do not count as waiting, even if that must be started first.
        if state.queue.len() >= shared.threads_max - state.running + shared.queue_max {
            return Err(job);
        }
        let is_sleeper_called = shared.call(&mut state);
        if state.threads == 0 {
            return Err(job);
        }
        state.queue.push_back(job);
        drop(state);
        if is_sleeper_called {
            shared.work.notify_one();
        }
        Ok(())
    }

    /// Takes no more jobs and waits until all are done, those in the queue included, or until `deadline`.
    pub fn shutdown(&self, deadline: Instant) -> Result<(), Unfinished> {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.stopping = true;
        shared.work.notify_all();
        while state.running > 0 || !state.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let running = state.running;
                return Err(Unfinished { running, waiting: state.queue.drain(..).collect() });
            }
            state = shared.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Threads that exist now.
    pub fn threads(&self) -> usize {
        self.shared.lock().threads
    }

    /// Jobs that wait for a thread now.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// Nothing that can panic runs under the lock, so a poisoned state is still a sound one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a thread to the queue, unless one is on its way or all are running. `true` if it is one that sleeps, and is to
    /// be notified once the lock is released, for which it would only have to wait.
    fn call(self: &Arc<Self>, state: &mut State) -> bool {
        if state.called {
            return false;
        }
        let sleeps = state.threads > state.running;
        state.called = sleeps || state.threads < self.threads_max && self.start_thread(state);
        sleeps
    }

    /// `false` if the system gives no more threads: those there are have to do.
    fn start_thread(self: &Arc<Self>, state: &mut State) -> bool {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("{}-{}", self.name, state.started));
        let is_started = thread.spawn(move || shared.serve()).is_ok();
        state.started += u64::from(is_started);
        state.threads += usize::from(is_started);
        is_started
    }

    /// The life of a thread.
    fn serve(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            state.called = false;
            while let Some(job) = state.queue.pop_front() {
                state.running += 1;
                let is_sleeper_called = !state.queue.is_empty() && self.call(&mut state);
                drop(state);
                if is_sleeper_called {
                    self.work.notify_one();
                }
                self.run(job);
                state = self.lock();
                state.running -= 1;
                if state.stopping {
                    self.progress.notify_all();
                }
            }
            if state.stopping {
                break;
            }
            let waited = self.work.wait_timeout(state, self.idle_time);
            let (woken, result) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            // The call may have come in the moment the time was over: whoever made it counts on us.
            if result.timed_out() && !state.called {
                break;
            }
        }
        state.threads -= 1;
    }

    fn run(&self, job: Job) {
        // A job is consumed by its panic: nobody can see what it left half done.
        let Err(panic) = catch_unwind(AssertUnwindSafe(job)) else { return };
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| (self.on_panic)(panic))) {
            // The handler panicked over the panic. What it panicked with may panic when dropped; that must not
            // end the thread, whose place in the counts would be lost.
            std::mem::forget(second);
        }
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("WorkerPool")
            .field("name", &self.shared.name)
            .field("threads", &state.threads)
            .field("running", &state.running)
            .field("waiting", &state.queue.len())
            .finish()
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished")
            .field("running", &self.running)
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    fn pool(threads_max: usize, queue_max: usize) -> WorkerPool {
        WorkerPool::new("test", threads_max, queue_max, Box::new(|_| {}))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// A job that says when it begins and ends when the returned sender is dropped.
    fn gated(begun: &Sender<()>) -> (Job, Sender<()>) {
        let begun = begun.clone();
        let (gate, closed): (Sender<()>, Receiver<()>) = channel();
        let job = move || {
            begun.send(()).unwrap();
            let _ = closed.recv();
        };
        (Box::new(job), gate)
    }

    impl WorkerPool {
        fn wait_until(&self, condition: impl Fn(&State) -> bool) {
            let deadline = soon();
            while !condition(&self.shared.lock()) {
                assert!(Instant::now() < deadline);
                thread::yield_now();
            }
        }
    }

    #[test]
    fn threads_start_when_needed_and_no_more_than_allowed() {
        let pool = pool(3, 10);
        assert_eq!(pool.threads(), 0);
        let (begun, begins) = channel();
        let mut gates = Vec::new();
        for running in 1..=3 {
            let (job, gate) = gated(&begun);
            assert!(pool.submit(job).is_ok());
            gates.push(gate);
            begins.recv().unwrap();
            assert_eq!(pool.threads(), running);
        }
        let (job, gate) = gated(&begun);
        assert!(pool.submit(job).is_ok());
        assert_eq!((pool.threads(), pool.waiting()), (3, 1));
        gates.remove(0);
        begins.recv().expect("a thread that became free took the waiting job");
        drop((gates, gate));
        pool.shutdown(soon()).unwrap();
    }

    #[test]
    fn an_idle_thread_is_preferred_to_a_new_one() {
        let pool = pool(8, 0);
        for _ in 0..100 {
            let (done, wait) = channel();
            assert!(pool.submit(Box::new(move || done.send(()).unwrap())).is_ok());
            wait.recv().unwrap();
            pool.wait_until(|state| state.running == 0);
        }
        assert_eq!(pool.threads(), 1);
    }

    #[test]
    fn jobs_do_not_wait_behind_one_that_blocks_while_there_are_threads() {
        let pool = pool(4, 10);
        // At first the threads are started, then they are asleep, or about to be.
        for _ in 0..50 {
            let (begun, begins) = channel();
            let gates: Vec<_> = (0..4)
                .map(|_| {
                    let (job, gate) = gated(&begun);
                    assert!(pool.submit(job).is_ok());
                    gate
                })
                .collect();
            (0..4).for_each(|_| begins.recv_timeout(Duration::from_secs(30)).expect("a thread takes it"));
            assert_eq!((pool.threads(), pool.waiting()), (4, 0));
            drop(gates);
        }
        pool.shutdown(soon()).unwrap();
    }

    #[test]
    fn a_full_pool_gives_the_job_back_unharmed() {
        let pool = pool(2, 3);
        let (begun, _begins) = channel();
        let mut gates = Vec::new();
        // Submitted in one go, before any thread has run: the bounds hold all the same.
        for _ in 0..5 {
            let (job, gate) = gated(&begun);
            assert!(pool.submit(job).is_ok());
            gates.push(gate);
        }
        let (done, wait) = channel();
        let refused = pool.submit(Box::new(move || done.send("ran here").unwrap())).unwrap_err();
        refused();
        assert_eq!(wait.recv().unwrap(), "ran here");
        drop(gates);
        pool.shutdown(soon()).unwrap();
    }

    #[test]
    fn every_job_runs_exactly_once_under_a_crowd() {
        let pool = Arc::new(pool(4, 50));
        let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..4000).map(|_| AtomicUsize::new(0)).collect());
        let submitters = (0..4).map(|submitter| {
            let (pool, runs) = (Arc::clone(&pool), Arc::clone(&runs));
            thread::spawn(move || {
                for index in submitter * 1000..(submitter + 1) * 1000 {
                    let runs = Arc::clone(&runs);
                    let mut job: Job = Box::new(move || {
                        runs[index].fetch_add(1, Ordering::Relaxed);
                    });
                    while let Err(refused) = pool.submit(job) {
                        job = refused;
                        thread::yield_now();
                    }
                }
            })
        });
        submitters.collect::<Vec<_>>().into_iter().for_each(|submitter| submitter.join().unwrap());
        pool.shutdown(soon()).unwrap();
        assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
        assert!(pool.threads() <= 4);
    }

    #[test]
    fn a_panicking_job_is_told_to_the_handler_and_harms_nobody() {
        let (told, tales) = channel();
        let told = Mutex::new(told);
        let on_panic = move |panic: Box<dyn Any + Send>| {
            told.lock().unwrap().send(*panic.downcast_ref::<&str>().unwrap()).unwrap();
            panic!("the handler, too");
        };
        let pool = WorkerPool::new("test", 1, 10, Box::new(on_panic));
        assert!(pool.submit(Box::new(|| panic!("boom"))).is_ok());
        assert_eq!(tales.recv().unwrap(), "boom");
        let (done, wait) = channel();
        assert!(
            pool.submit(Box::new(move || done.send(thread::current().name().unwrap().to_owned()).unwrap()))
                .is_ok()
        );
        assert_eq!(wait.recv().unwrap(), "test-0", "the same thread goes on");
        pool.shutdown(soon()).unwrap();
    }

    #[test]
    fn threads_without_work_end() {
        let pool = WorkerPool::with_idle_time("test", 4, 4, Box::new(|_| {}), Duration::from_millis(1));
        for _ in 0..20 {
            let (done, wait) = channel();
            assert!(pool.submit(Box::new(move || done.send(()).unwrap())).is_ok());
            wait.recv().unwrap();
            pool.wait_until(|state| state.threads == 0);
        }
    }

    #[test]
    fn shutdown_finishes_what_was_accepted_and_refuses_the_rest() {
        let pool = pool(1, 10);
        let (begun, begins) = channel();
        let (job, gate) = gated(&begun);
        assert!(pool.submit(job).is_ok());
        begins.recv().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            let ran = Arc::clone(&ran);
            assert!(pool.submit(Box::new(move || _ = ran.fetch_add(1, Ordering::Relaxed))).is_ok());
        }
        thread::scope(|scope| {
            let stop = scope.spawn(|| pool.shutdown(soon()));
            while !pool.shared.lock().stopping {
                thread::yield_now();
            }
            assert!(pool.submit(Box::new(|| {})).is_err());
            drop(gate);
            stop.join().unwrap().unwrap();
        });
        assert_eq!(ran.load(Ordering::Relaxed), 5);
        pool.shutdown(Instant::now()).expect("nothing is left to wait for");
    }

    #[test]
    fn shutdown_tells_at_the_deadline_what_is_left() {
        let pool = pool(1, 10);
        let (begun, begins) = channel();
        let (job, gate) = gated(&begun);
        assert!(pool.submit(job).is_ok());
        begins.recv().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let ran = Arc::clone(&ran);
            assert!(pool.submit(Box::new(move || _ = ran.fetch_add(1, Ordering::Relaxed))).is_ok());
        }
        let left = pool.shutdown(Instant::now() + Duration::from_millis(5)).unwrap_err();
        assert_eq!((left.running, left.waiting.len()), (1, 3));
        drop(gate);
        pool.wait_until(|state| state.threads == 0);
        assert_eq!(ran.load(Ordering::Relaxed), 0, "given back, so not run");
    }
}
