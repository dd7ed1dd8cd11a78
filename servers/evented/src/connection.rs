//! A connection: bytes, [http1](varvel_http1), the application's exchanges, and bytes again.
//!
//! ```text
//!            +-------------------------- keep alive --------------------------+
//!            v                                                                |
//!        +------+  a head   +----------+  the answer is complete    +---------+
//!   ---> | Head |---------->| Exchange |--------------------------->| Discard |   (the rest of an unread body)
//!        +------+           +----------+                            +---------+
//!            | refused, ended    | failed, last                          |
//!            v                   v                                       v
//!        +---------------------------------------------------------------------+        +-----------+
//!        | Closing: what is in the outbox goes out                              | -----> | Lingering |
//!        +---------------------------------------------------------------------+        +-----------+
//! ```
//!
//! [`drive`](Connection::drive) goes as far as it can without waiting. Answers gather in the outbox as long as the input
//! holds further requests, so a batch of pipelined requests costs one write.

use std::{mem, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use varvel::{AsyncApp, AsyncTunnel, OnDisconnect, Outcome};
use varvel_http1::{After, CloseReason, Expired, Refusal, RequestHead};
use varvel_server_kit::{
    outbox::{Outbox, Progress, WriteError},
    transport::Transport,
};

use crate::{
    exchange::Exchange,
    handle::Handle,
    lingering::Lingering,
    shared::Shared,
    tunnel::{Origin, Tunnel},
    turn::{Ticket, Turn},
};

mod answer;
mod call;

use call::{Next, body_error};

/// How many bytes of large bodies a connection may move, in and out, before others get their turn: enough that going round
/// costs little beside them, and no more than a dozen small requests take.
const BYTES_PER_TURN: usize = 256 * 1024;

/// How many requests a connection may have answered before others get their turn.
const REQUESTS_PER_TURN: u32 = 128;

pub(crate) struct Connection<A: AsyncApp> {
    transport: Transport,
    handle: Arc<Handle>,
    http: varvel_http1::Connection,
    /// What was read and not used up.
    input: Bytes,
    /// The input is the rest of a larger piece, of which requests were taken.
    shares_batch: bool,
    outbox: Outbox,
    phase: Phase<A::Future>,
    /// The number of the last exchange.
    number: u64,
    /// There may be something to read.
    readable: bool,
    /// There may be room to write.
    writable: bool,
    /// The client has closed its sending side, as the poller tells ahead of what is still unread.
    hung_up: bool,
    /// The connection is broken.
    broken: bool,
    /// The system may hold back the end of what was written, because more was to come.
    held_back: bool,
    /// It is on the loop's list of those that can go on at once.
    pub(crate) listed: bool,
}

enum Phase<F> {
    /// Between two exchanges, or inside a head.
    Head,
    /// A request waits for its turn to be a call.
    Queued(Box<Queued>),
    Exchange(Box<Exchange<F>>),
    /// What the application did not read of a request is dropped.
    Discard,
    /// What is in the outbox goes out, then the connection is closed, or reset if an end could be taken for the body's.
    Closing {
        reset: bool,
    },
    /// Everything is said; the client is given time to hear it.
    Lingering(Box<Lingering>),
}

/// A request, when it had arrived, and its place in the queue.
struct Queued {
    head: Box<RequestHead>,
    received: Instant,
    ticket: Ticket,
}

/// What the loop is to do with a connection that was driven.
pub(crate) enum Fate {
    /// Nothing, until something happens to it.
    Wait,
    /// Drive it again, after the others.
    Again,
    /// Close it.
    Close,
    /// Reset it.
    Reset,
    /// It is a tunnel from now on.
    Tunnel(AsyncTunnel, Origin),
}

/// What a step came to.
enum Step {
    /// There is a next step.
    Go,
    /// Something has to happen first.
    Wait,
    /// Other connections first.
    Yield,
    /// Nothing more will come of this connection.
    End(Fate),
}

/// What a read came to.
enum Read {
    Some,
    None,
    /// The end, or a failure.
    Over,
}

/// What a write came to.
struct Written {
    bytes: usize,
    /// The outbox is empty.
    drained: bool,
}

impl<A: AsyncApp> Connection<A> {
    pub(crate) fn new(transport: Transport, handle: Handle, shared: &Shared<A>) -> Self {
        let handle = Arc::new(handle);
        Self {
            transport,
            handle,
            http: varvel_http1::Connection::new(Arc::clone(&shared.http), shared.now),
            input: Bytes::new(),
            shares_batch: false,
            outbox: Outbox::new(),
            phase: Phase::Head,
            number: 0,
            // Data has often come with the connection; trying is cheaper than waiting for the event.
            readable: true,
            writable: true,
            hung_up: false,
            broken: false,
            held_back: false,
            listed: false,
        }
    }

    /// Notes what the poller has seen.
    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable();
        self.writable |= event.is_writable();
        self.hung_up |= event.is_read_closed();
        if event.is_error() || event.is_write_closed() {
            self.broken = true;
            // Whatever waits is to find out by trying.
            (self.readable, self.writable) = (true, true);
        }
    }

    /// When something must have happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let http = self.http.deadline().map(|deadline| deadline.at);
        match &self.phase {
            Phase::Lingering(lingering) => [http, lingering.deadline()].into_iter().flatten().min(),
            _ => http,
        }
    }

    /// Has every further answer say `connection: close`, and whoever waits for a request wait less long (spec S17).
    pub(crate) fn stop(&mut self) {
        self.http.shutting_down();
        // A request may be there that the poller has not told of yet.
        self.readable = true;
    }

    /// Takes the connection apart for its tunnel.
    pub(crate) fn into_tunnel(self, tunnel: AsyncTunnel, origin: Origin) -> Tunnel {
        Tunnel::new(tunnel, self.transport, self.handle, self.input, self.outbox, origin)
    }

    /// Breaks off whatever is under way, with this outcome; whether anything was.
    pub(crate) fn abandon(&mut self, outcome: Outcome, shared: &mut Shared<A>) -> bool {
        let Some(exchange) = self.take_exchange() else { return false };
        self.end_exchange(exchange, outcome, shared);
        true
    }

    /// Gives up its place in the queue, if it waits there for its turn: before it is dropped.
    pub(crate) fn leave_queue(&self, turn: &mut Turn) {
        if let Phase::Queued(queued) = &self.phase {
            turn.leave(queued.ticket);
        }
    }

    fn take_exchange(&mut self) -> Option<Box<Exchange<A::Future>>> {
        match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Exchange(exchange) => Some(exchange),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.transport.reset();
    }

    /// Goes as far as possible without waiting.
    pub(crate) fn drive(&mut self, index: usize, shared: &mut Shared<A>) -> Fate {
        self.handle.driven();
        shared.turn_bytes_left = BYTES_PER_TURN;
        let mut requests = 0;
        let fate = loop {
            let step = match &mut self.phase {
                Phase::Head | Phase::Discard if shared.turn_bytes_left == 0 => Step::Yield,
                Phase::Head if requests == REQUESTS_PER_TURN => Step::Yield,
                Phase::Head => {
                    requests += 1;
                    self.receive(index, shared)
                }
                Phase::Queued(_) => self.dequeue(shared),
                Phase::Exchange(_) => self.advance(shared),
                Phase::Discard => self.discard(shared),
                Phase::Closing { .. } => self.close(shared),
                Phase::Lingering(_) => self.linger(shared),
            };
            match step {
                Step::Go => {}
                Step::Wait => break Fate::Wait,
                Step::Yield => break Fate::Again,
                Step::End(fate) => return fate,
            }
        };
        if self.input.is_empty() {
            // Also a piece of which nothing is left holds on to its memory.
            self.input = Bytes::new();
        }
        let flushed = match fate {
            Fate::Again => self.flush_for_more(shared),
            _ => self.flush(shared),
        };
        match flushed {
            Ok(true) => fate,
            Ok(false) if self.writable => Fate::Again,
            Ok(false) => fate,
            Err(error) => self.write_failed(error, shared).unwrap_or(fate),
        }
    }

    /// Deals with a deadline that has passed.
    pub(crate) fn expire(&mut self, index: usize, shared: &mut Shared<A>) -> Fate {
        if let Phase::Lingering(lingering) = &self.phase {
            if lingering.is_over(shared.now) {
                return Fate::Close;
            }
        }
        match self.http.expire(shared.now) {
            None => {}
            Some(Expired::Close(reason)) => {
                self.abandon(Outcome::TimedOut, shared);
                // A client that does not read is to see that this is no end; one that was idle, that it is.
                if reason == CloseReason::WriteTimeout {
                    return Fate::Reset;
                }
                // A request may arrive right before the close, which resets it then: its client has read the end before, and
                // may ask again elsewhere (RFC 9112 section 9.3.1). Where this fails there is no client any more.
                let _ = self.transport.shutdown_write();
                return Fate::Close;
            }
            Some(Expired::Refuse(refusal)) => {
                self.refuse(refusal, shared);
            }
            Some(Expired::Body(fault)) => {
                if let Phase::Exchange(exchange) = &self.phase {
                    if let Some(incoming) = &exchange.incoming {
                        let puller = incoming.fail(body_error(fault), &exchange.waker);
                        self.wake(puller, exchange, shared);
                    }
                }
            }
        }
        self.drive(index, shared)
    }

    /// Takes the next head from the input, reading if there is none.
    fn receive(&mut self, index: usize, shared: &mut Shared<A>) -> Step {
        // A client that does not take its answers gets no further ones.
        if self.outbox.len() >= shared.write_high_water {
            match self.flush(shared) {
                Ok(true) => {}
                Ok(false) if self.writable => return Step::Yield,
                Ok(false) => return Step::Wait,
                Err(error) => return self.write_failed(error, shared).map_or(Step::Go, Step::End),
            }
        }
        if self.input.is_empty() {
            match self.read(shared) {
                Read::Some => {}
                Read::None => return Step::Wait,
                Read::Over => return self.ended(shared),
            }
        }
        match self.http.receive_head(&mut self.input, &mut shared.spare, shared.now) {
            Ok(Some(head)) => {
                match shared.turn.ask(index) {
                    Ok(()) => self.begin(head, shared.now, shared),
                    Err(ticket) => {
                        self.phase = Phase::Queued(Box::new(Queued { head, received: shared.now, ticket }));
                    }
                }
                Step::Go
            }
            Ok(None) => match self.read(shared) {
                Read::Some => Step::Go,
                Read::None => {
                    self.release_batch();
                    Step::Wait
                }
                Read::Over => self.ended(shared),
            },
            Err(refusal) => self.refuse(refusal, shared),
        }
    }

    /// Calls the application, if it is this connection's turn and there is somebody to answer.
    fn dequeue(&mut self, shared: &mut Shared<A>) -> Step {
        let Phase::Queued(queued) = &self.phase else { return Step::Go };
        if self.is_nobody_there(&queued.head, shared) {
            shared.turn.leave(queued.ticket);
            self.phase = Phase::Closing { reset: false };
            return Step::Go;
        }
        if !shared.turn.take(queued.ticket) {
            return Step::Wait;
        }
        if let Phase::Queued(queued) = mem::replace(&mut self.phase, Phase::Head) {
            self.begin(queued.head, queued.received, shared);
        }
        Step::Go
    }

    /// Whether the client has left before the call, as [`check_client`](Self::check_client) sees it during one: nobody
    /// would learn what became of the request, so it need not wait for its turn.
    fn is_nobody_there(&self, head: &RequestHead, shared: &Shared<A>) -> bool {
        let complete = head.framing.exact_len().is_some_and(|len| len <= self.input.len() as u64);
        match shared.on_disconnect {
            OnDisconnect::Finish => false,
            OnDisconnect::Answer => self.broken,
            _ => self.broken || self.hung_up && complete,
        }
    }

    /// The beginning of a head that stays for now must not hold on to the memory of the requests that came before it.
    fn release_batch(&mut self) {
        if std::mem::take(&mut self.shares_batch) {
            self.input = Bytes::copy_from_slice(&self.input);
        }
    }

    /// Answers a request that the application never sees (spec S4).
    fn refuse(&mut self, refusal: Refusal, shared: &Shared<A>) -> Step {
        shared.journal.refused(refusal.status());
        self.http.send_refusal(refusal, shared.date.as_bytes(), self.outbox.text_mut());
        self.next_exchange(shared)
    }

    /// The client has ended where no exchange is under way.
    fn ended(&mut self, shared: &Shared<A>) -> Step {
        self.http.receive_eof();
        self.next_exchange(shared)
    }

    /// Reads once, and appends what came to the input.
    fn read(&mut self, shared: &mut Shared<A>) -> Read {
        self.read_up_to(shared.read_bytes_max, shared)
    }

    /// The same into memory of its own, unless it may be as much as the loop's buffer holds.
    fn read_up_to(&mut self, limit: usize, shared: &mut Shared<A>) -> Read {
        if !self.readable {
            return Read::None;
        }
        let room = limit.min(shared.read_bytes_max);
        let mut own = Vec::new();
        let buffer = if room == shared.read_bytes_max { &mut shared.read_buffer } else { &mut own };
        // The buffer may have been given away with what was read last.
        buffer.reserve_exact(room);
        match self.transport.read_spare(buffer) {
            Ok(0) => Read::Over,
            Ok(read) => {
                // A short read has drained the socket, and the poller tells of what comes next. Not so behind an end, which
                // it told of already.
                self.readable = read == room || self.hung_up;
                shared.turn_bytes_left = shared.turn_bytes_left.saturating_sub(read);
                take_in(&mut self.input, buffer);
                Read::Some
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.readable = false;
                Read::None
            }
            Err(_) => {
                self.broken = true;
                Read::Over
            }
        }
    }

    fn next_exchange(&mut self, shared: &Shared<A>) -> Step {
        self.phase = match self.http.next_exchange(&mut self.input, shared.now) {
            After::KeepAlive => Phase::Head,
            After::Discard => Phase::Discard,
            After::Close(_) => Phase::Closing { reset: false },
        };
        Step::Go
    }

    fn discard(&mut self, shared: &mut Shared<A>) -> Step {
        match self.read(shared) {
            Read::Some => self.next_exchange(shared),
            Read::None => Step::Wait,
            Read::Over => self.ended(shared),
        }
    }

    /// Writes what the outbox holds; whether it is empty now.
    fn flush(&mut self, shared: &Shared<A>) -> Result<bool, WriteError> {
        if self.outbox.is_empty() {
            if mem::take(&mut self.held_back) {
                self.transport.push().map_err(WriteError::Transport)?;
            }
            return Ok(true);
        }
        self.held_back = false;
        Ok(self.write(Outbox::write_to, shared)?.drained)
    }

    /// The same where this connection goes on at once: the end of it may wait for what comes then, and for
    /// [`flush`](Self::flush) at the latest.
    fn flush_for_more(&mut self, shared: &mut Shared<A>) -> Result<bool, WriteError> {
        if self.outbox.is_empty() {
            return Ok(true);
        }
        let Written { bytes, drained } = self.write(Outbox::write_more_to, shared)?;
        self.held_back |= drained;
        shared.turn_bytes_left = shared.turn_bytes_left.saturating_sub(bytes);
        Ok(drained)
    }

    fn write(
        &mut self,
        write: fn(&mut Outbox, &Transport) -> Result<Progress, WriteError>,
        shared: &Shared<A>,
    ) -> Result<Written, WriteError> {
        if !self.writable {
            return Ok(Written { bytes: 0, drained: false });
        }
        let before = self.outbox.len();
        let progress = write(&mut self.outbox, &self.transport)?;
        let bytes = (before - self.outbox.len()) as usize;
        let drained = progress == Progress::Drained;
        if progress == Progress::Blocked {
            self.writable = false;
        }
        self.http.output_progress(bytes, !drained, shared.now);
        Ok(Written { bytes, drained })
    }

    /// Writing has failed where no exchange is under way, or after the step.
    fn write_failed(&mut self, error: WriteError, shared: &mut Shared<A>) -> Option<Fate> {
        let Some(mut exchange) = self.take_exchange() else { return Some(Fate::Close) };
        match self.write_failed_in(&mut exchange, error, shared) {
            Next::Over(outcome, fate) => {
                self.end_exchange(exchange, outcome, shared);
                Some(fate.unwrap_or(Fate::Reset))
            }
            _ => {
                self.phase = Phase::Exchange(exchange);
                Some(Fate::Again)
            }
        }
    }

    fn close(&mut self, shared: &Shared<A>) -> Step {
        match self.flush(shared) {
            Ok(true) => {}
            Ok(false) if self.writable => return Step::Yield,
            Ok(false) => return Step::Wait,
            Err(_) => return Step::End(Fate::Close),
        }
        if matches!(self.phase, Phase::Closing { reset: true }) {
            return Step::End(Fate::Reset);
        }
        // Closing with anything unread resets the connection, and may take the last answer from the client's hands.
        let unread = self.http.should_linger() || !self.input.is_empty() || (self.readable && !self.hung_up);
        if !unread || self.transport.shutdown_write().is_err() {
            return Step::End(Fate::Close);
        }
        self.input = Bytes::new();
        let lingering = Lingering::new(shared.now, shared.http.timeouts.linger_timeout);
        self.phase = Phase::Lingering(Box::new(lingering));
        Step::Go
    }

    fn linger(&mut self, shared: &mut Shared<A>) -> Step {
        let Phase::Lingering(lingering) = &mut self.phase else { return Step::Go };
        match lingering.discard(&self.transport, &mut shared.scratch) {
            true => Step::End(Fate::Close),
            false => Step::Wait,
        }
    }
}

/// Appends what was read to what is left of the input, in its own memory if that is possible.
fn take_in(input: &mut Bytes, buffer: &mut Vec<u8>) {
    if input.is_empty() {
        // Much stays where it is, and the next read gets another buffer; little is to hold on to no more than it needs.
        let is_much = buffer.len() >= buffer.capacity() / 4;
        *input = if is_much { Bytes::from(mem::take(buffer)) } else { Bytes::copy_from_slice(buffer) };
        buffer.clear();
        return;
    }
    let mut joined = match std::mem::take(input).try_into_mut() {
        Ok(own) => own,
        // The rest of a batch, whose earlier heads are still in use.
        Err(rest) => BytesMut::from(&rest[..]),
    };
    joined.extend_from_slice(buffer);
    buffer.clear();
    *input = joined.freeze();
}

#[cfg(test)]
mod tests {
    use varvel::{AppFn, AsyncAppResult, AsyncBody, Scope};

    use super::*;

    #[test]
    fn an_idle_connection_takes_half_a_kibibyte_at_most() {
        type App = AppFn<fn(http::Request<AsyncBody>, Scope) -> std::future::Ready<AsyncAppResult>>;
        // With the counts of its handle's `Arc`, its deadline, and its place in a bucket of deadlines and among the vacant.
        let size = size_of::<Connection<App>>() + size_of::<Handle>() + 16 + 8 + 16 + 4;
        assert!(size <= 512, "{size}");
    }
}
