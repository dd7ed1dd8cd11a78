//! One connection, seen from the server: what it remembers, and how one exchange follows another. The way in
//! is in `connection/receive.rs`, the way out in `connection/send.rs`.

mod receive;
mod send;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::close_reason::CloseReason;
use crate::deadlines::{Clocks, Deadline, DeadlineKind, Expired};
use crate::error::{BodyFault, Refusal};
use crate::framing::{RequestFraming, ResponseFraming};
use crate::head_scanner::HeadScanner;
use crate::limits::Limits;
use crate::request_body::{BodyEvent, BodyReader};
use crate::request_head::UpgradeRequest;
use crate::section_memo::Digest;
use crate::state::{Event, Receiving, Sending, State};
use crate::timeouts::Timeouts;

pub use receive::Eof;
pub use send::{DataFrame, SentEnd};

/// Bounds on what a peer may send and how long it may take; shared by all connections of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Bounds on sizes.
    pub limits: Limits,
    /// Bounds on time.
    pub timeouts: Timeouts,
}

/// One connection, seen from the server.
///
/// It holds no bytes: the caller keeps what was read and is not consumed yet, and what is to be written. The
/// order of calls is shown at the [crate] itself.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    clocks: Clocks,
    body: BodyReader,
    /// How the response is delimited; a length counts down.
    response: ResponseFraming,
    /// How far the next head was looked at.
    scanner: HeadScanner,
    /// The fields of the last request.
    section: Digest,
    /// Bytes of an unwanted body that may still be dropped.
    discard_left: u32,
    state: State,
    request: RequestFacts,
    /// Why this is the last exchange, once it is.
    close: Option<CloseReason>,
    /// Empty lines skipped before this request.
    blank_lines: u8,
    shutting_down: bool,
    /// The peer has closed its sending side.
    peer_finished: bool,
}

/// What the response depends on in its request.
#[derive(Debug, Clone, Copy, Default)]
struct RequestFacts {
    upgrade: Option<UpgradeRequest>,
    is_head: bool,
    is_http10: bool,
    /// `100 Continue` is awaited: it was asked for, not sent yet, and no byte of the body has come.
    awaits_continue: bool,
    te_trailers: bool,
}

/// How it goes on after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next request may come: [`receive_head`](Connection::receive_head).
    KeepAlive,
    /// The rest of the request body is being dropped: read more, and call
    /// [`next_exchange`](Connection::next_exchange) again.
    Discard,
    /// Write what is left to write, then close; slowly, if [`should_linger`](Connection::should_linger).
    Close(CloseReason),
}

impl Connection {
    /// A connection accepted at `now`. The time for its first head runs from here.
    pub fn new(config: Arc<Config>, now: Instant) -> Connection {
        Connection {
            config,
            clocks: Clocks::new(now),
            body: BodyReader::new(RequestFraming::None),
            response: ResponseFraming::None,
            scanner: HeadScanner::HEAD,
            section: Digest::default(),
            discard_left: 0,
            state: State::START,
            request: RequestFacts::default(),
            close: None,
            blank_lines: 0,
            shutting_down: false,
            peer_finished: false,
        }
    }
}

/// # Between exchanges
impl Connection {
    /// Ends the exchange, once the response is complete: drops what is left of the request body and makes
    /// ready for the next request.
    ///
    /// Where output is still to be written, it need not be written first.
    pub fn next_exchange(&mut self, input: &mut Bytes, now: Instant) -> After {
        let reason = match self.close {
            Some(reason) => reason,
            None if self.state == State::START => return After::KeepAlive,
            None if self.state.sending != Sending::Complete => {
                self.abort(CloseReason::ResponseUnfinished);
                CloseReason::ResponseUnfinished
            }
            None => match self.discard_body(input, now) {
                Err(reason) => reason,
                Ok(false) => return After::Discard,
                Ok(true) if self.peer_finished && input.is_empty() => CloseReason::PeerFinished,
                Ok(true) => {
                    self.apply(Event::NextExchange);
                    self.scanner = HeadScanner::HEAD;
                    self.blank_lines = 0;
                    self.clocks.wait_for(DeadlineKind::Idle, now);
                    if self.shutting_down {
                        self.clocks.hurry();
                    }
                    return After::KeepAlive;
                }
            },
        };
        self.close = Some(reason);
        let unread = matches!(self.state.receiving, Receiving::Body | Receiving::Broken);
        let is_sending = (unread && reason != CloseReason::ContinueNotSent) || !input.is_empty();
        if is_sending && self.state.sending == Sending::Complete && !self.peer_finished {
            self.clocks.wait_for(DeadlineKind::Linger, now);
        } else {
            self.clocks.rest();
        }
        After::Close(reason)
    }

    /// Drops what `input` holds of the request body. Tells whether that was all.
    fn discard_body(&mut self, input: &mut Bytes, now: Instant) -> Result<bool, CloseReason> {
        if self.state.receiving == Receiving::Complete {
            return Ok(true);
        }
        let mut left = self.discard_left as usize;
        if self.body.remaining() > left as u64 {
            return Err(CloseReason::BodyUnread);
        }
        loop {
            let before = input.len();
            let event = self.body.read(input, &self.config.limits).map_err(CloseReason::Body)?;
            left = left.checked_sub(before - input.len()).ok_or(CloseReason::BodyUnread)?;
            match event {
                BodyEvent::Data(_) => {}
                BodyEvent::End(_) => {
                    self.apply(Event::BodyEnd);
                    return Ok(true);
                }
                BodyEvent::NeedMore if self.peer_finished => {
                    return Err(CloseReason::Body(BodyFault::Truncated));
                }
                BodyEvent::NeedMore => {
                    self.discard_left = left as u32;
                    self.clocks.wait_for(DeadlineKind::Discard, now);
                    return Ok(false);
                }
            }
        }
    }

    /// Takes note that the server is going to stop. The next response head says `connection: close`, and no
    /// further exchange begins after it; behind a response whose head is out already one more may follow, for
    /// the peer could not know. The [`deadline`](Self::deadline) of one that waits for a request is an earlier one now, and
    /// may have passed.
    pub fn shutting_down(&mut self) {
        self.shutting_down = true;
        let waits = [DeadlineKind::Head, DeadlineKind::Idle].map(|kind| self.clocks.is_waiting_for(kind));
        if waits.contains(&true) && self.scanner.is_new() {
            self.clocks.hurry();
        }
    }

    /// Whether [`shutting_down`](Self::shutting_down) was told.
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// Why no further request is taken, once that is so.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// Whether nothing is going on: no exchange, and nothing of a next head.
    pub fn is_idle(&self) -> bool {
        self.state == State::START && self.scanner.is_new()
    }

    /// Whether part of the request body is still to be received.
    pub fn wants_body(&self) -> bool {
        self.state.receiving == Receiving::Body
    }

    /// Whether the peer waits for `100 Continue`: it asked for it, got none yet, and has sent nothing of the
    /// body.
    pub fn awaits_continue(&self) -> bool {
        self.request.awaits_continue
            && self.state == (State { receiving: Receiving::Body, sending: Sending::Head })
    }

    /// Whether to close slowly, once [`next_exchange`](Self::next_exchange) has said to close: a whole
    /// response was sent, and the peer has sent, or is still sending, what nobody will read. To close at once
    /// makes TCP reset the connection then, which can take the response from under the peer's eyes (RFC 9112
    /// section 9.6).
    ///
    /// Slowly means: write everything, shut down the sending side, then read and drop until the peer has
    /// closed or the [`deadline`](Self::deadline) has passed.
    pub fn should_linger(&self) -> bool {
        self.clocks.is_waiting_for(DeadlineKind::Linger)
    }

    /// Moves the state machine. An event without a place in the table changes nothing.
    fn apply(&mut self, event: Event) {
        if let Some(state) = self.state.after(event) {
            self.state = state;
        }
    }
}

/// # Time
impl Connection {
    /// Takes note of output: the transport took `written` bytes, and more of them is `pending` or not.
    /// Starts, renews and stops the clock of writing.
    ///
    /// Where all output is taken as soon as it is offered, there is no need to call this.
    pub fn output_progress(&mut self, written: usize, pending: bool, now: Instant) {
        self.clocks.output(written, pending, now);
    }

    /// Until when to wait at most. It changes with every call that moves the connection, and costs little to
    /// ask for.
    pub fn deadline(&self) -> Option<Deadline> {
        self.clocks.deadline(&self.config.timeouts, self.body.received())
    }

    /// What it means that a deadline has passed at `now`; `None` if none has.
    pub fn expire(&mut self, now: Instant) -> Option<Expired> {
        let deadline = self.deadline().filter(|deadline| deadline.at <= now)?;
        let reason = match deadline.kind {
            DeadlineKind::Body => {
                self.fail(Refusal::Body(BodyFault::Timeout));
                return Some(Expired::Body(BodyFault::Timeout));
            }
            DeadlineKind::Head if !self.scanner.is_new() => {
                self.fail(Refusal::HeadTimeout);
                return Some(Expired::Refuse(Refusal::HeadTimeout));
            }
            DeadlineKind::Head | DeadlineKind::Idle => CloseReason::IdleTimeout,
            DeadlineKind::Parting => CloseReason::ShuttingDown,
            DeadlineKind::Discard => CloseReason::DiscardTimeout,
            DeadlineKind::Write => CloseReason::WriteTimeout,
            DeadlineKind::Linger => CloseReason::LingerTimeout,
        };
        self.abort(reason);
        self.clocks.stop();
        Some(Expired::Close(reason))
    }
}
