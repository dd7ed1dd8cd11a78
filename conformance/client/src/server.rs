//! The in-process server: calls the application on the test's thread, and keeps to the specification in it.
//!
//! ```text
//!   test -- a method of Client, Exchange, Tunnel --> turn: timers, jobs, tasks, calls, while anything was woken
//! ```
//!
//! Nothing runs between two calls of the test but what has threads of its own.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use varvel::{
    AsyncApp, AsyncAppFactory, AsyncBody, BoxError, Caps, ConnInfo, Event, Limits, Offer, OnDisconnect,
    Phase, Policy, Report, Scope, StartError, UpgradeKind, Worker, WorkerInfo, WorkerOps,
};

use crate::{
    Record, Stage, Wait,
    request::{Draft, Expectation},
};

mod answer;
mod bell;
mod call;
mod connection;
mod coroutine;
mod incoming;
mod line;
mod pipe;
pub(crate) mod sync;
mod worker;

pub(crate) use line::InProcess;

use answer::Asked;
use bell::{Bell, Task};
use call::{Call, CallFuture};
use connection::{Connection, NUMBER};
use incoming::Incoming;
use worker::{HandWorker, wakes_itself};

pub(crate) struct Server {
    app: RefCell<Option<Box<dyn Application>>>,
    policy: Policy,
    ops: Arc<HandWorker>,
    worker: Worker,
    connection: ConnInfo,
    connections: Cell<u64>,
    bell: Arc<Bell>,
    patience: Duration,
    answer_bytes_max: u64,
    calls: RefCell<Vec<Rc<RefCell<Call>>>>,
    /// How many jobs did not end in time, and are not waited for any more.
    lost_jobs: Cell<usize>,
    /// The last turn was given up.
    restless: Cell<bool>,
}

/// An application with its factory, whatever their types.
trait Application {
    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> CallFuture;
    fn teardown(self: Box<Self>, worker: Worker) -> Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;
}

struct Built<F: AsyncAppFactory> {
    factory: F,
    app: F::App,
}

impl<F> Application for Built<F>
where
    F: AsyncAppFactory + 'static,
    F::App: 'static,
    <F::App as AsyncApp>::Future: 'static,
{
    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> CallFuture {
        Box::pin(self.app.call(request, scope))
    }

    fn teardown(self: Box<Self>, worker: Worker) -> Pin<Box<dyn Future<Output = Result<(), BoxError>>>> {
        Box::pin(async move { self.factory.teardown(self.app, &worker).await })
    }
}

/// After how many rounds of polls a turn is given up, since what is polled wakes itself again and again.
const ROUNDS_MAX: usize = 10_000;

/// How long a job may be silent before it is taken for blocked, while the test does not take what it writes: whether a thread
/// works or waits to write cannot be seen from here.
const BLOCKED_AFTER: Duration = Duration::from_millis(50);

impl Server {
    /// Builds the application.
    pub(crate) fn start<F>(
        factory: F,
        policy: Policy,
        mut info: WorkerInfo,
        connection: ConnInfo,
        patience: Duration,
        answer_bytes_max: u64,
    ) -> Result<Rc<Self>, StartError>
    where
        F: AsyncAppFactory + 'static,
        F::App: 'static,
        <F::App as AsyncApp>::Future: 'static,
    {
        info.concurrency = policy.exclusive.then_some(1);
        let bell = Arc::new(Bell::default());
        let ops = Arc::new(HandWorker::new(info, Arc::clone(&bell), patience));
        let server = Rc::new(Self {
            app: RefCell::new(None),
            policy,
            worker: Worker::new(Arc::clone(&ops) as Arc<dyn WorkerOps>),
            ops,
            connection,
            connections: Cell::new(0),
            bell,
            patience,
            answer_bytes_max,
            calls: RefCell::default(),
            lost_jobs: Cell::new(0),
            restless: Cell::new(false),
        });
        server.ops.weigh_timers(&server.worker);
        let built = server.ops.complete(factory.build(&server.worker));
        let app = built.unwrap_or_else(|waits| panic!("the factory's build {waits}"))?;
        *server.app.borrow_mut() = Some(Box::new(Built { factory, app }));
        Ok(server)
    }

    /// Begins an exchange, without a poll of it.
    pub(crate) fn begin(self: &Rc<Self>, draft: Draft) -> Rc<RefCell<Call>> {
        let id = self.connections.get() + 1;
        self.connections.set(id);
        let mut info = self.connection.clone();
        info.id = id;

        let Draft { method, target, uri, version, mut headers, authority, length, has_body, expectation } =
            draft;
        let expects_continue = expectation == Expectation::Continue && has_body;
        let asked = Asked {
            takes_trailers: lists(&headers, header::TE, "trailers"),
            close: lists(&headers, header::CONNECTION, "close"),
            keep_alive: lists(&headers, header::CONNECTION, "keep-alive"),
            method: method.clone(),
            version,
        };
        let connection = Connection::new(self.worker.clone(), info, version, expects_continue);
        let mut scope = Scope::new(Arc::clone(&connection) as _, NUMBER, target.clone(), self.ops.now())
            .with_authority(authority);
        if let Some(offer) = self.offer(&method, version, &headers, has_body) {
            scope = scope.with_upgrade(offer);
        }
        if self.has(Caps::DEFER) {
            scope = scope.with_deferral();
        }

        let incoming = has_body.then(|| Incoming::new(length, self.limits().body_bytes_max));
        let body = incoming.as_ref().map_or_else(AsyncBody::empty, |incoming| incoming.body(&connection));
        let mut request = Request::new(body);
        *request.uri_mut() = uri;
        *request.method_mut() = method;
        *request.version_mut() = version;
        // Which field delimits the body is the server's business (spec S10).
        headers.remove(header::TRANSFER_ENCODING);
        *request.headers_mut() = headers;

        let task = Task::new(&self.bell);
        let mut call = Call::new(task, connection, incoming, asked, request, scope);
        if expectation == Expectation::Unknown {
            call.refuse(StatusCode::EXPECTATION_FAILED, self);
        }
        let call = Rc::new(RefCell::new(call));
        self.calls.borrow_mut().push(Rc::clone(&call));
        call
    }

    fn offer(&self, method: &Method, version: Version, headers: &HeaderMap, has_body: bool) -> Option<Offer> {
        if *method == Method::CONNECT {
            return self.has(Caps::CONNECT).then(|| Offer::new(UpgradeKind::Connect, ""));
        }
        let fields = headers.get_all(header::UPGRADE).iter().filter_map(|field| field.to_str().ok());
        let protocols = fields.collect::<Vec<_>>().join(", ");
        let valid = version == Version::HTTP_11
            && !has_body
            && protocols.split(',').any(|protocol| !protocol.trim().is_empty())
            && lists(headers, header::CONNECTION, "upgrade");
        (valid && self.has(Caps::UPGRADE)).then(|| Offer::new(UpgradeKind::Http1, protocols))
    }

    /// Lets everything go on that was woken, until nothing is; `false` if that has no end.
    pub(crate) fn turn(&self) -> bool {
        self.restless.set(false);
        for _ in 0..ROUNDS_MAX {
            self.bell.hush();
            self.ops.fire_timers();
            // Before anything else is looked at: a job that ends or falls asleep from here on rings.
            let jobs = self.bell.jobs();
            let began = self.ops.begin_jobs();
            if self.ops.run_tasks() | self.run_calls() | began {
                continue;
            }
            // Whatever a job does is waited for, so that what the test sees does not depend on how fast it is. Only the
            // test itself can help one that reads what was not sent yet.
            let idle = self.lost_jobs.get().min(jobs);
            self.lost_jobs.set(idle);
            if jobs <= idle.max(self.jobs_held_up()) {
                return true;
            }
            let patience = if self.may_hold_jobs_up() { BLOCKED_AFTER } else { self.patience };
            if !self.bell.wait(patience) {
                self.lost_jobs.set(jobs);
            }
        }
        self.restless.set(true);
        false
    }

    /// Lets everything go on until this is so; `false` if it never will be, as far as the test can tell.
    pub(crate) fn settle(&self, wait: Wait, done: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + self.patience;
        loop {
            let at_rest = self.turn();
            if done() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // In this order: whoever wakes something rings, and lets go of its waker only then.
            let hopeless = at_rest && !self.may_be_woken() && !self.bell.is_rung();
            if wait == Wait::Not || hopeless || left.is_zero() || !self.bell.wait(left) {
                return false;
            }
        }
    }

    fn jobs_held_up(&self) -> usize {
        self.calls.borrow().iter().map(|call| call.borrow().jobs_held_up()).sum()
    }

    fn may_hold_jobs_up(&self) -> bool {
        self.calls.borrow().iter().any(|call| call.borrow().may_hold_jobs_up())
    }

    /// Whether somebody may wake something who is not the test.
    fn may_be_woken(&self) -> bool {
        self.bell.has_jobs()
            || self.calls.borrow().iter().any(|call| call.borrow().may_be_woken(self))
            || self.ops.tasks_may_be_woken()
    }

    /// What a call waits for, in words.
    pub(crate) fn describe_wait(&self, call: &Call) -> String {
        let what = match call.stage() {
            Stage::Answering => "the response body",
            Stage::Tunnel => "the continuation",
            _ => "the application",
        };
        if call.task.is_woken() {
            return format!("{what} {}", wakes_itself(self.patience));
        }
        let mut wanted = call.waits_for(self);
        wanted.extend(self.timer_wait());
        let elsewhere = if self.restless.get() { "; something else wakes itself without end" } else { "" };
        format!("{what} {}{elsewhere}", waits(wanted))
    }

    /// The next timer, in words.
    fn timer_wait(&self) -> Option<String> {
        let left = self.next_timer()?;
        Some(format!("a timer that is due in {left:?} (Client::advance moves the clock)"))
    }

    fn run_calls(&self) -> bool {
        let calls = self.calls.borrow().clone();
        let mut any = false;
        for call in calls {
            let mut call = call.borrow_mut();
            if call.task.take_woken() {
                any = true;
                let task = Arc::clone(&call.task);
                self.ops.during_poll_of(&task, || call.go(self, false));
            }
        }
        self.calls.borrow_mut().retain(|call| call.borrow().finish.is_none());
        any
    }

    /// Moves the clock, stopping at each timer on the way.
    pub(crate) fn advance(&self, duration: Duration) {
        self.go_ahead();
        let target = self.ops.now() + duration;
        while let Some(next) = self.ops.next_timer().filter(|next| *next <= target) {
            self.ops.set_now(next.max(self.ops.now()));
            self.go_ahead();
        }
        self.ops.set_now(target);
        self.go_ahead();
    }

    /// As long as time passes, nobody stops a server from asking bodies for what it may hold (spec B8): the timers that
    /// they wait for begin to run when a server with a socket would have begun them.
    fn go_ahead(&self) {
        let room = self.room();
        loop {
            self.turn();
            let calls = self.calls.borrow();
            let asked = calls.iter().filter(|call| call.borrow_mut().go_ahead(room)).count();
            if asked == 0 {
                return;
            }
        }
    }

    /// How many bytes of an answer the server asks for, that nobody reads.
    pub(crate) fn room(&self) -> u64 {
        self.limits().write_high_water.saturating_add(1)
    }

    pub(crate) fn stop(&self) {
        self.ops.stop();
        self.turn();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.ops.is_stopping()
    }

    /// Ends: cuts off what still runs, as at the deadline of a stop, and tears the application down.
    pub(crate) fn close(&self) -> Result<(), BoxError> {
        let Some(app) = self.app.borrow_mut().take() else { return Ok(()) };
        self.ops.stop();
        for call in self.calls.take() {
            call.borrow_mut().cut(self);
        }
        let left = self.ops.end();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(left))) {
            let message = panic_message(&*panic);
            self.report(&Report::new(Event::Panicked { during: Phase::Drop, message }));
        }
        // Jobs that run cannot be dropped, and the teardown waits for them (spec L5, L8).
        while self.bell.jobs() > self.lost_jobs.get() {
            self.bell.hush();
            if self.bell.jobs() > 0 && !self.bell.wait(self.patience) {
                break;
            }
        }
        let teardown =
            catch_unwind(AssertUnwindSafe(|| self.ops.complete(app.teardown(self.worker.clone()))));
        match teardown {
            Ok(Ok(result)) => result,
            Ok(Err(waits)) => Err(format!("the factory's teardown {waits}").into()),
            Err(panic) => {
                let message = panic_message(&*panic);
                self.report(&Report::new(Event::Panicked { during: Phase::Teardown, message }));
                Err(format!("the factory's teardown panicked: {message}").into())
            }
        }
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.ops.records()
    }

    pub(crate) fn tasks(&self) -> usize {
        self.turn();
        self.ops.tasks()
    }

    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.ops.next_timer().map(|deadline| deadline.saturating_duration_since(self.ops.now()))
    }

    /// How many bytes of an answer the client collects.
    pub(crate) fn answer_bytes_max(&self) -> u64 {
        self.answer_bytes_max
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> CallFuture {
        match &*self.app.borrow() {
            Some(app) => app.call(request, scope),
            None => unreachable!("a closed server begins no calls"),
        }
    }

    /// Whether no call may begin now (spec S13).
    fn is_busy(&self) -> bool {
        // The call that asks is borrowed, and not running.
        self.policy.exclusive
            && self.calls.borrow().iter().any(|call| call.try_borrow().is_ok_and(|call| call.is_running()))
    }

    /// Another call may have waited for this.
    fn call_ended(&self) {
        if self.policy.exclusive {
            for call in self.calls.borrow().iter() {
                if let Ok(call) = call.try_borrow() {
                    call.task.waker().wake();
                }
            }
        }
    }

    fn has(&self, caps: Caps) -> bool {
        self.worker.info().caps.contains(caps)
    }

    fn limits(&self) -> &Limits {
        &self.worker.info().limits
    }

    fn on_disconnect(&self) -> OnDisconnect {
        self.policy.on_disconnect
    }

    fn date(&self) -> HeaderValue {
        self.ops.date()
    }

    fn report(&self, report: &Report<'_>) {
        self.ops.report(report);
    }

    fn wakers_of(&self, task: &Arc<Task>) -> usize {
        self.ops.wakers_of(task)
    }

    fn awaits_stop(&self, task: &Arc<Task>) -> bool {
        self.ops.awaits_stop(task)
    }
}

/// What is waited for, in words.
fn waits(wanted: Vec<String>) -> String {
    match &wanted[..] {
        [] => "is pending, and nothing is left to wake it".to_owned(),
        wanted => format!("waits for {}; nothing is left to wake it", wanted.join(", or ")),
    }
}

/// Whether a list field names something, whatever the case of its letters.
fn lists(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let fields = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|item| {
        let item = item.split(';').next().unwrap_or_default();
        item.trim().eq_ignore_ascii_case(wanted)
    })
}

/// The text of a panic, as far as it has one.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a message"
    }
}
