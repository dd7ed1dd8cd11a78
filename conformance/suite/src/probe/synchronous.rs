//! The probe as a sync application.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, request::Parts};
use serde_json::json;
use varvel::{AppResult, BodyError, Frame, FrameSink, ReadBody, Scope, WriteBody};

use super::{
    ProbeApp,
    answer::{Answer, Choice, app_error, body_error, timer_fields, token_fields},
    context::{Bomb, Context, KeptBody, Reading, block_on, piece, polled_elsewhere, pulled_text},
    describe,
    program::{Keep, Step},
    routes, tunnel,
};

pub(super) fn call(app: &ProbeApp, request: Request<ReadBody>, scope: Scope) -> AppResult {
    let (head, body) = request.into_parts();
    let description = describe::request(app, "sync", &head, body.exact_len(), &scope);
    let context = Context::begin(app, &scope, &description);
    let steps = app.steps(&head);
    let answer = Answer::new(&head, &steps, &description);
    let incoming = Incoming { body: Some(body), reading: Reading::default(), context };
    Call { head, incoming, scope, answer, keeps_scope: false }.run(steps.into())
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
    body: Option<ReadBody>,
    reading: Reading,
    context: Arc<Context>,
}

impl Call {
    fn run(mut self, mut steps: VecDeque<Step>) -> AppResult {
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
                    context.keep(self.incoming.body.take().map(KeptBody::Sync), None);
                }
                Step::Keep(Keep::Scope) => self.keeps_scope = true,
                Step::Stream(len) => {
                    self.answer.body = Choice::Stream(len, steps.into());
                    break;
                }
                Step::TakeUpgrade => context.emit("token", token_fields(self.scope.take_upgrade().as_ref())),
                Step::Upgrade { replaced } => {
                    let Some(upgrade) = self.scope.take_upgrade() else { return Ok(no_token()) };
                    let mut head = Response::new(());
                    *head.headers_mut() = self.answer.headers;
                    *head.status_mut() = self.answer.status;
                    let log = tunnel::Log::of(&context);
                    let accepted =
                        upgrade.accept_blocking(head, move |io| tunnel::blocking(io, steps.into(), log));
                    return Ok(if replaced { answer_replaced() } else { accepted });
                }
                Step::TakeDeferral => {
                    context.emit("deferral", json!({ "some": self.scope.take_deferral().is_some() }));
                }
                Step::Defer(how) => return self.defer(&how, steps),
                step => {
                    self.answer.take(&step)?;
                    self.incoming.step(&step);
                }
            }
        }
        if self.keeps_scope {
            context.keep(None, Some(self.scope));
        }
        let incoming = self.incoming;
        Ok(self.answer.into_response().map(|choice| match choice {
            Choice::Empty => WriteBody::empty(),
            Choice::Full(bytes) => WriteBody::full(bytes),
            Choice::File(region) => WriteBody::file(region),
            Choice::Stream(len, steps) => stream(incoming, len, steps),
        }))
    }

    /// Has another thread do the rest.
    fn defer(mut self, how: &str, steps: VecDeque<Step>) -> AppResult {
        let Some(deferral) = self.scope.take_deferral() else {
            let mut response = Response::new(WriteBody::from_static(b"no deferral"));
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            return Ok(response);
        };
        let (placeholder, reply) = deferral.defer();
        let log = tunnel::Log::of(&self.incoming.context);
        let (replied, wait) = mpsc::channel();
        thread::spawn(move || {
            let sent = match self.run(steps) {
                Ok(response) => reply.send(response),
                Err(error) => reply.fail(error),
            };
            log.emit("replied", json!({ "ok": sent.is_ok() }));
            // Only `early` waits for it.
            let _ = replied.send(());
        });
        match how {
            "early" => {
                // Fails if the thread has panicked, and then there is no reply to wait for.
                let _ = wait.recv();
                Ok(placeholder)
            }
            "replaced" => Ok(answer_replaced()),
            _ => Ok(placeholder),
        }
    }
}

/// What a middleware would put in the place of something better.
fn answer_replaced() -> Response<WriteBody> {
    Response::new(WriteBody::from_static(b"replaced"))
}

fn no_token() -> Response<WriteBody> {
    let mut response = Response::new(WriteBody::from_static(b"no token"));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

impl Incoming {
    /// Steps that wait or read, in call and body alike.
    fn step(&mut self, step: &Step) {
        let context = &self.context;
        match step {
            Step::Gate(name) | Step::Block(name) => {
                context.waits("held", name);
                context.link.wait(name);
            }
            Step::Timer(milliseconds) => {
                let deadline = Instant::now() + Duration::from_millis(*milliseconds);
                block_on(context.worker.timer(deadline));
                context.emit("timer", timer_fields(deadline));
            }
            Step::TimerMoved(milliseconds) => {
                let deadline = Instant::now() + Duration::from_millis(*milliseconds);
                let timer = polled_elsewhere(context.worker.timer(deadline));
                block_on(timer);
                context.emit("timer", timer_fields(deadline));
            }
            Step::Stopping => {
                context.waits("waiting", "stopping");
                block_on(context.worker.stopping());
                context.emit("stopping", json!({ "is": context.worker.is_stopping() }));
            }
            Step::Disconnected => {
                context.waits("waiting", "disconnected");
                block_on(context.watch().disconnected());
                context.emit("disconnected", json!({ "is": context.watch().is_disconnected() }));
            }
            Step::Read(wanted) => {
                while let (Some(body), false) = (&mut self.body, self.reading.has(*wanted)) {
                    self.reading.add(body.next_frame());
                }
                self.context.emit("read", self.reading.fields());
            }
            Step::Pull => {
                let Some(body) = &mut self.body else { return };
                let frame = body.next_frame();
                self.context.emit("pulled", json!({ "frame": pulled_text(&frame) }));
                self.reading.add(frame);
            }
            Step::Stale(key) => context.stale(key),
            step => context.instant(step),
        }
    }
}

fn stream(incoming: Incoming, len: Option<u64>, steps: Vec<Step>) -> WriteBody {
    let bomb = steps.contains(&Step::PanicOnDrop).then(Bomb::new);
    let mut guard = Guard { runs: 0, ended: false, context: Arc::clone(&incoming.context), _bomb: bomb };
    let write = move |sink: &mut dyn FrameSink| {
        // As a whole: the closure would otherwise capture copies of the numbers, and not the guard.
        let guard = &mut guard;
        guard.runs += 1;
        let mut incoming = incoming;
        let result = write(&mut incoming, steps, sink);
        guard.ended = true;
        result
    };
    match len {
        Some(len) => WriteBody::from_sized_writer(len, write),
        None => WriteBody::from_writer(write),
    }
}

/// Tells when the body is dropped.
struct Guard {
    runs: u64,
    ended: bool,
    context: Arc<Context>,
    _bomb: Option<Bomb>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.context.emit("body-dropped", json!({ "polls": self.runs, "ended": self.ended }));
    }
}

fn write(incoming: &mut Incoming, steps: Vec<Step>, sink: &mut dyn FrameSink) -> Result<(), BodyError> {
    let context = Arc::clone(&incoming.context);
    let failed = |error: BodyError| {
        context.emit("push-failed", json!({ "error": format!("{:?}", error.kind()) }));
        error
    };
    for step in steps {
        match step {
            Step::Data(data) => sink.data(data).map_err(failed)?,
            Step::Frames { count, bytes } => {
                for nth in 0..count {
                    context.emit("produced", json!({ "nth": nth }));
                    sink.data(piece(nth, bytes)).map_err(failed)?;
                    context.emit("sent", json!({ "nth": nth }));
                }
            }
            Step::Flush => sink.flush().map_err(failed)?,
            Step::Trailers(trailers) => sink.trailers(trailers).map_err(failed)?,
            Step::Echo => {
                while let Some(body) = &mut incoming.body {
                    match body.next_frame()? {
                        Some(Frame::Data(data)) => {
                            sink.data(data).and_then(|()| sink.flush()).map_err(failed)?
                        }
                        Some(Frame::Trailers(trailers)) => sink.trailers(trailers).map_err(failed)?,
                        Some(_) => {}
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
            step => incoming.step(&step),
        }
    }
    Ok(())
}
