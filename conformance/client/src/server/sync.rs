//! A sync application as an async one: the call, the writer of its body and its tunnel are coroutines.

use std::{
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use varvel::{
    App, AppError, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, AsyncIo,
    AsyncTunnel, BlockingTransport, BlockingTunnel, BodyError, BodyErrorKind, BodyParts, BoxError, Frame,
    FrameRead, FrameSink, Policy, PollBody, ReadBody, Scope, StartError, Worker, Writer,
};

use super::coroutine::{self, Coroutine};

/// The async form of a sync application, or of its factory.
pub(crate) struct OnThread<A> {
    inner: A,
    patience: Duration,
}

impl<A> OnThread<A> {
    pub(crate) fn new(inner: A, patience: Duration) -> Self {
        Self { inner, patience }
    }
}

impl<F> AsyncAppFactory for OnThread<F>
where
    F: AppFactory,
    F::App: App + Send + Sync + 'static,
{
    type App = OnThread<Arc<F::App>>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(OnThread::new(Arc::new(self.inner.build(worker)?), self.patience))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        match Arc::into_inner(app.inner) {
            Some(app) => self.inner.teardown(app, worker),
            None => Err("a call that did not end still holds the application".into()),
        }
    }
}

impl<A: App + Send + Sync + 'static> AsyncApp for OnThread<Arc<A>> {
    type Future = SyncCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> SyncCall {
        let app = Arc::clone(&self.inner);
        let result = Slot::default();
        let returned = result.clone();
        let call = Coroutine::new(self.patience, move || {
            let result = catch_unwind(AssertUnwindSafe(|| app.call(request.map(read_body), scope)));
            // Before the answer: once that is out, the teardown may want the application back.
            drop(app);
            returned.put(result);
        });
        SyncCall { stage: Stage::Calling(call), result, patience: self.patience }
    }
}

/// A sync call that is on its way.
pub(crate) struct SyncCall {
    stage: Stage,
    result: Slot<thread::Result<AppResult>>,
    patience: Duration,
}

enum Stage {
    Calling(Coroutine),
    /// A deferred reply is to come; whoever sends it finds here whom to wake.
    Deferred(Arc<Mutex<Option<Waker>>>),
    Over,
}

impl Future for SyncCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        loop {
            match &mut self.stage {
                Stage::Calling(call) => ready!(call.resume(cx)),
                Stage::Deferred(waker) => *lock(waker) = Some(cx.waker().clone()),
                Stage::Over => return Poll::Pending,
            }
            let Some(result) = self.result.take() else { return Poll::Pending };
            let (head, body) = match result {
                Err(panic) => resume_unwind(panic),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Ok(Ok(response)) => response.into_parts(),
            };
            let body = match body.into_parts() {
                BodyParts::Deferred(answer) => {
                    let waker = Arc::new(Mutex::new(None::<Waker>));
                    let (result, waiting) = (self.result.clone(), Arc::downgrade(&waker));
                    answer.on_reply(move |answer| {
                        let Some(waiting) = waiting.upgrade() else { return false };
                        result.put(Ok(answer));
                        let waker = lock(&waiting).take();
                        if let Some(waker) = waker {
                            waker.wake();
                        }
                        true
                    });
                    self.stage = Stage::Deferred(waker);
                    continue;
                }
                BodyParts::Empty => AsyncBody::empty(),
                BodyParts::Full(bytes) => AsyncBody::full(bytes),
                BodyParts::File(region) => AsyncBody::file(region),
                BodyParts::Stream(writer) => AsyncBody::from_poll(Written::new(writer, self.patience)),
                BodyParts::Tunnel(tunnel) => {
                    AsyncBody::from(BodyParts::Tunnel(on_thread(tunnel, self.patience)))
                }
                _ => {
                    return Poll::Ready(Err(AppError::internal(
                        "a body of a kind unknown to the test server",
                    )));
                }
            };
            self.stage = Stage::Over;
            return Poll::Ready(Ok(Response::from_parts(head, body)));
        }
    }
}

/// A call that was given up runs to its end, and so does the writer of its body, into a sink that refuses it (spec E15).
impl Drop for SyncCall {
    fn drop(&mut self) {
        let Stage::Calling(call) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        drop(call);
        match self.result.take() {
            Some(Ok(Ok(response))) => {
                if let BodyParts::Stream(writer) = response.into_body().into_parts() {
                    let _ = writer.write_to(&mut Gone);
                }
            }
            Some(Err(panic)) if !thread::panicking() => resume_unwind(panic),
            _ => {}
        }
    }
}

/// The request body as the application reads it.
fn read_body(body: AsyncBody) -> ReadBody {
    struct Pulled(Pin<Box<dyn PollBody + Send>>);
    impl FrameRead for Pulled {
        fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
            match coroutine::wait(|cx| self.0.as_mut().poll_frame(cx)) {
                Some(frame) => frame.transpose(),
                None => Err(BodyError::new(BodyErrorKind::Disconnected)),
            }
        }

        fn exact_len(&self) -> Option<u64> {
            self.0.exact_len()
        }
    }
    match body.into_parts() {
        BodyParts::Stream(stream) => ReadBody::from_frames(Pulled(stream)),
        // A request is either streamed or has no body.
        _ => ReadBody::empty(),
    }
}

/// A response body that is written while it is polled.
struct Written {
    stage: Writing,
    slots: Slots,
    left: Option<u64>,
    patience: Duration,
}

enum Writing {
    Unwanted(Option<Writer>),
    Running(Coroutine),
}

#[derive(Clone, Default)]
struct Slots {
    frame: Slot<Frame>,
    end: Slot<thread::Result<Result<(), BodyError>>>,
}

impl Written {
    fn new(writer: Writer, patience: Duration) -> Self {
        let left = writer.exact_len();
        Self { stage: Writing::Unwanted(Some(writer)), slots: Slots::default(), left, patience }
    }
}

impl PollBody for Written {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = &mut *self;
        if let Writing::Unwanted(writer) = &mut this.stage {
            let Some(writer) = writer.take() else { return Poll::Ready(None) };
            let slots = this.slots.clone();
            this.stage = Writing::Running(Coroutine::new(this.patience, move || {
                let mut sink = Sink(&slots.frame);
                slots.end.put(catch_unwind(AssertUnwindSafe(|| writer.write_to(&mut sink))));
            }));
        }
        let Writing::Running(writer) = &mut this.stage else { return Poll::Ready(None) };
        let returned = writer.resume(cx);
        if let Some(frame) = this.slots.frame.take() {
            if let (Frame::Data(data), Some(left)) = (&frame, &mut this.left) {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        ready!(returned);
        match this.slots.end.take() {
            Some(Ok(end)) => Poll::Ready(end.err().map(Err)),
            Some(Err(panic)) => resume_unwind(panic),
            None => Poll::Ready(None),
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.left
    }
}

/// A writer that is given up runs to its end, into a sink that refuses it.
impl Drop for Written {
    fn drop(&mut self) {
        drop(std::mem::replace(&mut self.stage, Writing::Unwanted(None)));
        if let (Some(Err(panic)), false) = (self.slots.end.take(), thread::panicking()) {
            resume_unwind(panic);
        }
    }
}

/// Hands over a frame, and waits until it was taken: nothing is ever unsent, so a flush has nothing to wait for.
struct Sink<'s>(&'s Slot<Frame>);

impl Sink<'_> {
    fn frame(&self, frame: Frame) -> Result<(), BodyError> {
        let gone = || BodyError::new(BodyErrorKind::Disconnected);
        if coroutine::is_abandoned() {
            return Err(gone());
        }
        self.0.put(frame);
        let taken = |_: &mut Context<'_>| if self.0.is_empty() { Poll::Ready(()) } else { Poll::Pending };
        coroutine::wait(taken).ok_or_else(gone)
    }
}

impl FrameSink for Sink<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.frame(Frame::Data(chunk))
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        match coroutine::is_abandoned() {
            true => Err(BodyError::new(BodyErrorKind::Disconnected)),
            false => Ok(()),
        }
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.frame(Frame::Trailers(trailers))
    }
}

/// The sink of an answer that nobody waits for any more.
struct Gone;

impl FrameSink for Gone {
    fn data(&mut self, _chunk: Bytes) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }

    fn trailers(&mut self, _trailers: HeaderMap) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }
}

/// The continuation of a sync application.
fn on_thread(tunnel: BlockingTunnel, patience: Duration) -> AsyncTunnel {
    AsyncTunnel::new(tunnel.worker().clone(), move |io| {
        let end = Slot::default();
        let returned: Slot<thread::Result<()>> = end.clone();
        let mut code = Coroutine::new(patience, move || {
            let transport = Transport { io, ahead: None, woken: Arc::default() };
            returned.put(catch_unwind(AssertUnwindSafe(|| tunnel.run(transport))));
        });
        Box::pin(async move {
            poll_fn(|cx| code.resume(cx)).await;
            if let Some(Err(panic)) = end.take() {
                resume_unwind(panic);
            }
        })
    })
}

/// The connection as a sync continuation uses it.
struct Transport {
    io: AsyncIo,
    /// What was read to learn that something can be read.
    ahead: Option<io::Result<Bytes>>,
    /// Ends a wait.
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(Mutex<WokenState>);

#[derive(Default)]
struct WokenState {
    woken: bool,
    /// Who waits.
    waiting: Option<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.0);
        state.woken = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl BlockingTransport for Transport {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ahead.take() {
            None => at_once(|cx| self.io.poll_read(cx, buffer)),
            Some(Err(error)) => Err(error),
            Some(Ok(mut bytes)) => {
                let taken = bytes.split_to(buffer.len().min(bytes.len()));
                buffer[..taken.len()].copy_from_slice(&taken);
                // The end stays the end: reading again finds it again.
                self.ahead = (!bytes.is_empty()).then_some(Ok(bytes));
                Ok(taken.len())
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(|cx| self.io.poll_write(cx, bytes))
    }

    fn close_write(&mut self) -> io::Result<()> {
        at_once(|cx| self.io.poll_close(cx))
    }

    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
        let mut timer = timeout.map(|timeout| self.io.worker().sleep(timeout));
        let waited = coroutine::wait(|cx| {
            let mut state = lock(&self.woken.0);
            if std::mem::take(&mut state.woken) {
                return Poll::Ready(());
            }
            state.waiting = Some(cx.waker().clone());
            drop(state);
            if readable && self.ahead.is_none() {
                let mut piece = [0; 1024];
                if let Poll::Ready(read) = self.io.poll_read(cx, &mut piece) {
                    self.ahead = Some(read.map(|read| Bytes::copy_from_slice(&piece[..read])));
                }
            }
            let over = timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_ready());
            // Writing nothing is possible when writing something is.
            let ready = over
                || (readable && self.ahead.is_some())
                || (writable && self.io.poll_write(cx, &[]).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        });
        waited.ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.woken))
    }
}

fn at_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Room for one value between a coroutine and whoever resumes it.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn put(&self, value: T) {
        *lock(&self.0) = Some(value);
    }

    fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_none()
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
