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
use http::{Request, StatusCode};
use varvel::{
    AppError, AsyncAppResult, AsyncBody, BodyErrorKind, BoxFuture, Caps, Event, Exchange as _, Finish, Frame,
    OnDisconnect, Outcome, Phase, Report, RequestId, Scope,
};

use super::{
    Server,
    answer::{self, Asked, Framing},
    bell::Task,
    connection::{Connection, NUMBER},
    incoming::Incoming,
    panic_message,
    pipe::Pipe,
};
use crate::{Head, Stage};

mod sending;

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
    interims: Vec<Head>,
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
    /// The first of the application's panics, for the test to fail with.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
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

/// How often a call is polled before it lets others have their turn.
const POLLS_MAX: usize = 16;

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
            panic: None,
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

    /// The client has room for so many bytes of the body; `false` if that was known.
    pub(crate) fn want(&mut self, bytes: u64) -> bool {
        let more = self.wanted < bytes;
        if more {
            self.wanted = bytes;
            self.task.waker().wake();
        }
        more
    }

    /// The server asks the body for so much ahead of its reader; `false` if there is nothing to ask, or it did already.
    pub(crate) fn go_ahead(&mut self, bytes: u64) -> bool {
        matches!(self.running, Running::Answering(_)) && self.want(bytes)
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.outbox.iter().map(size).sum()
    }

    /// The next frame that the server has sent.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let frame = self.outbox.pop_front()?;
        if self.wanted < u64::MAX {
            self.wanted = 0;
        }
        Some(frame)
    }

    /// Answers without a call (spec S4).
    pub(crate) fn refuse(&mut self, status: StatusCode, server: &Server) {
        self.asked.close = true;
        self.respond(status, server);
    }

    /// Goes on as far as it can, or with `once` no further than one poll. What is always ready lets others have their turn
    /// now and then.
    pub(crate) fn go(&mut self, server: &Server, once: bool) {
        for _ in 0..POLLS_MAX {
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
                            self.report_panic(server, Phase::Call, panic);
                            self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
                        }
                    }
                    // Beginning a call is not yet a poll of it.
                    continue;
                }
                Running::Calling(call) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx)));
                    match polled {
                        Ok(Poll::Pending) => return self.check_half_close(server),
                        Ok(Poll::Ready(result)) => {
                            self.drop_running(server);
                            self.answer(result, server);
                        }
                        Err(panic) => {
                            self.report_panic(server, Phase::Call, panic);
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
                        Err(panic) => self.body_panicked(panic, server),
                    }
                }
                Running::Tunnel(tunnel) => {
                    match catch_unwind(AssertUnwindSafe(|| tunnel.as_mut().poll(&mut cx))) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(())) if self.left => self.finish(Outcome::Disconnected, server),
                        Ok(Poll::Ready(())) => self.finish(Outcome::Completed, server),
                        Err(panic) => {
                            self.report_panic(server, Phase::Tunnel, panic);
                            self.finish(Outcome::Failed, server);
                        }
                    }
                }
            }
            if once {
                return;
            }
        }
        self.task.waker().wake();
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
        let bytes = self.pipe.as_ref().map_or(self.bytes, |pipe| pipe.written());
        let finish = Finish::new(outcome, self.head.as_ref().map(|head| head.status), bytes);
        self.finish = Some(finish);
        let connection = Arc::clone(&self.connection);
        connection.end(finish, |panic| self.report_panic(server, Phase::Hook, panic));
        server.call_ended();
    }

    /// The interim heads so far.
    pub(crate) fn interims(&mut self, server: &Server) -> &[Head] {
        for mut head in self.connection.take_interims() {
            answer::remove_forbidden(&mut head.headers, |event| self.report(server, event));
            self.interims.push(head);
        }
        &self.interims
    }

    fn drop_running(&mut self, server: &Server) {
        let running = std::mem::replace(&mut self.running, Running::Over);
        self.contain_drop(running, server);
    }

    /// Drops something of the application, which may panic in doing so (spec E7).
    fn contain_drop<T>(&mut self, value: T, server: &Server) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            self.report_panic(server, Phase::Drop, panic);
        }
    }

    fn report(&self, server: &Server, event: Event<'_>) {
        let id = RequestId::new(self.id, NUMBER, Some(&self.asked.method), &self.target);
        server.report(&Report::of(id, event));
    }

    fn report_panic(&mut self, server: &Server, during: Phase, panic: Box<dyn Any + Send>) {
        self.report(server, Event::Panicked { during, message: panic_message(&*panic) });
        self.panic.get_or_insert(panic);
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

    /// How many of its jobs can do nothing until the test sends more: the one that reads, if it reads by a job.
    pub(crate) fn jobs_held_up(&self) -> usize {
        let wants_body = self.incoming.as_ref().is_some_and(|incoming| incoming.is_wanted());
        let wants_bytes = self.pipe.as_ref().is_some_and(|pipe| pipe.is_wanted());
        usize::from(wants_body || wants_bytes).min(self.task.jobs().running())
    }

    /// Whether its jobs may be unable to go on until the test takes what they have written.
    pub(crate) fn may_hold_jobs_up(&self) -> bool {
        let is_taken_later = match self.running {
            Running::Answering(_) => self.unsent() >= self.wanted,
            Running::Tunnel(_) => true,
            _ => false,
        };
        is_taken_later && self.task.jobs().running() > 0
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
