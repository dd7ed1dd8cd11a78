//! Drivers for tests: a call dropped wherever it waits, calls that overlap, capabilities that are missing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Barrier, mpsc},
    thread,
    time::Instant,
};

use bytes::Bytes;
use http::Request;
use varvel::{
    App, AppFactory, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, Caps, FailKind, ReadBody,
    StartError,
};

use crate::{
    Findings, RequestLine, Rule,
    drive::{Answer, Bench, CAPS, Event, PATIENCE, Run, Unfinished, message},
    rules as r,
};

/// No call of sense waits so often; one that does so for ever is given up here.
const PLACES_MAX: usize = 10_000;

/// Drops a call of an async application at each place where it waits or has produced a frame, one after the other, and
/// makes it again each time: it must answer as before (spec A6). Returns how many places there are.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use varvel::{AsyncBody, app_fn};
///
/// let app = app_fn(|_, scope| async move {
///     scope.worker().sleep(Duration::from_millis(1)).await;
///     Ok(Response::new(AsyncBody::from_static(b"done")))
/// });
/// let places = varvel_lint::cancel_everywhere(&app, Request::get("/").body("").unwrap());
/// assert_eq!(places, 2); // the sleep, and behind the only frame
/// ```
///
/// # Panics
/// If a rule is broken, or if the request does not come to its end within five seconds, and within 16 MiB, when nobody
/// disturbs it.
pub fn cancel_everywhere<A, B>(app: &A, request: Request<B>) -> usize
where
    A: AsyncApp,
    B: Clone + Into<AsyncBody>,
{
    at_each_place(app, &request, |place, run| {
        let Place { bench, call, subject, alone, number } = place;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(run))) {
            subject.breach(r::A6_DROP, || format!("at place {number}: {}", message(&*panic)));
        }
        match catch_unwind(AssertUnwindSafe(|| bench.finish(call()))) {
            Err(panic) => {
                subject.breach(r::A6_PANIC, || format!("dropped at place {number}: {}", message(&*panic)));
            }
            Ok(Err(why)) => subject.breach(r::A6_STUCK, || format!("dropped at place {number}; then {why}")),
            Ok(Ok(answer)) if answer.summary() != *alone => subject.breach(r::A6_ANSWER, || {
                format!("dropped at place {number}; before {alone}, then {}", answer.summary())
            }),
            Ok(Ok(_)) => {}
        }
    })
}

/// Makes two calls of an async application overlap: one stands still at each place where it waits, while the other is
/// made and polled (spec A2). Returns how many places there are.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{AsyncBody, app_fn};
///
/// let app = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"done"))) });
/// varvel_lint::overlap(&app, Request::get("/").body("").unwrap());
/// ```
///
/// # Panics
/// As [`cancel_everywhere`].
pub fn overlap<A, B>(app: &A, request: Request<B>) -> usize
where
    A: AsyncApp,
    B: Clone + Into<AsyncBody>,
{
    at_each_place(app, &request, |place, mut first| {
        let Place { bench, call, subject, alone, number } = place;
        match catch_unwind(AssertUnwindSafe(|| together(bench, &mut first, &mut call()))) {
            Err(panic) => {
                subject.breach(r::A2_PANIC, || format!("at place {number}: {}", message(&*panic)));
            }
            Ok(Err(why)) => subject.breach(r::A2_STUCK, || format!("at place {number}: {why}")),
            Ok(Ok(answers)) => {
                for answer in answers.iter().filter(|answer| answer.summary() != *alone) {
                    subject.breach(r::A2_ANSWER, || {
                        format!("at place {number}; alone {alone}, overlapping {}", answer.summary())
                    });
                }
            }
        }
    })
}

/// Brings two calls to their ends. The second goes ahead as far as it can; where it waits, both take turns.
fn together<F>(bench: &Bench, first: &mut Run<F>, second: &mut Run<F>) -> Result<[Answer; 2], Unfinished>
where
    F: Future<Output = AsyncAppResult>,
{
    let deadline = Instant::now() + PATIENCE;
    let (mut first_over, mut second_over) = (false, false);
    while !(first_over && second_over) {
        let mut event = Event::End;
        if !second_over {
            event = bench.step(second);
            second_over = event == Event::End;
        }
        if !first_over && matches!(event, Event::End | Event::Pending) {
            event = bench.step(first);
            first_over = event == Event::End;
        }
        if event == Event::Pending {
            bench.wait(deadline);
        }
        for (run, over) in [(&*first, first_over), (&*second, second_over)] {
            if !over {
                run.answer.check(deadline)?;
            }
        }
    }
    Ok([std::mem::take(&mut first.answer), std::mem::take(&mut second.answer)])
}

/// Makes calls of a sync application overlap on several threads (spec A2).
///
/// # Panics
/// As [`cancel_everywhere`].
pub fn overlap_sync<A, B>(app: A, request: Request<B>)
where
    A: App + Send + Sync + 'static,
    B: Clone + Into<ReadBody>,
{
    const CALLS: usize = 4;
    let subject = Subject::new(&request);
    let app = Arc::new(app);
    let bench = Arc::new(Bench::new(CAPS));
    let alone = match in_thread(&app, &bench, request.clone().map(Into::into), None).answer() {
        Ok(answer) => undisturbed(answer).summary(),
        Err(panic) => resume_unwind(panic),
    };
    let start = Arc::new(Barrier::new(CALLS));
    let calls: Vec<_> = (0..CALLS)
        .map(|_| in_thread(&app, &bench, request.clone().map(Into::into), Some(Arc::clone(&start))))
        .collect();
    for call in calls {
        match call.answer() {
            Ok(Ok(answer)) if answer.summary() == alone => {}
            Ok(Ok(answer)) => {
                subject.breach(r::A2_ANSWER, || format!("alone {alone}, overlapping {}", answer.summary()));
            }
            Ok(Err(why)) => {
                subject.breach(r::A2_STUCK, || format!("{CALLS} calls on as many threads: {why}"))
            }
            Err(panic) => subject.breach(r::A2_PANIC, || message(&*panic)),
        }
    }
}

/// Builds and calls an async application once without each capability, and once without any (spec A10). It must answer,
/// or refuse in `build` with an error that names what it needs. An application that exists already goes into
/// [`Shared`](varvel::Shared).
///
/// ```
/// use http::{Request, Response};
/// use varvel::{AsyncBody, Shared, app_fn};
///
/// let app = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"hello"))) });
/// varvel_lint::without_each_capability(&Shared(&app), Request::get("/").body("").unwrap());
/// ```
///
/// # Panics
/// As [`cancel_everywhere`].
pub fn without_each_capability<F, B>(factory: &F, request: Request<B>)
where
    F: AsyncAppFactory,
    B: Clone + Into<AsyncBody>,
{
    let subject = Subject::new(&request);
    for (missing, name) in missing() {
        let bench = Bench::new(CAPS.without(missing));
        let Some(built) = bench.block_on(factory.build(bench.worker())) else {
            subject.breach(r::A10_STUCK, || format!("without {name} the build does not end"));
            continue;
        };
        let app = match built {
            Ok(app) => app,
            Err(error) => {
                subject.check_refusal(missing, &error);
                continue;
            }
        };
        let call = || bench.finish(bench.start(&app, request.clone().map(Into::into)));
        match catch_unwind(AssertUnwindSafe(call)) {
            Err(panic) if missing == Caps::NONE => resume_unwind(panic),
            Err(panic) => subject.breach(r::A10_PANIC, || format!("without {name}: {}", message(&*panic))),
            Ok(answer) => subject.check_answer(missing, name, answer),
        }
        drop(bench.block_on(factory.teardown(app, bench.worker())));
    }
}

/// The same for sync applications.
///
/// # Panics
/// As [`cancel_everywhere`].
pub fn without_each_capability_sync<F, B>(factory: &F, request: Request<B>)
where
    F: AppFactory,
    F::App: App + Send + Sync + 'static,
    B: Clone + Into<ReadBody>,
{
    let subject = Subject::new(&request);
    for (missing, name) in missing() {
        let bench = Arc::new(Bench::new(CAPS.without(missing)));
        let app = match bench.pumped(|| factory.build(bench.worker())) {
            Ok(app) => Arc::new(app),
            Err(error) => {
                subject.check_refusal(missing, &error);
                continue;
            }
        };
        match in_thread(&app, &bench, request.clone().map(Into::into), None).answer() {
            Err(panic) if missing == Caps::NONE => resume_unwind(panic),
            Err(panic) => {
                subject.breach(r::A10_PANIC, || format!("without {name}: {}", message(&*panic)));
            }
            Ok(answer) => subject.check_answer(missing, name, answer),
        }
        if let Some(app) = Arc::into_inner(app) {
            drop(bench.pumped(|| factory.teardown(app, bench.worker())));
        }
    }
}

/// Nothing, as a trial of the request itself; then each capability, and then all.
fn missing() -> impl Iterator<Item = (Caps, &'static str)> {
    [(Caps::NONE, "nothing")].into_iter().chain(CAPS.iter()).chain([(CAPS, "any capability")])
}

/// A place where a call waits or has produced a frame, the `number`th of the request.
struct Place<'a, F> {
    number: usize,
    bench: &'a Bench,
    /// Makes another call with the request.
    call: &'a dyn Fn() -> Run<F>,
    subject: &'a Subject,
    /// The answer to a call that was left in peace.
    alone: &'a str,
}

/// Provokes a call at each place where it waits or has produced a frame, one after the other; says how many there are.
fn at_each_place<A, B>(
    app: &A,
    request: &Request<B>,
    mut provoke: impl FnMut(&Place<'_, A::Future>, Run<A::Future>),
) -> usize
where
    A: AsyncApp,
    B: Clone + Into<AsyncBody>,
{
    let bench = Bench::new(CAPS);
    let subject = Subject::new(request);
    let call = || bench.start(app, request.clone().map(Into::into));
    let alone = undisturbed(bench.finish(call())).summary();
    for number in 1..PLACES_MAX {
        let mut run = call();
        if !advance(&bench, &mut run, number) {
            return number - 1;
        }
        let place = Place { number, bench: &bench, call: &call, subject: &subject, alone: &alone };
        provoke(&place, run);
    }
    panic!("the call waits more often than can be tried")
}

/// Polls a call up to the `places`th place; `false` if it has fewer.
fn advance<F>(bench: &Bench, run: &mut Run<F>, places: usize) -> bool
where
    F: Future<Output = AsyncAppResult>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut left = places;
    while left > 0 {
        match bench.step(run) {
            Event::End => return false,
            Event::Head => {}
            Event::Frame => left -= 1,
            Event::Pending => {
                left -= 1;
                if left > 0 {
                    bench.wait(deadline);
                }
            }
        }
        undisturbed(run.answer.check(deadline));
    }
    true
}

/// Whom a driver's breaches are about.
struct Subject {
    findings: Findings,
    request: RequestLine,
}

impl Subject {
    fn new<B>(request: &Request<B>) -> Self {
        let target = Bytes::from(request.uri().to_string());
        let request = RequestLine { method: request.method().clone(), target, connection: 1, exchange: 1 };
        Self { findings: Findings::new(), request }
    }

    fn breach(&self, rule: &'static Rule, what: impl FnOnce() -> String) {
        self.findings.take(rule, None, || Some(self.request.clone()), what);
    }

    fn check_refusal(&self, missing: Caps, error: &StartError) {
        let text = error.to_string();
        assert!(missing != Caps::NONE, "the build fails with every capability there is: {text}");
        if !missing.iter().any(|(_, name)| text.contains(name)) {
            self.breach(r::A10_BUILD, || format!("without {missing:?}: {text:?}"));
        }
    }

    fn check_answer(&self, missing: Caps, name: &str, answer: Result<Answer, Unfinished>) {
        if missing == Caps::NONE {
            undisturbed(answer);
            return;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return self.breach(r::A10_STUCK, || format!("without {name} {why}")),
        };
        let kind = answer.error.as_ref().map(|error| error.kind());
        let failed = kind.is_some_and(|kind| matches!(kind, FailKind::Internal | FailKind::Abort))
            || answer.status().is_some_and(|status| status.as_u16() == 500)
            || answer.body_error.is_some();
        if failed {
            self.breach(r::A10_FAILURE, || format!("without {name}: {}", answer.summary()));
        }
    }
}

/// What came of a request that was left in peace.
fn undisturbed<T>(result: Result<T, Unfinished>) -> T {
    result.unwrap_or_else(|why| panic!("left in peace, {why}"))
}

/// A sync call on a thread of its own.
struct Sent(mpsc::Receiver<thread::Result<Result<Answer, Unfinished>>>);

/// Makes a sync call on a thread of its own, which is left behind if it does not end.
fn in_thread<A>(
    app: &Arc<A>,
    bench: &Arc<Bench>,
    request: Request<ReadBody>,
    start: Option<Arc<Barrier>>,
) -> Sent
where
    A: App + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let (app, bench) = (Arc::clone(app), Arc::clone(bench));
    thread::spawn(move || {
        if let Some(start) = start {
            start.wait();
        }
        let answer = catch_unwind(AssertUnwindSafe(|| bench.call_sync(&*app, request)));
        drop(app);
        let _ = sender.send(answer);
    });
    Sent(receiver)
}

impl Sent {
    /// What came of it, or how it panicked.
    fn answer(self) -> thread::Result<Result<Answer, Unfinished>> {
        // A call that can tell why it does not end goes first.
        self.0.recv_timeout(PATIENCE + PATIENCE / 5).unwrap_or(Ok(Err(Unfinished::NoAnswer)))
    }
}
