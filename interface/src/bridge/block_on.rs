//! An async application on a server of threads: the thread that serves the request polls, and sleeps in between.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use http::Request;

use super::{origin::Origin, tunnel};
use crate::{
    App, AppError, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncBody, BodyError, BodyErrorKind,
    BodyParts, BoxError, Frame, FrameRead, FrameSink, OnDisconnect, Phase, Policy, PollBody, ReadBody,
    Reader, Scope, StartError, Watch, Worker, WriteBody,
};

/// Makes a sync application of an async one, and the factory of one of the factory of the other.
///
/// The call, and then the body, are polled on the thread that serves the request; it sleeps while they wait. Reading the
/// request body blocks that thread, so a read counts as ready and does not run beside a timer. Everything else may be
/// awaited side by side. A client that leaves cancels the call as the factory's [`Policy`] says, where the server can
/// see it leave.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{App, AsyncBody, ReadBody, Scope, app_fn, bridge::BlockOn};
///
/// let app = BlockOn::new(app_fn(|request: Request<AsyncBody>, _| async {
///     let name = request.into_body().collect(1024).await?;
///     Ok(Response::new(AsyncBody::full(name)))
/// }));
/// let response = app.call(Request::new(ReadBody::from("falcon")), Scope::for_test()).unwrap();
/// assert_eq!(response.body().exact_len(), Some(6));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BlockOn<A> {
    inner: A,
    on_disconnect: OnDisconnect,
}

impl<A> BlockOn<A> {
    /// Wraps an async application, or the factory of one.
    pub fn new(inner: A) -> Self {
        Self { inner, on_disconnect: OnDisconnect::default() }
    }
}

impl<A: AsyncApp> App for BlockOn<A> {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        let watch = scope.watch();
        let (head, body) = request.into_parts();
        let origin = Origin::of(&head, &scope);
        let call = self.inner.call(Request::from_parts(head, to_async(body)), scope);
        let outcome = match self.on_disconnect {
            OnDisconnect::Finish | OnDisconnect::Answer => Some(origin.worker.block_on(call)),
            OnDisconnect::Cancel => origin.worker.block_on(UnlessGone { call: pin!(call), watch: &watch }),
        };
        let response = outcome.unwrap_or_else(|| Err(AppError::abort()))?;
        let on_disconnect = self.on_disconnect;
        Ok(response.map(|body| to_push(body, watch, on_disconnect, origin)))
    }
}

impl<F: AsyncAppFactory> AppFactory for BlockOn<F> {
    type App = BlockOn<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let inner = worker.block_on(self.inner.build(worker))?;
        Ok(BlockOn { inner, on_disconnect: self.inner.policy().on_disconnect })
    }

    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        worker.block_on(self.inner.teardown(app.inner, worker))
    }
}

/// Polls a call until it is done, or until the client is gone.
struct UnlessGone<'a, F> {
    call: Pin<&'a mut F>,
    watch: &'a Watch,
}

impl<F: Future> Future for UnlessGone<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The call goes first: an answer that is ready is sent, whoever has left.
        match self.call.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.watch.poll_disconnected(cx).map(|()| None),
        }
    }
}

/// The request body: polling it blocks.
fn to_async(body: ReadBody) -> AsyncBody {
    struct Blocking(Reader);
    impl PollBody for Blocking {
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, BodyError>>> {
            Poll::Ready(self.0.next_frame().transpose())
        }

        fn exact_len(&self) -> Option<u64> {
            self.0.exact_len()
        }
    }
    match body.into_parts() {
        BodyParts::Empty => AsyncBody::empty(),
        BodyParts::Full(bytes) => AsyncBody::full(bytes),
        BodyParts::File(region) => AsyncBody::file(region),
        BodyParts::Stream(stream) => AsyncBody::from_poll(Blocking(stream)),
        BodyParts::Tunnel(never) | BodyParts::Deferred(never) => match never {},
    }
}

/// The response body: a writer that polls.
fn to_push(body: AsyncBody, watch: Watch, on_disconnect: OnDisconnect, origin: Origin) -> WriteBody {
    let exact_len = body.exact_len();
    match body.into_parts() {
        BodyParts::Empty => WriteBody::empty(),
        BodyParts::Full(bytes) => WriteBody::full(bytes),
        BodyParts::File(region) => WriteBody::file(region),
        BodyParts::Stream(mut stream) => {
            let write = move |sink: &mut dyn FrameSink| {
                let push =
                    AssertUnwindSafe(|| push(stream.as_mut(), sink, &watch, on_disconnect, &origin.worker));
                let pushed = catch_unwind(push);
                // A destructor that panics must not make the server think that the writer did (spec E7), nor meet
                // another panic on its way.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(stream))) {
                    origin.report(Phase::Drop, &panic);
                }
                pushed.unwrap_or_else(|panic| resume_unwind(panic))
            };
            match exact_len {
                Some(len) => WriteBody::from_sized_writer(len, write),
                None => WriteBody::from_writer(write),
            }
        }
        BodyParts::Tunnel(tunnel) => WriteBody::from(BodyParts::Tunnel(tunnel::to_blocking(tunnel))),
        BodyParts::Deferred(never) => match never {},
    }
}

fn push(
    mut stream: Pin<&mut (dyn PollBody + Send)>,
    sink: &mut dyn FrameSink,
    watch: &Watch,
    on_disconnect: OnDisconnect,
    worker: &Worker,
) -> Result<(), BodyError> {
    // Once the client is gone under `Finish`, frames are still taken, so that the producer runs to its end (spec E10).
    let mut gone: Option<BodyError> = None;
    // The head waits to be flushed as well.
    let mut flushed = false;
    loop {
        let next = worker.block_on(poll_fn(|cx| match stream.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Next::Frame(frame)),
            // What was accepted must reach the client before a wait (spec B9).
            Poll::Pending if !flushed && gone.is_none() => Poll::Ready(Next::Flush),
            Poll::Pending if on_disconnect == OnDisconnect::Cancel => {
                watch.poll_disconnected(cx).map(|()| Next::Leave)
            }
            Poll::Pending => Poll::Pending,
        }));
        let pushed = match next {
            Next::Frame(None) => return gone.map_or(Ok(()), Err),
            Next::Frame(Some(Err(error))) => return Err(error),
            // Behind its trailers a body is not polled (spec B12).
            Next::Frame(Some(Ok(Frame::Trailers(trailers)))) => {
                return gone.map_or_else(|| sink.trailers(trailers), Err);
            }
            Next::Frame(Some(Ok(Frame::Data(_)))) if gone.is_some() => Ok(()),
            Next::Frame(Some(Ok(Frame::Data(data)))) => {
                flushed = false;
                sink.data(data)
            }
            Next::Flush => {
                flushed = true;
                sink.flush()
            }
            Next::Leave => return Err(BodyError::new(BodyErrorKind::Disconnected)),
        };
        match pushed {
            Err(error) if on_disconnect == OnDisconnect::Finish => gone = Some(error),
            pushed => pushed?,
        }
    }
}

/// What a writer that polls does next.
enum Next {
    Frame(Option<Result<Frame, BodyError>>),
    Flush,
    Leave,
}
