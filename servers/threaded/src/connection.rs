//! A connection, and all that can be done for it without the application.
//!
//! ```text
//!          a head            the application           the answer is          all of it
//!          is whole          answers                   in the outbox          is written
//!   Head ----------> Calling -----------------> Tail -----------------> Over ------------> Head
//!    |    (Admitted)    |  ^                      ^                      | |
//!    |                  v  | the reply has come   |                      | +-> Discard: the rest of an unread body
//!    | refused       Deferred / Replied           |                      v
//!    +--------------------------------------------+                    Linger: the peer may be sending still
//!                                                                        v
//!          Broken (client gone, too slow, answer broken off) --------> Closed
//! ```
//!
//! Answers to requests that came in one piece are written in one piece: an answer waits in the outbox as long as the next
//! request is there already and nobody watches the exchange, and while that one's call runs, at most for a tick or two of
//! the [watch](crate::pool).
//!
//! [`advance`](Connection::advance) goes on from phase to phase until the connection is parked, closed, or needs the
//! application. It never waits. Whoever [owns](crate::schedule) the connection calls it: a serving thread, or the leader
//! while no other thread is free.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use rustix::net::Shutdown;
use varvel::{
    AppResult, BodyError, ConnInfo, Event, Exchange, Finish, FinishHook, InterimError, Outcome, RequestId, Worker,
};
use varvel_http1::{After, CloseReason, Expired, InterimRefused, RequestHead};
use varvel_server_kit::{
    access_log::Entry,
    gateway::Exchanges,
    outbox::{Outbox, Progress, WriteError},
    transport::{Discarded, Interest, PeerState, Transport},
};

use crate::{
    input::{Input, Read},
    schedule::{Schedule, Until},
    shared::{Shared, Tools},
    table::Parked,
    tunnel::Bell,
};

/// How much a client may still send after the last answer before it is cut off, in bytes.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// One connection. Scopes, watches and bodies hold it too; what they may touch is behind `io`.
pub(crate) struct Connection {
    /// Its place in the table.
    pub(crate) slot: usize,
    pub(crate) schedule: Schedule,
    pub(crate) exchanges: Exchanges,
    pub(crate) shared: Arc<Shared>,
    worker: Worker,
    info: ConnInfo,
    /// The socket, until it is closed. Whoever waits on it or uses it holds the lock for reading, so that its descriptor
    /// cannot become another connection's.
    line: RwLock<Option<Transport>>,
    io: Mutex<Io>,
}

/// The protocol and its buffers. Locked for moments: never while the application runs, never while anybody waits.
pub(crate) struct Io {
    pub(crate) http: varvel_http1::Connection,
    pub(crate) input: Input,
    pub(crate) outbox: Outbox,
    pub(crate) phase: Phase,
    /// The number of the last exchange.
    pub(crate) number: u64,
    /// The exchange under way.
    pub(crate) current: Option<Current>,
    /// How the exchange under way failed, and with it the connection.
    pub(crate) failed: Option<Outcome>,
    /// The end of the answer is the end of the connection, so a failure must not look like that.
    pub(crate) until_close: bool,
    /// The connection is to be reset, so that nothing more of it arrives and nobody waits for it.
    pub(crate) reset: bool,
    /// The last read left nothing in the socket.
    drained: bool,
    /// Output waits for the peer.
    blocked: bool,
    /// Output waits for company, and somebody will see that it does not wait for long.
    held: bool,
}

/// What is kept of a request while it is being answered.
pub(crate) struct Current {
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// Of the head that was put into the outbox.
    pub(crate) status: Option<StatusCode>,
    /// Bytes of the body that were put into the outbox.
    pub(crate) bytes: u64,
    /// The answer is a file, whose reading may fail until it is written.
    pub(crate) has_file: bool,
    log: Option<Box<Logged>>,
}

/// What the access log wants to know besides.
struct Logged {
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    begun: Instant,
    time: SystemTime,
}

/// What is going on. See the picture [above](self).
pub(crate) enum Phase {
    Head,
    /// A whole head, for which no thread was free.
    Admitted(Box<(RequestHead, Instant)>),
    /// On a thread.
    Calling,
    /// Nobody owns the connection but the reply to come.
    Deferred,
    Replied(Box<AppResult>),
    Tail,
    Over,
    Discard,
    Linger {
        budget: u64,
        until: Option<Instant>,
    },
    /// On a thread of its own, which this wakes.
    Tunnel(Arc<Bell>),
    Broken,
    Closed,
}

/// What the owner of a connection has to do.
pub(crate) enum Next {
    /// Nothing: it is parked, or closed, and not the caller's any more.
    Left,
    /// Call the application with this request, which was whole at this time.
    Call(RequestHead, Instant),
    /// Send this answer to the deferred request.
    Reply(AppResult),
    /// [Finish](Connection::finish) the exchange.
    Finish,
}

/// What a step came to.
enum Step {
    Go,
    Park(Until),
    /// Others first.
    Yield,
    Give(Next),
    Close,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Some,
    /// There is nothing yet.
    Nothing,
    End,
    Broken,
}

impl Connection {
    pub(crate) fn new(slot: usize, shared: Arc<Shared>, worker: Worker, info: ConnInfo, line: Transport) -> Self {
        let mut http = varvel_http1::Connection::new(Arc::clone(&shared.http), Instant::now());
        if shared.stopping.is_raised() {
            http.shutting_down();
        }
        let io = Io {
            http,
            input: Input::default(),
            outbox: Outbox::new(),
            phase: Phase::Head,
            number: 0,
            current: None,
            failed: None,
            until_close: false,
            reset: false,
            drained: false,
            blocked: false,
            held: false,
        };
        Self {
            slot,
            schedule: Schedule::busy(),
            exchanges: Exchanges::default(),
            shared,
            worker,
            info,
            line: RwLock::new(Some(line)),
            io: Mutex::new(io),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on as far as possible without waiting and without the application.
    pub(crate) fn advance(self: &Arc<Self>, tools: &mut Tools) -> Next {
        let mut guard = self.lock();
        loop {
            match self.step(&mut guard, tools) {
                Step::Go => {}
                Step::Give(next) => {
                    let gone = guard.failed.is_some();
                    drop(guard);
                    if gone {
                        self.exchanges.disconnected();
                    }
                    return next;
                }
                Step::Yield => {
                    drop(guard);
                    self.shared.pool.push(Arc::clone(self));
                    return Next::Left;
                }
                Step::Close => {
                    self.close(guard);
                    return Next::Left;
                }
                Step::Park(until) => {
                    let idle = guard.http.is_idle() && guard.outbox.is_empty();
                    let deadline = guard.deadline();
                    guard.input.settle();
                    drop(guard);
                    match self.shared.table.park(self.slot, &self.schedule, until, deadline, idle) {
                        Parked::Yes => return Next::Left,
                        Parked::Ready => guard = self.lock(),
                        Parked::Unwanted => {
                            self.close(self.lock());
                            return Next::Left;
                        }
                    }
                }
            }
        }
    }

    /// Puts back what [`advance`](Self::advance) gave, for another thread to take.
    pub(crate) fn put_back(&self, next: Next) {
        let phase = match next {
            Next::Call(head, now) => Phase::Admitted(Box::new((head, now))),
            Next::Reply(answer) => Phase::Replied(Box::new(answer)),
            Next::Finish | Next::Left => return,
        };
        self.lock().phase = phase;
    }

    fn step(&self, io: &mut Io, tools: &mut Tools) -> Step {
        match std::mem::replace(&mut io.phase, Phase::Calling) {
            Phase::Head => {
                io.phase = Phase::Head;
                self.take_head(io, tools)
            }
            Phase::Admitted(admitted) => Step::Give(Next::Call(admitted.0, admitted.1)),
            Phase::Replied(answer) => Step::Give(Next::Reply(*answer)),
            Phase::Tail => {
                io.phase = Phase::Tail;
                if self.may_hold(io) {
                    return Step::Give(Next::Finish);
                }
                match self.write(io) {
                    Ok(Progress::Blocked) => Step::Park(Until::Writable),
                    Ok(Progress::Paused) => Step::Yield,
                    Ok(Progress::Drained) if io.current.is_some() => Step::Give(Next::Finish),
                    Ok(Progress::Drained) => {
                        io.phase = Phase::Over;
                        Step::Go
                    }
                    Err(()) => {
                        io.phase = Phase::Broken;
                        Step::Go
                    }
                }
            }
            Phase::Over => match io.http.next_exchange(&mut io.input.bytes, Instant::now()) {
                After::KeepAlive => {
                    io.phase = Phase::Head;
                    Step::Go
                }
                _ if !io.outbox.is_empty() => {
                    io.phase = Phase::Tail;
                    Step::Go
                }
                After::Discard => {
                    io.phase = Phase::Discard;
                    Step::Go
                }
                After::Close(_) if io.http.should_linger() => {
                    io.phase = Phase::Linger { budget: LINGER_BYTES_MAX, until: None };
                    self.say_goodbye()
                }
                After::Close(_) => Step::Close,
            },
            Phase::Discard => {
                io.phase = Phase::Discard;
                match self.receive(io) {
                    Received::Nothing => return Step::Park(Until::Readable),
                    Received::Broken => return Step::Close,
                    Received::End => _ = io.http.receive_eof(),
                    Received::Some => {}
                }
                io.phase = Phase::Over;
                Step::Go
            }
            Phase::Linger { mut budget, until } => {
                self.schedule.begin_read();
                let mut scratch = [0; 4096];
                let discarded = self.with_line(|line| Ok(line.discard(&mut scratch, &mut budget)));
                io.phase = Phase::Linger { budget, until };
                match discarded {
                    Ok(Discarded::Pending) => Step::Park(Until::Readable),
                    _ => Step::Close,
                }
            }
            Phase::Broken => {
                io.phase = Phase::Broken;
                if io.current.is_some() { Step::Give(Next::Finish) } else { Step::Close }
            }
            // Somebody else has it, and will see what has happened.
            phase @ (Phase::Calling | Phase::Deferred | Phase::Tunnel(_) | Phase::Closed) => {
                io.phase = phase;
                Step::Give(Next::Left)
            }
        }
    }

    /// Takes the next head from the input, or reads.
    fn take_head(&self, io: &mut Io, tools: &mut Tools) -> Step {
        if !io.input.bytes.is_empty() {
            let now = Instant::now();
            match io.http.receive_head(&mut io.input.bytes, &mut tools.spare, now) {
                Ok(Some(head)) => {
                    io.phase = Phase::Calling;
                    return Step::Give(Next::Call(head, now));
                }
                Ok(None) if io.http.close_reason().is_some() && io.outbox.is_empty() => return Step::Close,
                Ok(None) => {}
                Err(refusal) => {
                    io.http.send_refusal(refusal, tools.date_line(), io.outbox.text_mut());
                    io.phase = Phase::Tail;
                    return Step::Go;
                }
            }
        }
        if !io.outbox.is_empty() {
            io.phase = Phase::Tail;
            return Step::Go;
        }
        match self.receive(io) {
            Received::Some => Step::Go,
            Received::Nothing => Step::Park(Until::Readable),
            Received::End | Received::Broken => Step::Close,
        }
    }

    /// Whether the answer in the outbox may wait for the next one: that one's request is here, and nobody could tell when
    /// this one was written.
    fn may_hold(&self, io: &Io) -> bool {
        io.current.as_ref().is_some_and(|current| !current.has_file)
            && !io.input.bytes.is_empty()
            && !io.http.wants_body()
            && io.http.close_reason().is_none()
            && io.outbox.len() < self.shared.info.limits.write_high_water
            && !self.exchanges.is_watched()
    }

    /// Sees to it that held answers are not held for long, whatever the call that begins now does.
    fn hold(self: &Arc<Self>, io: &mut Io) {
        if io.outbox.is_empty() || std::mem::replace(&mut io.held, true) {
            return;
        }
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(self));
        self.shared.pool.wake_watch();
    }

    /// Writes what waits for company.
    pub(crate) fn release(&self) {
        let mut io = self.lock();
        io.held = false;
        // What the socket does not take now goes with the next answer; an error shows then, too.
        let _ = self.write(&mut io);
    }

    /// First half of a lingering close.
    fn say_goodbye(&self) -> Step {
        match self.with_line(Transport::shutdown_write) {
            Ok(()) => Step::Go,
            Err(_) => Step::Close,
        }
    }

    /// Reads once, unless it is known that there is nothing.
    pub(crate) fn receive(&self, io: &mut Io) -> Received {
        if io.drained && !self.schedule.may_read() {
            return Received::Nothing;
        }
        loop {
            self.schedule.begin_read();
            match self.with_line(|line| io.input.read(line, self.shared.read_limit())) {
                Ok(Read::Some { drained }) => {
                    io.drained = drained;
                    return Received::Some;
                }
                Ok(Read::End) => return Received::End,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    io.drained = true;
                    if !self.schedule.take_back_closed() {
                        return Received::Nothing;
                    }
                }
                Err(_) => return Received::Broken,
            }
        }
    }

    /// Writes what the socket takes. After an error the connection has failed.
    pub(crate) fn write(&self, io: &mut Io) -> Result<Progress, ()> {
        if io.outbox.is_empty() {
            return Ok(Progress::Drained);
        }
        self.schedule.begin_write();
        let before = io.outbox.len();
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        let progress = match &*line {
            Some(line) => io.outbox.write_to(line),
            None => Err(WriteError::Transport(io::ErrorKind::NotConnected.into())),
        };
        drop(line);
        match progress {
            Ok(progress) => {
                let pending = progress != Progress::Drained;
                if pending || io.blocked {
                    let written = usize::try_from(before - io.outbox.len()).unwrap_or(usize::MAX);
                    io.http.output_progress(written, pending, Instant::now());
                    io.blocked = pending;
                }
                Ok(progress)
            }
            Err(WriteError::Transport(_)) => {
                io.fail(Outcome::Disconnected, CloseReason::Transport);
                Err(())
            }
            Err(error) => {
                let error = BodyError::failed(error);
                self.report_of(io, Event::BodyFailed { error: &error });
                io.fail(Outcome::Failed, CloseReason::Application);
                Err(())
            }
        }
    }

    /// Writes until at most `level` bytes are left, and waits for the peer to take them.
    pub(crate) fn write_down_to<'a>(
        &'a self,
        level: u64,
        mut guard: MutexGuard<'a, Io>,
    ) -> Result<(), Outcome> {
        loop {
            if let Some(outcome) = guard.failed {
                return Err(outcome);
            }
            match self.write(&mut guard) {
                Ok(Progress::Drained) => return Ok(()),
                Ok(Progress::Blocked) if guard.outbox.len() > level => {
                    guard = self.wait(Interest::Writable, guard);
                }
                Ok(Progress::Blocked) => return Ok(()),
                Ok(_) => {}
                Err(()) => {
                    let outcome = guard.failed.unwrap_or(Outcome::Disconnected);
                    drop(guard);
                    self.exchanges.disconnected();
                    return Err(outcome);
                }
            }
        }
    }

    /// Waits for the socket, no longer than the protocol allows, with `io` unlocked. When that time is over the protocol
    /// knows it afterwards.
    pub(crate) fn wait<'a>(&'a self, interest: Interest, guard: MutexGuard<'a, Io>) -> MutexGuard<'a, Io> {
        let deadline = guard.http.deadline();
        drop(guard);
        let left = deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
        let waited = self.with_line(|line| line.wait(interest, left));
        let mut guard = self.lock();
        match waited {
            Ok(true) => {}
            Ok(false) => {
                if let Some(Expired::Close(reason)) = guard.http.expire(Instant::now()) {
                    guard.fail(Outcome::TimedOut, reason);
                }
            }
            Err(_) => guard.fail(Outcome::Disconnected, CloseReason::Transport),
        }
        if guard.failed.is_none() {
            return guard;
        }
        drop(guard);
        self.exchanges.disconnected();
        self.lock()
    }

    /// Does what a passed deadline asks for. The caller owns the connection.
    pub(crate) fn expire(&self, tools: &mut Tools) {
        let mut guard = self.lock();
        let io = &mut *guard;
        let now = Instant::now();
        match io.http.expire(now) {
            Some(Expired::Close(reason)) => {
                io.fail(Outcome::TimedOut, reason);
                io.phase = Phase::Broken;
            }
            Some(Expired::Refuse(refusal)) => {
                io.http.send_refusal(refusal, tools.date_line(), io.outbox.text_mut());
                io.phase = Phase::Tail;
            }
            // Bodies are waited for by who reads them.
            Some(Expired::Body(_)) => {}
            None => {
                if matches!(io.phase, Phase::Linger { until: Some(until), .. } if until <= now) {
                    io.phase = Phase::Broken;
                }
            }
        }
    }

    /// Looks whether the client of a whole request has left, and says so if it has (spec E8, E13).
    pub(crate) fn check_client(&self) {
        let guard = self.lock();
        // Behind an unread part of the request, an end is the body's affair.
        let is_whole = !guard.http.wants_body();
        let busy = guard.current.is_some() && !matches!(guard.phase, Phase::Tunnel(_));
        drop(guard);
        let gone = busy
            && match self.with_line(|line| Ok(line.peek())) {
                Ok(PeerState::Finished) => is_whole,
                Ok(PeerState::Gone) | Err(_) => true,
                Ok(PeerState::Quiet | PeerState::Talking) => false,
            };
        if gone {
            self.exchanges.disconnected();
        }
    }

    /// Begins an exchange.
    pub(crate) fn begin(self: &Arc<Self>, io: &mut Io, head: &RequestHead, now: Instant) {
        io.number += 1;
        io.until_close = false;
        let request = &head.request;
        let log = self.shared.access_log.is_some().then(|| {
            Box::new(Logged {
                version: request.version(),
                referer: request.headers().get(header::REFERER).cloned(),
                user_agent: request.headers().get(header::USER_AGENT).cloned(),
                begun: now,
                time: SystemTime::now(),
            })
        });
        io.current = Some(Current {
            method: request.method().clone(),
            target: head.target.clone(),
            status: None,
            bytes: 0,
            has_file: false,
            log,
        });
        self.exchanges.begin(io.number);
        self.hold(io);
    }

    /// Ends the exchange under way: its hooks run on this thread (spec E12).
    pub(crate) fn finish(&self) {
        let mut guard = self.lock();
        if matches!(guard.phase, Phase::Tail) {
            guard.phase = Phase::Over;
        }
        let Some(current) = guard.current.take() else { return };
        let number = guard.number;
        let outcome = guard.failed.unwrap_or(Outcome::Completed);
        drop(guard);
        let finish = Finish::new(outcome, current.status, current.bytes);
        let id = current.id(self.info.id, number);
        self.exchanges.end(finish, |event| self.shared.report(Some(id), event));
        if let (Some(log), Some(logged)) = (&self.shared.access_log, &current.log) {
            log.record(&Entry {
                peer: &self.info.peer,
                time: logged.time,
                method: current.method.as_str(),
                target: &current.target,
                version: logged.version,
                // As nginx writes it down when the client left before there was an answer.
                status: current.status.map_or(499, |status| status.as_u16()),
                bytes: current.bytes,
                referer: logged.referer.as_ref().map(HeaderValue::as_bytes),
                user_agent: logged.user_agent.as_ref().map(HeaderValue::as_bytes),
                duration: logged.begun.elapsed(),
            });
        }
    }

    /// Closes the socket and leaves the table.
    fn close(&self, mut guard: MutexGuard<'_, Io>) {
        guard.phase = Phase::Closed;
        // Somebody may hold on to the connection for long; nothing of it is needed any more.
        guard.input = Input::default();
        guard.outbox.clear();
        let reset = guard.reset;
        drop(guard);
        let line = match self.line.try_write() {
            Ok(mut line) => line.take(),
            // Somebody waits on the socket, or looks at it: it is to return at once.
            Err(_) => {
                let _ = self.with_line(|line| Ok(rustix::net::shutdown(line, Shutdown::Both)?));
                self.line.write().unwrap_or_else(PoisonError::into_inner).take()
            }
        };
        match line {
            // Closed before, by who could not wait for the caller.
            None => return,
            Some(line) if reset => line.reset(),
            Some(line) => drop(line),
        }
        self.shared.table.remove(self.slot);
    }

    /// Has every further answer say `connection: close`.
    pub(crate) fn stop(&self) {
        self.lock().http.shutting_down();
    }

    /// Breaks off whatever is under way, at the end of the drain (spec L8). `owned` says that the caller owns the
    /// connection; tells whether it does now. If not, whoever does will see that it failed.
    pub(crate) fn cut(&self, owned: bool) -> bool {
        let mut guard = self.lock();
        if guard.current.is_some() && guard.failed.is_none() {
            self.shared.cut.fetch_add(1, Relaxed);
        }
        guard.fail(Outcome::Stopped, CloseReason::ShuttingDown);
        let owned = owned || matches!(guard.phase, Phase::Deferred);
        if owned {
            guard.phase = Phase::Broken;
        }
        if let Phase::Tunnel(bell) = &guard.phase {
            bell.ring();
        }
        drop(guard);
        self.exchanges.disconnected();
        let _ = self.with_line(|line| Ok(rustix::net::shutdown(line, Shutdown::Both)?));
        owned
    }

    /// Ends a connection that somebody still has who does not return (spec L8).
    pub(crate) fn abandon(&self) {
        self.finish();
        let guard = self.lock();
        if !matches!(guard.phase, Phase::Closed) {
            self.close(guard);
        }
    }

    /// Uses the socket, if it is still open.
    pub(crate) fn with_line<T>(&self, action: impl FnOnce(&Transport) -> io::Result<T>) -> io::Result<T> {
        match &*self.line.read().unwrap_or_else(PoisonError::into_inner) {
            Some(line) => action(line),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Reports something about the exchange under way.
    pub(crate) fn report(&self, event: Event<'_>) {
        let guard = self.lock();
        let number = guard.number;
        let request = guard.current.as_ref().map(|current| (current.method.clone(), current.target.clone()));
        drop(guard);
        match &request {
            Some((method, target)) => {
                self.shared.report(Some(RequestId::new(self.info.id, number, Some(method), target)), event);
            }
            None => self.shared.report(Some(RequestId::new(self.info.id, number, None, b"")), event),
        }
    }

    /// As [`report`](Self::report), for who has locked `io` already.
    pub(crate) fn report_of(&self, io: &Io, event: Event<'_>) {
        let id = io.current.as_ref().map(|current| current.id(self.info.id, io.number));
        self.shared.report(id, event);
    }

    pub(crate) fn id(&self) -> u64 {
        self.info.id
    }
}

impl Io {
    /// Gives the connection up. The first failure counts.
    pub(crate) fn fail(&mut self, outcome: Outcome, reason: CloseReason) {
        if self.failed.is_none() {
            self.failed = Some(outcome);
            if let Some(current) = &mut self.current {
                // What is left in the outbox ends with the body, as far as there is any.
                current.bytes = current.bytes.saturating_sub(self.outbox.len());
            }
        }
        // A client that does not read would keep for long what the system has of the answer.
        self.reset |= self.until_close || reason == CloseReason::WriteTimeout;
        self.http.abort(reason);
        self.outbox.clear();
    }

    /// Counts bytes of the body that were put into the outbox.
    pub(crate) fn count(&mut self, bytes: u64) {
        if let Some(current) = &mut self.current {
            current.bytes += bytes;
        }
    }

    /// Until when the connection may wait.
    fn deadline(&self) -> Option<Instant> {
        let lingers = match self.phase {
            Phase::Linger { until, .. } => until,
            _ => None,
        };
        lingers.or_else(|| Some(self.http.deadline()?.at))
    }

    /// The tunnel is over: what was written is delivered, what still comes is thrown away.
    pub(crate) fn end_tunnel(&mut self, linger: Duration) {
        self.phase = Phase::Linger { budget: LINGER_BYTES_MAX, until: Instant::now().checked_add(linger) };
    }
}

impl Current {
    pub(crate) fn id(&self, connection: u64, number: u64) -> RequestId<'_> {
        RequestId::new(connection, number, Some(&self.method), &self.target)
    }
}

impl Exchange for Connection {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.info
    }

    fn interim(&self, number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        let mut guard = self.lock();
        let io = &mut *guard;
        if !self.exchanges.is_current(number) {
            return Err(InterimError::TooLate);
        }
        io.http.send_interim(status, headers, io.outbox.text_mut()).map_err(|refused| match refused {
            InterimRefused::Http10 => InterimError::Unsupported,
            InterimRefused::NotInterim => InterimError::NotInterim,
            _ => InterimError::TooLate,
        })?;
        // A client that is gone misses it, as it will miss the answer.
        let _ = self.write_down_to(0, guard);
        Ok(())
    }

    fn is_disconnected(&self, number: u64) -> bool {
        self.exchanges.is_disconnected(number)
    }

    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.exchanges.poll_disconnected(number, cx)
    }

    fn on_finish(&self, number: u64, hook: FinishHook) {
        self.exchanges.on_finish(number, hook, |event| {
            self.shared.report(Some(RequestId::new(self.info.id, number, None, b"")), event);
        });
    }
}
