//! The worker of the in-process server: a clock that is moved by hand, timers on it, background tasks, jobs, reports.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use varvel::{BoxFuture, Caps, Event, Job, Phase, Report, TimerId, Worker, WorkerInfo, WorkerOps};

use super::{
    bell::{Bell, Jobs, Task},
    coroutine, panic_message,
};
use crate::Record;

pub(crate) struct HandWorker {
    info: WorkerInfo,
    bell: Arc<Bell>,
    start: Instant,
    /// How many wakers a [`Timer`](varvel::Timer) that waits holds on to, the one that it set included.
    timer_wakers: OnceLock<usize>,
    /// The test's.
    thread: ThreadId,
    patience: Duration,
    state: Arc<Mutex<State>>,
}

thread_local! {
    /// Whether this thread runs an offloaded job.
    static IS_JOB: Cell<bool> = const { Cell::new(false) };
}

#[derive(Default)]
struct State {
    /// How far the clock was moved.
    passed: Duration,
    /// By number, which is the order in which they were set.
    timers: BTreeMap<u128, (Instant, Waker)>,
    timers_set: u128,
    stopping: bool,
    /// Who waits for the stop.
    watchers: Vec<Waker>,
    tasks: Vec<(Arc<Task>, BoxFuture)>,
    /// Offloaded, and not begun yet; by whom.
    jobs: Vec<(Job, Arc<Jobs>)>,
    /// Those of the call that is polled now, or of nobody in particular.
    polled: Arc<Jobs>,
    /// The server runs nothing any more.
    ended: bool,
    records: Vec<Record>,
}

impl HandWorker {
    pub(crate) fn new(info: WorkerInfo, bell: Arc<Bell>, patience: Duration) -> Self {
        Self {
            info,
            bell,
            start: Instant::now(),
            timer_wakers: OnceLock::new(),
            thread: thread::current().id(),
            patience,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Finds out how many wakers a timer of this worker's holds on to, which is the timer's own business.
    pub(crate) fn weigh_timers(&self, worker: &Worker) {
        let task = Task::new(&self.bell);
        let mut timer = pin!(worker.sleep(Duration::from_secs(1)));
        let _ = timer.as_mut().poll(&mut Context::from_waker(&task.waker()));
        let _ = self.timer_wakers.set(task.wakers());
    }

    /// Moves the clock.
    pub(crate) fn set_now(&self, now: Instant) {
        self.lock().passed = now.saturating_duration_since(self.start);
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.lock().timers.values().map(|(deadline, _)| *deadline).min()
    }

    /// Wakes who set a timer that is due, the earliest first.
    pub(crate) fn fire_timers(&self) {
        let now = self.now();
        let mut state = self.lock();
        let mut due: Vec<_> =
            state.timers.iter().filter(|(_, (at, _))| *at <= now).map(|(id, (at, _))| (*at, *id)).collect();
        due.sort_unstable();
        let wakers: Vec<_> = due.iter().filter_map(|(_, id)| state.timers.remove(id)).collect();
        drop(state);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The date on the clock: the year 2000 begins with the test.
    pub(crate) fn date(&self) -> HeaderValue {
        const YEAR_2000: Duration = Duration::from_secs(946_684_800);
        let now = SystemTime::UNIX_EPOCH + YEAR_2000 + self.lock().passed;
        HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is a field value")
    }

    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Takes no more tasks and jobs, and gives back what has not begun.
    pub(crate) fn end(&self) -> impl Sized {
        let mut state = self.lock();
        state.ended = true;
        (std::mem::take(&mut state.jobs), std::mem::take(&mut state.tasks))
    }

    /// Runs a poll of a call, whose the jobs are that it offloads.
    pub(crate) fn during_poll_of(&self, task: &Task, poll: impl FnOnce()) {
        let nobody = std::mem::replace(&mut self.lock().polled, Arc::clone(task.jobs()));
        poll();
        self.lock().polled = nobody;
    }

    /// Polls the spawned tasks that were woken; `false` if none were.
    pub(crate) fn run_tasks(&self) -> bool {
        let mut tasks = std::mem::take(&mut self.lock().tasks);
        let mut any = false;
        tasks.retain_mut(|(task, future)| {
            if !task.take_woken() {
                return true;
            }
            any = true;
            let waker = task.waker();
            let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
            let polled = catch_unwind(AssertUnwindSafe(poll));
            if let Ok(Poll::Pending) = polled {
                return true;
            }
            let over = std::mem::replace(future, Box::pin(std::future::ready(())));
            for result in [polled.map(drop), catch_unwind(AssertUnwindSafe(|| drop(over)))] {
                if let Err(panic) = result {
                    let message = panic_message(&*panic);
                    self.report(&Report::new(Event::Panicked { during: Phase::Background, message }));
                }
            }
            false
        });
        let mut state = self.lock();
        tasks.append(&mut state.tasks);
        state.tasks = tasks;
        any
    }

    /// How many spawned tasks are not done.
    pub(crate) fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Whether somebody may wake a spawned task who is not the test.
    pub(crate) fn tasks_may_be_woken(&self) -> bool {
        let state = self.lock();
        state.tasks.iter().any(|(task, _)| task.wakers() > state.wakers_of(task, self.timer_wakers()))
    }

    /// Polls a future to its end, alone on the test's thread: nobody else could move the clock meanwhile, so it moves by
    /// itself when all that is left to wait for is a timer. `Err` says what the future waits for in vain.
    pub(crate) fn complete<F: Future>(&self, future: F) -> Result<F::Output, String> {
        let mut future = pin!(future);
        let task = Task::new(&self.bell);
        let mut deadline = Instant::now() + self.patience;
        // Whoever may wake it on a thread of its own did not for too long.
        let mut others_are_lost = false;
        loop {
            self.bell.hush();
            self.fire_timers();
            let mut is_busy = self.begin_jobs() | self.run_tasks();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && (is_busy || task.is_woken()) {
                return Err(wakes_itself(self.patience));
            }
            if task.take_woken() {
                match future.as_mut().poll(&mut Context::from_waker(&task.waker())) {
                    Poll::Ready(output) => return Ok(output),
                    Poll::Pending => is_busy = true,
                }
            }
            // In this order: whoever wakes something rings, and lets go of its waker only then.
            let may_be_woken = self.bell.has_jobs() || task.wakers() > self.wakers_of(&task);
            if is_busy || self.bell.is_rung() {
                continue;
            }
            if may_be_woken && !others_are_lost {
                if !self.bell.wait(left) {
                    others_are_lost = true;
                    deadline = Instant::now() + self.patience;
                }
                continue;
            }
            match self.next_timer() {
                Some(next) if !left.is_zero() => self.set_now(next),
                _ if may_be_woken => {
                    return Err("waits for something of its own, which did not come".to_owned());
                }
                _ => return Err("is pending, and nothing is left to wake it".to_owned()),
            }
        }
    }

    /// Begins the offloaded jobs; `false` if there are none.
    pub(crate) fn begin_jobs(&self) -> bool {
        let jobs = std::mem::take(&mut self.lock().jobs);
        let any = !jobs.is_empty();
        jobs.into_iter().for_each(|(job, of)| self.begin_job(job, of));
        any
    }

    /// Runs a job on a thread of its own.
    fn begin_job(&self, job: Job, of: Arc<Jobs>) {
        self.bell.job_begins();
        of.one_begins();
        let (bell, state) = (Arc::clone(&self.bell), Arc::clone(&self.state));
        thread::spawn(move || {
            IS_JOB.set(true);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(job)) {
                let message = panic_message(&*panic);
                let report = Report::new(Event::Panicked { during: Phase::Background, message });
                lock(&state).records.push(Record::of(&report));
            }
            of.one_ends();
            bell.job_ends();
        });
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// How many wakers of a task wait in here: they wake it only when the test moves the clock or stops the server.
    pub(crate) fn wakers_of(&self, task: &Arc<Task>) -> usize {
        self.lock().wakers_of(task, self.timer_wakers())
    }

    fn timer_wakers(&self) -> usize {
        self.timer_wakers.get().copied().unwrap_or(1)
    }

    /// Whether a task waits for the stop.
    pub(crate) fn awaits_stop(&self, task: &Arc<Task>) -> bool {
        let waker = task.waker();
        self.lock().watchers.iter().any(|watcher| watcher.will_wake(&waker))
    }
}

impl State {
    fn wakers_of(&self, task: &Arc<Task>, timer_wakers: usize) -> usize {
        let waker = task.waker();
        let timers = self.timers.values().filter(|(_, armed)| armed.will_wake(&waker)).count();
        let watchers = self.watchers.iter().filter(|watcher| watcher.will_wake(&waker)).count();
        timers * timer_wakers + watchers
    }
}

/// What keeps a call or a factory from coming to rest, in words.
pub(crate) fn wakes_itself(patience: Duration) -> String {
    format!("wakes itself without end: polled for {patience:?}, it neither got done nor came to rest")
}

impl WorkerOps for HandWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        self.lock().records.push(Record::of(report));
    }

    fn now(&self) -> Instant {
        self.start + self.lock().passed
    }

    fn block_on(&self, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
        if IS_JOB.get() {
            self.bell.block_job_on(poll);
        } else if thread::current().id() == self.thread {
            let completed = self.complete(poll_fn(poll));
            completed.unwrap_or_else(|waits| panic!("what blocks the test's thread {waits}"));
        } else {
            let sets_a_timer =
                |waker: &Waker| self.lock().timers.values().any(|(_, set)| set.will_wake(waker));
            coroutine::block_on(poll, sets_a_timer);
        }
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let mut state = self.lock();
        state.timers_set += 1;
        let id = state.timers_set;
        state.timers.insert(id, (deadline, waker.clone()));
        drop(state);
        // Set by another thread, it may be due already.
        self.bell.ring();
        TimerId(id)
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        let mut state = self.lock();
        let before = state.timers.get_mut(&id.0).map(|(_, armed)| std::mem::replace(armed, waker.clone()));
        drop(state);
        before.is_some()
    }

    fn cancel_timer(&self, id: TimerId) {
        let cancelled = self.lock().timers.remove(&id.0);
        drop(cancelled);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.ended || !self.info.caps.contains(Caps::OFFLOAD) {
            return Err(job);
        }
        if thread::current().id() == self.thread {
            // Behind the poll that offloads it, so that the two do not race.
            let of = Arc::clone(&state.polled);
            state.jobs.push((job, of));
            drop(state);
            self.bell.ring();
        } else {
            // A sync application may block until it is done.
            drop(state);
            self.begin_job(job, Arc::default());
        }
        Ok(())
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        let mut state = self.lock();
        if state.ended || !self.info.caps.contains(Caps::SPAWN) {
            return Err(task);
        }
        state.tasks.push((Task::new(&self.bell), task));
        drop(state);
        self.bell.ring();
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.stopping {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
