//! An exchange and a worker of the lint's own, which stand in front of the server's: to hide capabilities, to watch what
//! goes through them, and to call an application more than once for one request.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, Version, uri::Authority};
use varvel::{
    BoxFuture, Caps, ConnInfo, Driver, Exchange, FinishHook, InterimError, Job, Offer, Report, Scope, Timer,
    TimerId, Worker, WorkerInfo, WorkerOps,
};

use crate::{
    record::{Core, Record},
    request::{cap, offer_of},
    rules as r,
};

/// A worker in front of a server's.
pub(crate) struct StandInWorker {
    worker: Worker,
    info: WorkerInfo,
    core: Arc<Core>,
    /// The thread that polls calls, where jobs must not run.
    home: Option<ThreadId>,
    timers: Mutex<HashMap<u128, Timer>>,
    last_timer: AtomicU64,
}

impl StandInWorker {
    /// A worker with the masked capabilities hidden. `is_async` says whether this thread polls calls.
    pub(crate) fn worker(worker: &Worker, core: &Arc<Core>, is_async: bool) -> Worker {
        let mut info = worker.info().clone();
        info.caps = info.caps.without(core.settings.masked);
        let on_loop = is_async && info.driver == Driver::Evented;
        Worker::new(Arc::new(Self {
            worker: worker.clone(),
            info,
            core: Arc::clone(core),
            home: on_loop.then(|| thread::current().id()),
            timers: Mutex::default(),
            last_timer: AtomicU64::new(0),
        }))
    }

    fn hides(&self, cap: Caps) -> bool {
        self.core.settings.masked.contains(cap)
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<u128, Timer>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls a timer, which is never dropped under a lock of ours: it may wake whoever comes back here.
fn arm(timer: &mut Timer, waker: &Waker) -> bool {
    Pin::new(timer).poll(&mut Context::from_waker(waker)).is_pending()
}

impl WorkerOps for StandInWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        self.worker.report(report);
    }

    fn now(&self) -> Instant {
        self.worker.now()
    }

    fn block_on(&self, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
        self.worker.block_on(std::future::poll_fn(poll));
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let id = TimerId(self.last_timer.fetch_add(1, SeqCst).into());
        let mut timer = self.worker.timer(deadline);
        if arm(&mut timer, waker) {
            self.timers().insert(id.0, timer);
        } else {
            waker.wake_by_ref();
        }
        id
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        let Some(mut timer) = self.timers().remove(&id.0) else { return false };
        let pending = arm(&mut timer, waker);
        if pending {
            self.timers().insert(id.0, timer);
        }
        pending
    }

    fn cancel_timer(&self, id: TimerId) {
        let timer = self.timers().remove(&id.0);
        drop(timer);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        if self.hides(Caps::OFFLOAD) {
            return Err(job);
        }
        let slot = Arc::new(Mutex::new(Some(job)));
        let mut watch = WatchedJob {
            slot: Arc::clone(&slot),
            core: Arc::clone(&self.core),
            worker: self.worker.clone(),
            home: self.home,
        };
        match self.worker.offload(Box::new(move || watch.run())) {
            Err(watched) => {
                let job = lock(&slot).take();
                drop(watched);
                Err(job.expect("a job that was given back has not run"))
            }
            Ok(()) => {
                if !self.worker.info().caps.contains(Caps::OFFLOAD) {
                    self.core.breach(r::X2_OFFLOAD, Some(&self.worker), || "a job was taken".to_owned());
                }
                Ok(())
            }
        }
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        if self.hides(Caps::SPAWN) {
            return Err(task);
        }
        let slot = Arc::new(Mutex::new(Some(task)));
        let watched = WatchedTask {
            slot: Arc::clone(&slot),
            core: Arc::clone(&self.core),
            worker: self.worker.clone(),
        };
        match self.worker.spawn(Box::pin(watched)) {
            Err(watched) => {
                let task = lock(&slot).take();
                drop(watched);
                Err(task.expect("a task that was given back has not run"))
            }
            Ok(()) => {
                if !self.worker.info().caps.contains(Caps::SPAWN) {
                    self.core.breach(r::X2_SPAWN, Some(&self.worker), || "a task was taken".to_owned());
                }
                Ok(())
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.worker.is_stopping()
    }

    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        let stopping = self.worker.poll_stopping(cx);
        if stopping.is_ready() && !self.worker.is_stopping() {
            self.core
                .breach(r::L7_DISAGREE, Some(&self.worker), || "it is ready and that is false".to_owned());
        }
        stopping
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct WatchedJob {
    /// Emptied when the job runs, or is given back.
    slot: Arc<Mutex<Option<Job>>>,
    core: Arc<Core>,
    worker: Worker,
    home: Option<ThreadId>,
}

impl WatchedJob {
    fn run(&mut self) {
        if self.home == Some(thread::current().id()) {
            self.core.breach(r::W3_THREAD, Some(&self.worker), || "it does".to_owned());
        }
        let job = lock(&self.slot).take();
        if let Some(job) = job {
            job();
        }
    }
}

impl Drop for WatchedJob {
    fn drop(&mut self) {
        if lock(&self.slot).is_some() && !self.worker.is_stopping() {
            self.core
                .breach(r::W3_LOST, Some(&self.worker), || "it was dropped without having run".to_owned());
        }
    }
}

struct WatchedTask {
    /// Emptied when the task has completed, or is given back.
    slot: Arc<Mutex<Option<BoxFuture>>>,
    core: Arc<Core>,
    worker: Worker,
}

impl Future for WatchedTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = lock(&self.slot);
        let Some(task) = slot.as_mut() else { return Poll::Ready(()) };
        let polled = task.as_mut().poll(cx);
        if polled.is_ready() {
            let task = slot.take();
            drop(slot);
            drop(task);
        }
        polled
    }
}

impl Drop for WatchedTask {
    fn drop(&mut self) {
        // A poll that panicked has poisoned the lock: that task is over.
        let unfinished = self.slot.lock().is_ok_and(|task| task.is_some());
        if unfinished && !self.worker.is_stopping() {
            self.core.breach(r::W2_DROPPED, Some(&self.worker), || "it was dropped unfinished".to_owned());
        }
    }
}

/// A server's exchange, taken apart so that scopes can be made of it.
pub(crate) struct StandIn {
    exchange: Arc<StandInExchange>,
    target: Bytes,
    authority: Option<Authority>,
    received_at: Instant,
    mounted: usize,
    offer: Option<Offer>,
    deferral: bool,
}

impl StandIn {
    /// Takes a scope's place. The entries in it stay behind.
    pub(crate) fn new(mut scope: Scope, uri: &Uri, record: &Arc<Record>) -> Self {
        let masked = record.core.settings.masked;
        let token = scope.take_upgrade().filter(|token| !masked.contains(cap(token.kind())));
        let deferral = scope.take_deferral().is_some() && !masked.contains(Caps::DEFER);
        let mut conn = scope.conn().clone();
        if masked.contains(Caps::TLS) {
            conn.tls = None;
        }
        let worker = StandInWorker::worker(scope.worker(), &record.core, record.is_async);
        Self {
            target: Bytes::copy_from_slice(scope.raw_target()),
            authority: scope.authority().cloned(),
            received_at: scope.received_at(),
            mounted: scope.mount(uri).len(),
            offer: token.as_ref().map(offer_of),
            deferral,
            exchange: Arc::new(StandInExchange { scope, conn, worker, record: Arc::clone(record) }),
        }
    }

    /// A scope in front of the server's; any number of them.
    pub(crate) fn scope(&self, uri: &Uri) -> Scope {
        let exchange: Arc<dyn Exchange> = Arc::<StandInExchange>::clone(&self.exchange);
        let number = self.exchange.scope.number();
        let mut scope = Scope::new(exchange, number, self.target.clone(), self.received_at)
            .with_authority(self.authority.clone());
        if let Some(offer) = &self.offer {
            scope = scope.with_upgrade(offer.clone());
        }
        if self.deferral {
            scope = scope.with_deferral();
        }
        // It was a mount before, so it is one again.
        let _ = scope.descend(uri, self.mounted);
        scope
    }
}

struct StandInExchange {
    scope: Scope,
    conn: ConnInfo,
    worker: Worker,
    record: Arc<Record>,
}

impl StandInExchange {
    fn hides(&self, cap: Caps) -> bool {
        self.record.core.settings.masked.contains(cap)
    }

    fn check_interim(&self, was_over: bool, status: StatusCode, result: Result<(), InterimError>) {
        let record = &self.record;
        let told = || format!("{status} gave {result:?}");
        match result {
            Err(InterimError::NotInterim) => record.breach(r::H12_STATUS, told),
            Ok(()) if was_over => record.breach(r::S21_INTERIM, told),
            Ok(()) if record.version < Version::HTTP_11 => record.breach(r::H12_VERSION, told),
            Ok(()) if !self.scope.worker().info().caps.contains(Caps::INTERIM) => {
                record.breach(r::X2_INTERIM, told);
            }
            _ => {}
        }
    }
}

impl Exchange for StandInExchange {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn interim(&self, _number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        if self.hides(Caps::INTERIM) {
            return Err(InterimError::Unsupported);
        }
        let was_over = self.record.state().finish.is_some();
        let result = self.scope.interim(status, headers);
        self.check_interim(was_over, status, result);
        result
    }

    fn is_disconnected(&self, _number: u64) -> bool {
        let hidden = self.hides(Caps::DISCONNECT_WATCH) && self.record.state().finish.is_none();
        !hidden && self.scope.is_disconnected()
    }

    fn poll_disconnected(&self, _number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.scope.poll_disconnected(cx);
        if self.is_disconnected(0) { polled } else { Poll::Pending }
    }

    fn on_finish(&self, _number: u64, hook: FinishHook) {
        self.scope.on_finish(hook);
    }
}
