//! One exchange on the in-process server: from the call over the body to the hooks at the end.

use std::{
    any::Any,
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, response};
use varvel::{
    AppError, AsyncAppResult, AsyncBody, AsyncTunnel, BodyError, BodyErrorKind, BodyParts, BoxFuture, Caps,
    Event, Exchange as _, Finish, Frame, OnDisconnect, Outcome, Phase, Report, RequestId, Scope,
};

use super::{
    Server,
    answer::{self, Asked, Framing, Verdict},
    bell::Task,
    connection::{Connection, NUMBER},
    incoming::Incoming,
    panic_message,
    pipe::Pipe,
};
use crate::{Head, Stage};

/// The future of a call, on the test's thread.
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = AsyncAppResult>>>;

pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) task: Arc<Task>,
    pub(crate) connection: Arc<Connection>,
    /// The request body, if there is one.
    pub(crate) incoming: Option<Arc<Incoming>>,
    pub(crate) asked: Asked,
    pub(crate) target: Bytes,
    running: Running,

    // What the client has been sent.
    pub(crate) interims: Vec<Head>,
    pub(crate) head: Option<Head>,
    pub(crate) outbox: VecDeque<Frame>,
    /// How the answer ended, behind what is in the outbox.
    pub(crate) end: Option<End>,
    pub(crate) pipe: Option<Arc<Pipe>>,

    framing: Framing,
    /// The body is polled while less than this many bytes are in the outbox.
    wanted: u64,
    bytes: u64,
    /// The client has left.
    left: bool,
    /// The client has ended its sending side behind its request.
    half_closed: bool,
    /// The answer goes to nobody, and is polled to its end (spec E10).
    discarding: bool,
    pub(crate) error: Option<Arc<AppError>>,
    pub(crate) finish: Option<Finish>,
}

enum Running {
    /// The call has not begun.
    Waiting(Box<(Request<AsyncBody>, Scope)>),
    Calling(CallFuture),
    Answering(AsyncBody),
    Tunnel(BoxFuture),
    Over,
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Complete,
    /// Behind the head, so that the client can tell it from a complete one; why.
    BrokenOff(String),
    /// Not a byte was sent; why.
    Silence(String),
}

impl Call {
    pub(crate) fn new(
        task: Arc<Task>,
        connection: Arc<Connection>,
        incoming: Option<Arc<Incoming>>,
        asked: Asked,
        request: Request<AsyncBody>,
        scope: Scope,
    ) -> Self {
        Self {
            id: connection.conn().id,
            task,
            connection,
            incoming,
            asked,
            target: Bytes::copy_from_slice(scope.raw_target()),
            running: Running::Waiting(Box::new((request, scope))),
            interims: Vec::new(),
            head: None,
            outbox: VecDeque::new(),
            end: None,
            pipe: None,
            framing: Framing::None,
            wanted: 0,
            bytes: 0,
            left: false,
            half_closed: false,
            discarding: false,
            error: None,
            finish: None,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.running {
            Running::Waiting(_) => Stage::Waiting,
            Running::Calling(_) => Stage::Calling,
            Running::Answering(_) => Stage::Answering,
            Running::Tunnel(_) => Stage::Tunnel,
            Running::Over => Stage::Over,
        }
    }

    /// Whether it keeps other calls out under an exclusive policy.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.running, Running::Calling(_) | Running::Answering(_))
    }

    /// The client has room for so many bytes of the body.
    pub(crate) fn want(&mut self, bytes: u64) {
        if self.wanted < bytes {
            self.wanted = bytes;
            self.task.waker().wake();
        }
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.outbox.iter().map(size).sum()
    }

    /// The next frame that the server has sent.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let frame = self.outbox.pop_front()?;
        self.wanted = 0;
        Some(frame)
    }

    /// Answers without a call (spec S4).
    pub(crate) fn refuse(&mut self, status: StatusCode, server: &Server) {
        self.asked.close = true;
        self.respond(status, server);
    }

    /// Goes on as far as it can, or with `once` no further than one poll.
    pub(crate) fn go(&mut self, server: &Server, once: bool) {
        loop {
            let waker = self.task.waker();
            let mut cx = Context::from_waker(&waker);
            let full = self.unsent() >= self.wanted;
            match &mut self.running {
                Running::Over => return,
                Running::Waiting(_) if server.is_busy() => return,
                Running::Waiting(_) => {
                    let Running::Waiting(parts) = std::mem::replace(&mut self.running, Running::Over) else {
                        return;
                    };
                    let (request, scope) = *parts;
                    match catch_unwind(AssertUnwindSafe(|| server.call(request, scope))) {
                        Ok(call) => self.running = Running::Calling(call),
                        Err(panic) => {
                            self.report_panic(server, Phase::Call, &*panic);
                            self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
                        }
                    }
                    // Beginning a call is not yet a poll of it.
                    continue;
                }
                Running::Calling(call) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx)));
                    self.take_interims(server);
                    match polled {
                        Ok(Poll::Pending) => return self.check_half_close(server),
                        Ok(Poll::Ready(result)) => {
                            self.drop_running(server);
                            self.answer(result, server);
                        }
                        Err(panic) => {
                            self.report_panic(server, Phase::Call, &*panic);
                            self.drop_running(server);
                            self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
                        }
                    }
                }
                Running::Answering(body) => {
                    if full && !self.discarding && !once {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| body.poll_frame(&mut cx))) {
                        Ok(Poll::Pending) => return self.check_half_close(server),
                        Ok(Poll::Ready(frame)) => self.produced(frame, server),
                        Err(panic) => self.body_panicked(&*panic, server),
                    }
                }
                Running::Tunnel(tunnel) => {
                    match catch_unwind(AssertUnwindSafe(|| tunnel.as_mut().poll(&mut cx))) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(())) if self.left => self.finish(Outcome::Disconnected, server),
                        Ok(Poll::Ready(())) => self.finish(Outcome::Completed, server),
                        Err(panic) => {
                            self.report_panic(server, Phase::Tunnel, &*panic);
                            self.finish(Outcome::Failed, server);
                        }
                    }
                }
            }
            if once {
                return;
            }
        }
    }

    /// The body's next frame, or its end.
    fn produced(&mut self, frame: Option<Result<Frame, BodyError>>, server: &Server) {
        match frame {
            Some(Ok(frame)) => self.send(frame, server),
            Some(Err(error)) => self.body_failed(error, server),
            None => self.body_ended(server),
        }
    }

    fn answer(&mut self, result: AsyncAppResult, server: &Server) {
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.fail(error, server),
        };
        let (head, body) = response.into_parts();
        if self.discarding {
            self.running = Running::Answering(body);
            return;
        }
        if self.left {
            // The transport refuses the head (spec E9).
            self.running = Running::Answering(body);
            return self.notice_leaving(server);
        }
        let length = body.exact_len();
        match body.into_parts() {
            BodyParts::Tunnel(tunnel) => self.begin_tunnel(head.headers, tunnel, server),
            parts => {
                let at_once = matches!(parts, BodyParts::Empty | BodyParts::Full(_));
                self.begin_answer(head, length, AsyncBody::from(parts), at_once, server);
            }
        }
    }

    fn begin_answer(
        &mut self,
        head: response::Parts,
        length: Option<u64>,
        mut body: AsyncBody,
        at_once: bool,
        server: &Server,
    ) {
        // If the answer's body is what pulls the request's, a client that waits for 100 gets it ahead of the head.
        let mut first = None;
        if self.connection.awaits_continue() && !at_once && self.asked.method != Method::HEAD {
            let waker = self.task.waker();
            let poll = || body.poll_frame(&mut Context::from_waker(&waker));
            first = match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(Some(Err(error)))) => {
                    self.contain_drop(body, server);
                    return self.fail(error.into(), server);
                }
                Ok(Poll::Ready(frame)) => Some(frame),
                Err(panic) => {
                    self.report_panic(server, Phase::Body, &*panic);
                    self.contain_drop(body, server);
                    return self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
                }
            };
            self.take_interims(server);
        }
        let report = |event: Event<'_>| self.report(server, event);
        match answer::head(&self.with_persistence(), head.status, head.headers, length, server.date(), report)
        {
            Ok((head, framing)) => self.begin_body(head, framing, body, at_once, server),
            Err(()) => {
                self.contain_drop(body, server);
                return self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
            }
        }
        if let (Some(frame), Running::Answering(_)) = (first, &self.running) {
            self.produced(frame, server);
        }
    }

    fn begin_tunnel(&mut self, headers: HeaderMap, tunnel: AsyncTunnel, server: &Server) {
        let report = |event: Event<'_>| self.report(server, event);
        let head = answer::accepted(&self.asked, headers, server.date(), report);
        self.send_head(head);
        let pipe = Pipe::new(server.limits().write_high_water);
        if self.half_closed {
            pipe.end_sending();
        }
        let end = pipe.end();
        self.pipe = Some(pipe);
        match catch_unwind(AssertUnwindSafe(|| tunnel.run(end))) {
            Ok(running) => self.running = Running::Tunnel(running),
            Err(panic) => {
                self.report_panic(server, Phase::Tunnel, &*panic);
                self.finish(Outcome::Failed, server);
            }
        }
    }

    fn begin_body(&mut self, head: Head, framing: Framing, body: AsyncBody, at_once: bool, server: &Server) {
        self.send_head(head);
        self.framing = framing;
        if framing == Framing::None {
            // HEAD, 204, 304: the body is dropped without having been polled (spec H1, H2).
            self.contain_drop(body, server);
            self.end = Some(End::Complete);
            return self.finish(Outcome::Completed, server);
        }
        self.running = Running::Answering(body);
        if at_once {
            self.wanted = u64::MAX;
        }
    }

    /// The call has returned an error, ahead of the head (the table of chapter E).
    fn fail(&mut self, error: AppError, server: &Server) {
        let kind = error.kind();
        if answer::is_reportable(kind) {
            let source = error.source().map(|source| source as _);
            self.report(server, Event::AppFailed { kind, error: source });
        }
        let text = error.to_string();
        self.error = Some(Arc::new(error));
        if self.discarding {
            return self.finish(Outcome::Disconnected, server);
        }
        match answer::verdict(kind) {
            Verdict::Respond(status, close) => {
                self.asked.close |= close;
                self.respond(status, server);
            }
            Verdict::Silence { aborted } => {
                self.end = Some(End::Silence(text));
                self.finish(if aborted { Outcome::Failed } else { Outcome::Disconnected }, server);
            }
        }
    }

    /// Sends a whole error response.
    fn respond(&mut self, status: StatusCode, server: &Server) {
        if self.left {
            return self.finish(Outcome::Disconnected, server);
        }
        let (headers, text) = answer::error(status);
        let (date, length) = (server.date(), Some(text.len() as u64));
        // Nothing in it is to be reported, and its status is a final one; but CONNECT cannot make it refused.
        let Ok((head, framing)) =
            answer::head(&self.with_persistence(), status, headers, length, date, |_| ())
        else {
            return;
        };
        self.begin_body(head, framing, AsyncBody::from_static(text.as_bytes()), true, server);
    }

    /// What the head's Connection field depends on: a client that still waits for 100 will not send its body
    /// (spec H10).
    fn with_persistence(&self) -> Asked {
        Asked { close: self.asked.close || self.connection.awaits_continue(), ..self.asked.clone() }
    }

    fn send_head(&mut self, head: Head) {
        if let (true, Some(incoming)) = (self.connection.awaits_continue(), &self.incoming) {
            // A client that was not asked for its body does not send it.
            incoming.withhold();
        }
        self.connection.head_sent();
        self.head = Some(head);
    }

    fn send(&mut self, frame: Frame, server: &Server) {
        if self.discarding {
            return;
        }
        if self.left {
            return self.notice_leaving(server);
        }
        match frame {
            Frame::Data(data) if data.is_empty() => {}
            Frame::Data(mut data) => {
                let mut excess = false;
                if let Framing::Length(owed) = &mut self.framing {
                    excess = data.len() as u64 > *owed;
                    data.truncate(usize::try_from(*owed).unwrap_or(usize::MAX));
                    *owed -= data.len() as u64;
                }
                self.bytes += data.len() as u64;
                if !data.is_empty() {
                    self.outbox.push_back(Frame::Data(data));
                }
                if excess {
                    let detail = "the answer's body is longer than its content-length; it was cut";
                    self.report(server, Event::Contract { clause: "H4", detail });
                    self.end = Some(End::Complete);
                    self.finish(Outcome::Completed, server);
                }
            }
            Frame::Trailers(mut trailers) => {
                if self.framing == Framing::Chunked {
                    answer::clean_trailers(&mut trailers, |event| self.report(server, event));
                    let sent = self.asked.takes_trailers && server.has(Caps::TRAILERS_OUT);
                    if sent && !trailers.is_empty() {
                        self.outbox.push_back(Frame::Trailers(trailers));
                    }
                }
                self.body_ended(server);
            }
            // A frame of a kind that HTTP/1 cannot express.
            _ => {}
        }
    }

    fn body_ended(&mut self, server: &Server) {
        if self.discarding {
            return self.finish(Outcome::Disconnected, server);
        }
        if let Framing::Length(owed @ 1..) = self.framing {
            let detail = format!("the answer's body ended {owed} bytes short of its content-length");
            self.report(server, Event::Contract { clause: "H4", detail: &detail });
            return self.break_off(Outcome::Failed, detail, server);
        }
        self.end = Some(End::Complete);
        self.finish(Outcome::Completed, server);
    }

    fn body_failed(&mut self, error: BodyError, server: &Server) {
        let gone = self.discarding || error.kind() == BodyErrorKind::Disconnected;
        if !gone {
            self.report(server, Event::BodyFailed { error: &error });
        }
        let outcome = if gone { Outcome::Disconnected } else { Outcome::Failed };
        self.break_off(outcome, error.to_string(), server);
    }

    fn body_panicked(&mut self, panic: &(dyn Any + Send), server: &Server) {
        self.report_panic(server, Phase::Body, panic);
        self.break_off(Outcome::Failed, format!("its body panicked: {}", panic_message(panic)), server);
    }

    fn break_off(&mut self, outcome: Outcome, why: String, server: &Server) {
        self.end = Some(End::BrokenOff(why));
        self.finish(outcome, server);
    }

    /// The client leaves.
    pub(crate) fn disconnect(&mut self, server: &Server) {
        if self.left || self.finish.is_some() {
            return;
        }
        self.left = true;
        self.outbox.clear();
        if let Some(incoming) = &self.incoming {
            incoming.end(Err(BodyErrorKind::Disconnected));
        }
        if let Some(pipe) = &self.pipe {
            self.connection.disconnected();
            return pipe.leave();
        }
        if server.has(Caps::DISCONNECT_WATCH) {
            self.notice_leaving(server);
        } else {
            // The next frame finds out.
            self.want(1);
        }
    }

    fn notice_leaving(&mut self, server: &Server) {
        self.connection.disconnected();
        match server.on_disconnect() {
            OnDisconnect::Finish => {
                self.discarding = true;
                self.task.waker().wake();
            }
            _ => self.break_off(Outcome::Disconnected, "the client has left".to_owned(), server),
        }
    }

    /// The client ends its sending side.
    pub(crate) fn end_sending(&mut self) {
        if let Some(pipe) = &self.pipe {
            return pipe.end_sending();
        }
        match &self.incoming {
            Some(incoming) if !incoming.has_ended() => incoming.end(Err(BodyErrorKind::Incomplete)),
            _ => {
                self.half_closed = true;
                self.task.waker().wake();
            }
        }
    }

    /// While the application waits: a client that has ended its sending side counts as gone (spec E13).
    fn check_half_close(&mut self, server: &Server) {
        let watching = server.has(Caps::DISCONNECT_WATCH) && !server.has(Caps::HALF_CLOSE);
        if !self.half_closed || !watching || self.left {
            return;
        }
        if server.on_disconnect() == OnDisconnect::Answer {
            return self.connection.disconnected();
        }
        self.left = true;
        self.notice_leaving(server);
    }

    /// The server's deadline has passed (spec L8).
    pub(crate) fn cut(&mut self, server: &Server) {
        if self.finish.is_none() {
            let why = "the server stopped".to_owned();
            self.end = Some(if self.head.is_some() { End::BrokenOff(why) } else { End::Silence(why) });
            self.finish(Outcome::Stopped, server);
        }
    }

    /// Whatever became of it, this is its end: everything of it is dropped, and its hooks run.
    fn finish(&mut self, outcome: Outcome, server: &Server) {
        self.drop_running(server);
        if let Some(incoming) = &self.incoming {
            // Whoever still holds it is told (spec S21).
            incoming.end(Err(BodyErrorKind::Disconnected));
        }
        let finish = Finish::new(outcome, self.head.as_ref().map(|head| head.status), self.bytes);
        self.finish = Some(finish);
        self.connection.end(finish, |event| self.report(server, event));
        server.call_ended();
    }

    fn take_interims(&mut self, server: &Server) {
        for mut head in self.connection.take_interims() {
            answer::remove_forbidden(&mut head.headers, |event| self.report(server, event));
            self.interims.push(head);
        }
    }

    fn drop_running(&mut self, server: &Server) {
        let running = std::mem::replace(&mut self.running, Running::Over);
        self.contain_drop(running, server);
    }

    /// Drops something of the application, which may panic in doing so (spec E7).
    fn contain_drop<T>(&self, value: T, server: &Server) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            self.report_panic(server, Phase::Drop, &*panic);
        }
    }

    fn report(&self, server: &Server, event: Event<'_>) {
        let id = RequestId::new(self.id, NUMBER, Some(&self.asked.method), &self.target);
        server.report(&Report::of(id, event));
    }

    fn report_panic(&self, server: &Server, during: Phase, panic: &(dyn Any + Send)) {
        self.report(server, Event::Panicked { during, message: panic_message(panic) });
    }

    /// How many wakers of the task wait for something that the test does.
    fn known_wakers(&self, server: &Server) -> usize {
        server.wakers_of(&self.task)
            + self.connection.wakers_of(&self.task)
            + self.incoming.as_ref().map_or(0, |incoming| incoming.wakers_of(&self.task))
            + self.pipe.as_ref().map_or(0, |pipe| pipe.wakers_of(&self.task))
    }

    /// Whether somebody may wake it who is not the test.
    pub(crate) fn may_be_woken(&self, server: &Server) -> bool {
        self.task.wakers() > self.known_wakers(server)
    }

    /// What it waits for, as far as that is known.
    pub(crate) fn waits_for(&self, server: &Server) -> Vec<String> {
        let mut waits = Vec::new();
        if let Running::Waiting(_) = self.running {
            waits.push("its turn: calls are exclusive".to_owned());
        }
        if self.incoming.as_ref().is_some_and(|incoming| incoming.is_wanted()) {
            waits.push("more of the request body".to_owned());
        }
        if self.pipe.as_ref().is_some_and(|pipe| pipe.is_wanted()) {
            waits.push("bytes through the tunnel".to_owned());
        }
        if self.connection.wakers_of(&self.task) > 0 {
            waits.push("the client to leave".to_owned());
        }
        if server.awaits_stop(&self.task) {
            waits.push("the server to stop".to_owned());
        }
        if self.may_be_woken(server) {
            waits.push("something of its own, which did not come".to_owned());
        }
        waits
    }
}

fn size(frame: &Frame) -> u64 {
    match frame {
        Frame::Data(data) => data.len() as u64,
        _ => 1,
    }
}
