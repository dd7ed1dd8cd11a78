//! From bytes to requests.

use std::time::Instant;

use bytes::{Buf, Bytes};
use http::{Method, Version};

use super::{Connection, RequestFacts};
use crate::close_reason::CloseReason;
use crate::deadlines::DeadlineKind;
use crate::error::{BodyFault, Refusal};
use crate::request_body::{BodyEvent, BodyReader};
use crate::request_head::{Reading, RequestHead};
use crate::spare::Spare;
use crate::state::{Event, Receiving, Sending, State};

/// Where the peer closed its sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eof {
    /// Between two requests. The connection is over; nobody waits for anything.
    Clean,
    /// Inside a head. The connection is over; there is no request to answer.
    InHead,
    /// Before the end of a request body, as far as it was taken from the input.
    /// [`receive_body`](Connection::receive_body) goes on with what `input` holds, and if that is not all,
    /// ends in [`BodyFault::Truncated`].
    InBody,
    /// Behind all that is received of this request. The peer may be waiting for the answer (a half-closed
    /// connection) or be gone; the protocol cannot tell.
    AfterRequest,
}

/// # Receiving
///
/// `input` is what was read and is not consumed yet. What a method consumes, it splits off the front; the
/// values it gives are slices of the same memory. When more is read, it goes behind what is left, so `input`
/// always begins where the last call stopped.
impl Connection {
    /// Takes the next request head from `input`.
    ///
    /// `Ok(None)`: the head has not ended yet, or this is not the time for one, since a request is being
    /// answered or the connection is over ([`close_reason`](Self::close_reason) tells).
    ///
    /// `spare` is best kept for all connections of a thread; a new one does as well. A head is large and passed on, hence
    /// the box, which [`Spare::recycle`] takes back.
    ///
    /// # Errors
    ///
    /// The peer sent what is no request, or one this server must not serve. Answer with
    /// [`send_refusal`](Self::send_refusal). Nothing of the head is consumed, and the same error is given
    /// from now on.
    #[inline]
    pub fn receive_head(
        &mut self,
        input: &mut Bytes,
        spare: &mut Spare,
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Refusal> {
        if self.state != State::START || self.close.is_some() {
            return match self.close {
                Some(CloseReason::Refused(refusal)) if self.state.sending == Sending::Idle => Err(refusal),
                _ => Ok(None),
            };
        }
        let mut head = spare.head();
        let refusal = match self.read_head(input, spare, &mut head) {
            Ok(true) => {
                input.advance(head.length);
                self.begin_exchange(&head);
                return Ok(Some(head));
            }
            Ok(false) => {
                // Fields that were read in vain must not hold on to the input.
                head.request.headers_mut().clear();
                spare.recycle(head);
                None
            }
            Err(refusal) => Some(refusal),
        };
        self.without_head(input, refusal, now)
    }

    /// The head is not there yet, or is refused.
    #[cold]
    fn without_head(
        &mut self,
        input: &Bytes,
        refusal: Option<Refusal>,
        now: Instant,
    ) -> Result<Option<Box<RequestHead>>, Refusal> {
        if let Some(refusal) = refusal {
            self.fail(refusal);
        } else {
            if !self.scanner.is_new() {
                self.clocks.wait_for(DeadlineKind::Head, now);
            }
            if self.peer_finished {
                self.close = Some(self.finished_reason());
            }
        }
        // It can be known for HEAD already, whose refusal, now or for its time, has no body.
        self.request.is_head = input.starts_with(b"HEAD ");
        refusal.map_or(Ok(None), Err)
    }

    /// Fills `head` from the input; whether there is one.
    #[inline(always)]
    fn read_head(
        &mut self,
        input: &mut Bytes,
        spare: &mut Spare,
        head: &mut RequestHead,
    ) -> Result<bool, Refusal> {
        if self.scanner.is_new() {
            self.skip_blank_lines(input)?;
            if matches!(&input[..], b"" | b"\r") {
                return Ok(false);
            }
        }
        let (limits, last) = (&self.config.limits, &mut self.section);
        Reading { input, limits, last, spare, head }.read(&mut self.scanner)
    }

    /// RFC 9112 section 2.2: a server ought to ignore at least one empty line before a request line.
    fn skip_blank_lines(&mut self, input: &mut Bytes) -> Result<(), Refusal> {
        loop {
            match input[..] {
                [b'\r', b'\n', ..] if self.blank_lines == self.config.limits.leading_blank_lines_max => {
                    return Err(Refusal::LeadingBlankLines);
                }
                [b'\r', b'\n', ..] => {
                    self.blank_lines += 1;
                    input.advance(2);
                }
                [b'\r', _, ..] => return Err(Refusal::BareCr),
                [b'\n', ..] => return Err(Refusal::BareLf),
                _ => return Ok(()),
            }
        }
    }

    fn begin_exchange(&mut self, head: &RequestHead) {
        self.body = BodyReader::new(head.framing);
        self.discard_left = self.config.limits.discard_bytes_max;
        let event = if self.body.has_ended() { Event::HeadAlone } else { Event::HeadWithBody };
        self.apply(event);
        self.close = head.close;
        self.request = RequestFacts {
            upgrade: head.upgrade,
            is_head: head.request.method() == Method::HEAD,
            is_http10: head.request.version() == Version::HTTP_10,
            awaits_continue: head.expects_continue,
            te_trailers: head.te_trailers,
        };
        self.clocks.start_exchange();
    }

    /// Takes the next piece of the request body from `input`.
    ///
    /// [`BodyEvent::NeedMore`] starts the clock of the body, so ask only when the application wants to read.
    /// Where the peer may be waiting for `100 Continue`, call [`send_continue`](Self::send_continue) first.
    ///
    /// Without a body, or without a request, the answer is the end.
    ///
    /// # Errors
    ///
    /// The body cannot be read to its end; every later call gives the same fault. The request may still be
    /// answered, by the application or by [`send_refusal`](Self::send_refusal); then the connection closes.
    pub fn receive_body(&mut self, input: &mut Bytes, now: Instant) -> Result<BodyEvent, BodyFault> {
        match self.state.receiving {
            Receiving::Body => {}
            Receiving::Broken => {
                return match self.close {
                    Some(CloseReason::Body(fault)) => Err(fault),
                    _ => Err(BodyFault::Truncated),
                };
            }
            Receiving::Head | Receiving::Complete | Receiving::Tunnel => return Ok(BodyEvent::End(None)),
        }
        match self.body.read(input, &self.config.limits) {
            Ok(BodyEvent::NeedMore) if self.peer_finished => {
                self.fail(Refusal::Body(BodyFault::Truncated));
                Err(BodyFault::Truncated)
            }
            Ok(BodyEvent::NeedMore) => {
                self.clocks.wait_for(DeadlineKind::Body, now);
                Ok(BodyEvent::NeedMore)
            }
            Ok(event) => {
                self.request.awaits_continue = false;
                self.clocks.body_arrived(now);
                if self.body.has_ended() {
                    self.apply(Event::BodyEnd);
                }
                Ok(event)
            }
            Err(fault) => {
                self.fail(Refusal::Body(fault));
                Err(fault)
            }
        }
    }

    /// The peer has closed its sending side. Between requests and inside heads, first let
    /// [`receive_head`](Self::receive_head) see all of the input.
    ///
    /// Requests that are whole in `input` are still served afterwards.
    pub fn receive_eof(&mut self) -> Eof {
        self.peer_finished = true;
        match self.state.receiving {
            Receiving::Head => {
                let reason = self.finished_reason();
                self.close.get_or_insert(reason);
                if self.scanner.is_new() { Eof::Clean } else { Eof::InHead }
            }
            Receiving::Body => Eof::InBody,
            Receiving::Complete | Receiving::Broken | Receiving::Tunnel => Eof::AfterRequest,
        }
    }

    fn finished_reason(&self) -> CloseReason {
        if self.scanner.is_new() { CloseReason::PeerFinished } else { CloseReason::HeadTruncated }
    }

    /// The peer is at fault: what it sends from now on is not looked at.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        self.apply(Event::RequestFault);
        self.close = Some(match refusal {
            Refusal::Body(fault) => CloseReason::Body(fault),
            refusal => CloseReason::Refused(refusal),
        });
        self.clocks.rest();
    }
}
