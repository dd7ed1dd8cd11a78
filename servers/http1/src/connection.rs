//! One connection, seen from the server.
use crate::*;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::{sync::Arc, time::Instant};

/// Bounds on what a peer may send and how long it may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Bounds on sizes.
    pub limits: Limits,
    /// Bounds on time.
    pub timeouts: Timeouts,
}
/// A piece of a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// Nothing more in `input`; read from the transport and call again.
    NeedMore,
    /// Bytes of the body, never empty.
    Data(Bytes),
    /// The body has ended, with these trailers if a chunked one had any. Asked again, the end is reported again, without trailers.
    End(Option<HeaderMap>),
}
/// Where the peer closed its sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eof {
    /// Between two requests: the connection is over, nobody waits for anything.
    Clean,
    /// Inside a head: the connection is over, an answer would be to nothing.
    InHead,
    /// Before the end of a body as far as it was decoded. `receive_body` goes on giving what `input` holds, and
    /// [`BodyFault::Truncated`] if that is not all.
    InBody,
    /// After a whole request that is not answered yet. The peer may still read the response, or be gone altogether; the connection closes behind it.
    AfterRequest,
}
/// How it goes on after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Call [`receive_head`](Connection::receive_head) for the next request.
    KeepAlive,
    /// The rest of the request body is being dropped: read more, then call [`next_exchange`](Connection::next_exchange) again.
    Discard,
    /// Flush what is left to send, then close, lingering if [`should_linger`](Connection::should_linger).
    Close(CloseReason),
}
/// How to frame a piece of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFrame {
    /// How many of the offered bytes are to be written, behind what was appended to `out`.
    pub take: u64,
    /// What is to be written behind them.
    pub suffix: &'static [u8],
    /// More was offered than the response may have.
    pub excess: bool,
}

/// One connection, seen from the server.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    close: Option<CloseReason>,
}

#[allow(unused_variables)]
impl Connection {
    /// A connection accepted at `now`.
    pub fn new(config: Arc<Config>, now: Instant) -> Connection {
        Connection { config, close: None }
    }
    /// Takes the next head from `input`.
    pub fn receive_head(
        &mut self,
        input: &mut Bytes,
        spare: &mut HeaderMap,
        now: Instant,
    ) -> Result<Option<RequestHead>, Refusal> {
        Ok(None)
    }
    /// Takes the next piece of the body from `input`.
    pub fn receive_body(&mut self, input: &mut Bytes, now: Instant) -> Result<BodyEvent, BodyFault> {
        Ok(BodyEvent::NeedMore)
    }
    /// The peer closed its sending side. Give the whole input to receive_head or receive_body first.
    pub fn receive_eof(&mut self) -> Eof {
        Eof::Clean
    }
    /// Writes `100 Continue` if the peer waits for it; tells whether it did. To be called at the first pull of the body.
    pub fn send_continue(&mut self, out: &mut Vec<u8>) -> bool {
        false
    }
    /// Writes an interim response.
    pub fn send_interim(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        out: &mut Vec<u8>,
    ) -> Result<(), InterimRefused> {
        Ok(())
    }
    /// Writes the head of the final response.
    pub fn send_head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        date_line: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SentHead, HeadRefused> {
        Err(HeadRefused::NotAwaited)
    }
    /// Frames `len` bytes of the body.
    pub fn send_data(&mut self, len: u64, out: &mut Vec<u8>) -> DataFrame {
        DataFrame { take: 0, suffix: b"", excess: true }
    }
    /// Ends the response.
    pub fn send_end(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), ShortBody> {
        Ok(())
    }
    /// Writes a whole error response, or nothing where none may be sent.
    pub fn send_refusal(&mut self, refusal: Refusal, date_line: &[u8], out: &mut Vec<u8>) {}
    /// Writes the head of an accepted upgrade: 101, or 200 for CONNECT; the rest of `input` belongs to the tunnel.
    pub fn accept_upgrade(
        &mut self,
        headers: &HeaderMap,
        date_line: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SentHead, HeadRefused> {
        Err(HeadRefused::NotAwaited)
    }
    /// Gives the connection up.
    pub fn abort(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
    }
    /// Ends the exchange.
    pub fn next_exchange(&mut self, input: &mut Bytes, now: Instant) -> After {
        After::Close(CloseReason::Application)
    }
    /// The next response carries `connection: close`; idle connections may be closed.
    pub fn shutting_down(&mut self) {}
    /// Why no further request is taken, once that is so.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }
    /// Nothing of a request has come since the last one was answered.
    pub fn is_idle(&self) -> bool {
        false
    }
    /// Part of the request body is still to be received.
    pub fn wants_body(&self) -> bool {
        false
    }
    /// The peer waits for `100 Continue`.
    pub fn awaits_continue(&self) -> bool {
        false
    }
    /// Unread request bytes may be on their way, so that closing at once could cost the peer the response.
    pub fn should_linger(&self) -> bool {
        false
    }
    /// The peer took `written` bytes of output; `pending` tells whether more is waiting. Not needed while all output is taken at once.
    pub fn output_progress(&mut self, written: usize, pending: bool, now: Instant) {}
    /// The next deadline.
    pub fn deadline(&self) -> Option<Deadline> {
        let _ = &self.config;
        None
    }
    /// What the passed deadline means; `None` if none has passed.
    pub fn expire(&mut self, now: Instant) -> Option<Expired> {
        None
    }
}
