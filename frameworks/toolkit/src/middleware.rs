//! Middleware that is written once and stands around applications of either form.
//!
//! A [`Middleware`] sees the request before the call and the response after it. It never waits, so it needs no future of
//! its own, and one implementation serves [`App`] and [`AsyncApp`]. What must wait or catch (a time-out, a panic) cannot be
//! one and implements both traits itself.
//!
//! | | |
//! |---|---|
//! | [`AccessLog`] | a line for each request |
//! | [`BodyLimit`] | a bound on request bodies |
//! | [`CatchFailures`] | errors and panics as answers |
//! | `Compression` | answers by what the client accepts (feature `compression`) |
//! | [`Cors`] | which pages of other origins may read the answers |
//! | [`Csrf`] | refuses what other sites have a browser send |
//! | [`Forwarded`] | who the client is behind proxies |
//! | [`RateLimit`] | a bound on how often each client may ask |
//! | [`RequestIds`] | a number for each request, in the scope and in the answer |
//! | [`SecurityHeaders`] | fields that tell browsers to be careful |
//! | [`Sessions`] | what is remembered of a browser from one request to the next |
//! | [`Timeout`] | a bound on how long a call may take to answer |
//! | [`TrailingSlash`] | one of two URLs that differ by a slash |
//!
//! # In which order
//!
//! What stands outside sees the answers of all that is inside, and its requests first. From the outermost to the innermost:
//!
//! 1. [`Forwarded`] and [`RequestIds`], since others ask who the client is and which request this is; then [`AccessLog`]
//! 2. [`SecurityHeaders`], [`Cors`] and `Compression`, which are for every answer, refusals included; and preflights need
//!    no leave of those below
//! 3. what refuses: [`RateLimit`], [`TrailingSlash`], [`Csrf`], [`BodyLimit`]
//! 4. [`Timeout`], within which a call has to be done with its [`Sessions`]
//! 5. [`CatchFailures`]: an error would pass by everything that stands around it, and have none of its fields
//!
//! ```
//! use std::time::Duration;
//! use varvel::sync_fn;
//! use varvel_toolkit::{Middleware, middleware::*, respond};
//!
//! let app = CatchFailures::around(sync_fn(|_, _| Ok(respond::text("hello"))));
//! let app = Timeout::after(Duration::from_secs(30)).around(app);
//! let app = RateLimit::new(100, Duration::from_secs(60)).around(Csrf::new().around(app));
//! let app = SecurityHeaders::new().around(Cors::of(["https://app.example"]).around(app));
//! let app = RequestIds::new().around(AccessLog::to_stderr().around(app));
//! # assert!(varvel_test::Client::sync(app).get("/").send().header("x-request-id").is_some());
//! ```

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use varvel::{
    App, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, Body, BoxError, Policy,
    ReadBody, Scope, StartError, Worker, map_answer,
};

use crate::{Blocking, Form, Polled};

mod access_log;
mod body_limit;
#[cfg(any(feature = "compression", feature = "signed"))]
mod cache_control;
mod catch_failures;
#[cfg(feature = "compression")]
mod compression;
mod cors;
mod csrf;
mod forwarded;
mod rate_limit;
mod request_id;
mod security_headers;
#[cfg(feature = "signed")]
mod sessions;
mod timeout;
mod trailing_slash;
mod vary;

pub use access_log::{AccessLog, Entry};
pub use body_limit::BodyLimit;
pub use catch_failures::{CatchFailures, CatchFailuresCall};
#[cfg(feature = "compression")]
pub use compression::Compression;
pub use cors::Cors;
pub use csrf::Csrf;
pub(crate) use forwarded::is_secure;
pub use forwarded::{Client, Forwarded, NetworkError};
pub use rate_limit::RateLimit;
pub use request_id::{RequestId, RequestIds};
pub use security_headers::SecurityHeaders;
#[cfg(feature = "signed")]
pub use sessions::{MemoryStore, NoSession, Record, Session, SessionNote, SessionStore, Sessions};
pub use timeout::{Timed, TimedCall, Timeout};
pub use trailing_slash::TrailingSlash;

/// What stands between a server and an application, written once for both forms.
///
/// ```
/// use std::time::Instant;
/// use http::{HeaderValue, Request, Response};
/// use varvel::{Body, Scope, WriteBody, sync_fn};
/// use varvel_toolkit::{Form, Middleware};
///
/// /// Says in the answer how long it took.
/// struct Timing;
///
/// impl Middleware for Timing {
///     type Note = Instant;
///
///     fn request<F: Form>(
///         &self,
///         _request: &mut Request<Body<F::In>>,
///         _scope: &mut Scope,
///     ) -> Result<Instant, Response<Body<F::Out>>> {
///         Ok(Instant::now())
///     }
///
///     fn response<F: Form>(
///         &self,
///         began: Instant,
///         mut response: Response<Body<F::Out>>,
///     ) -> Response<Body<F::Out>> {
///         if let Ok(value) = HeaderValue::try_from(format!("app;dur={}", began.elapsed().as_millis())) {
///             response.headers_mut().append("server-timing", value);
///         }
///         response
///     }
/// }
///
/// let app = Timing.around(sync_fn(|_, _| Ok(Response::new(WriteBody::from("hello")))));
/// # use varvel::{App, ReadBody};
/// # let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
/// # assert!(response.headers().contains_key("server-timing"));
/// ```
pub trait Middleware: Send + Sync + Sized + 'static {
    /// What it remembers of a request until its answer.
    type Note: Send + 'static;

    /// Looks at a request before the call, and may change it, or put something into the scope.
    ///
    /// # Errors
    /// The answer, if there is to be no call; [`response`](Self::response) does not see it.
    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<Self::Note, Response<Body<F::Out>>>;

    /// Looks at the answer, and may change it. Where it replaces the body, Content-Length is its concern (spec M4).
    ///
    /// Not called for an error, which passes through as it is (spec M6), nor for a call that was dropped; what wants to
    /// know of every end registers [`Scope::on_finish`] in [`request`](Self::request). An answer that is
    /// [deferred](varvel::Deferral) is seen when it comes, on the thread that sends it (spec M9).
    fn response<F: Form>(&self, note: Self::Note, response: Response<Body<F::Out>>)
    -> Response<Body<F::Out>>;

    /// Stands around an application. What is written first is the outermost:
    /// `first.around(second.around(app))`.
    fn around<A>(self, app: A) -> With<Self, A> {
        With { middleware: Arc::new(self), inner: app }
    }
}

/// A middleware that is there or not, as decided when the program starts.
impl<M: Middleware> Middleware for Option<M> {
    type Note = Option<M::Note>;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<Self::Note, Response<Body<F::Out>>> {
        self.as_ref().map(|middleware| middleware.request::<F>(request, scope)).transpose()
    }

    fn response<F: Form>(
        &self,
        note: Self::Note,
        response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        match (self, note) {
            (Some(middleware), Some(note)) => middleware.response::<F>(note, response),
            _ => response,
        }
    }
}

/// An application with a [`Middleware`] around it: an [`App`] around an [`App`], an [`AsyncApp`] around an [`AsyncApp`].
/// Made by [`Middleware::around`]. Around a factory it is a factory, with the middleware around each application.
///
/// An async call costs a counted pointer to the middleware, and no allocation. A clone has a middleware of its own, so
/// that workers with an application each count in different places; what they are to share, such as a store of
/// sessions, is in a pointer inside of the middleware.
pub struct With<M, A> {
    middleware: Arc<M>,
    inner: A,
}

impl<M: Clone, A: Clone> Clone for With<M, A> {
    fn clone(&self) -> Self {
        Self { middleware: Arc::new(M::clone(&self.middleware)), inner: self.inner.clone() }
    }
}

impl<M: fmt::Debug, A: fmt::Debug> fmt::Debug for With<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("With").field(&self.middleware).field(&self.inner).finish()
    }
}

impl<M: Middleware, A: App> App for With<M, A> {
    fn call(&self, mut request: Request<ReadBody>, mut scope: Scope) -> AppResult {
        match self.middleware.request::<Blocking>(&mut request, &mut scope) {
            Ok(note) => {
                let response = self.inner.call(request, scope)?;
                if response.body().is_deferred() {
                    let middleware = Arc::clone(&self.middleware);
                    let seen = move |answer: AppResult| Ok(middleware.response::<Blocking>(note, answer?));
                    return map_answer(Ok(response), seen);
                }
                Ok(self.middleware.response::<Blocking>(note, response))
            }
            Err(answer) => Ok(answer),
        }
    }
}

impl<M: Middleware, A: AsyncApp> AsyncApp for With<M, A> {
    type Future = WithCall<M, A::Future>;

    fn call(&self, mut request: Request<AsyncBody>, mut scope: Scope) -> Self::Future {
        let step = match self.middleware.request::<Polled>(&mut request, &mut scope) {
            Ok(note) => Step::Called {
                middleware: Arc::clone(&self.middleware),
                note: Some(note),
                call: self.inner.call(request, scope),
            },
            Err(answer) => Step::Answered { answer: Some(answer) },
        };
        WithCall { step }
    }
}

impl<M, F> AppFactory for With<M, F>
where
    M: Clone,
    F: AppFactory,
{
    type App = With<M, F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(self.with(self.inner.build(worker)?))
    }

    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.inner.teardown(app.inner, worker)
    }
}

impl<M, F> AsyncAppFactory for With<M, F>
where
    M: Middleware + Clone,
    F: AsyncAppFactory,
{
    type App = With<M, F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(self.with(self.inner.build(worker).await?))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.inner.teardown(app.inner, worker).await
    }
}

impl<M: Clone, A> With<M, A> {
    /// A copy of the middleware around what was built for a worker.
    fn with<B>(&self, inner: B) -> With<M, B> {
        With { middleware: Arc::new(M::clone(&self.middleware)), inner }
    }
}

pin_project! {
    /// The answer of an async application [`With`] a middleware: `Send` exactly where the inner future is (spec M7).
    #[must_use = "futures do nothing unless polled"]
    pub struct WithCall<M: Middleware, Fut> {
        #[pin]
        step: Step<M, Fut>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<M: Middleware, Fut> {
        Called {
            middleware: Arc<M>,
            note: Option<M::Note>,
            #[pin]
            call: Fut,
        },
        /// By the middleware itself.
        Answered {
            answer: Option<Response<AsyncBody>>,
        },
    }
}

impl<M: Middleware, Fut: Future<Output = AsyncAppResult>> Future for WithCall<M, Fut> {
    type Output = AsyncAppResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        const ONCE: &str = "not polled again after its answer (spec B12)";
        match self.project().step.project() {
            StepProjection::Called { middleware, note, call } => {
                let response = ready!(call.poll(cx))?;
                let note = note.take().expect(ONCE);
                Poll::Ready(Ok(middleware.response::<Polled>(note, response)))
            }
            StepProjection::Answered { answer } => Poll::Ready(Ok(answer.take().expect(ONCE))),
        }
    }
}

impl<M: Middleware, Fut> fmt::Debug for WithCall<M, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithCall")
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use http::{HeaderValue, StatusCode};
    use varvel::{AppError, Boxed, DynApp, DynAsyncApp, FailKind, WriteBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;

    /// Refuses what is asked of `/no`; else it hands a word of the request on to the answer, behind those of others.
    #[derive(Clone)]
    struct Word(&'static str);

    impl Middleware for Word {
        type Note = String;

        fn request<F: Form>(
            &self,
            request: &mut Request<Body<F::In>>,
            scope: &mut Scope,
        ) -> Result<String, Response<Body<F::Out>>> {
            if request.uri().path() == "/no" {
                let mut response = Response::new(Body::from_static(b"no"));
                *response.status_mut() = StatusCode::FORBIDDEN;
                return Err(response);
            }
            scope.insert(self.0);
            Ok(format!("{}{}", self.0, request.uri().path()))
        }

        fn response<F: Form>(
            &self,
            note: String,
            mut response: Response<Body<F::Out>>,
        ) -> Response<Body<F::Out>> {
            response.headers_mut().append("word", HeaderValue::try_from(note).unwrap());
            response
        }
    }

    fn in_each_form(check: impl Fn(&Client)) {
        let stack = |word| {
            Word(word).around(sync_fn(|request: Request<ReadBody>, scope: Scope| {
                let word = scope.get::<&str>().copied().unwrap_or_default();
                match request.uri().path() {
                    "/fail" => Err(AppError::unavailable("later")),
                    _ => Ok(Response::new(WriteBody::from(word))),
                }
            }))
        };
        check(&Client::sync(Word("outer").around(stack("inner"))));
        let stack = |word| {
            Word(word).around(app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
                let word = scope.get::<&str>().copied().unwrap_or_default();
                match request.uri().path() {
                    "/fail" => Err(AppError::unavailable("later")),
                    _ => Ok(Response::new(AsyncBody::from(word))),
                }
            }))
        };
        check(&Client::new(Word("outer").around(stack("inner"))));
    }

    #[test]
    fn the_first_is_the_outermost_and_each_gets_its_own_note() {
        in_each_form(|client| {
            let response = client.get("/yes").send();
            let words: Vec<_> = response.headers().get_all("word").iter().collect();
            assert_eq!(words, ["inner/yes", "outer/yes"]);
            assert_eq!(response.text(), "inner");
        });
    }

    #[test]
    fn an_answer_instead_of_a_call_is_the_answer() {
        in_each_form(|client| {
            let response = client.get("/no").send();
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(response.header("word"), None);
            assert_eq!(response.text(), "no");
        });
    }

    #[test]
    fn an_error_keeps_its_kind_and_source() {
        in_each_form(|client| {
            let response = client.get("/fail").send();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let error = response.error().unwrap();
            assert_eq!((error.kind(), error.to_string().as_str()), (FailKind::Unavailable, "later"));
        });
    }

    #[test]
    fn one_that_is_switched_off_changes_nothing() {
        let app = || sync_fn(|_, _| Ok(Response::new(WriteBody::from("hello"))));
        let off = Client::sync(None::<Word>.around(app()));
        assert_eq!(off.get("/").send().header("word"), None);
        let on = Client::sync(Some(Word("on")).around(app()));
        assert_eq!(on.get("/").send().header("word"), Some("on/"));
    }

    #[test]
    fn around_a_factory_it_is_one_and_the_application_is_built_and_torn_down() {
        /// Says how far it has come.
        #[derive(Clone, Default)]
        struct Site(Arc<Mutex<Vec<&'static str>>>);

        impl AppFactory for Site {
            type App = Arc<DynApp>;

            fn build(&self, _worker: &Worker) -> Result<Self::App, StartError> {
                self.0.lock().unwrap().push("build");
                Ok(Arc::new(sync_fn(|_, _| Ok(Response::new(WriteBody::from("built"))))))
            }

            fn teardown(&self, _app: Self::App, _worker: &Worker) -> Result<(), BoxError> {
                self.0.lock().unwrap().push("teardown");
                Ok(())
            }
        }

        impl AsyncAppFactory for Site {
            type App = Arc<DynAsyncApp>;

            async fn build(&self, _worker: &Worker) -> Result<Self::App, StartError> {
                self.0.lock().unwrap().push("build");
                Ok(Arc::new(Boxed(app_fn(|_, _| async { Ok(Response::new(AsyncBody::from("built"))) }))))
            }

            async fn teardown(&self, _app: Self::App, _worker: &Worker) -> Result<(), BoxError> {
                self.0.lock().unwrap().push("teardown");
                Ok(())
            }
        }

        fn around(site: Site) -> With<Word, Timed<CatchFailures<Site>>> {
            Word("word").around(Timeout::after(Duration::from_secs(60)).around(CatchFailures::around(site)))
        }
        let made: [fn(Site) -> Client; 2] = [
            |site| Client::sync_factory(around(site)).unwrap(),
            |site| Client::factory(around(site)).unwrap(),
        ];
        for made in made {
            let site = Site::default();
            let client = made(site.clone());
            let response = client.get("/").send();
            assert_eq!((response.text(), response.header("word")), ("built", Some("word/")));
            drop(client);
            assert_eq!(*site.0.lock().unwrap(), ["build", "teardown"]);
        }
    }

    #[test]
    fn it_keeps_to_the_contract_around_whatever_it_wraps() {
        varvel_lint::middleware(|inner| Word("lint").around(inner));
        varvel_lint::middleware_sync(|inner| Word("lint").around(inner));
        varvel_lint::assert_as_mobile!(AsyncApp: |inner| Word("lint").around(inner));
        varvel_lint::assert_as_mobile!(App: |inner| Word("lint").around(inner));
    }
}
