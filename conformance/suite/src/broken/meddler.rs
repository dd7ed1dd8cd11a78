//! Faults that only a server of async applications can have. The reference server has none of those to poll, so a
//! middleware commits them ahead of the bridge.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use varvel::{
    AppError, AppFuture, AsyncApp, AsyncAppFactory, AsyncBody, BodyError, BoxError, Frame, Policy, PollBody,
    Scope, StartError, Worker,
};

use super::Fault;

/// Whether the fault is one that is committed here.
pub(super) fn knows(fault: Fault) -> bool {
    matches!(fault, Fault::PollsAfterEnd | Fault::CancelsDespiteFinish)
}

/// An async application, or the factory of one, that is treated badly.
#[derive(Clone, Debug)]
pub(super) struct Meddler<A> {
    inner: A,
    fault: Fault,
}

impl<A> Meddler<A> {
    pub(super) fn new(inner: A, fault: Fault) -> Self {
        Self { inner, fault }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl<A> AsyncApp for Meddler<A>
where
    A: AsyncApp,
    A::Future: Send + 'static,
{
    type Future = AppFuture;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        let watch = scope.watch();
        let mut call = Box::pin(self.inner.call(request, scope));
        let cancels = self.has(Fault::CancelsDespiteFinish);
        let polls_on = self.has(Fault::PollsAfterEnd);
        Box::pin(async move {
            let response = std::future::poll_fn(|cx| {
                // Ahead of the call, which may have come to its end when it returns.
                if cancels && watch.poll_disconnected(cx).is_ready() {
                    return Poll::Ready(Err(AppError::abort()));
                }
                call.as_mut().poll(cx)
            });
            let response = response.await?;
            Ok(response.map(|body| {
                body.map_stream(|stream| if polls_on { Box::pin(PollsOn(stream)) } else { stream })
            }))
        })
    }
}

/// A body that asks again behind the end.
struct PollsOn(Pin<Box<dyn PollBody + Send>>);

impl PollBody for PollsOn {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = self.0.as_mut().poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = frame {
            let _ = self.0.as_mut().poll_frame(cx);
        }
        frame
    }

    fn exact_len(&self) -> Option<u64> {
        self.0.exact_len()
    }
}

impl<F> AsyncAppFactory for Meddler<F>
where
    F: AsyncAppFactory,
    <F::App as AsyncApp>::Future: Send + 'static,
{
    type App = Meddler<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(Meddler { inner: self.inner.build(worker).await?, fault: self.fault })
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.inner.teardown(app.inner, worker).await
    }
}
