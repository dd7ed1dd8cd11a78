//! A server of one call at a time, in process: what the drivers run applications on.
//!
//! It is a whole server as far as an application can see: a worker with timers, tasks and jobs, an exchange that finishes,
//! capabilities that can be left out.
//!
//! An async call runs on the thread of the test, step by step, and timers and tasks between its steps. A sync call blocks
//! that thread, so a pump beside it sees to timers and tasks meanwhile.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{self, RecvTimeoutError},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request, response, uri::Authority,
};
use varvel::{
    Address, App, AppError, AppResult, AsyncApp, AsyncAppResult, AsyncBody, BodyError, BodyErrorKind,
    BodyParts, BoxFuture, Caps, ConnInfo, Driver, Exchange, Finish, FinishHook, Frame, FrameSink,
    InterimError, Job, Outcome, ReadBody, Report, Scope, TimerId, Worker, WorkerInfo, WorkerOps, WriteBody,
};

use crate::request::{asked, cap, offer};

/// How long a call may take, with its body, before it counts as one that never ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// How many bytes of a body are kept before it counts as one that never ends.
pub(crate) const BYTES_MAX: usize = 16 << 20;

/// Everything that it can.
pub(crate) const CAPS: Caps = Caps::INTERIM
    .with(Caps::UPGRADE)
    .with(Caps::CONNECT)
    .with(Caps::TRAILERS_IN)
    .with(Caps::TRAILERS_OUT)
    .with(Caps::FULL_DUPLEX)
    .with(Caps::DISCONNECT_WATCH)
    .with(Caps::OFFLOAD)
    .with(Caps::SPAWN)
    .with(Caps::DEFER);

/// The server.
pub(crate) struct Bench {
    ops: Arc<Ops>,
    worker: Worker,
    connections: AtomicU64,
    /// Held by whoever polls the tasks: what wakes one of them meanwhile is seen to behind it.
    turn: Mutex<()>,
    call_waker: Waker,
    tasks_waker: Waker,
}

impl Bench {
    /// A server with these capabilities.
    pub(crate) fn new(caps: Caps) -> Self {
        let mut info = WorkerInfo::new("varvel-lint", Driver::Blocking);
        info.caps = caps;
        let ops = Arc::new(Ops {
            info,
            timers: Mutex::default(),
            last_timer: AtomicU64::new(0),
            tasks: Mutex::default(),
            signal: Arc::default(),
            reports: Mutex::default(),
        });
        let shared: Arc<dyn WorkerOps> = Arc::<Ops>::clone(&ops);
        Self {
            worker: Worker::new(shared),
            connections: AtomicU64::new(0),
            turn: Mutex::default(),
            call_waker: Waker::from(Arc::new(WakesCall(Arc::clone(&ops.signal)))),
            tasks_waker: Waker::from(Arc::new(WakesTasks(Arc::clone(&ops.signal)))),
            ops,
        }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The reports so far, one line each.
    #[cfg(test)]
    pub(crate) fn reports(&self) -> Vec<String> {
        lock(&self.ops.reports).clone()
    }

    /// The scope of a request on a connection of its own, and the exchange behind it.
    pub(crate) fn scope(&self, head: &request::Parts, exact_len: Option<u64>) -> (Scope, Arc<Connection>) {
        let id = self.connections.fetch_add(1, SeqCst) + 1;
        let ip = |port| Address::Ip(([127, 0, 0, 1], port).into());
        let exchange = Arc::new(Connection {
            worker: self.worker.clone(),
            conn: ConnInfo::new(id, ip(50_000), ip(80)),
            state: Mutex::default(),
        });
        let shared: Arc<dyn Exchange> = Arc::<Connection>::clone(&exchange);
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let authority = head.headers.get(header::HOST).map(|host| host.as_bytes());
        let authority = authority.and_then(|host| Authority::try_from(host).ok());
        let mut scope = Scope::new(shared, 1, Bytes::from(target), Instant::now()).with_authority(authority);
        let caps = self.worker.info().caps;
        if let Some(kind) = asked(head, exact_len).filter(|kind| caps.contains(cap(*kind))) {
            scope = scope.with_upgrade(offer(kind, &head.headers));
        }
        if caps.contains(Caps::DEFER) {
            scope = scope.with_deferral();
        }
        (scope, exchange)
    }

    /// Begins a call.
    pub(crate) fn start<A: AsyncApp>(&self, app: &A, request: Request<AsyncBody>) -> Run<A::Future> {
        let (mut head, body) = request.into_parts();
        complete(&mut head, body.exact_len());
        let (scope, exchange) = self.scope(&head, body.exact_len());
        self.start_in(app, Request::from_parts(head, body), scope, exchange)
    }

    /// Begins a call with a scope of this server.
    pub(crate) fn start_in<A: AsyncApp>(
        &self,
        app: &A,
        request: Request<AsyncBody>,
        scope: Scope,
        exchange: Arc<Connection>,
    ) -> Run<A::Future> {
        let omits_body = request.method() == Method::HEAD;
        let call = Some(Box::pin(app.call(request, scope)));
        Run { call, body: None, answer: Answer::default(), exchange, omits_body }
    }

    /// Polls a call once.
    pub(crate) fn step<F>(&self, run: &mut Run<F>) -> Event
    where
        F: Future<Output = AsyncAppResult>,
    {
        let event = run.step(&mut Context::from_waker(&self.call_waker));
        self.run_tasks();
        event
    }

    /// Sees to timers and tasks until the call was woken, or until the deadline.
    pub(crate) fn wait(&self, deadline: Instant) {
        self.drive(Some(deadline), || self.ops.signal.take_call() || Instant::now() >= deadline);
    }

    /// Polls a call to its end.
    pub(crate) fn finish<F>(&self, mut run: Run<F>) -> Result<Answer, Unfinished>
    where
        F: Future<Output = AsyncAppResult>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.step(&mut run) {
                Event::End => return Ok(std::mem::take(&mut run.answer)),
                Event::Pending => self.wait(deadline),
                Event::Head | Event::Frame => {}
            }
            run.answer.check(deadline)?;
        }
    }

    /// Makes a sync call, and writes its body.
    ///
    /// It is given up where it waits for a reply, or writes too much. One that does not return cannot be.
    pub(crate) fn call_sync<A: App>(
        &self,
        app: &A,
        request: Request<ReadBody>,
    ) -> Result<Answer, Unfinished> {
        let (mut head, body) = request.into_parts();
        complete(&mut head, body.exact_len());
        let (scope, exchange) = self.scope(&head, body.exact_len());
        self.call_sync_in(app, Request::from_parts(head, body), scope, &exchange)
    }

    /// Makes a sync call with a scope of this server.
    pub(crate) fn call_sync_in<A: App>(
        &self,
        app: &A,
        request: Request<ReadBody>,
        scope: Scope,
        exchange: &Connection,
    ) -> Result<Answer, Unfinished> {
        let deadline = Instant::now() + PATIENCE;
        let omits_body = request.method() == Method::HEAD;
        let answer = self.pumped(|| {
            let result = replied(app.call(request, scope), deadline)?;
            Ok(written(result, omits_body, deadline))
        });
        let answer = match answer {
            Ok(Answer { refused: Some(why), .. }) | Err(why) => {
                // The client has had enough.
                exchange.disconnect();
                exchange.finish(Finish::new(Outcome::Disconnected, None, 0));
                return Err(why);
            }
            Ok(answer) => answer,
        };
        let whole = answer.error.is_none() && answer.body_error.is_none();
        let outcome = if whole { Outcome::Completed } else { Outcome::Failed };
        exchange.finish(Finish::new(outcome, answer.status(), answer.data.len() as u64));
        Ok(answer)
    }

    /// Polls any future to its end; `None` if it has none.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Option<F::Output> {
        let deadline = Instant::now() + PATIENCE;
        let mut future = Box::pin(future);
        loop {
            let polled = future.as_mut().poll(&mut Context::from_waker(&self.call_waker));
            self.run_tasks();
            if let Poll::Ready(output) = polled {
                return Some(output);
            }
            self.wait(deadline);
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// Runs something that may block, with a pump beside it.
    pub(crate) fn pumped<T>(&self, run: impl FnOnce() -> T) -> T {
        struct Over<'a>(&'a AtomicBool, &'a Signal);

        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
                self.1.look_again();
            }
        }

        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.drive(None, || over.load(SeqCst)));
            // Also if it panics: the scope waits for the pump.
            let _over = Over(&over, &self.ops.signal);
            run()
        })
    }

    /// Fires timers and polls tasks as their time comes, and sleeps in between.
    fn drive(&self, deadline: Option<Instant>, is_over: impl Fn() -> bool) {
        loop {
            let seen = self.ops.signal.changes();
            let next = self.ops.fire_timers();
            self.run_tasks();
            if is_over() {
                return;
            }
            self.ops.signal.wait(seen, next.into_iter().chain(deadline).min());
        }
    }

    /// Polls the tasks, if one of them was woken or is new.
    fn run_tasks(&self) {
        while self.ops.signal.take_tasks() {
            let _turn = lock(&self.turn);
            let mut tasks = std::mem::take(&mut *lock(&self.ops.tasks));
            // A task that panics is contained, as on any server.
            tasks.retain_mut(|task| {
                let poll = || task.as_mut().poll(&mut Context::from_waker(&self.tasks_waker)).is_pending();
                catch_unwind(AssertUnwindSafe(poll)).unwrap_or(false)
            });
            lock(&self.ops.tasks).append(&mut tasks);
        }
    }
}

/// What a sync call has answered, if it is a placeholder what was replied.
fn replied(result: AppResult, deadline: Instant) -> Result<AppResult, Unfinished> {
    let (head, body) = match result {
        Ok(response) => response.into_parts(),
        Err(error) => return Ok(Err(error)),
    };
    let parts = match body.into_parts() {
        BodyParts::Deferred(deferred) => {
            let (sender, receiver) = mpsc::channel();
            deferred.on_reply(move |reply| sender.send(reply).is_ok());
            return match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(reply) => Ok(reply),
                Err(RecvTimeoutError::Timeout) => Err(Unfinished::NoAnswer),
                Err(RecvTimeoutError::Disconnected) => Ok(Err(AppError::internal("the reply was lost"))),
            };
        }
        parts => parts,
    };
    Ok(Ok(Response::from_parts(head, WriteBody::from(parts))))
}

/// The answer of a sync call, with its body.
fn written(result: AppResult, omits_body: bool, deadline: Instant) -> Answer {
    let mut answer = Answer::default();
    let response = match result {
        Ok(response) => response,
        Err(error) => return Answer { error: Some(error), ..answer },
    };
    let (head, body) = response.into_parts();
    answer.exact_len = body.exact_len();
    let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    answer.head = Some(head);
    match body.into_parts() {
        BodyParts::Tunnel(_) => answer.is_tunnel = true,
        _ if omits_body || without => {}
        parts => {
            let result = WriteBody::from(parts).write_to(&mut Kept { answer: &mut answer, deadline });
            answer.body_error = result.err();
        }
    }
    answer
}

/// Adds the fields that a request would have had on the wire.
fn complete(head: &mut request::Parts, exact_len: Option<u64>) {
    let host = head.uri.authority().map_or("varvel.test", Authority::as_str);
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.entry(header::HOST).or_insert(host);
    }
    if let Some(len) = exact_len.filter(|len| *len > 0) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(len));
    }
}

/// A call, on its way to an answer.
pub(crate) struct Run<F> {
    call: Option<Pin<Box<F>>>,
    body: Option<AsyncBody>,
    pub(crate) answer: Answer,
    pub(crate) exchange: Arc<Connection>,
    omits_body: bool,
}

/// What a step of a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Pending,
    Head,
    Frame,
    End,
}

/// What a call answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: Option<response::Parts>,
    pub(crate) exact_len: Option<u64>,
    pub(crate) data: BytesMut,
    pub(crate) error: Option<AppError>,
    pub(crate) body_error: Option<BodyError>,
    pub(crate) is_tunnel: bool,
    /// The writer was told that nobody takes more.
    refused: Option<Unfinished>,
}

/// How a call did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    NoAnswer,
    /// There is an answer, and time ran out before the end of its body, of which there were so many bytes.
    NoEnd(usize),
    TooLong,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patience = PATIENCE.as_secs();
        match self {
            Self::NoAnswer => write!(f, "the request has no answer within {patience} s"),
            Self::NoEnd(bytes) => {
                write!(f, "the answer's body has no end within {patience} s, but {bytes} bytes so far")
            }
            Self::TooLong => write!(f, "the answer's body has more than {} MiB", BYTES_MAX >> 20),
        }
    }
}

impl Answer {
    /// Whether there may be more of it.
    pub(crate) fn check(&self, deadline: Instant) -> Result<(), Unfinished> {
        match &self.head {
            _ if self.data.len() > BYTES_MAX => Err(Unfinished::TooLong),
            _ if Instant::now() < deadline => Ok(()),
            None => Err(Unfinished::NoAnswer),
            Some(_) => Err(Unfinished::NoEnd(self.data.len())),
        }
    }

    /// What a client can compare: the status, or the kind of error, and whether the body came to its end.
    pub(crate) fn summary(&self) -> String {
        let body = match &self.body_error {
            None => "entire".to_owned(),
            Some(error) => format!("broken off by {:?}", error.kind()),
        };
        match (&self.error, self.status()) {
            (Some(error), _) => format!("error {:?}", error.kind()),
            (None, Some(status)) => format!("{status}, body {body}"),
            (None, None) => "nothing".to_owned(),
        }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(|head| head.status)
    }
}

impl<F: Future<Output = AsyncAppResult>> Run<F> {
    fn step(&mut self, cx: &mut Context<'_>) -> Event {
        if let Some(call) = &mut self.call {
            let Poll::Ready(result) = call.as_mut().poll(cx) else { return Event::Pending };
            self.call = None;
            match result {
                Ok(response) => self.answered(response),
                Err(error) => {
                    self.answer.error = Some(error);
                    self.over(Outcome::Failed);
                    return Event::End;
                }
            }
            return Event::Head;
        }
        let Some(body) = &mut self.body else {
            self.over(Outcome::Completed);
            return Event::End;
        };
        match body.poll_frame(cx) {
            Poll::Pending => return Event::Pending,
            Poll::Ready(Some(Ok(Frame::Trailers(_)))) => {
                // They are the end (spec B12).
                self.body = None;
                return Event::Frame;
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Frame::Data(data) = frame {
                    self.answer.data.extend_from_slice(&data);
                }
                return Event::Frame;
            }
            Poll::Ready(Some(Err(error))) => {
                self.answer.body_error = Some(error);
                self.body = None;
                self.over(Outcome::Failed);
            }
            Poll::Ready(None) => {
                self.body = None;
                self.over(Outcome::Completed);
            }
        }
        Event::End
    }

    fn answered(&mut self, response: Response<AsyncBody>) {
        let (head, body) = response.into_parts();
        self.answer.exact_len = body.exact_len();
        let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
        self.answer.head = Some(head);
        self.body = match body.into_parts() {
            BodyParts::Tunnel(_) => {
                // Nobody is at the other end.
                self.answer.is_tunnel = true;
                None
            }
            _ if self.omits_body || without => None,
            parts => Some(AsyncBody::from(parts)),
        };
    }
}

impl<F> Run<F> {
    fn over(&self, outcome: Outcome) {
        let status = self.answer.head.as_ref().map(|head| head.status);
        self.exchange.finish(Finish::new(outcome, status, self.answer.data.len() as u64));
    }

    /// The client leaves: what runs is dropped, then the hooks run.
    fn leave(&mut self) {
        self.exchange.disconnect();
        self.call = None;
        self.body = None;
        self.over(Outcome::Disconnected);
    }
}

impl<F> Drop for Run<F> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A sink that keeps the data.
struct Kept<'a> {
    answer: &'a mut Answer,
    deadline: Instant,
}

impl Kept<'_> {
    fn check(&mut self) -> Result<(), BodyError> {
        self.answer.check(self.deadline).map_err(|refused| {
            self.answer.refused = Some(refused);
            BodyError::new(BodyErrorKind::Disconnected)
        })
    }
}

impl FrameSink for Kept<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.answer.data.extend_from_slice(&chunk);
        self.check()
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        self.check()
    }

    fn trailers(&mut self, _trailers: HeaderMap) -> Result<(), BodyError> {
        Ok(())
    }
}

/// A connection with a single exchange.
pub(crate) struct Connection {
    worker: Worker,
    conn: ConnInfo,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    gone: bool,
    finish: Option<Finish>,
    hooks: Vec<FinishHook>,
    watchers: Vec<Waker>,
}

impl Connection {
    /// The client is gone.
    pub(crate) fn disconnect(&self) {
        let watchers = {
            let mut state = lock(&self.state);
            state.gone = true;
            std::mem::take(&mut state.watchers)
        };
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Ends the exchange, unless it is over.
    pub(crate) fn finish(&self, finish: Finish) {
        let mut state = lock(&self.state);
        if state.finish.is_some() {
            return;
        }
        state.finish = Some(finish);
        let hooks = std::mem::take(&mut state.hooks);
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
        hooks.into_iter().for_each(|hook| hook(&finish));
    }
}

impl Exchange for Connection {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn interim(&self, _number: u64, _status: StatusCode, _headers: &HeaderMap) -> Result<(), InterimError> {
        match lock(&self.state).finish {
            _ if !self.worker.info().caps.contains(Caps::INTERIM) => Err(InterimError::Unsupported),
            Some(_) => Err(InterimError::TooLate),
            None => Ok(()),
        }
    }

    fn is_disconnected(&self, _number: u64) -> bool {
        let state = lock(&self.state);
        state.finish.is_some() || state.gone && self.worker.info().caps.contains(Caps::DISCONNECT_WATCH)
    }

    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_disconnected(number) {
            return Poll::Ready(());
        }
        lock(&self.state).watchers.push(cx.waker().clone());
        Poll::Pending
    }

    fn on_finish(&self, _number: u64, hook: FinishHook) {
        let mut state = lock(&self.state);
        match state.finish {
            None => state.hooks.push(hook),
            Some(finish) => {
                drop(state);
                hook(&finish);
            }
        }
    }
}

struct Ops {
    info: WorkerInfo,
    timers: Mutex<BTreeMap<u64, (Instant, Waker)>>,
    last_timer: AtomicU64,
    tasks: Mutex<Vec<BoxFuture>>,
    signal: Arc<Signal>,
    reports: Mutex<Vec<String>>,
}

impl Ops {
    /// Wakes whose time has come; says when the next one's comes.
    fn fire_timers(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut timers = lock(&self.timers);
        let due: Vec<u64> = timers.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
        let due: Vec<Waker> = due.iter().filter_map(|id| timers.remove(id)).map(|(_, waker)| waker).collect();
        let next = timers.values().map(|(at, _)| *at).min();
        drop(timers);
        due.into_iter().for_each(Waker::wake);
        next
    }
}

impl WorkerOps for Ops {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        lock(&self.reports).push(report.to_string());
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let id = self.last_timer.fetch_add(1, SeqCst);
        lock(&self.timers).insert(id, (deadline, waker.clone()));
        // Somebody may be waiting for a later one.
        self.signal.look_again();
        TimerId(id.into())
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        let mut timers = lock(&self.timers);
        let timer = u64::try_from(id.0).ok().and_then(|id| timers.get_mut(&id));
        timer.map(|(_, before)| *before = waker.clone()).is_some()
    }

    fn cancel_timer(&self, id: TimerId) {
        let timer = u64::try_from(id.0).ok().and_then(|id| lock(&self.timers).remove(&id));
        drop(timer);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        if !self.info.caps.contains(Caps::OFFLOAD) {
            return Err(job);
        }
        thread::spawn(job);
        Ok(())
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        if !self.info.caps.contains(Caps::SPAWN) {
            return Err(task);
        }
        lock(&self.tasks).push(task);
        self.signal.wake_tasks();
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn poll_stopping(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// What has happened since somebody looked. Calls and tasks are told apart, so that a task's waking does not count as a
/// place where the call waits.
#[derive(Default)]
struct Signal {
    state: Mutex<Signals>,
    changed: Condvar,
}

#[derive(Default)]
struct Signals {
    call: bool,
    tasks: bool,
    /// Counts everything, so that nobody goes to sleep over what happened since he looked.
    changes: u64,
}

impl Signal {
    fn wake_call(&self) {
        self.change(|signals| signals.call = true);
    }

    fn wake_tasks(&self) {
        self.change(|signals| signals.tasks = true);
    }

    /// There is a timer, or an end, that whoever waits does not know of.
    fn look_again(&self) {
        self.change(|_| {});
    }

    fn change(&self, change: impl FnOnce(&mut Signals)) {
        let mut signals = lock(&self.state);
        change(&mut signals);
        signals.changes += 1;
        self.changed.notify_all();
    }

    fn take_call(&self) -> bool {
        std::mem::take(&mut lock(&self.state).call)
    }

    fn take_tasks(&self) -> bool {
        std::mem::take(&mut lock(&self.state).tasks)
    }

    fn changes(&self) -> u64 {
        lock(&self.state).changes
    }

    /// Sleeps unless, or until, anything has changed since; not beyond `until`.
    fn wait(&self, seen: u64, until: Option<Instant>) {
        let signals = lock(&self.state);
        if signals.changes != seen {
            return;
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) => drop(self.changed.wait_timeout(signals, left)),
            None => drop(self.changed.wait(signals)),
        }
    }
}

struct WakesCall(Arc<Signal>);

impl Wake for WakesCall {
    fn wake(self: Arc<Self>) {
        self.0.wake_call();
    }
}

struct WakesTasks(Arc<Signal>);

impl Wake for WakesTasks {
    fn wake(self: Arc<Self>) {
        self.0.wake_tasks();
    }
}

/// A gate that the driver opens: what stands before it waits.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(crate) fn open(&self) {
        let wakers = {
            let mut state = lock(&self.0);
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) async fn pass(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
