//! A bound on how long a call may take to answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, StatusCode};
use pin_project_lite::pin_project;
use varvel::{AsyncApp, AsyncAppResult, AsyncBody, Scope, Timer};

use crate::{Accept, HttpError};

/// Answers in place of an async application that has not answered in time, and drops its call at once, with all that it
/// waits for (spec M5). Only the head of the answer must come in time; bodies may take longer.
///
/// There is none for sync applications, as no thread can be stopped: what such a one waits for needs a time-out where it
/// waits. On an event loop put this around [`Offloaded`](varvel::bridge::Offloaded): then the client is answered, though
/// the thread goes on.
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

    /// Stands around an application.
    pub fn around<A>(self, app: A) -> Timed<A> {
        Timed { timeout: self, inner: app }
    }
}

/// An async application with a [`Timeout`] around it.
#[derive(Clone, Debug)]
pub struct Timed<A> {
    timeout: Timeout,
    inner: A,
}

impl<A: AsyncApp> AsyncApp for Timed<A> {
    type Future = TimedCall<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let timer = scope.worker().sleep(self.timeout.after);
        let accept = Accept::of(request.headers());
        TimedCall { call: Some(self.inner.call(request, scope)), timer, accept, status: self.timeout.status }
    }
}

pin_project! {
    /// The answer of an application with a [`Timeout`].
    #[must_use = "futures do nothing unless polled"]
    pub struct TimedCall<Fut> {
        // None once its time was up.
        #[pin]
        call: Option<Fut>,
        timer: Timer,
        accept: Accept,
        status: StatusCode,
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
        ready!(Pin::new(this.timer).poll(cx));
        this.call.set(None);
        let error = HttpError::new(*this.status).with_detail("It took too long.");
        Poll::Ready(Ok(error.respond(this.accept)))
    }
}

impl<Fut> fmt::Debug for TimedCall<Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TimedCall")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };

    use varvel::app_fn;
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    const TIME: Duration = Duration::from_secs(5);

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

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| Timeout::after(TIME).around(inner));
        varvel_lint::assert_as_mobile!(AsyncApp: |inner| Timeout::after(TIME).around(inner));
    }
}
