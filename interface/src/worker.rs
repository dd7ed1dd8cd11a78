//! Workers: what owns one application value, what it offers, and what it can do.

use std::{
    fmt,
    future::Future,
    ops::{BitAnd, BitOr, BitOrAssign},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{Report, parking::poll_parked};

/// A blocking piece of work for [`Worker::offload`].
pub type Job = Box<dyn FnOnce() + Send>;

/// A piece of background work for [`Worker::spawn`].
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handle to the worker that runs the application: a thread, a pool of threads, an event loop or a process.
///
/// Cheap to clone, and usable from any thread for as long as anyone holds it.
#[derive(Clone)]
pub struct Worker(Arc<dyn WorkerOps>);

/// The server's side of a [`Worker`].
pub trait WorkerOps: Send + Sync {
    /// What the worker is.
    fn info(&self) -> &WorkerInfo;

    /// Passes a report on to the server's [`Reporter`](crate::Reporter).
    fn report(&self, report: &Report<'_>);

    /// The moment it is on the clock that timers go by: the system's, but for a test that moves the time itself.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Polls on this thread, which may block, until it is done. The thread sleeps in between, but for a test that lets its
    /// own thread go on meanwhile.
    fn block_on(&self, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
        poll_parked(poll);
    }

    /// Has `waker` woken at or after `deadline` (spec W1).
    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId;

    /// Has another waker woken instead. `false` if the timer fired already.
    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool;

    /// Forgets a timer, fired or not.
    fn cancel_timer(&self, id: TimerId);

    /// Runs a job on the blocking pool, or gives it back (spec W3).
    ///
    /// # Errors
    /// The job, where there is no pool or its queue is full.
    fn offload(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }

    /// Polls a task to its end beside the requests, or gives it back (spec W2).
    ///
    /// # Errors
    /// The task, where the worker cannot run any, or has stopped.
    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        Err(task)
    }

    /// Whether a stop was asked for.
    fn is_stopping(&self) -> bool;

    /// Wakes when a stop is asked for (spec L7).
    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Names a timer set by [`WorkerOps::set_timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(
    /// Chosen by the server.
    pub u128,
);

impl Worker {
    /// Wraps a server's worker.
    pub fn new(ops: Arc<dyn WorkerOps>) -> Self {
        Self(ops)
    }

    /// What the worker is, and what it can do.
    pub fn info(&self) -> &WorkerInfo {
        self.0.info()
    }

    /// Tells the server something for its log.
    pub fn report(&self, report: &Report<'_>) {
        self.0.report(report);
    }

    /// Runs a blocking job on a thread that serves no connections (spec W3, capability [`Caps::OFFLOAD`]).
    ///
    /// # Errors
    /// The job itself, where there is no pool or its queue is full.
    pub fn offload(&self, job: Job) -> Result<(), Job> {
        self.0.offload(job)
    }

    /// Runs background work that a response need not wait for; the drain waits for it until its deadline (spec W2,
    /// capability [`Caps::SPAWN`]).
    ///
    /// # Errors
    /// The task itself, where the worker cannot run any.
    pub fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.0.spawn(task)
    }

    /// The moment it is on the worker's clock. Whoever sets timers should ask it rather than [`Instant::now`]: a test may
    /// move it by hand.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// A future that completes at or soon after `deadline`, on every server (spec W1).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn wait(worker: varvel::Worker) {
    /// worker.timer(worker.now() + Duration::from_millis(100)).await;
    /// # }
    /// ```
    pub fn timer(&self, deadline: Instant) -> Timer {
        Timer { ops: Arc::clone(&self.0), deadline, armed: None }
    }

    /// A [`timer`](Self::timer) that completes after `duration` from now; [`Duration::MAX`] is as good as never.
    pub fn sleep(&self, duration: Duration) -> Timer {
        self.timer(after(self.now(), duration))
    }

    /// Polls a future on this thread until it is done; the thread sleeps in between. For sync code only: on an event loop
    /// nothing else would go on, timers included.
    ///
    /// Sync code that waits so, rather than by [`thread::sleep`](std::thread::sleep), follows the clock that a test moves.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn wait(worker: &varvel::Worker) {
    /// worker.block_on(worker.sleep(Duration::from_millis(100)));
    /// # }
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut output = None;
        self.0.block_on(&mut |cx| future.as_mut().poll(cx).map(|done| output = Some(done)));
        output.expect("it was polled until it was done")
    }

    /// Whether a stop was asked for: a good moment for endless streams to end.
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping()
    }

    /// Completes once a stop was asked for, before any connection is closed (spec L7).
    pub fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_stopping(cx)
    }

    /// Waits until a stop is asked for.
    pub async fn stopping(&self) {
        std::future::poll_fn(|cx| self.poll_stopping(cx)).await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(self.info()).finish()
    }
}

/// The moment `duration` from now, or thirty years from now if the clock does not reach that far.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(duration).unwrap_or_else(|| now + FOR_EVER)
}

/// Completes at its deadline; see [`Worker::timer`]. Dropping it cancels it.
pub struct Timer {
    ops: Arc<dyn WorkerOps>,
    deadline: Instant,
    /// The server's timer, and whom it wakes.
    armed: Option<(TimerId, Waker)>,
}

impl Timer {
    /// When it completes.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.ops.now() >= self.deadline {
            return Poll::Ready(());
        }
        let id = match &self.armed {
            Some((_, waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Some((id, _)) if self.ops.move_timer(*id, cx.waker()) => *id,
            _ => self.ops.set_timer(self.deadline, cx.waker()),
        };
        self.armed = Some((id, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((id, _)) = self.armed {
            self.ops.cancel_timer(id);
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// What a worker is. Every word of it must be true (spec S18).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// The version of the specification that the server implements, major and minor.
    pub spec: (u16, u16),
    /// The server's name, such as `varvel-evented`.
    pub server: &'static str,
    /// Which of the workers of its process this is, from 0.
    pub index: u32,
    /// How many workers its process has.
    pub workers: u32,
    /// How this process came to be.
    pub process: ProcessModel,
    /// How the worker waits.
    pub driver: Driver,
    /// How many calls may overlap on this worker: `Some(1)` if none ever do, `None` if nothing bounds them (spec S13).
    pub concurrency: Option<u32>,
    /// How long an application value lives.
    pub lifetime: Lifetime,
    /// The optional parts of the contract that work here.
    pub caps: Caps,
    /// The bounds that the server keeps.
    pub limits: Limits,
}

impl WorkerInfo {
    /// The name of the server where there is none, behind [`Scope::for_test`](crate::Scope::for_test).
    pub const NO_SERVER: &'static str = "no server";

    /// The one worker of a process of its own, with no capability; a server changes what is different.
    pub fn new(server: &'static str, driver: Driver) -> Self {
        Self {
            spec: crate::SPEC_VERSION,
            server,
            index: 0,
            workers: 1,
            process: ProcessModel::Single,
            driver,
            concurrency: None,
            lifetime: Lifetime::Resident,
            caps: Caps::NONE,
            limits: Limits::default(),
        }
    }
}

/// How a worker's process came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessModel {
    /// There is one process; all workers live in it.
    Single,
    /// A supervisor forked it: memory from before the fork is shared until written to.
    Forked,
    /// A supervisor started it as a program of its own.
    Spawned,
}

/// How a worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// Threads that block; applications may block too.
    Blocking,
    /// An event loop; what is polled on it must not block.
    Evented,
}

/// How long an application value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// One call, then the process ends, as under CGI.
    OneShot,
    /// Many calls, until the server recycles the worker.
    Pooled,
    /// As long as the server.
    Resident,
}

/// The optional parts of the contract, as a set. What is absent answers in its defined way, never with silence
/// (spec X2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Caps(u32);

macro_rules! caps {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Caps {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &[(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

caps! {
    /// [`Scope::interim`](crate::Scope::interim) sends 1xx heads.
    INTERIM = 0;
    /// HTTP/1.1 `Upgrade` can be accepted.
    UPGRADE = 1;
    /// The CONNECT method can be accepted.
    CONNECT = 2;
    /// Extended CONNECT (RFC 8441) can be accepted.
    EXT_CONNECT = 3;
    /// Request trailers arrive as the last frame.
    TRAILERS_IN = 4;
    /// Response trailers are sent to clients that take them.
    TRAILERS_OUT = 5;
    /// Response frames flow while the request is still arriving.
    FULL_DUPLEX = 6;
    /// A client that leaves is noticed while the application computes.
    DISCONNECT_WATCH = 7;
    /// A client that has closed its sending side still gets its answers.
    HALF_CLOSE = 8;
    /// [`Worker::offload`] has a pool.
    OFFLOAD = 9;
    /// [`Worker::spawn`] runs tasks.
    SPAWN = 10;
    /// Sync applications may answer later; see [`Deferral`](crate::Deferral).
    DEFER = 11;
    /// Files are sent without passing through the process.
    FILE_ZEROCOPY = 12;
    /// Requests may come over HTTP/2.
    H2 = 13;
    /// Connections may be encrypted.
    TLS = 14;
    /// A [`Monitor`](crate::Monitor) is told what goes on.
    MONITOR = 15;
}

impl Caps {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Whether all of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together; what `|` does, in constants.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without `other`, for masking (spec A10).
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Every single capability in the set with its name.
    pub fn iter(self) -> impl Iterator<Item = (Self, &'static str)> {
        Self::NAMES.iter().copied().filter(move |(cap, _)| self.contains(*cap))
    }
}

impl BitOr for Caps {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitOrAssign for Caps {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.with(other);
    }
}

impl BitAnd for Caps {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(_, name)| format_args!("{name}").to_string())).finish()
    }
}

/// The bounds that a server keeps, for applications that want to know them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest request head, in bytes; beyond it 431 or 414 (spec S15). 0 if there is none.
    pub head_bytes_max: u64,
    /// The most request header fields; beyond it 431 (spec S15). 0 if there is none.
    pub header_count_max: u32,
    /// The longest request body, in bytes; beyond it 413. `None` if the application alone decides.
    pub body_bytes_max: Option<u64>,
    /// How much unread request body the server buffers, in bytes (spec B7).
    pub read_ahead: u64,
    /// How much unsent response body the server buffers before it stops asking for more, in bytes (spec B8).
    pub write_high_water: u64,
}

impl Default for Limits {
    /// No bound on heads and bodies; 64 KiB each way in between.
    fn default() -> Self {
        Self {
            head_bytes_max: 0,
            header_count_max: 0,
            body_bytes_max: None,
            read_ahead: 64 * 1024,
            write_high_water: 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A worker whose clock stands still until it is moved.
    struct ByHand(WorkerInfo, Mutex<Instant>);

    impl WorkerOps for ByHand {
        fn info(&self) -> &WorkerInfo {
            &self.0
        }
        fn report(&self, _report: &Report<'_>) {}
        fn now(&self) -> Instant {
            *self.1.lock().unwrap()
        }
        fn set_timer(&self, _deadline: Instant, _waker: &Waker) -> TimerId {
            TimerId(0)
        }
        fn move_timer(&self, _id: TimerId, _waker: &Waker) -> bool {
            true
        }
        fn cancel_timer(&self, _id: TimerId) {}
        fn is_stopping(&self) -> bool {
            false
        }
        fn poll_stopping(&self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    #[test]
    fn timers_go_by_the_workers_clock_alone() {
        let hour = Duration::from_secs(3600);
        // Long ago, so that a look at the system's clock would find every timer due.
        let start = Instant::now().checked_sub(hour * 2).unwrap_or_else(Instant::now);
        let ops = Arc::new(ByHand(WorkerInfo::new("test", Driver::Evented), Mutex::new(start)));
        let worker = Worker::new(Arc::clone(&ops) as Arc<dyn WorkerOps>);
        let mut timer = worker.sleep(hour);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(timer.deadline(), start + hour);
        assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
        *ops.1.lock().unwrap() += hour;
        assert!(Pin::new(&mut timer).poll(&mut cx).is_ready());
    }

    #[test]
    fn masked_capabilities_are_gone_and_the_others_stay() {
        let caps = Caps::INTERIM | Caps::UPGRADE | Caps::DEFER;
        let masked = caps.without(Caps::UPGRADE);
        assert!(!masked.contains(Caps::UPGRADE));
        assert!(masked.contains(Caps::INTERIM | Caps::DEFER));
        assert_eq!(format!("{masked:?}"), r#"{"INTERIM", "DEFER"}"#);
    }
}
