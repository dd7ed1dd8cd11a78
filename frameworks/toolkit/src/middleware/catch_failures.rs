//! Failures of an application as answers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, Uri};
use pin_project_lite::pin_project;
use varvel::{
    App, AppError, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, Body,
    BoxError, Mode, Policy, ReadBody, Scope, StartError, Worker, map_answer,
};

use crate::{Accept, FailureLog, HttpError, caught};

/// Answers for an application that fails, be it by an [`AppError`] or a panic, and reports what went wrong.
///
/// Servers do so by themselves (spec E1, E3, E6), but outside of all middleware: a browser keeps their 500 from the page
/// for want of the fields of [`Cors`](super::Cors), and it has no [`X-Request-Id`](super::RequestIds) by which to look for
/// the cause. So this stands innermost, and the others see an answer like any other:
///
/// | what happens | the answer | reported |
/// |---|---|---|
/// | a panic, [`FailKind::Internal`](varvel::FailKind::Internal), or a body that failed by itself | 500 | yes |
/// | [`FailKind::Unavailable`](varvel::FailKind::Unavailable) | 503 with Retry-After | yes |
/// | an [`HttpError`] among the causes, but for a 500 | that | [a 5xx that something caused](HttpError::is_reported) |
/// | a request body above a limit | 413 | no |
///
/// The answers are [problem details](crate::problem), in the form that the client likes best, and tell nothing of the
/// cause. What concerns the connection is left to the server, which has to close it: [`AppError::abort`], request bodies
/// that break off, are malformed or late, and clients that have left. So are failures of response bodies, whose head has
/// gone out.
///
/// Around an application that [answers later](varvel::Deferral) it sees the failures of its replies, those that are
/// dropped unanswered included; the panics of other threads are those threads' own.
///
/// ```
/// use varvel::{AppResult, sync_fn};
/// use varvel_toolkit::{Middleware, middleware::{CatchFailures, Cors}, respond};
///
/// let app = sync_fn(|_, _| -> AppResult { Ok(respond::text(std::fs::read("/no/such/file")?)) });
/// let app = Cors::any().around(CatchFailures::around(app));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/").header("origin", "https://a.example").try_send().unwrap();
/// # assert_eq!((response.status().as_u16(), response.header("access-control-allow-origin")), (500, Some("*")));
/// ```
#[derive(Clone, Debug)]
pub struct CatchFailures<A> {
    inner: A,
}

impl<A> CatchFailures<A> {
    /// Stands around an application, or around the factory of one.
    pub fn around(app: A) -> Self {
        Self { inner: app }
    }
}

impl<A: App> App for CatchFailures<A> {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        let asked = Asked::of(&request, &scope);
        let answer = caught(|| self.inner.call(request, scope)).unwrap_or_else(Err);
        map_answer(answer, move |answer| asked.answer(answer))
    }
}

impl<A: AsyncApp> AsyncApp for CatchFailures<A> {
    type Future = CatchFailuresCall<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let asked = Asked::of(&request, &scope);
        match caught(|| self.inner.call(request, scope)) {
            Ok(call) => CatchFailuresCall { call: Some(call), panicked: None, asked },
            Err(panicked) => CatchFailuresCall { call: None, panicked: Some(panicked), asked },
        }
    }
}

impl<F: AppFactory> AppFactory for CatchFailures<F> {
    type App = CatchFailures<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        self.inner.build(worker).map(CatchFailures::around)
    }

    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.inner.teardown(app.inner, worker)
    }
}

impl<F: AsyncAppFactory> AsyncAppFactory for CatchFailures<F> {
    type App = CatchFailures<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        self.inner.build(worker).await.map(CatchFailures::around)
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.inner.teardown(app.inner, worker).await
    }
}

pin_project! {
    /// The answer of an application with a [`CatchFailures`] around it.
    #[must_use = "futures do nothing unless polled"]
    pub struct CatchFailuresCall<Fut> {
        // None once it panicked.
        #[pin]
        call: Option<Fut>,
        panicked: Option<AppError>,
        asked: Asked,
    }
}

impl<Fut: Future<Output = AsyncAppResult>> Future for CatchFailuresCall<Fut> {
    type Output = AsyncAppResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let mut this = self.project();
        if let Some(call) = this.call.as_mut().as_pin_mut() {
            match caught(|| call.poll(cx)) {
                Ok(poll) => return poll.map(|answer| this.asked.answer(answer)),
                Err(panicked) => {
                    *this.panicked = Some(panicked);
                    this.call.set(None);
                }
            }
        }
        let panicked = this.panicked.take().expect("not polled again after its answer (spec B12)");
        Poll::Ready(this.asked.answer(Err(panicked)))
    }
}

/// What is needed of a request if its call fails.
struct Asked {
    log: FailureLog,
    method: Method,
    uri: Uri,
    accept: Accept,
}

impl Asked {
    fn of<B>(request: &Request<B>, scope: &Scope) -> Self {
        Self {
            log: FailureLog::of(scope),
            method: request.method().clone(),
            uri: request.uri().clone(),
            accept: Accept::of(request.headers()),
        }
    }

    fn answer<M: Mode>(
        &self,
        answer: Result<Response<Body<M>>, AppError>,
    ) -> Result<Response<Body<M>>, AppError> {
        let failure = match answer {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        if let Some(told) = HttpError::answer_for(&failure, &self.accept) {
            if HttpError::of(&failure).is_some_and(HttpError::is_reported) {
                self.failed(&failure);
            }
            return Ok(told);
        }
        let Some(error) = HttpError::of_kind(failure.kind()) else { return Err(failure) };
        self.failed(&failure);
        Ok(error.respond(&self.accept))
    }

    fn failed(&self, failure: &AppError) {
        self.log.failed(&self.method, &self.uri, failure);
    }
}

impl<Fut> fmt::Debug for CatchFailuresCall<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatchFailuresCall")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::StatusCode;
    use varvel::{BodyError, BodyErrorKind, FailKind, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::{
        Middleware,
        middleware::{Cors, RequestIds, With},
        respond,
    };

    /// Does what the path says.
    fn behave<M: Mode>(path: &str) -> Result<Response<Body<M>>, AppError> {
        match path {
            "/panic" => panic!("a mistake"),
            "/io" => Err(io::Error::other("a mistake").into()),
            "/failed" => Err(BodyError::failed("a mistake").into()),
            "/busy" => Err(AppError::unavailable("a mistake")),
            "/told" => Err(HttpError::not_found().with_detail("There is no such thing.").into()),
            "/upstream" => Err(HttpError::new(StatusCode::BAD_GATEWAY).caused_by("a mistake").into()),
            "/asleep" => Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE).into()),
            "/their" => Err(HttpError::bad_request("Not so.").caused_by("another mistake").into()),
            "/internal" => {
                Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).with_detail("a mistake").into())
            }
            "/large" => Err(BodyError::new(BodyErrorKind::TooLarge).into()),
            "/late" => Err(BodyError::new(BodyErrorKind::Timeout).into()),
            _ => Ok(respond::text("fine")),
        }
    }

    fn in_each_form(check: impl Fn(&Client)) {
        let sync = sync_fn(|request: Request<ReadBody>, _| behave(request.uri().path()));
        check(&Client::sync(stack(sync)));
        let deferred = sync_fn(|request: Request<ReadBody>, mut scope: Scope| {
            let path = request.uri().path();
            if path == "/panic" {
                return behave(path);
            }
            let (placeholder, reply) = scope.take_deferral().unwrap().defer();
            match behave(path) {
                Ok(response) => reply.send(response)?,
                Err(error) => reply.fail(error)?,
            }
            Ok(placeholder)
        });
        check(&Client::sync(stack(deferred)));
        let polled = app_fn(|request: Request<AsyncBody>, _| async move { behave(request.uri().path()) });
        check(&Client::new(stack(polled)));
        // Before there is a future.
        let early = app_fn(|request: Request<AsyncBody>, _| {
            let answer = behave(request.uri().path());
            async move { answer }
        });
        check(&Client::new(stack(early)));
    }

    fn stack<A>(app: A) -> With<RequestIds, With<Cors, CatchFailures<A>>> {
        RequestIds::new().around(Cors::any().around(CatchFailures::around(app)))
    }

    #[test]
    fn a_failure_is_an_answer_to_what_stands_around_it_and_is_reported_once() {
        in_each_form(|client| {
            for (path, status, reported) in [
                ("/panic", 500, "Panicked"),
                ("/io", 500, "AppFailed"),
                ("/failed", 500, "AppFailed"),
                ("/internal", 500, "AppFailed"),
                ("/busy", 503, "AppFailed"),
                ("/told", 404, ""),
                ("/upstream", 502, "AppFailed"),
                ("/asleep", 503, ""),
                ("/their", 400, ""),
                ("/large", 413, ""),
                ("/", 200, ""),
            ] {
                let request = client.get(path).header("origin", "https://a.example");
                let response = request.header("accept", "text/plain").try_send().unwrap();
                assert_eq!(response.status(), status, "{path}");
                assert!(response.error().is_none(), "{path}: the answer is the middleware's");
                assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{path}");
                assert!(response.header("x-request-id").is_some(), "{path}");
                assert_eq!(response.header("retry-after"), (path == "/busy").then_some("1"));
                assert!(!response.text().contains("a mistake"), "what went wrong is not for the client");
                let told = format!("{:?}", response.reports());
                assert_eq!(response.reports().len(), usize::from(!reported.is_empty()), "{path}: {told}");
                assert!(told.contains(reported), "{path}: {told}");
                assert_eq!(told.contains("a mistake"), !reported.is_empty(), "{path}: {told}");
            }
            assert!(client.get("/told").send().text().contains("There is no such thing."));
        });
    }

    #[test]
    fn what_ends_the_connection_is_left_to_the_server() {
        in_each_form(|client| {
            let response = client.get("/late").try_send().unwrap();
            assert_eq!(response.error().map(AppError::kind), Some(FailKind::Body(BodyErrorKind::Timeout)));
        });
    }

    #[test]
    fn a_reply_that_is_dropped_is_answered() {
        let app = sync_fn(|_, mut scope: Scope| Ok(scope.take_deferral().unwrap().defer().0));
        let response = Client::sync(stack(app)).get("/").try_send().unwrap();
        assert_eq!((response.status().as_u16(), response.reports().len()), (500, 1));
        assert!(response.header("x-request-id").is_some());
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(CatchFailures::around);
        varvel_lint::middleware_sync(CatchFailures::around);
        varvel_lint::assert_as_mobile!(AsyncApp: |inner| CatchFailures::around(inner));
        varvel_lint::assert_as_mobile!(App: |inner| CatchFailures::around(inner));
    }
}
