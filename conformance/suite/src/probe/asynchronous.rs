//! The probe as an async application.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, request::Parts};
use serde_json::json;
use varvel::{
    AppFuture, AsyncAppResult, AsyncBody, BodyError, BodyParts, Frame, FrameSender, PollBody, Scope,
};

use super::{
    ProbeApp,
    answer::{Answer, Choice, app_error, body_error, timer_fields, token_fields},
    context::{Bomb, Context, KeptBody, Reading, piece, polled_elsewhere, pulled_text},
    describe,
    program::{Keep, Step},
    routes, tunnel,
};

pub(super) fn call(app: &ProbeApp, request: Request<AsyncBody>, scope: Scope) -> ProbeCall {
    let (head, body) = request.into_parts();
    let description = describe::request(app, "async", &head, body.exact_len(), &scope);
    let context = Context::begin(app, &scope, &description);
    let steps = app.steps(&head);
    if steps.first() == Some(&Step::PanicEarly) {
        context.instant(&Step::PanicEarly);
    }
    let answer = Answer::new(&head, &steps, &description);
    let incoming = Incoming { body: Some(body), reading: Reading::default(), context: Arc::clone(&context) };
    let inner: AppFuture =
        Box::pin(Call { head, incoming, scope, answer, keeps_scope: false }.run(steps.into()));
    ProbeCall { inner, completed: false, context }
}

/// The future of an async call, which tells when it is dropped, and when it is asked too often.
pub struct ProbeCall {
    inner: AppFuture,
    completed: bool,
    context: Arc<Context>,
}

impl Future for ProbeCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<AsyncAppResult> {
        if self.completed {
            self.context.emit("misuse", json!({ "what": "a completed future was polled" }));
            return Poll::Pending;
        }
        let output = self.inner.as_mut().poll(cx);
        self.completed = output.is_ready();
        output
    }
}

impl Drop for ProbeCall {
    fn drop(&mut self) {
        self.context.emit("future-dropped", json!({ "completed": self.completed }));
    }
}

impl fmt::Debug for ProbeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeCall")
    }
}

/// A call between two steps.
struct Call {
    head: Parts,
    incoming: Incoming,
    scope: Scope,
    answer: Answer,
    /// The scope is kept at the end.
    keeps_scope: bool,
}

/// The request body, for as long as it is not given away, and what came of it.
struct Incoming {
    body: Option<AsyncBody>,
    reading: Reading,
    context: Arc<Context>,
}

impl Call {
    async fn run(mut self, mut steps: VecDeque<Step>) -> AsyncAppResult {
        let context = Arc::clone(&self.incoming.context);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Pass => {
                    if let Some(error) = self.incoming.reading.error.take() {
                        return Err(error.into());
                    }
                }
                Step::Tell => {
                    let description = routes::description(&self.head, &self.scope, &self.incoming.reading);
                    self.answer.tell(&self.head, &description);
                }
                Step::DropRequest => self.incoming.body = None,
                Step::Fail(failing) => return Err(app_error(failing)),
                Step::Hook { panics } => context.hook(&self.scope, panics),
                Step::Keep(Keep::Handle) => context.keep(None, None),
                Step::Keep(Keep::Body) => {
                    context.keep(self.incoming.body.take().map(KeptBody::Async), None);
                }
                Step::Keep(Keep::Scope) => self.keeps_scope = true,
                Step::Stream(len) => {
                    self.answer.body = Choice::Stream(len, steps.into());
                    break;
                }
                Step::TakeUpgrade => context.emit("token", token_fields(self.scope.take_upgrade().as_ref())),
                Step::Upgrade { replaced } => {
                    let Some(upgrade) = self.scope.take_upgrade() else { return Ok(no("token")) };
                    let mut head = Response::new(());
                    *head.headers_mut() = self.answer.headers;
                    *head.status_mut() = self.answer.status;
                    let log = tunnel::Log::of(&context);
                    let accepted = upgrade.accept(head, move |io| tunnel::polled(io, steps.into(), log));
                    // What a middleware would put in its place.
                    let other = || Response::new(AsyncBody::from_static(b"replaced"));
                    return Ok(if replaced { other() } else { accepted });
                }
                Step::TakeDeferral => {
                    context.emit("deferral", json!({ "some": self.scope.take_deferral().is_some() }));
                }
                // Async calls have no need of one: they wait without a thread.
                Step::Defer(_) => return Ok(no("deferral")),
                step => {
                    self.answer.take(&step)?;
                    self.incoming.step(&step).await;
                }
            }
        }
        if self.keeps_scope {
            context.keep(None, Some(self.scope));
        }
        let incoming = self.incoming;
        Ok(self.answer.into_response().map(|choice| match choice {
            Choice::Empty => AsyncBody::empty(),
            Choice::Full(bytes) => AsyncBody::full(bytes),
            Choice::File(region) => AsyncBody::file(region),
            Choice::Stream(len, steps) => stream(incoming, len, steps),
        }))
    }
}

fn no(what: &str) -> Response<AsyncBody> {
    let mut response = Response::new(AsyncBody::full(format!("no {what}")));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

impl Incoming {
    /// Steps that wait or read, in call and body alike.
    async fn step(&mut self, step: &Step) {
        let context = &self.context;
        match step {
            Step::Gate(name) => {
                context.waits("held", name);
                context.link.pass(name).await;
            }
            Step::Block(name) => {
                context.waits("held", name);
                context.link.wait(name);
            }
            Step::Timer(milliseconds) => {
                let deadline = Instant::now() + Duration::from_millis(*milliseconds);
                context.worker.timer(deadline).await;
                context.emit("timer", timer_fields(deadline));
            }
            Step::TimerMoved(milliseconds) => {
                let deadline = Instant::now() + Duration::from_millis(*milliseconds);
                polled_elsewhere(context.worker.timer(deadline)).await;
                context.emit("timer", timer_fields(deadline));
            }
            Step::Stopping => {
                context.waits("waiting", "stopping");
                context.worker.stopping().await;
                context.emit("stopping", json!({ "is": context.worker.is_stopping() }));
            }
            Step::Disconnected => {
                context.waits("waiting", "disconnected");
                context.watch().disconnected().await;
                context.emit("disconnected", json!({ "is": context.watch().is_disconnected() }));
            }
            Step::Read(wanted) => {
                while let (Some(body), false) = (&mut self.body, self.reading.has(*wanted)) {
                    self.reading.add(body.frame().await.transpose());
                }
                self.context.emit("read", self.reading.fields());
            }
            Step::Pull => {
                let Some(body) = &mut self.body else { return };
                let frame = body.frame().await.transpose();
                self.context.emit("pulled", json!({ "frame": pulled_text(&frame) }));
                self.reading.add(frame);
            }
            Step::Stale(key) => context.stale(key),
            step => context.instant(step),
        }
    }
}

fn stream(incoming: Incoming, len: Option<u64>, steps: Vec<Step>) -> AsyncBody {
    let bomb = steps.contains(&Step::PanicOnDrop).then(Bomb::new);
    let context = Arc::clone(&incoming.context);
    let produced = AsyncBody::generate(move |frames| produce(incoming, steps, frames));
    let BodyParts::Stream(inner) = produced.into_parts() else { return AsyncBody::empty() };
    AsyncBody::from_poll(Watched { inner, left: len, polls: 0, ended: false, context, _bomb: bomb })
}

/// A body that counts, and tells when it is dropped or asked too often.
struct Watched {
    inner: Pin<Box<dyn PollBody + Send>>,
    left: Option<u64>,
    polls: u64,
    ended: bool,
    context: Arc<Context>,
    _bomb: Option<Bomb>,
}

impl PollBody for Watched {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        self.polls += 1;
        if self.ended {
            self.context.emit("misuse", json!({ "what": "a body was polled behind its end" }));
            return Poll::Ready(None);
        }
        let frame = self.inner.as_mut().poll_frame(cx);
        match &frame {
            Poll::Ready(None | Some(Err(_))) => self.ended = true,
            Poll::Ready(Some(Ok(Frame::Data(data)))) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            }
            _ => {}
        }
        frame
    }

    fn exact_len(&self) -> Option<u64> {
        self.left
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.context.emit("body-dropped", json!({ "polls": self.polls, "ended": self.ended }));
    }
}

async fn produce(mut incoming: Incoming, steps: Vec<Step>, mut frames: FrameSender) -> Result<(), BodyError> {
    let context = Arc::clone(&incoming.context);
    for step in steps {
        match step {
            Step::Data(data) => frames.data(data).await,
            Step::Frames { count, bytes } => {
                for nth in 0..count {
                    context.emit("produced", json!({ "nth": nth }));
                    frames.data(piece(nth, bytes)).await;
                    context.emit("sent", json!({ "nth": nth }));
                }
            }
            Step::Flush => pending_once().await,
            Step::Trailers(trailers) => frames.trailers(trailers).await,
            Step::Echo => {
                while let Some(body) = &mut incoming.body {
                    match body.frame().await.transpose()? {
                        Some(frame) => frames.frame(frame).await,
                        None => break,
                    }
                }
            }
            Step::Pass => {
                if let Some(error) = incoming.reading.error.take() {
                    return Err(error);
                }
            }
            Step::Fail(failing) => return Err(body_error(failing)),
            step => incoming.step(&step).await,
        }
    }
    Ok(())
}

/// Gives the server an occasion to send what it has, as it must when a body is pending (spec B9).
async fn pending_once() {
    let mut was_pending = false;
    poll_fn(|cx| {
        if was_pending {
            return Poll::Ready(());
        }
        was_pending = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
