//! A worker: its places for calls, its timers, its pool, its tasks, and what it knows of connections.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use bytes::Bytes;
use varvel::{
    BoxFuture, Caps, Control, Event, Job, Level, Monitor, PROGRESS_INTERVAL, Phase, Report, Reporter,
    TimerId, Worker, WorkerInfo, WorkerOps,
};

use super::{Fault, exchange::Exchange, settings::Settings, timers::Timers, wire::Wire};

/// Threads of the pool for jobs.
const POOL_THREADS: u32 = 4;
/// How many jobs wait for a thread of the pool; more are given back.
const POOL_QUEUE: usize = 16;

/// What the threads of a server share.
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) control: Control,
    /// For what outlives a borrow: tasks and wakers.
    itself: Weak<Core>,
    info: WorkerInfo,
    reporter: Arc<dyn Reporter>,
    monitor: Option<Arc<dyn Monitor>>,
    state: Mutex<State>,
    changed: Condvar,
    timers: Timers,
}

#[derive(Default)]
struct State {
    /// Calls that run.
    calls: u32,
    /// Some have ended since the monitor was told of progress.
    progress: bool,
    connections: HashMap<u64, Connection>,
    /// The deadline of the stop has come.
    cut: bool,
    stopping: bool,
    /// No connection is accepted any more.
    refusing: bool,
    /// Woken when the stop begins.
    stop_watchers: Vec<Waker>,
    jobs: VecDeque<Job>,
    jobs_running: u32,
    /// Threads that poll a spawned task.
    tasks: HashMap<u64, Thread>,
    task_next: u64,
    /// The worker is over.
    ended: bool,
    /// What it died of.
    death: Option<String>,
}

/// What the worker knows of a connection.
struct Connection {
    wire: Arc<Wire>,
    /// Its exchange, while there is one.
    exchange: Option<Arc<Exchange>>,
    /// Ends it while it waits for a deferred reply.
    abandon: Option<Box<dyn FnOnce() + Send>>,
}

impl Core {
    pub(super) fn new(
        settings: Settings,
        index: u32,
        control: Control,
        reporter: Arc<dyn Reporter>,
        monitor: Option<Arc<dyn Monitor>>,
        places: u32,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            info: settings.worker_info(places, index),
            settings,
            control,
            reporter,
            monitor,
            state: Mutex::default(),
            changed: Condvar::new(),
            timers: Timers::default(),
        })
    }

    /// The handle for applications.
    pub(super) fn worker(self: &Arc<Self>) -> Worker {
        let ops: Arc<Self> = Arc::clone(self);
        Worker::new(ops)
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.settings.has(fault)
    }

    pub(super) fn can(&self, caps: Caps) -> bool {
        self.settings.caps.contains(caps)
    }

    /// Starts the threads of the pool and of the timers; they end after [`end`](Self::end).
    pub(super) fn start_threads(self: &Arc<Self>) -> std::io::Result<Vec<thread::JoinHandle<()>>> {
        let core = Arc::clone(self);
        let run = move || {
            // Wakers are the application's. One that panics ends the worker, as it would end an event loop.
            let ran = catch_unwind(AssertUnwindSafe(|| core.timers.run(&core.settings)));
            if let Err(panic) = ran {
                core.change(|state| state.death = Some(panic_message(&*panic).to_owned()));
            }
        };
        let mut threads = vec![thread::Builder::new().name("timers".into()).spawn(run)?];
        for _ in 0..POOL_THREADS {
            let core = Arc::clone(self);
            threads.push(thread::Builder::new().name("pool".into()).spawn(move || core.run_jobs())?);
        }
        Ok(threads)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'s>(
        &self,
        state: MutexGuard<'s, State>,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'s, State> {
        self.changed.wait_while(state, condition).unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    // Reports.

    /// Passes a report on.
    pub(super) fn tell(&self, report: &Report<'_>) {
        self.reporter.report(report);
    }

    /// Says something that belongs to no exchange.
    pub(super) fn log(&self, level: Level, message: &str) {
        self.tell(&Report::new(Event::Log { level, message }));
    }

    // The monitor.

    /// Tells the monitor something, if there is one.
    pub(super) fn tell_monitor(&self, tell: impl FnOnce(&dyn Monitor, u32)) {
        if let Some(monitor) = &self.monitor {
            tell(&**monitor, self.info.index);
        }
    }

    /// Starts a thread that tells the monitor of progress, until the worker ends.
    pub(super) fn start_pulse(self: &Arc<Self>) -> Option<thread::JoinHandle<()>> {
        self.monitor.as_ref()?;
        let core = Arc::clone(self);
        let pulse = move || {
            let mut state = core.lock();
            while !state.ended {
                let ended = std::mem::take(&mut state.progress);
                let has_place = Some(state.calls) < core.info.concurrency;
                let may_go_on = match core.settings.fault {
                    Some(Fault::ProgressIsAClock) => true,
                    Some(Fault::ProgressNeedsCalls) => ended,
                    Some(Fault::AnyCallStopsProgress) => state.calls == 0 || ended,
                    _ => has_place || ended,
                };
                drop(state);
                if may_go_on {
                    core.tell_monitor(|monitor, worker| monitor.progress(worker));
                }
                let waited = core.changed.wait_timeout(core.lock(), PROGRESS_INTERVAL / 4);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        let started = thread::Builder::new().name("pulse".into()).spawn(pulse);
        started
            .inspect_err(|error| self.log(Level::Error, &format!("no thread for the monitor: {error}")))
            .ok()
    }

    // Places for calls.

    /// Waits until one more call may run. `None` if the server cannot wait any longer.
    pub(super) fn take_place(self: &Arc<Self>) -> Option<Place> {
        let stated = self.info.concurrency.unwrap_or(u32::MAX);
        let places = if self.has(Fault::OneCallAtATime) { 1 } else { stated };
        let bounded = !self.has(Fault::ExceedsConcurrency);
        let mut state = self.wait_while(self.lock(), |state| bounded && state.calls >= places && !state.cut);
        if state.cut {
            return None;
        }
        state.calls += 1;
        Some(Place(Arc::clone(self)))
    }

    // Connections.

    /// Waits until the number of connections allows another, or the stop begins.
    pub(super) fn wait_for_connection_place(&self) {
        // Each worker has its share.
        let max = self.settings.tuning.connections_max.div_ceil(self.settings.tuning.workers.max(1)) as usize;
        let bounded = !self.has(Fault::NoConnectionLimit);
        drop(
            self.wait_while(self.lock(), |state| {
                bounded && state.connections.len() >= max && !state.refusing
            }),
        );
    }

    pub(super) fn register(self: &Arc<Self>, id: u64, wire: &Arc<Wire>) -> Registration {
        let stopping = self.change(|state| {
            let connection = Connection { wire: Arc::clone(wire), exchange: None, abandon: None };
            state.connections.insert(id, connection);
            state.stopping
        });
        if stopping && !self.has(Fault::StopKeepsAccepting) {
            wire.stop();
        }
        self.tell_monitor(|monitor, worker| monitor.connection_opened(worker));
        Registration { core: Arc::clone(self), id }
    }

    // The stop.

    /// Waits until a stop is asked for, or the worker dies.
    pub(super) fn wait_for_end(&self) {
        // Whether a stop came before the server was ready.
        let early = self.control.stop_deadline().filter(|_| self.has(Fault::IgnoresEarlyStop));
        let goes_on = |state: &mut State| state.death.is_none() && self.control.stop_deadline() == early;
        drop(self.wait_while(self.lock(), goes_on));
    }

    /// What the worker has died of, if it has.
    pub(super) fn death(&self) -> Option<String> {
        self.lock().death.clone()
    }

    /// Raises the stopping signal.
    pub(super) fn signal_stop(&self) {
        let watchers = self.change(|state| {
            state.stopping = true;
            std::mem::take(&mut state.stop_watchers)
        });
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Ends the threads that accept.
    pub(super) fn stop_accepting(&self) {
        self.change(|state| state.refusing = true);
    }

    /// Whether connections are accepted.
    pub(super) fn accepts(&self) -> bool {
        !self.lock().refusing
    }

    /// Ends the connections that wait for a request.
    pub(super) fn close_idle(&self) {
        for connection in self.lock().connections.values() {
            connection.wire.stop();
        }
    }

    /// Waits until nothing runs any more; `false` if the deadline of the stop came first.
    pub(super) fn wait_until_done(&self, deadline: impl Fn() -> Option<Instant>) -> bool {
        let mut state = self.lock();
        loop {
            let done = state.connections.is_empty()
                && state.tasks.is_empty()
                && state.jobs.is_empty()
                && state.jobs_running == 0;
            if done {
                return true;
            }
            let left = deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Drops what runs at the deadline; the number of exchanges that were cut off.
    pub(super) fn cut(&self) -> u64 {
        let mut cut = 0;
        let mut abandoned = Vec::new();
        let mut wires = Vec::new();
        self.change(|state| {
            state.cut = true;
            for connection in state.connections.values_mut() {
                if let Some(exchange) = &connection.exchange {
                    exchange.stop();
                    cut += 1;
                }
                abandoned.extend(connection.abandon.take());
                let is_tunnel = connection.exchange.as_ref().is_some_and(|exchange| exchange.is_tunnel());
                if is_tunnel && self.has(Fault::TunnelSurvivesDeadline) {
                    continue;
                }
                wires.push(Arc::clone(&connection.wire));
            }
            state.tasks.values().for_each(Thread::unpark);
        });
        let looks_complete = self.has(Fault::CutAnswerLooksComplete);
        for wire in wires {
            if looks_complete {
                // What cannot be sent any more was not to be.
                let _ = wire.put(Bytes::from_static(b"0\r\n\r\n"), false).and_then(|()| wire.flush());
            }
            wire.kill(!looks_complete);
        }
        abandoned.into_iter().for_each(|abandon| abandon());
        cut
    }

    /// Ends the exchanges whose calls do not return.
    pub(super) fn finish_stuck(&self) {
        let stuck: Vec<_> =
            self.lock().connections.values().filter_map(|connection| connection.exchange.clone()).collect();
        stuck.iter().for_each(|exchange| exchange.finish_stopped());
    }

    /// Ends the threads of the pool and of the timers.
    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
        self.timers.end();
    }

    /// Whether the stop has begun.
    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    // The pool.

    fn run_jobs(self: &Arc<Self>) {
        loop {
            let mut state = self.wait_while(self.lock(), |state| state.jobs.is_empty() && !state.ended);
            let Some(job) = state.jobs.pop_front() else { return };
            state.jobs_running += 1;
            drop(state);
            let contained = self.contain_background(job);
            self.change(|state| state.jobs_running -= 1);
            if !contained && self.has(Fault::JobPanicKillsThread) {
                return;
            }
        }
    }

    /// Runs work of the application; `false` if it panicked.
    fn contain_background(&self, work: impl FnOnce()) -> bool {
        let Err(panic) = catch_unwind(AssertUnwindSafe(work)) else { return true };
        if !self.has(Fault::ServicePanicIsLost) {
            let message = panic_message(&*panic);
            self.tell(&Report::new(Event::Panicked { during: Phase::Background, message }));
        }
        false
    }

    // Tasks.

    fn run_task(&self, mut task: BoxFuture) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        self.contain_background(|| {
            while task.as_mut().poll(&mut cx).is_pending() {
                if self.has(Fault::SpawnPollsOnce) {
                    break;
                }
                thread::park();
                let state = self.lock();
                let cut = state.cut && !self.has(Fault::TasksSurviveDeadline);
                if cut || (state.stopping && self.has(Fault::StopDropsTasks)) {
                    break;
                }
            }
        });
        self.contain_background(|| drop(task));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes whoever waits for the stop.
impl Wake for Core {
    fn wake(self: Arc<Self>) {
        self.change(|_| ());
    }
}

impl WorkerOps for Core {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        self.tell(report);
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        self.timers.set(deadline, waker)
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        self.has(Fault::TimersWakeFirstTask) || self.timers.move_to(id, waker)
    }

    fn cancel_timer(&self, id: TimerId) {
        self.timers.cancel(id);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        if !self.can(Caps::OFFLOAD) {
            return if self.has(Fault::MissingServiceSwallows) { Ok(()) } else { Err(job) };
        }
        if self.has(Fault::RunsJobsInline) {
            self.contain_background(job);
            return Ok(());
        }
        let mut state = self.lock();
        if state.ended || state.jobs.len() >= POOL_QUEUE {
            drop(state);
            return if self.has(Fault::FullPoolForgets) { Ok(()) } else { Err(job) };
        }
        if state.jobs_running == POOL_THREADS && self.has(Fault::ForgetsQueuedJobs) {
            return Ok(());
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        if !self.can(Caps::SPAWN) {
            return if self.has(Fault::MissingServiceSwallows) { Ok(()) } else { Err(task) };
        }
        if self.has(Fault::SpawnDelaysAnswer) {
            self.run_task(task);
            return Ok(());
        }
        let (Some(core), false) = (self.itself.upgrade(), self.lock().ended) else { return Err(task) };
        // The task counts from now on, not from when its thread has come to life.
        let id = core.change(|state| {
            state.task_next += 1;
            state.tasks.insert(state.task_next, thread::current());
            state.task_next
        });
        // Where there is no thread to be had, the closure is dropped with the task in it; so it is kept outside.
        let slot = Arc::new(Mutex::new(Some(task)));
        let thread_slot = Arc::clone(&slot);
        let run = move || {
            let task = thread_slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            core.change(|state| state.tasks.insert(id, thread::current()));
            task.into_iter().for_each(|task| core.run_task(task));
            core.change(|state| state.tasks.remove(&id));
        };
        if thread::Builder::new().name("task".into()).spawn(run).is_ok() {
            return Ok(());
        }
        self.change(|state| state.tasks.remove(&id));
        let task = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        task.map_or(Ok(()), Err)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping()
    }

    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.stopping {
            return Poll::Ready(());
        }
        if !state.stop_watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.stop_watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The right to run a call, given back when dropped.
pub(super) struct Place(Arc<Core>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.calls -= 1;
            state.progress = true;
        });
    }
}

/// A connection's entry in the worker's list, struck off when dropped.
pub(super) struct Registration {
    core: Arc<Core>,
    id: u64,
}

impl Registration {
    fn change(&self, change: impl FnOnce(&mut Connection)) {
        self.core.change(|state| state.connections.get_mut(&self.id).map(change));
    }

    /// Says which exchange the connection has now.
    pub(super) fn set_exchange(&self, exchange: Option<Arc<Exchange>>) {
        self.change(|connection| connection.exchange = exchange);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let forgotten = self.core.death().is_some() && self.core.has(Fault::MonitorForgetsTheDead);
        if !forgotten && !self.core.has(Fault::MonitorMissesCloses) {
            self.core.tell_monitor(|monitor, worker| monitor.connection_closed(worker));
        }
        self.core.change(|state| state.connections.remove(&self.id));
    }
}

impl Core {
    /// Says how a connection that waits for a deferred reply can be ended at the deadline; `None` when it no longer
    /// waits.
    pub(super) fn set_abandon(&self, id: u64, abandon: Option<Box<dyn FnOnce() + Send>>) {
        let before = self.change(|state| {
            let connection = state.connections.get_mut(&id)?;
            std::mem::replace(&mut connection.abandon, abandon)
        });
        // It may hold the connection, whose end takes the lock again.
        drop(before);
    }
}

/// What a panic says of itself.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "(not a text)",
    }
}
