//! What the lint keeps of one exchange, of one worker's application, and of itself.

use std::{
    collections::HashMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, StatusCode, Version, request};
use varvel::{
    BodyErrorKind, Caps, Driver, FailKind, Finish, Lifetime, OnDisconnect, Outcome, Policy, Scope, Watch,
    Worker, WorkerInfo,
};

use crate::{
    Findings, Rule,
    breach::{Mode, RequestLine},
    drive::message,
    passage::Passage,
    rules as r,
};

/// How long a poll may take (spec A1).
const POLL_LIMIT: Duration = Duration::from_millis(100);

/// The same where a breach panics, as in tests: what is not optimised is slow, and a backtrace that somebody catches the panic
/// of takes longer than 100 ms to print.
const POLL_LIMIT_IN_TESTS: Duration = Duration::from_secs(1);

/// What the author of a program asked of a lint.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) findings: Findings,
    /// How long a poll may take, if it was said; otherwise the mode decides.
    pub(crate) poll_limit: Option<Duration>,
    /// Whether an exchange and a worker of the lint stand in front of the server's.
    pub(crate) serving: bool,
    /// The capabilities that are hidden.
    pub(crate) masked: Caps,
    pub(crate) place: Place,
    /// Whether other middleware is above, which may change the request.
    pub(crate) below_middleware: bool,
    /// What the factory asks for, if it is known.
    pub(crate) policy: Option<Policy>,
}

/// Where a lint stands to a middleware that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// There is none.
    Alone,
    /// Above it.
    Outside,
    /// Below it.
    Inside,
}

/// A lint's settings with what it knows of one worker's application.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    /// Where the application was built, if the lint has seen it.
    pub(crate) built: Option<Built>,
    calls: AtomicU64,
    running: AtomicU32,
    hooks: AtomicU32,
    tracks: Mutex<Tracks>,
}

/// What a worker was when it built its application.
#[derive(Clone)]
pub(crate) struct Built {
    pub(crate) thread: ThreadId,
    pub(crate) info: WorkerInfo,
}

#[derive(Default)]
struct Tracks {
    /// The applications of the workers, where a factory is watched.
    apps: HashMap<u32, Weak<()>>,
    /// The last exchange of each connection.
    connections: HashMap<u64, Track>,
    /// At how many connections those that rest are forgotten next, if that is more than [`CONNECTIONS_MIN`].
    sweep_at: usize,
    /// The last exchange of all: one at a time is asked what it says of itself once it is over.
    previous: Option<(Watch, Arc<Record>)>,
}

struct Track {
    number: u64,
    record: Weak<Record>,
}

/// How many connections are kept in mind; beyond that those that rest are forgotten.
const CONNECTIONS_MIN: usize = 1024;

impl Core {
    pub(crate) fn new(settings: Settings, built: Option<Built>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            built,
            calls: AtomicU64::new(0),
            running: AtomicU32::new(0),
            hooks: AtomicU32::new(0),
            tracks: Mutex::default(),
        })
    }

    /// Takes a breach outside any request.
    pub(crate) fn breach(&self, rule: &'static Rule, worker: Option<&Worker>, what: impl FnOnce() -> String) {
        self.settings.findings.take(rule, worker, || None, what);
    }

    /// A factory's application was built; it lives as long as what is returned.
    pub(crate) fn was_built(&self, worker: &Worker) -> Arc<()> {
        let index = worker.info().index;
        let life = Arc::new(());
        let before = self.tracks().apps.insert(index, Arc::downgrade(&life));
        // One that was lost with its worker, without a teardown, makes room for that of the next worker.
        if before.is_some_and(|before| before.strong_count() > 0) {
            self.breach(r::S1_TWICE, Some(worker), || format!("worker {index} has an application already"));
        }
        life
    }

    /// Looks at what must be over when the teardown of this application begins.
    pub(crate) fn check_rest(&self, worker: &Worker) {
        let running = self.running.load(SeqCst);
        if running > 0 {
            self.breach(r::L5_RUNNING, Some(worker), || format!("{running} of its calls still run"));
        }
        let hooks = self.hooks.load(SeqCst);
        if hooks > 0 {
            self.breach(r::L5_HOOKS, Some(worker), || format!("{hooks} hooks have not run"));
        }
    }

    fn tracks(&self) -> MutexGuard<'_, Tracks> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange.
pub(crate) struct Record {
    pub(crate) core: Arc<Core>,
    pub(crate) worker: Worker,
    pub(crate) method: Method,
    pub(crate) version: Version,
    target: Bytes,
    connection: u64,
    number: u64,
    pub(crate) is_async: bool,
    /// Whether a server is above, and not a test that calls the application by itself.
    pub(crate) served: bool,
    /// What an outer and an inner lint know of each other's side.
    pub(crate) passage: Option<Arc<Passage>>,
    /// For how long reads of the request body blocked, in nanoseconds: not the application's fault.
    pub(crate) blocked: AtomicU64,
    state: Mutex<State>,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    pub(crate) call: Call,
    pub(crate) body: Body,
    pub(crate) status: Option<StatusCode>,
    /// How many bytes the body will have, as far as the application said so.
    pub(crate) declared: Option<u64>,
    /// How many it has produced.
    pub(crate) produced: u64,
    /// Trailers were there, which are its last frame.
    pub(crate) trailers: bool,
    /// The application broke a rule about its answer, so that the server had to change it.
    pub(crate) flawed: bool,
    /// The request body could not be had entire.
    pub(crate) request_failed: bool,
    pub(crate) finish: Option<Finish>,
    /// It may run on without being counted.
    released: bool,
    /// It no longer counts as running.
    settled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Call {
    #[default]
    Running,
    Returned,
    Failed(FailKind),
    Dropped,
    Panicked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is no answer yet.
    #[default]
    None,
    /// In memory, or nothing at all.
    Whole,
    File,
    Open,
    Ended,
    Failed,
    /// Dropped before its end.
    Dropped,
    Tunnel,
    Deferred,
}

impl Record {
    /// Begins to watch an exchange, which counts as running from here on.
    pub(crate) fn begin(core: &Arc<Core>, head: &request::Parts, scope: &Scope, is_async: bool) -> Arc<Self> {
        let info = scope.worker().info();
        let passage = match core.settings.place {
            Place::Outside => Some(Passage::new(head, scope)),
            Place::Inside => Passage::of(scope),
            Place::Alone => None,
        };
        core.running.fetch_add(1, SeqCst);
        Arc::new(Self {
            core: Arc::clone(core),
            worker: scope.worker().clone(),
            method: head.method.clone(),
            version: head.version,
            target: Bytes::copy_from_slice(scope.raw_target()),
            connection: scope.conn().id,
            number: scope.number(),
            is_async,
            served: info.server != WorkerInfo::NO_SERVER,
            passage,
            blocked: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    /// Looks at the call's place among the others, if a server makes it.
    pub(crate) fn check_arrival(self: &Arc<Self>, scope: &Scope) {
        self.check_worker(scope.worker().info(), self.core.running.load(SeqCst));
        self.check_place(scope);
        self.await_finish(scope);
    }

    /// Whether nothing but the server is above. Middleware may change what a server must not.
    pub(crate) fn is_outermost(&self) -> bool {
        let settings = &self.core.settings;
        self.served && settings.place != Place::Inside && !settings.below_middleware
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a breach of this exchange.
    pub(crate) fn breach(&self, rule: &'static Rule, what: impl FnOnce() -> String) {
        let request = || {
            Some(RequestLine {
                method: self.method.clone(),
                target: self.target.clone(),
                connection: self.connection,
                exchange: self.number,
            })
        };
        self.core.settings.findings.take(rule, Some(&self.worker), request, what);
    }

    /// Drops something of the application. `pending` names it if it was pending or between two frames, when its destructor
    /// must not panic (spec A6). What is returned is to be [resumed](resume), so that a server contains and reports it.
    pub(crate) fn watch_drop(&self, pending: Option<&str>, drop_it: impl FnOnce()) -> thread::Result<()> {
        let findings = &self.core.settings.findings;
        let before = findings.total_of(r::A6_DROP);
        let dropped = catch_unwind(AssertUnwindSafe(drop_it));
        match (dropped, pending) {
            // Unless a lint inside has said so.
            (Err(panic), Some(whose)) if findings.total_of(r::A6_DROP) == before => {
                let tell = || {
                    let what = || format!("the destructor of {whose} panicked: {}", message(&*panic));
                    self.breach(r::A6_DROP, what);
                };
                // In panic mode the breach goes on in its place.
                catch_unwind(AssertUnwindSafe(tell)).and(Err(panic))
            }
            (dropped, _) => dropped,
        }
    }

    /// Runs a piece of async code, which must not take long, apart from what the server makes it wait and, in tests, from
    /// what a busy machine does.
    pub(crate) fn timed<T>(&self, rule: &'static Rule, run: impl FnOnce() -> T) -> T {
        // Too dear for production, where a queue for the processor is worth a report as well.
        let in_test = self.core.settings.findings.mode() == Mode::Panic;
        let queued = if in_test { queued_for_processor() } else { Duration::ZERO };
        let blocked = self.blocked.load(SeqCst);
        let began = Instant::now();
        let result = run();
        let took = began.elapsed();
        let limit =
            self.core.settings.poll_limit.unwrap_or(if in_test { POLL_LIMIT_IN_TESTS } else { POLL_LIMIT });
        if took > limit {
            let blocked = Duration::from_nanos(self.blocked.load(SeqCst) - blocked);
            let queued = if in_test { queued_for_processor().saturating_sub(queued) } else { Duration::ZERO };
            let took = took.saturating_sub(blocked).saturating_sub(queued);
            if took > limit {
                self.breach(rule, || format!("it took {} ms", took.as_millis()));
            }
        }
        result
    }

    /// On an event loop calls stay on the thread of the build.
    pub(crate) fn check_thread(&self) {
        let Some(built) = &self.core.built else { return };
        if self.is_async && built.info.driver == Driver::Evented && built.thread != thread::current().id() {
            self.breach(r::S1_THREAD, || "it is called or polled on another thread".to_owned());
        }
    }

    fn check_worker(&self, info: &WorkerInfo, running: u32) {
        let calls = self.core.calls.fetch_add(1, SeqCst) + 1;
        if info.spec.0 != varvel::SPEC_VERSION.0 || info.spec.1 == 0 && info.spec.0 == 0 {
            self.breach(r::X6_VERSION, || format!("it states {}.{}", info.spec.0, info.spec.1));
        }
        if info.index >= info.workers || info.concurrency == Some(0) {
            self.breach(r::S18_WORKERS, || {
                format!("index {} of {}, concurrency {:?}", info.index, info.workers, info.concurrency)
            });
        }
        if info.lifetime == Lifetime::OneShot && calls > 1 {
            self.breach(r::S18_ONE_SHOT, || format!("this is call {calls}"));
        }
        // A value that several workers share is told of the calls of all of them.
        let counts_alone = self.core.built.is_some() || info.workers == 1;
        if let Some(most) = info.concurrency.filter(|most| counts_alone && running > *most) {
            self.breach(r::S13_CONCURRENCY, || format!("{running} calls run, {most} may"));
        }
        if running > 1 && self.core.settings.policy.is_some_and(|policy| policy.exclusive) {
            self.breach(r::S13_EXCLUSIVE, || format!("{running} calls run"));
        }
        if let Some(Built { info: before, .. }) = &self.core.built {
            if before.index != info.index {
                self.breach(r::S1_WORKER, || {
                    format!("built on worker {}, called on worker {}", before.index, info.index)
                });
            } else if (before.server, before.workers, before.caps, before.driver)
                != (info.server, info.workers, info.caps, info.driver)
            {
                self.breach(r::S18_CHANGED, || format!("built on {before:?}, called on {info:?}"));
            }
        }
        self.check_thread();
    }

    /// The order of exchanges, and what is left of those before this one.
    fn check_place(self: &Arc<Self>, scope: &Scope) {
        let mut tracks = self.core.tracks();
        let Tracks { connections, sweep_at, .. } = &mut *tracks;
        if connections.len() >= CONNECTIONS_MIN.max(*sweep_at) {
            connections.retain(|_, track| track.record.strong_count() > 0);
            // A sweep is paid for by the calls in between, however many connections are busy.
            *sweep_at = connections.len() * 2;
        }
        let track = Track { number: self.number, record: Arc::downgrade(self) };
        let last = connections.insert(self.connection, track);
        let previous = tracks.previous.replace((scope.watch(), Arc::clone(self)));
        // What is told below may panic, and must not do so under the lock.
        drop(tracks);
        if let Some(last) = last.filter(|_| self.version < Version::HTTP_2) {
            if self.number <= last.number {
                self.breach(r::S3_ORDER, || {
                    format!("exchange {} is called after exchange {}", self.number, last.number)
                });
            } else if last.record.upgrade().is_some_and(|record| record.state().is_running()) {
                self.breach(r::S3_OVERLAP, || format!("exchange {} is not over yet", last.number));
            }
        }
        if let Some((watch, record)) = previous {
            if record.state().finish.is_some() && !watch.is_disconnected() {
                record.breach(r::E16_FINISHED, || "its watch says that the client is there".to_owned());
            }
        }
    }

    fn await_finish(self: &Arc<Self>, scope: &Scope) {
        self.core.hooks.fetch_add(1, SeqCst);
        let mut hook = Hook { record: Arc::clone(self), has_run: false };
        scope.on_finish(move |finish| {
            hook.has_run = true;
            hook.record.core.hooks.fetch_sub(1, SeqCst);
            hook.record.finished(finish);
        });
    }

    /// The future, or the sync call, is over, one way or the other.
    pub(crate) fn call_over(&self, how: Call) {
        let mut state = self.state();
        if state.call == Call::Running {
            state.call = how;
        }
        drop(state);
        self.settle();
    }

    /// Changes the state, and then counts the exchange as over if it is.
    pub(crate) fn advance(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.settle();
    }

    fn settle(&self) {
        let mut state = self.state();
        if !state.settled && !state.is_running() {
            state.settled = true;
            self.core.running.fetch_sub(1, SeqCst);
        }
    }

    /// Holds what the hooks are told against what was seen.
    fn finished(&self, finish: &Finish) {
        // Beside an event loop a sync call cannot be dropped with its exchange: it runs on until it notices (spec E15).
        let runs_on = !self.is_async && self.worker.info().driver == Driver::Evented;
        let state = {
            let mut state = self.state();
            state.finish = Some(*finish);
            state.released = runs_on;
            *state
        };
        self.settle();
        let on_disconnect = self.core.settings.policy.map(|policy| policy.on_disconnect);
        let told = || format!("told {finish:?}, seen {state:?}");
        if finish.outcome == Outcome::Stopped && !self.worker.is_stopping() {
            self.breach(r::L8_OUTCOME, told);
        }
        if finish.outcome == Outcome::Disconnected && self.is_async {
            let cancels = on_disconnect.is_some_and(|policy| policy != OnDisconnect::Finish);
            if cancels && state.is_running() {
                self.breach(r::E8_ORDER, told);
            }
            let finishes = on_disconnect == Some(OnDisconnect::Finish);
            if finishes && state.body == Body::Dropped && !self.omits_body(&state) && !state.is_entire() {
                self.breach(r::E10_BODY, told);
            }
        }
        match state.call {
            Call::Failed(kind) => self.check_failure(kind, finish),
            Call::Running if finish.outcome == Outcome::Completed => self.breach(r::E12_EARLY, told),
            Call::Returned if !state.flawed => self.check_finish(&state, finish),
            _ => {}
        }
    }

    fn check_failure(&self, kind: FailKind, finish: &Finish) {
        let told = || format!("the call returned {kind:?}, told {finish:?}");
        let expected: &[u16] = match kind {
            FailKind::Abort | FailKind::Body(BodyErrorKind::Disconnected) => {
                if finish.status.is_some() {
                    self.breach(r::E2_ANSWERED, told);
                }
                return;
            }
            FailKind::Internal | FailKind::Body(BodyErrorKind::Failed) => &[500],
            FailKind::Unavailable => &[503],
            FailKind::Body(BodyErrorKind::TooLarge) => &[413],
            FailKind::Body(BodyErrorKind::Malformed | BodyErrorKind::Incomplete) => &[400, 431],
            FailKind::Body(BodyErrorKind::Timeout) => &[408],
            _ => return,
        };
        if finish.outcome == Outcome::Completed
            && !finish.status.is_some_and(|status| expected.contains(&status.as_u16()))
        {
            self.breach(r::E3_STATUS, told);
        }
    }

    fn check_finish(&self, state: &State, finish: &Finish) {
        let told = || format!("told {finish:?}, seen {state:?}");
        let completed = finish.outcome == Outcome::Completed;
        if completed && state.body == Body::Failed && finish.status != state.status {
            // It failed before the head, and was answered as if the call had.
            return;
        }
        if completed && finish.status != state.status {
            self.breach(r::E12_STATUS, told);
        }
        if matches!(state.body, Body::Tunnel | Body::Deferred) {
            return;
        }
        if self.omits_body(state) {
            if finish.bytes != 0 {
                self.breach(r::E12_BYTES, told);
            }
            return;
        }
        if finish.bytes > state.produced || completed && state.is_entire() && finish.bytes < state.produced {
            self.breach(r::E12_BYTES, told);
        }
        match (finish.outcome, state.body) {
            (Outcome::Completed, Body::Open) if !state.is_entire() => self.breach(r::E12_EARLY, told),
            (Outcome::Completed, Body::Failed) if !state.is_entire() => self.breach(r::E12_OUTCOME, told),
            (Outcome::Completed, Body::Dropped) if !state.is_entire() => self.breach(r::E12_OUTCOME, told),
            (Outcome::Failed, Body::Ended | Body::Whole) if !state.request_failed => {
                self.breach(r::E12_OUTCOME, told);
            }
            _ => {}
        }
    }

    /// Whether the server leaves the body of the answer away.
    pub(crate) fn omits_body(&self, state: &State) -> bool {
        let without = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        self.method == Method::HEAD || state.status.is_some_and(|status| without.contains(&status))
    }
}

impl State {
    fn is_running(&self) -> bool {
        !self.released && (self.call == Call::Running || self.body == Body::Open)
    }

    /// Whether all of the body was produced, for all that a server can know: it need not ask for an end behind the last
    /// byte of a declared length, nor behind trailers.
    pub(crate) fn is_entire(&self) -> bool {
        matches!(self.body, Body::Whole | Body::File | Body::Ended)
            || self.trailers
            || self.declared.is_some_and(|declared| self.produced >= declared)
    }
}

/// Lets a panic go on, unless another one is under way: two would end the process.
pub(crate) fn resume(result: thread::Result<()>) {
    if let Err(panic) = result {
        if !thread::panicking() {
            resume_unwind(panic);
        }
    }
}

/// How long this thread has stood ready to run in its life and did not; zero where the system does not tell.
fn queued_for_processor() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let queued = schedstat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(queued.unwrap_or_default())
}

/// Ends the record of a call on every path by which the call ends.
pub(crate) struct CallGuard {
    pub(crate) record: Arc<Record>,
    /// The application runs just now: if this is dropped meanwhile, it panicked.
    pub(crate) inside: bool,
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if let Some(passage) = self.record.passage.as_ref().filter(|_| !self.is_inside()) {
            passage.close();
        }
        self.record.call_over(if self.inside { Call::Panicked } else { Call::Dropped });
    }
}

struct Hook {
    record: Arc<Record>,
    has_run: bool,
}

impl Drop for Hook {
    fn drop(&mut self) {
        if !self.has_run {
            self.record.core.hooks.fetch_sub(1, SeqCst);
            self.record.breach(r::E12_NEVER, || "it was dropped unused".to_owned());
        }
    }
}
