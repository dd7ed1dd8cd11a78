//! A sync application on an event loop: each call runs on the worker's blocking pool.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response, StatusCode, response};

use super::{
    link::{Link, LinkedBody, LinkedRequest, LinkedSink, LoopSide},
    origin::Origin,
    tunnel,
};
use crate::{
    App, AppError, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, BodyParts,
    BoxError, Job, OnDisconnect, Phase, Policy, ReadBody, Scope, StartError, Worker, WriteBody, Writer,
};

/// Makes an async application of a sync one, and the factory of one of the factory of the other.
///
/// Call and response writer run on one thread of the worker's pool ([`Worker::offload`]); frames cross a bounded link,
/// while bodies in memory and files return without it. A full pool answers 503. A call whose client has left runs to its
/// end, as threads do; its reads and writes fail with `Disconnected`.
///
/// A call costs two switches of threads where one request comes at a time, some 6 µs of processor time where loop and pool
/// share a processor. Calls that come together share them: from some 16 connections on a hello costs 2 to 3 µs more than as
/// an async application (7.5 instead of 5.3 with 64). With fewer than some 16 threads the pool is dearer (8.4 with four, 9.9
/// with one); more change nothing, if it wakes, as those of Varvel's servers do, one more only behind calls that last.
///
/// ```
/// use std::sync::Arc;
/// use http::Response;
/// use varvel::{AsyncApp, WriteBody, bridge::Offloaded, sync_fn};
///
/// let app = Offloaded::new(sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello")))));
/// fn is_async(_: &impl AsyncApp) {}
/// is_async(&app);
/// ```
pub struct Offloaded<A> {
    inner: Arc<A>,
    /// Held by the one call that may run, under a policy of exclusive calls. The server's own order of calls is not enough:
    /// a call that it has given up goes on (spec E15).
    turn: Option<Arc<Mutex<()>>>,
}

impl<A> Offloaded<A> {
    /// Wraps a sync application, or the factory of one.
    pub fn new(inner: A) -> Self {
        Self { inner: Arc::new(inner), turn: None }
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.turn.is_some()
    }

    pub(super) fn inner(&self) -> &Arc<A> {
        &self.inner
    }

    /// Gives the application back once no call runs any more.
    pub(super) fn into_inner(self) -> Option<A> {
        Arc::into_inner(self.inner)
    }
}

impl<A> Clone for Offloaded<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), turn: self.turn.clone() }
    }
}

impl<A> fmt::Debug for Offloaded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offloaded")
    }
}

impl<A: App + Send + Sync + 'static> AsyncApp for Offloaded<A> {
    type Future = OffloadedCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> OffloadedCall {
        let (head, body) = request.into_parts();
        let link = Link::new(Origin::of(&head, &scope));
        let exact_len = body.exact_len();
        let (stream, body) = match body.into_parts() {
            BodyParts::Stream(stream) => {
                let request = LinkedRequest { link: Arc::clone(&link), left: exact_len, over: false };
                (Some(stream), ReadBody::from_frames(request))
            }
            BodyParts::Full(bytes) => (None, ReadBody::full(bytes)),
            BodyParts::File(region) => (None, ReadBody::file(region)),
            // A request is never a tunnel or deferred.
            _ => (None, ReadBody::empty()),
        };
        let side = LoopSide::new(Arc::clone(&link), stream);
        let app = Arc::clone(&self.inner);
        let turn = self.turn.clone();
        let worker = scope.worker().clone();
        let job: Job = Box::new(move || {
            let _turn = turn.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            let request = Request::from_parts(head, body);
            let result = catch_unwind(AssertUnwindSafe(|| app.call(request, scope)));
            // Before the answer: once that is out, the worker may want the application back for its teardown.
            drop(app);
            match result {
                Ok(result) => answer(&link, result, Where::Pool),
                Err(panic) => link.answer(Err(panic)),
            };
        });
        match worker.offload(job) {
            Ok(()) => OffloadedCall::running(side),
            Err(_) => OffloadedCall::refused(),
        }
    }
}

/// A sync call that runs on the pool.
pub struct OffloadedCall(Call);

enum Call {
    Running(LoopSide),
    Done(Option<AsyncAppResult>),
}

impl OffloadedCall {
    fn running(side: LoopSide) -> Self {
        Self(Call::Running(side))
    }

    fn refused() -> Self {
        Self::done(Err(AppError::unavailable("the blocking pool is full")))
    }

    pub(super) fn done(result: AsyncAppResult) -> Self {
        Self(Call::Done(Some(result)))
    }

    /// The future of what a sync call returned on the loop itself: what still needs a thread of it gets one.
    #[inline]
    pub(super) fn returned(result: AppResult, origin: Origin) -> Self {
        match result.map(Response::into_parts) {
            Err(error) => Self::done(Err(error)),
            Ok((head, body)) => match without_thread(body) {
                Ok(body) => Self::done(Ok(Response::from_parts(head, body))),
                Err(body) => {
                    let link = Link::new(origin);
                    answer(&link, Ok(Response::from_parts(head, body)), Where::Elsewhere);
                    Self::running(LoopSide::new(link, None))
                }
            },
        }
    }
}

impl Future for OffloadedCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let answer = match &mut self.0 {
            Call::Running(side) => ready!(side.poll_answer(cx)),
            Call::Done(result) => return result.take().map_or(Poll::Pending, Poll::Ready),
        };
        let Call::Running(side) = std::mem::replace(&mut self.0, Call::Done(None)) else {
            return Poll::Pending;
        };
        Poll::Ready(answer.map(|(head, body)| {
            let body = match body {
                LinkedBody::Whole(body) => body,
                LinkedBody::Frames(exact_len) => side.into_body(exact_len),
            };
            Response::from_parts(head, body)
        }))
    }
}

impl fmt::Debug for OffloadedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OffloadedCall")
    }
}

/// On which thread an answer turned up.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    /// On one of the pool, which may block.
    Pool,
    /// On the loop, or on whatever thread sent a deferred reply.
    Elsewhere,
}

/// Hands a sync response over, and sees to it that its body is written; `false` if nobody waits for it any more.
fn answer(link: &Arc<Link>, result: AppResult, here: Where) -> bool {
    let (head, body) = match result {
        Ok(response) => response.into_parts(),
        Err(error) => return link.answer(Ok(Err(error))),
    };
    let body = match without_thread(body) {
        Ok(body) => return link.answer(Ok(Ok((head, LinkedBody::Whole(body))))),
        Err(body) => body,
    };
    let exact_len = body.exact_len();
    match body.into_parts() {
        BodyParts::Stream(writer) if here == Where::Pool => write(link, head, exact_len, writer),
        BodyParts::Stream(writer) => {
            let job_link = Arc::clone(link);
            let job: Job = Box::new(move || {
                write(&job_link, head, exact_len, writer);
            });
            match link.origin().worker.offload(job) {
                Ok(()) => link.is_awaited(),
                Err(_) => link.answer(Ok(Err(AppError::unavailable("the blocking pool is full")))),
            }
        }
        BodyParts::Deferred(deferred) => {
            let link = Arc::clone(link);
            deferred.on_reply(move |result| answer(&link, result, Where::Elsewhere));
            true
        }
        // `without_thread` has taken every other kind.
        _ => link.answer(Ok(Err(AppError::internal("the body's kind is unknown to the bridge")))),
    }
}

/// Runs a writer on this thread, to its end; `false` if nobody waits for its answer any more.
///
/// The head goes out with the first frame or flush. So a writer that fails ahead of them is answered with its error, and
/// one that reads the request's body first has a client that waits for 100 get that ahead of the head.
fn write(link: &Link, head: response::Parts, exact_len: Option<u64>, writer: Writer) -> bool {
    let is_bodiless = link.origin().method == Method::HEAD
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_bodiless {
        // Nothing is pushed then (spec H1, H2).
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(writer))) {
            link.origin().report(Phase::Drop, &panic);
        }
        return link.answer(Ok(Ok((head, LinkedBody::Frames(exact_len)))));
    }
    let mut sink = LinkedSink::new(link, head, exact_len);
    let end = catch_unwind(AssertUnwindSafe(|| writer.write_to(&mut sink)));
    sink.end(end)
}

/// A sync call goes on whoever has left, so its answer is sent to whoever may still read it.
fn answering(policy: Policy) -> Policy {
    Policy { on_disconnect: OnDisconnect::Answer, ..policy }
}

/// The body as an async one, or back if a thread is needed, or time.
#[inline]
fn without_thread(body: WriteBody) -> Result<AsyncBody, WriteBody> {
    Ok(match body.into_parts() {
        BodyParts::Empty => AsyncBody::empty(),
        BodyParts::Full(bytes) => AsyncBody::full(bytes),
        BodyParts::File(region) => AsyncBody::file(region),
        BodyParts::Tunnel(tunnel) => AsyncBody::from(BodyParts::Tunnel(tunnel::to_async(tunnel))),
        parts @ (BodyParts::Stream(_) | BodyParts::Deferred(_)) => return Err(WriteBody::from(parts)),
    })
}

impl<F> AsyncAppFactory for Offloaded<F>
where
    F: AppFactory,
    F::App: App + Send + Sync + 'static,
{
    type App = Offloaded<F::App>;

    fn policy(&self) -> Policy {
        answering(self.inner.policy())
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let turn = self.inner.policy().exclusive.then(Arc::default);
        Ok(Offloaded { turn, ..Offloaded::new(self.inner.build(worker)?) })
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        match app.into_inner() {
            Some(app) => self.inner.teardown(app, worker),
            None => Err("a call that outlived the drain deadline still holds the application".into()),
        }
    }
}
