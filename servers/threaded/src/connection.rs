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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use varvel::{AppResult, ConnInfo, Outcome, Worker};
use varvel_http1::{After, RequestHead};
use varvel_server_kit::{
    gateway::Exchanges,
    outbox::{Outbox, Progress},
    transport::{Discarded, Transport},
};

use crate::{
    input::Input,
    schedule::{Schedule, Until},
    shared::{Shared, Tools},
    table::Parked,
    tunnel::Bell,
};

mod ending;
mod exchange;
mod wire;

pub(crate) use exchange::Current;
pub(crate) use wire::Received;

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
    io: Mutex<Io>,
}

/// The socket, the protocol and its buffers. Locked for moments: never while the application runs, never while anybody
/// waits.
pub(crate) struct Io {
    /// The socket, until it is closed. Who waits on it without the lock holds it as well, so that its descriptor cannot
    /// become another connection's.
    line: Option<Arc<Transport>>,
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

/// What is going on. See the picture [above](self).
pub(crate) enum Phase {
    Head,
    /// A whole head, for which no thread was free.
    Admitted(Box<(Box<RequestHead>, Instant)>),
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

/// What only a serving thread can do for a connection.
pub(crate) enum Task {
    /// Call the application with this request, which was whole at this time.
    Call(Box<RequestHead>, Instant),
    /// Send this answer to the deferred request.
    Reply(Box<AppResult>),
    /// [Finish](Connection::finish) the exchange.
    Finish,
}

/// What a step came to.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a box would be an allocation for each request"
)]
enum Step {
    Go,
    Park(Until),
    /// Others first.
    Yield,
    Give(Task),
    /// Somebody else has it, and will see what has happened.
    Leave,
    Close,
}

/// The time, read at most once while nobody waits.
#[derive(Default)]
struct Clock(Option<Instant>);

impl Clock {
    fn now(&mut self) -> Instant {
        *self.0.get_or_insert_with(Instant::now)
    }
}

impl Connection {
    pub(crate) fn new(
        slot: usize,
        shared: Arc<Shared>,
        worker: Worker,
        info: ConnInfo,
        line: Transport,
    ) -> Self {
        let mut http = varvel_http1::Connection::new(Arc::clone(&shared.http), Instant::now());
        if shared.stopping.is_raised() {
            http.shutting_down();
        }
        let io = Io {
            line: Some(Arc::new(line)),
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
            io: Mutex::new(io),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on as far as possible without waiting and without the application. `None`: it is parked, or closed, and not the
    /// caller's any more.
    pub(crate) fn advance<'a>(
        self: &'a Arc<Self>,
        mut guard: MutexGuard<'a, Io>,
        tools: &mut Tools,
    ) -> Option<(Task, MutexGuard<'a, Io>)> {
        let mut clock = Clock::default();
        loop {
            match self.step(&mut guard, &mut clock, tools) {
                Step::Go => {}
                Step::Give(task) => return Some((task, guard)),
                Step::Leave => return None,
                Step::Yield => {
                    drop(guard);
                    self.shared.pool.push_again(Arc::clone(self));
                    return None;
                }
                Step::Close => {
                    self.close(guard);
                    return None;
                }
                Step::Park(until) => {
                    let knows_stop = guard.http.is_shutting_down();
                    let deadline = guard.deadline();
                    guard.input.settle();
                    drop(guard);
                    match self.shared.table.park(self.slot, &self.schedule, until, deadline, knows_stop) {
                        Parked::Yes => return None,
                        Parked::Ready => guard = self.lock(),
                        Parked::Stopping => {
                            guard = self.lock();
                            guard.http.shutting_down();
                        }
                    }
                }
            }
        }
    }

    /// Puts back what [`advance`](Self::advance) gave, for another thread to take.
    pub(crate) fn put_back(io: &mut Io, task: Task) {
        match task {
            Task::Call(head, now) => io.phase = Phase::Admitted(Box::new((head, now))),
            Task::Reply(answer) => io.phase = Phase::Replied(answer),
            Task::Finish => {}
        }
    }

    fn step(&self, io: &mut Io, clock: &mut Clock, tools: &mut Tools) -> Step {
        match io.phase {
            Phase::Head | Phase::Admitted(_) | Phase::Over | Phase::Discard if io.failed.is_some() => {
                Step::Close
            }
            Phase::Head => self.take_head(io, clock, tools),
            Phase::Admitted(_) | Phase::Replied(_) => {
                match std::mem::replace(&mut io.phase, Phase::Calling) {
                    Phase::Admitted(admitted) => Step::Give(Task::Call(admitted.0, admitted.1)),
                    Phase::Replied(answer) => Step::Give(Task::Reply(answer)),
                    _ => Step::Go,
                }
            }
            Phase::Tail => self.write_tail(io),
            Phase::Over => self.begin_next(io, clock),
            Phase::Discard => self.discard(io),
            Phase::Linger { .. } => self.linger(io),
            Phase::Broken if io.current.is_some() => Step::Give(Task::Finish),
            Phase::Broken => Step::Close,
            Phase::Calling | Phase::Deferred | Phase::Tunnel(_) | Phase::Closed => Step::Leave,
        }
    }

    /// Takes the next head from the input, or reads.
    fn take_head(&self, io: &mut Io, clock: &mut Clock, tools: &mut Tools) -> Step {
        if !io.input.bytes.is_empty() {
            let now = clock.now();
            match io.http.receive_head(&mut io.input.bytes, &mut tools.spare, now) {
                Ok(Some(head)) => {
                    io.phase = Phase::Calling;
                    return Step::Give(Task::Call(head, now));
                }
                Ok(None) if io.http.close_reason().is_some() && io.outbox.is_empty() => return Step::Close,
                Ok(None) => {}
                Err(refusal) => {
                    self.shared.journal.refused(refusal.status());
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

    /// Writes what is left of the answer.
    fn write_tail(&self, io: &mut Io) -> Step {
        if self.may_hold(io) {
            return Step::Give(Task::Finish);
        }
        match self.write(io) {
            Ok(Progress::Blocked) => return Step::Park(Until::Writable),
            Ok(Progress::Paused) => return Step::Yield,
            Ok(Progress::Drained) if io.current.is_some() => return Step::Give(Task::Finish),
            Ok(Progress::Drained) => io.phase = Phase::Over,
            Err(()) => io.phase = Phase::Broken,
        }
        Step::Go
    }

    /// Goes on to the next exchange, or to the end.
    fn begin_next(&self, io: &mut Io, clock: &mut Clock) -> Step {
        io.phase = match io.http.next_exchange(&mut io.input.bytes, clock.now()) {
            After::KeepAlive => Phase::Head,
            // Nothing is held while the client is waited for.
            _ if !io.outbox.is_empty() => Phase::Tail,
            After::Discard => Phase::Discard,
            After::Close(_)
                if io.http.should_linger() && io.line().is_ok_and(|line| line.shutdown_write().is_ok()) =>
            {
                Phase::Linger { budget: LINGER_BYTES_MAX, until: None }
            }
            After::Close(_) => return Step::Close,
        };
        Step::Go
    }

    /// Drops what comes of a request body that nobody read.
    fn discard(&self, io: &mut Io) -> Step {
        match self.receive(io) {
            Received::Nothing => return Step::Park(Until::Readable),
            Received::Broken => return Step::Close,
            Received::End => _ = io.http.receive_eof(),
            Received::Some => {}
        }
        io.phase = Phase::Over;
        Step::Go
    }

    /// Drops what still comes after the last answer.
    fn linger(&self, io: &mut Io) -> Step {
        let (Phase::Linger { budget, .. }, Some(line)) = (&mut io.phase, &io.line) else {
            return Step::Close;
        };
        self.schedule.begin_read();
        let mut scratch = [0; 4096];
        match line.discard(&mut scratch, budget) {
            Discarded::Pending if self.schedule.take_back_closed() => Step::Go,
            Discarded::Pending => Step::Park(Until::Readable),
            _ => Step::Close,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.info.id
    }
}

impl Io {
    /// The socket, if it is still open.
    pub(crate) fn line(&self) -> io::Result<&Arc<Transport>> {
        self.line.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_three_quarters_of_a_kibibyte_at_most() {
        // With its socket, the counts of their `Arc`s, its place in the table and its deadline. Buffers it has none.
        let shared = size_of::<Connection>() + 16 + size_of::<Transport>() + 16;
        let size = shared + size_of::<Arc<Connection>>() + 16 + 8;
        assert!(size <= 768, "{size}");
        assert_eq!((Outbox::new().len(), Input::default().bytes.len()), (0, 0));
    }
}
