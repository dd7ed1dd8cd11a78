//! A bound on how long a call may take to answer.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use varvel::{
    App, AppError, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, Body,
    BodyParts, BoxError, Caps, Mode, Policy, ReadBody, Reply, Scope, StartError, Timer, Worker,
};

use crate::{Accept, HttpError};

/// Answers in place of an application that has not answered in time. Only the head of the answer must come in time; bodies
/// may take longer.
///
/// - **Async**: the call is dropped at once, with all that it waits for (spec M5).
/// - **Sync**: no thread can be stopped, so the call goes on, on a thread of the worker's pool
///   ([`Worker::offload`]), and what it answers in the end is dropped. A call that goes on for ever keeps its thread for
///   ever: what it waits for needs a time-out of its own, where it waits. A call whose time is up before there was a thread
///   for it is not made. Where a server cannot have calls answered later ([`Caps::DEFER`], [`Caps::OFFLOAD`] and
///   [`Caps::SPAWN`]), or its pool is full, the call is made directly, and takes its time.
///
/// For a sync application on an event loop put this around [`Offloaded`](varvel::bridge::Offloaded), which spares the
/// second hand-over.
///
/// ```
/// use std::time::Duration;
/// use varvel::app_fn;
/// use varvel_toolkit::{middleware::Timeout, respond};
///
/// let app = Timeout::after(Duration::from_secs(5)).around(app_fn(|_, scope: varvel::Scope| async move {
///     scope.worker().sleep(Duration::from_secs(10)).await;
///     Ok(respond::text("at last"))
/// }));
/// # let client = varvel_test::Client::new(app);
/// # let exchange = client.get("/").start();
/// # client.advance(Duration::from_secs(5));
/// # assert_eq!(exchange.response().status(), 503);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    after: Duration,
    status: StatusCode,
}

impl Timeout {
    /// Answers 503 after so long.
    pub fn after(after: Duration) -> Self {
        Self { after, status: StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Answers with this status: 504 where the application is a gateway to what is slow.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Stands around an application, or around the factory of one.
    pub fn around<A>(self, app: A) -> Timed<A> {
        Timed { timeout: self, inner: Arc::new(Inner { app, turn: None }) }
    }
}

/// An application with a [`Timeout`] around it: an [`App`] around an [`App`] that other threads may call, an [`AsyncApp`]
/// around an [`AsyncApp`].
pub struct Timed<A> {
    timeout: Timeout,
    /// Shared with sync calls that go on.
    inner: Arc<Inner<A>>,
}

struct Inner<A> {
    app: A,
    /// Held by the one sync call that may run, under a policy of exclusive calls: one that went on is over for the server.
    turn: Option<Mutex<()>>,
}

impl<A: Clone> Clone for Timed<A> {
    fn clone(&self) -> Self {
        let turn = self.inner.turn.as_ref().map(|_| Mutex::default());
        Self { timeout: self.timeout, inner: Arc::new(Inner { app: self.inner.app.clone(), turn }) }
    }
}

impl<A: fmt::Debug> fmt::Debug for Timed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timed").field(&self.timeout).field(&self.inner.app).finish()
    }
}

impl<A: AsyncApp> AsyncApp for Timed<A> {
    type Future = TimedCall<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let time = Time::of(&self.timeout, &request, &scope);
        TimedCall { call: Some(self.inner.app.call(request, scope)), time }
    }
}

/// The time that a call has, and what is answered when it is up.
struct Time {
    timer: Timer,
    accept: Accept,
    status: StatusCode,
}

impl Time {
    fn of<B>(timeout: &Timeout, request: &Request<B>, scope: &Scope) -> Self {
        Self {
            timer: scope.worker().sleep(timeout.after),
            accept: Accept::of(request.headers()),
            status: timeout.status,
        }
    }

    fn poll_up<M: Mode>(&mut self, cx: &mut Context<'_>) -> Poll<Response<Body<M>>> {
        ready!(Pin::new(&mut self.timer).poll(cx));
        let error = HttpError::new(self.status).with_detail("It took too long.");
        Poll::Ready(error.respond(&self.accept))
    }
}

pin_project! {
    /// The answer of an application with a [`Timeout`].
    #[must_use = "futures do nothing unless polled"]
    pub struct TimedCall<Fut> {
        // None once its time was up.
        #[pin]
        call: Option<Fut>,
        time: Time,
    }
}

impl<Fut: Future<Output = AsyncAppResult>> Future for TimedCall<Fut> {
    type Output = AsyncAppResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let mut this = self.project();
        if let Some(call) = this.call.as_mut().as_pin_mut() {
            if let Poll::Ready(answer) = call.poll(cx) {
                return Poll::Ready(answer);
            }
        }
        let answer = ready!(this.time.poll_up(cx));
        this.call.set(None);
        Poll::Ready(Ok(answer))
    }
}

impl<Fut> fmt::Debug for TimedCall<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimedCall")
    }
}

impl<A: App + Send + Sync + 'static> App for Timed<A> {
    fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
        let worker = scope.worker().clone();
        let can_wait = worker.info().caps.contains(Caps::OFFLOAD.with(Caps::SPAWN));
        let Some(deferral) = can_wait.then(|| scope.take_deferral()).flatten() else {
            let _turn = self.inner.turn();
            return self.inner.app.call(request, scope);
        };
        let time = Time::of(&self.timeout, &request, &scope);
        let (placeholder, reply) = deferral.defer();
        let race = Arc::new(Race(Mutex::new(Waiting { reply: Some(reply), timer: None })));
        let call = {
            let (inner, race) = (Arc::clone(&self.inner), Arc::clone(&race));
            // The inner application may answer later in its turn, as this is who waits for it.
            let scope = scope.with_deferral();
            move || {
                let turn = inner.turn();
                if race.is_over() {
                    // It has waited for a thread longer than anybody for it.
                    return;
                }
                let outcome = catch_unwind(AssertUnwindSafe(|| inner.app.call(request, scope)));
                // Before the answer: once that is out, the worker may want the application back for its teardown.
                drop(turn);
                drop(inner);
                race.finish(outcome);
            }
        };
        match worker.offload(Box::new(call)) {
            // Without a task there is no end to its time, and that is all.
            Ok(()) => drop(worker.spawn(Box::pin(TimeUp { race, time }))),
            // Answered when the placeholder is returned.
            Err(call) => call(),
        }
        Ok(placeholder)
    }
}

impl<A> Inner<A> {
    /// Waits for the calls that may not run beside another.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The race between a sync call and its time: whoever is first answers.
struct Race(Mutex<Waiting>);

struct Waiting {
    /// Taken by the winner.
    reply: Option<Reply>,
    /// Who waits for the time, and need not any more.
    timer: Option<Waker>,
}

impl Race {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has answered.
    fn is_over(&self) -> bool {
        self.lock().reply.is_none()
    }

    /// What the call has come to, be it a placeholder.
    fn finish(self: Arc<Self>, outcome: Result<AppResult, Box<dyn Any + Send>>) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(panic) if self.is_over() => resume_unwind(panic),
            Err(panic) => Err(AppError::internal(format!("the call panicked: {}", message(&*panic)))),
        };
        match answer.map(Response::into_parts) {
            Ok((head, body)) => match body.into_parts() {
                BodyParts::Deferred(later) => later.on_reply(move |answer| self.answer(answer)),
                parts => drop(self.answer(Ok(Response::from_parts(head, parts.into())))),
            },
            Err(error) => drop(self.answer(Err(error))),
        }
    }

    /// Answers, if nobody did; `false` if nobody waits for it any more.
    fn answer(&self, answer: AppResult) -> bool {
        let (reply, timer) = {
            let mut waiting = self.lock();
            (waiting.reply.take(), waiting.timer.take())
        };
        if let Some(timer) = timer {
            timer.wake();
        }
        reply.is_some_and(|reply| match answer {
            Ok(response) => reply.send(response).is_ok(),
            Err(error) => reply.fail(error).is_ok(),
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

/// Answers when the time is up, unless the call has.
struct TimeUp {
    race: Arc<Race>,
    time: Time,
}

impl Future for TimeUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { race, time } = &mut *self;
        {
            let mut waiting = race.lock();
            if waiting.reply.is_none() {
                return Poll::Ready(());
            }
            waiting.timer = Some(cx.waker().clone());
        }
        let answer = ready!(time.poll_up(cx));
        race.answer(Ok(answer));
        Poll::Ready(())
    }
}

impl<F: AppFactory> AppFactory for Timed<F>
where
    F::App: App + Send + Sync + 'static,
{
    type App = Timed<F::App>;

    fn policy(&self) -> Policy {
        self.inner.app.policy()
    }

    fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let turn = self.policy().exclusive.then(Mutex::default);
        let app = self.inner.app.build(worker)?;
        Ok(Timed { timeout: self.timeout, inner: Arc::new(Inner { app, turn }) })
    }

    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        match Arc::into_inner(app.inner) {
            Some(inner) => self.inner.app.teardown(inner.app, worker),
            None => Err("a call that outlived its time still holds the application".into()),
        }
    }
}

impl<F: AsyncAppFactory> AsyncAppFactory for Timed<F> {
    type App = Timed<F::App>;

    fn policy(&self) -> Policy {
        self.inner.app.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(self.timeout.around(self.inner.app.build(worker).await?))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        match Arc::into_inner(app.inner) {
            Some(inner) => self.inner.app.teardown(inner.app, worker).await,
            None => Err("somebody else still holds the application".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use varvel::{Shared, WriteBody, app_fn, sync_factory_fn, sync_fn};
    use varvel_test::{Client, Setup};

    use super::*;
    use crate::respond;

    const TIME: Duration = Duration::from_secs(5);

    /// How long the client waits in vain for a call whose turn does not come, before it moves the clock.
    const PATIENCE: Duration = Duration::from_secs(2);

    #[test]
    fn a_call_that_takes_too_long_is_dropped_and_answered() {
        struct Dropped(Arc<AtomicBool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let app = {
            let dropped = Arc::clone(&dropped);
            app_fn(move |_, scope: Scope| {
                let held = Dropped(Arc::clone(&dropped));
                async move {
                    scope.worker().sleep(2 * TIME).await;
                    drop(held);
                    Ok(respond::text("late"))
                }
            })
        };
        let client = Client::new(Timeout::after(TIME).status(StatusCode::GATEWAY_TIMEOUT).around(app));
        let exchange = client.get("/").start();
        client.advance(TIME / 2);
        assert!(!dropped.load(SeqCst));
        client.advance(TIME / 2);
        assert!(dropped.load(SeqCst), "with the answer, not after it");
        assert_eq!(exchange.response().status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(client.next_timer(), None);
    }

    #[test]
    fn an_answer_in_time_is_the_answer_and_its_body_may_take_longer() {
        let app = app_fn(|_, scope: Scope| async move {
            let worker = scope.worker().clone();
            Ok(http::Response::new(AsyncBody::generate(|mut frames| async move {
                worker.sleep(2 * TIME).await;
                frames.data("slowly").await;
                Ok(())
            })))
        });
        let client = Client::new(Timeout::after(TIME).around(app));
        let exchange = client.get("/").start();
        client.advance(2 * TIME);
        assert_eq!(exchange.response().text(), "slowly");
    }

    /// A sync application that takes as many seconds as its path says.
    fn slow() -> impl App + Clone + Send + Sync {
        sync_fn(|request: Request<ReadBody>, scope: Scope| {
            let seconds = request.uri().path()[1..].parse()?;
            scope.worker().block_on(scope.worker().sleep(Duration::from_secs(seconds)));
            Ok(respond::text(format!("after {seconds} s")))
        })
    }

    #[test]
    fn a_sync_call_that_takes_too_long_is_answered_and_goes_on() {
        let timeout = Timeout::after(TIME).status(StatusCode::GATEWAY_TIMEOUT);
        let client = Client::sync(timeout.around(slow()));
        let late = client.get("/7").start();
        client.advance(TIME);
        assert_eq!(late.response().status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(
            (client.tasks(), client.next_timer()),
            (0, Some(Duration::from_secs(2))),
            "the call's own"
        );
        client.advance(Duration::from_secs(2));
        assert_eq!((client.tasks(), client.next_timer()), (0, None));
        let next = client.get("/4").start();
        client.advance(Duration::from_secs(4));
        assert_eq!(next.response().text(), "after 4 s");
        assert_eq!((client.tasks(), client.next_timer()), (0, None), "who is answered waits for no timer");
        assert!(client.reports().is_empty());
    }

    #[test]
    fn a_sync_call_reads_its_request_and_streams_its_answer() {
        let app = sync_fn(|request: Request<ReadBody>, _| {
            Ok(http::Response::new(WriteBody::from_reader(request.into_body())))
        });
        let client = Client::sync(Timeout::after(TIME).around(app));
        let mut exchange = client.post("/").streaming().start();
        exchange.send_data("to and ");
        exchange.send_data("fro");
        exchange.end_data();
        client.advance(2 * TIME);
        assert_eq!(exchange.response().text(), "to and fro");
    }

    #[test]
    fn a_sync_call_may_answer_later_by_itself() {
        let (replies, reply) = mpsc::channel();
        let app = sync_fn(move |_, mut scope: Scope| {
            let (placeholder, reply) = scope.take_deferral().unwrap().defer();
            replies.send(reply)?;
            Ok(placeholder)
        });
        let client = Client::sync(Timeout::after(TIME).around(app));
        let exchange = client.get("/").start();
        reply.recv().unwrap().send(respond::text("soon")).unwrap();
        assert_eq!(exchange.response().text(), "soon");
        let exchange = client.get("/").start();
        let late = reply.recv().unwrap();
        client.advance(TIME);
        assert_eq!(exchange.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(late.send(respond::text("late")).is_err(), "nobody waits for it any more");
    }

    #[test]
    fn where_nobody_can_wait_a_sync_call_is_made_directly() {
        let app = || Timeout::after(TIME).around(sync_fn(|_, _| Ok(respond::text("hello"))));
        for caps in [Caps::OFFLOAD, Caps::SPAWN, Caps::DEFER] {
            assert_eq!(Setup::new().without(caps).sync(app()).get("/").send().text(), "hello", "{caps:?}");
        }
    }

    #[test]
    fn a_sync_call_that_panics_or_fails_is_so_answered_and_reported_once() {
        let app = sync_fn(|request: Request<ReadBody>, _| match request.uri().path() {
            "/panic" => panic!("a mistake"),
            _ => Err(AppError::unavailable("a mistake")),
        });
        let client = Client::sync(Timeout::after(TIME).around(app));
        for (path, status) in [("/panic", 500), ("/", 503)] {
            let response = client.get(path).try_send().unwrap();
            assert_eq!((response.status().as_u16(), response.reports().len()), (status, 1), "{path}");
            assert!(response.error().unwrap().to_string().contains("a mistake"));
        }
        assert_eq!(client.reports().len(), 2);
    }

    #[test]
    fn exclusive_calls_do_not_overlap_those_that_go_on() {
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counted = Arc::clone(&counts);
        let factory = sync_factory_fn(move |_| {
            let counted = Arc::clone(&counted);
            Ok(sync_fn(move |request, scope| {
                let (running, calls) = &*counted;
                assert_eq!(running.fetch_add(1, SeqCst), 0, "another call runs");
                calls.fetch_add(1, SeqCst);
                let answer = slow().call(request, scope);
                running.fetch_sub(1, SeqCst);
                answer
            }))
        });
        let setup = Setup::new().policy(Policy::default().exclusive()).patience(PATIENCE);
        let client = setup.sync_factory(Timeout::after(TIME).around(Exclusive(factory))).unwrap();
        let late = client.get("/12").start();
        client.advance(TIME);
        assert_eq!(late.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        // Its time is up before its turn comes.
        let queued = client.get("/0").start();
        client.advance(TIME);
        assert_eq!(queued.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        let next = client.get("/0").start();
        client.advance(Duration::from_secs(2));
        assert_eq!(next.response().text(), "after 0 s");
        assert_eq!(counts.0.load(SeqCst), 0);
        assert_eq!(counts.1.load(SeqCst), 2, "of three, one waited in vain");
    }

    /// A factory that asks for calls that do not overlap.
    struct Exclusive<F>(F);

    impl<F: AppFactory> AppFactory for Exclusive<F> {
        type App = F::App;

        fn policy(&self) -> Policy {
            Policy::default().exclusive()
        }

        fn build(&self, worker: &Worker) -> Result<F::App, StartError> {
            self.0.build(worker)
        }
    }

    #[test]
    fn the_factory_of_an_application_is_one_with_a_time_out() {
        let client =
            Client::factory(Timeout::after(TIME).around(Shared(app_fn(|_, scope: Scope| async move {
                scope.worker().sleep(2 * TIME).await;
                Ok(respond::text("late"))
            }))));
        let client = client.unwrap();
        let exchange = client.get("/").start();
        client.advance(TIME);
        assert_eq!(exchange.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        client.close().unwrap();
        let factory = Timeout::after(TIME).around(Shared(sync_fn(|_, _| Ok(respond::text("hello")))));
        let client = Client::sync_factory(factory).unwrap();
        assert_eq!(client.get("/").send().text(), "hello");
        client.close().unwrap();
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| Timeout::after(TIME).around(inner));
        varvel_lint::middleware_sync(|inner| Timeout::after(TIME).around(inner));
        varvel_lint::assert_as_mobile!(AsyncApp: |inner| Timeout::after(TIME).around(inner));
    }
}
