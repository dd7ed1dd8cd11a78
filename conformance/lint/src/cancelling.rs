//! The stress of calls that are dropped where they wait (spec A6), while an application runs.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use varvel::{
    AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, BodyParts, BoxError, Policy, Scope, StartError,
    Worker,
};

use crate::{
    drive::message,
    record::{Call, CallGuard, Core, Place, Record, Settings},
    rules as r,
    serving::StandIn,
};

/// Drops the calls of an async application where they wait, and makes them again; see
/// [`Lint::cancelling`](crate::Lint::cancelling).
///
/// The first call is dropped at its first pending poll, the next at its second, and so on; after one that does not wait as
/// often it begins anew. The call is made again with the same request and another scope of the same exchange, so the
/// client has its answer all the same. That is fair only where a request may be repeated, so other methods than GET, HEAD
/// and OPTIONS, and requests with a body that is still to come, are left alone. To drop those as well, and bodies between
/// their frames, a test has [`cancel_everywhere`](crate::cancel_everywhere).
///
/// Its calls hold the application, so they are `Send` where that is `Send` and `Sync`.
pub struct Cancelling<A> {
    inner: Arc<A>,
    core: Arc<Core>,
    /// At which pending poll the next call is dropped.
    next: Arc<AtomicU64>,
}

impl<A> Cancelling<A> {
    pub(crate) fn new(inner: A, settings: &Settings) -> Self {
        // A layer below the lint: it looks at nothing above.
        let settings = Settings { place: Place::Alone, below_middleware: true, ..settings.clone() };
        Self { inner: Arc::new(inner), core: Core::new(settings, None), next: Arc::new(AtomicU64::new(1)) }
    }
}

impl<A: AsyncApp> AsyncApp for Cancelling<A> {
    type Future = CancellingCall<A>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let (head, body) = request.into_parts();
        let body = match body.into_parts() {
            BodyParts::Empty if head.method.is_safe() => Bytes::new(),
            BodyParts::Full(bytes) if head.method.is_safe() => bytes,
            parts => {
                let request = Request::from_parts(head, AsyncBody::from(parts));
                return CancellingCall { call: Some(Box::pin(self.inner.call(request, scope))), again: None };
            }
        };
        let record = Record::begin(&self.core, &head, &scope, true);
        let stand_in = StandIn::new(scope, &head.uri, &record);
        let again = Again {
            app: Arc::clone(&self.inner),
            request: Request::from_parts(head, body),
            stand_in,
            guard: CallGuard { record, inside: false },
            polls: 0,
            at: self.next.fetch_add(1, SeqCst),
            next: Arc::clone(&self.next),
        };
        CancellingCall { call: Some(Box::pin(again.call())), again: Some(again) }
    }
}

/// A call that is dropped once where it waits, and made again.
pub struct CancellingCall<A: AsyncApp> {
    call: Option<Pin<Box<A::Future>>>,
    /// Taken when the call was made again.
    again: Option<Again<A>>,
}

/// All that a second call needs.
struct Again<A> {
    app: Arc<A>,
    request: Request<Bytes>,
    stand_in: StandIn,
    guard: CallGuard,
    polls: u64,
    at: u64,
    next: Arc<AtomicU64>,
}

impl<A: AsyncApp> Again<A> {
    fn call(&self) -> A::Future {
        let scope = self.stand_in.scope(self.request.uri());
        self.app.call(self.request.clone().map(AsyncBody::from), scope)
    }
}

impl<A: AsyncApp> Future for CancellingCall<A> {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let Self { call: slot, again } = &mut *self;
        let Some(call) = slot else { return Poll::Pending };
        let polled = call.as_mut().poll(cx);
        match (&polled, again.as_mut()) {
            (Poll::Pending, Some(first)) => {
                first.polls += 1;
                if first.polls < first.at {
                    return Poll::Pending;
                }
                let dropped = catch_unwind(AssertUnwindSafe(|| *slot = None));
                if let Err(panic) = dropped {
                    *slot = None;
                    let polls = first.polls;
                    first.guard.record.breach(r::A6_DROP, || {
                        format!("its destructor panicked at pending poll {polls}: {}", message(&*panic))
                    });
                }
                *slot = Some(Box::pin(first.call()));
                *again = None;
                // The new call is polled with this task; waking it keeps one poll of ours one poll of the application.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (Poll::Ready(_), first) => {
                if let Some(first) = first {
                    // It never came so far.
                    first.next.store(1, SeqCst);
                    first.guard.record.call_over(Call::Returned);
                }
                *slot = None;
                polled
            }
            (Poll::Pending, None) => polled,
        }
    }
}

impl<F: AsyncAppFactory> AsyncAppFactory for Cancelling<F> {
    type App = Cancelling<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let app = self.inner.build(worker).await?;
        Ok(Cancelling::new(app, &self.core.settings))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        match Arc::into_inner(app.inner) {
            Some(app) => self.inner.teardown(app, worker).await,
            None => Err("a call still holds the application".into()),
        }
    }
}

impl<A> fmt::Debug for Cancelling<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelling")
    }
}

impl<A: AsyncApp> fmt::Debug for CancellingCall<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancellingCall")
    }
}
