//! Middleware under the lens: between two lints, around a real application or around sources made to try it.

use std::{
    collections::BTreeSet,
    fmt,
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request};
use varvel::{
    App, AppError, AppFuture, AppResult, AsyncApp, AsyncAppResult, AsyncBody, BodyError, BodyErrorKind,
    FailKind, Frame, PollBody, ReadBody, Scope, WriteBody,
};

use crate::{
    Findings, Lint, LintCall,
    drive::{Answer, Bench, CAPS, Connection, Event, Gate, PATIENCE, Run, Unfinished},
    record::Place,
    rules as r,
};

impl<M> Lint<M> {
    /// Puts a middleware between two lints: one above it, which is what you get, and one below it, around the
    /// application. So the middleware is held to chapter M in a running program, the application to chapter A, and the
    /// server to its chapters.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use varvel::{App, AppResult, ReadBody, Scope, WriteBody, sync_fn};
    /// use varvel_lint::Lint;
    ///
    /// struct Through<A>(A);
    ///
    /// impl<A: App> App for Through<A> {
    ///     fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
    ///         self.0.call(request, scope)
    ///     }
    /// }
    ///
    /// let hello = sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello"))));
    /// let app = Lint::sandwich(hello, Through);
    /// # app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
    /// ```
    pub fn sandwich<A>(app: A, wrap: impl FnOnce(Lint<A>) -> M) -> Self {
        let findings = Findings::new();
        let inside = Lint::with_findings(app, Place::Inside, findings.clone());
        Lint::with_findings(wrap(inside), Place::Outside, findings)
    }
}

/// Tries an async middleware with sources of every kind, and holds it to chapter M. `wrap` puts it around whatever it is
/// given, as often as it is asked to.
///
/// ```
/// # use http::Request;
/// # use varvel::{AsyncApp, AsyncBody, Scope};
/// # struct Through<A>(A);
/// # impl<A: AsyncApp> AsyncApp for Through<A> {
/// #     type Future = A::Future;
/// #     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> A::Future { self.0.call(request, scope) }
/// # }
/// varvel_lint::middleware(|inner| Through(inner));
/// ```
///
/// # Panics
/// If a rule is broken, if a call does not come to its end within five seconds and 16 MiB, or if the middleware never calls
/// what it wraps: then give it requests that it lets pass, with [`middleware_with`].
pub fn middleware<M: AsyncApp>(wrap: impl Fn(Lint<Source>) -> M) {
    middleware_with(|_head| {}, wrap);
}

/// [`middleware`] with requests changed so that they pass: with a field of authorization, a cookie, another path.
///
/// # Panics
/// As there.
pub fn middleware_with<M: AsyncApp>(prepare: impl Fn(&mut request::Parts), wrap: impl Fn(Lint<Source>) -> M) {
    let trial = Trial { prepare: &prepare, called: Arc::default(), bench: Bench::new(CAPS) };
    for scenario in SCENARIOS {
        trial.finish(trial.start(&wrap, *scenario, Method::GET));
    }
    for scenario in [Scenario::Silent, Scenario::Endless] {
        for steps in 1..4 {
            // Dropped where it waits, where it has answered, and where its body waits.
            let mut run = trial.start(&wrap, scenario, Method::GET);
            for _ in 0..steps {
                if trial.bench.step(&mut run.run) == Event::End {
                    break;
                }
            }
        }
    }
    for scenario in WITH_LENGTHS {
        let get = trial.finish(trial.start(&wrap, *scenario, Method::GET));
        let head = trial.finish(trial.start(&wrap, *scenario, Method::HEAD));
        trial.compare(&get, &head);
    }
    trial.check_called();
}

/// [`middleware`] for sync ones.
///
/// # Panics
/// As there; but a call that does not return holds up the test, for no thread can be stopped.
pub fn middleware_sync<M: App>(wrap: impl Fn(Lint<SyncSource>) -> M) {
    middleware_sync_with(|_head| {}, wrap);
}

/// [`middleware_with`] for sync ones.
///
/// # Panics
/// As there.
pub fn middleware_sync_with<M: App>(
    prepare: impl Fn(&mut request::Parts),
    wrap: impl Fn(Lint<SyncSource>) -> M,
) {
    let trial = Trial { prepare: &prepare, called: Arc::default(), bench: Bench::new(CAPS) };
    for scenario in SCENARIOS {
        trial.call_sync(&wrap, *scenario, Method::GET);
    }
    let at_once = trial.call_sync(&wrap, Scenario::Whole, Method::GET);
    let deferred = trial.call_sync(&wrap, Scenario::Deferred, Method::GET);
    trial.compare_deferred(&at_once, &deferred);
    // An answer that nobody takes.
    let Prepared { app, request, scope, .. } = trial.prepare_sync(&wrap, Scenario::Bytes, Method::GET);
    drop(trial.bench.pumped(|| app.call(request.map(ReadBody::from), scope)));
    for scenario in WITH_LENGTHS {
        let get = trial.call_sync(&wrap, *scenario, Method::GET);
        let head = trial.call_sync(&wrap, *scenario, Method::HEAD);
        trial.compare(&get, &head);
    }
    trial.check_called();
}

/// What the application inside does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// A body in memory.
    Whole,
    /// The same with a Content-Length of its own.
    Declared,
    /// A stream with a Content-Length.
    DeclaredStream,
    /// A stream that knows its length.
    Sized,
    /// A few bytes one by one, then silence until somebody has seen them, then more.
    Bytes,
    Trailers,
    Tunnel,
    Fails(FailKind),
    BreaksOff,
    /// Sends back what it reads.
    Echo,
    /// Below a mount.
    Mounted,
    /// Never answers.
    Silent,
    /// Never ends its body.
    Endless,
    /// A placeholder, and the reply from another thread.
    Deferred,
}

/// Those that come to an end.
const SCENARIOS: &[Scenario] = &[
    Scenario::Whole,
    Scenario::Declared,
    Scenario::DeclaredStream,
    Scenario::Sized,
    Scenario::Bytes,
    Scenario::Trailers,
    Scenario::Tunnel,
    Scenario::Fails(FailKind::Internal),
    Scenario::Fails(FailKind::Unavailable),
    Scenario::Fails(FailKind::Abort),
    Scenario::Fails(FailKind::Body(BodyErrorKind::TooLarge)),
    Scenario::Fails(FailKind::Body(BodyErrorKind::Timeout)),
    Scenario::BreaksOff,
    Scenario::Echo,
    Scenario::Mounted,
];

/// Those whose heads say how long the body is, or would.
const WITH_LENGTHS: &[Scenario] =
    &[Scenario::Whole, Scenario::Declared, Scenario::DeclaredStream, Scenario::Sized, Scenario::Bytes];

/// The application that [`middleware`] puts inside of an async middleware.
#[derive(Clone)]
pub struct Source {
    scenario: Scenario,
    /// Opened when the bytes before it must have come through.
    gate: Gate,
    called: Arc<AtomicBool>,
}

const TEXT: &[u8] = b"varvel: the ring on a jess\n";

impl Source {
    /// The head of an answer with a text.
    fn head<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self.scenario, Scenario::Declared | Scenario::DeclaredStream) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(TEXT.len()));
        }
        response
    }

    fn error(kind: FailKind) -> AppError {
        if kind == FailKind::Abort {
            AppError::abort()
        } else {
            AppError::new(kind, "the source's own reason")
        }
    }

    fn trailers() -> HeaderMap {
        let name = HeaderName::from_static("source-digest");
        HeaderMap::from_iter([(name, HeaderValue::from_static("7"))])
    }

    async fn answer(self, request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
        self.called.store(true, SeqCst);
        let gate = self.gate.clone();
        Ok(match self.scenario {
            Scenario::Whole | Scenario::Declared | Scenario::Mounted | Scenario::Deferred => {
                self.head(AsyncBody::from_static(TEXT))
            }
            Scenario::DeclaredStream => {
                self.head(AsyncBody::from_chunks(TEXT.chunks(5).map(Bytes::from_static)))
            }
            Scenario::Sized => self.head(AsyncBody::from_poll(Sized(TEXT))),
            Scenario::Bytes => self.head(AsyncBody::generate(|mut frames| async move {
                for byte in TEXT[..3].chunks(1) {
                    frames.data(byte).await;
                }
                gate.pass().await;
                frames.data(&TEXT[3..]).await;
                Ok(())
            })),
            Scenario::Trailers => self.head(AsyncBody::generate(|mut frames| async move {
                frames.data(TEXT).await;
                frames.trailers(Self::trailers()).await;
                Ok(())
            })),
            Scenario::Tunnel => match scope.take_upgrade() {
                Some(token) => token.accept(Response::new(()), |_io| async {}),
                None => self.head(AsyncBody::from_static(TEXT)),
            },
            Scenario::Fails(kind) => return Err(Self::error(kind)),
            Scenario::BreaksOff => self.head(AsyncBody::generate(|mut frames| async move {
                frames.data(TEXT).await;
                Err(BodyError::failed("the source's own reason"))
            })),
            Scenario::Echo => self.head(request.into_body()),
            Scenario::Silent => pending().await,
            Scenario::Endless => self.head(AsyncBody::generate(|mut frames| async move {
                frames.data(TEXT).await;
                pending().await
            })),
        })
    }
}

impl AsyncApp for Source {
    type Future = AppFuture;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        Box::pin(self.clone().answer(request, scope))
    }
}

/// The application that [`middleware_sync`] puts inside of a sync middleware.
#[derive(Clone, Debug)]
pub struct SyncSource(Source);

impl App for SyncSource {
    fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
        let source = &self.0;
        source.called.store(true, SeqCst);
        Ok(match source.scenario {
            Scenario::Whole | Scenario::Declared | Scenario::Mounted | Scenario::Silent => {
                source.head(WriteBody::from_static(TEXT))
            }
            Scenario::DeclaredStream => {
                source.head(WriteBody::from_chunks(TEXT.chunks(5).map(Bytes::from_static)))
            }
            Scenario::Sized => source.head(WriteBody::from_sized_writer(TEXT.len() as u64, |sink| {
                sink.data(Bytes::from_static(TEXT))
            })),
            Scenario::Bytes | Scenario::Endless => source.head(WriteBody::from_writer(|sink| {
                sink.flush()?;
                for byte in TEXT.chunks(1) {
                    sink.data(Bytes::from_static(byte))?;
                    sink.flush()?;
                }
                Ok(())
            })),
            Scenario::Trailers => source.head(WriteBody::from_writer(|sink| {
                sink.data(Bytes::from_static(TEXT))?;
                sink.trailers(Source::trailers())
            })),
            Scenario::Tunnel => match scope.take_upgrade() {
                Some(token) => token.accept_blocking(Response::new(()), |_io| {}),
                None => source.head(WriteBody::from_static(TEXT)),
            },
            Scenario::Fails(kind) => return Err(Source::error(kind)),
            Scenario::BreaksOff => source.head(WriteBody::from_writer(|sink| {
                sink.data(Bytes::from_static(TEXT))?;
                Err(BodyError::failed("the source's own reason"))
            })),
            Scenario::Echo => source.head(WriteBody::from_reader(request.into_body())),
            Scenario::Deferred => match scope.take_deferral() {
                Some(deferral) => {
                    let (placeholder, reply) = deferral.defer();
                    let answer = source.head(WriteBody::from_static(TEXT));
                    std::thread::spawn(move || reply.send(answer));
                    placeholder
                }
                None => source.head(WriteBody::from_static(TEXT)),
            },
        })
    }
}

/// A body that knows how much is to come.
struct Sized(&'static [u8]);

impl PollBody for Sized {
    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let (next, rest) = self.0.split_at(self.0.len().min(5));
        self.0 = rest;
        Poll::Ready((!next.is_empty()).then(|| Ok(Frame::Data(Bytes::from_static(next)))))
    }

    fn exact_len(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
}

/// What the calls of one driver share.
struct Trial<'a> {
    prepare: &'a dyn Fn(&mut request::Parts),
    called: Arc<AtomicBool>,
    bench: Bench,
}

/// Everything for a call.
struct Prepared<M> {
    app: Lint<M>,
    request: Request<Bytes>,
    scope: Scope,
    exchange: Arc<Connection>,
    gate: Gate,
}

/// A call that runs, and the gate that its source may wait at.
struct Running<F> {
    run: Run<F>,
    gate: Gate,
}

impl Trial<'_> {
    /// A middleware around a source, and a request for it.
    fn prepare<M>(
        &self,
        wrap: impl FnOnce(Source) -> Lint<M>,
        scenario: Scenario,
        method: Method,
    ) -> Prepared<M> {
        let gate = Gate::default();
        let app = wrap(Source { scenario, gate: gate.clone(), called: Arc::clone(&self.called) });
        let mut request =
            Request::builder().method(method).uri("/shop/cart?item=7").header(header::HOST, "varvel.test");
        if scenario == Scenario::Tunnel {
            request = request.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "varvel");
        }
        let mut body = Bytes::new();
        if scenario == Scenario::Echo {
            body = Bytes::from_static(TEXT);
            request = request.method(Method::POST).header(header::CONTENT_LENGTH, body.len());
        }
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        (self.prepare)(&mut head);
        let (mut scope, exchange) = self.bench.scope(&head, Some(body.len() as u64));
        if scenario == Scenario::Mounted {
            // Only where the changed request still has such a path.
            let _ = scope.descend(&head.uri, "/shop".len());
        }
        Prepared { app, request: Request::from_parts(head, body), scope, exchange, gate }
    }

    fn start<M: AsyncApp>(
        &self,
        wrap: &impl Fn(Lint<Source>) -> M,
        scenario: Scenario,
        method: Method,
    ) -> Running<LintCall<M::Future>> {
        let Prepared { app, request, scope, exchange, gate } =
            self.prepare(|source| Lint::sandwich(source, wrap), scenario, method);
        let request = request.map(|body| match body.is_empty() {
            true => AsyncBody::empty(),
            false => AsyncBody::from_poll(Sized(TEXT)),
        });
        let run = self.bench.start_in(&app, request, scope, exchange);
        Running { run, gate }
    }

    /// Lets a call come to its end. The gate opens when everything waits: what stands before it was seen then.
    fn finish<F>(&self, mut running: Running<F>) -> Answer
    where
        F: Future<Output = AsyncAppResult>,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bench.step(&mut running.run) {
                Event::End => return std::mem::take(&mut running.run.answer),
                Event::Pending => {
                    running.gate.open();
                    self.bench.wait(deadline);
                }
                Event::Head | Event::Frame => {}
            }
            ended(running.run.answer.check(deadline));
        }
    }

    fn prepare_sync<M>(
        &self,
        wrap: &impl Fn(Lint<SyncSource>) -> M,
        scenario: Scenario,
        method: Method,
    ) -> Prepared<M> {
        self.prepare(|source| Lint::sandwich(SyncSource(source), wrap), scenario, method)
    }

    fn call_sync<M: App>(
        &self,
        wrap: &impl Fn(Lint<SyncSource>) -> M,
        scenario: Scenario,
        method: Method,
    ) -> Answer {
        let Prepared { app, request, scope, exchange, .. } = self.prepare_sync(wrap, scenario, method);
        ended(self.bench.call_sync_in(&app, request.map(ReadBody::from), scope, &exchange))
    }

    /// Holds the head for HEAD against that for GET.
    fn compare(&self, get: &Answer, head: &Answer) {
        let findings = Findings::new();
        let breach = |rule, what: &dyn Fn() -> String| findings.take(rule, None, || None, what);
        if get.status() != head.status() {
            breach(r::M4_HEAD_STATUS, &|| format!("{} for GET, {} for HEAD", get.summary(), head.summary()));
        }
        let (get, head) = (Told::by(get), Told::by(head));
        if get != head {
            breach(r::M4_HEAD_FIELDS, &|| format!("{get:?} for GET, {head:?} for HEAD"));
        }
    }

    /// Holds a deferred answer against the same at once.
    fn compare_deferred(&self, at_once: &Answer, deferred: &Answer) {
        let told = [at_once, deferred].map(|answer| (answer.status(), Told::by(answer)));
        if told[0] != told[1] {
            let what = || format!("{:?} at once, {:?} deferred", told[0], told[1]);
            Findings::new().take(r::M9_DEFERRED, None, || None, what);
        }
    }

    fn check_called(&self) {
        assert!(
            self.called.load(SeqCst),
            "the middleware never called the application inside: make it let the requests pass, with middleware_with"
        );
    }
}

/// What came of a call that must end, as the source inside does.
fn ended<T>(result: Result<T, Unfinished>) -> T {
    result.unwrap_or_else(|why| panic!("around an application that answers at once, {why}"))
}

/// What a head tells of its body, and which fields it has.
#[derive(Debug, PartialEq, Eq)]
struct Told<'a> {
    names: BTreeSet<&'a str>,
    content: [Option<&'a HeaderValue>; 4],
    exact_len: Option<u64>,
}

impl<'a> Told<'a> {
    fn by(answer: &'a Answer) -> Option<Self> {
        let headers = &answer.head.as_ref()?.headers;
        let content = [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ETAG];
        Some(Self {
            names: headers.keys().map(HeaderName::as_str).collect(),
            content: content.map(|name| headers.get(name)),
            exact_len: answer.exact_len,
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.scenario).finish()
    }
}
