//! Panics of an application as answers.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, StatusCode, Uri};
use pin_project_lite::pin_project;
use varvel::{
    App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, Event, Mode, Phase, ReadBody, Report,
    RequestId, Scope, Watch,
};

use crate::{Accept, HttpError};

/// Answers 500 for a call that panics, and reports it.
///
/// Servers do so by themselves (spec E6). This is for what stands around it, which sees no answer of the server's: fields
/// of [`Cors`](super::Cors), without which a browser keeps a 500 from the page, or a page of your own for errors. Panics of
/// bodies, which come when the head is sent, are left to the server.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::{CatchPanic, Cors}};
///
/// let app = Cors::any().around(CatchPanic::around(sync_fn(|_, _| panic!("a mistake"))));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/").header("origin", "https://a.example").try_send().unwrap();
/// # assert_eq!((response.status().as_u16(), response.header("access-control-allow-origin")), (500, Some("*")));
/// ```
#[derive(Clone, Debug)]
pub struct CatchPanic<A> {
    inner: A,
}

impl<A> CatchPanic<A> {
    /// Stands around an application.
    pub fn around(app: A) -> Self {
        Self { inner: app }
    }
}

impl<A: App> App for CatchPanic<A> {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        let asked = Asked::of(&request, &scope);
        // What the application shares it shares with other threads, and answers for.
        catch_unwind(AssertUnwindSafe(|| self.inner.call(request, scope)))
            .unwrap_or_else(|panic| Ok(asked.answer(&*panic)))
    }
}

impl<A: AsyncApp> AsyncApp for CatchPanic<A> {
    type Future = CatchPanicCall<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let asked = Asked::of(&request, &scope);
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(request, scope))) {
            Ok(call) => CatchPanicCall { call: Some(call), panic: None, asked },
            Err(panic) => CatchPanicCall { call: None, panic: Some(panic), asked },
        }
    }
}

pin_project! {
    /// The answer of an application with a [`CatchPanic`] around it.
    #[must_use = "futures do nothing unless polled"]
    pub struct CatchPanicCall<Fut> {
        // None once it panicked.
        #[pin]
        call: Option<Fut>,
        panic: Option<Box<dyn Any + Send>>,
        asked: Asked,
    }
}

impl<Fut: Future<Output = AsyncAppResult>> Future for CatchPanicCall<Fut> {
    type Output = AsyncAppResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let mut this = self.project();
        if let Some(call) = this.call.as_mut().as_pin_mut() {
            match catch_unwind(AssertUnwindSafe(|| call.poll(cx))) {
                Ok(poll) => return poll,
                Err(panic) => {
                    *this.panic = Some(panic);
                    this.call.set(None);
                }
            }
        }
        let panic = this.panic.take().expect("not polled again after its answer (spec B12)");
        Poll::Ready(Ok(this.asked.answer(&*panic)))
    }
}

/// What is needed of a request if its call panics.
struct Asked {
    watch: Watch,
    connection: u64,
    exchange: u64,
    method: Method,
    uri: Uri,
    accept: Accept,
}

impl Asked {
    fn of<B>(request: &Request<B>, scope: &Scope) -> Self {
        Self {
            watch: scope.watch(),
            connection: scope.conn().id,
            exchange: scope.number(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            accept: Accept::of(request.headers()),
        }
    }

    fn answer<M: Mode>(&self, panic: &(dyn Any + Send)) -> Response<Body<M>> {
        let text = panic.downcast_ref::<&str>().copied();
        let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        let target = self.uri.to_string();
        let request = RequestId::new(self.connection, self.exchange, Some(&self.method), target.as_bytes());
        self.watch.report(&Report::of(request, Event::Panicked { during: Phase::Call, message }));
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).respond(&self.accept)
    }
}

impl<Fut> fmt::Debug for CatchPanicCall<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatchPanicCall")
    }
}

#[cfg(test)]
mod tests {
    use varvel::{app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    fn check(client: &Client) {
        let response = client.get("/panic").header("accept", "text/plain").try_send().unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.error().is_none(), "the answer is the middleware's");
        assert!(!response.text().contains("a mistake"), "what went wrong is not for the client");
        let told = format!("{:?}", response.reports());
        assert!(told.contains("a mistake"), "{told}");
        assert_eq!(client.get("/").send().text(), "fine");
    }

    fn behave(path: &str) -> &'static str {
        assert_ne!(path, "/panic", "a mistake");
        "fine"
    }

    #[test]
    fn a_panic_is_answered_and_reported() {
        check(&Client::sync(CatchPanic::around(sync_fn(|request: Request<ReadBody>, _| {
            Ok(respond::text(behave(request.uri().path())))
        }))));
        check(&Client::new(CatchPanic::around(app_fn(|request: Request<AsyncBody>, _| async move {
            Ok(respond::text(behave(request.uri().path())))
        }))));
        // Before there is a future.
        check(&Client::new(CatchPanic::around(app_fn(|request: Request<AsyncBody>, _| {
            let text = behave(request.uri().path());
            async move { Ok(respond::text(text)) }
        }))));
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(CatchPanic::around);
        varvel_lint::middleware_sync(CatchPanic::around);
        varvel_lint::assert_as_mobile!(AsyncApp: |inner| CatchPanic::around(inner));
        varvel_lint::assert_as_mobile!(App: |inner| CatchPanic::around(inner));
    }
}
