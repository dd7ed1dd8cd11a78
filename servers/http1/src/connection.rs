//! One connection, seen from the server: the methods, which join the state table with the readers and
//! writers.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, StatusCode, Version, header};

use crate::chunked;
use crate::close_reason::CloseReason;
use crate::deadlines::{Clocks, Deadline, DeadlineKind, Expired};
use crate::error::{BodyFault, HeadRefused, InterimRefused, Refusal, ShortBody};
use crate::framing::{BodyLength, RequestFraming, ResponseFraming};
use crate::head_scanner::HeadScanner;
use crate::limits::Limits;
use crate::request_body::{BodyEvent, BodyReader};
use crate::request_head::{self, RequestHead, UpgradeRequest};
use crate::response_head::{
    RemovedFields, SentHead, write_content_length, write_field, write_fields, write_status_line,
};
use crate::state::{Event, Receiving, Sending, State};
use crate::timeouts::Timeouts;
use crate::trailers;

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

/// How a piece of a response body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFrame {
    /// How many of the offered bytes are to be written, behind what was appended to `out`.
    pub take: u64,
    /// What is to be written behind them: the CRLF of a chunk, or nothing.
    pub suffix: &'static [u8],
    /// More was offered than this response may have, by its Content-Length or its status. A fault of the
    /// application.
    pub excess: bool,
}

/// What became of the end of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentEnd {
    /// The application's trailers had fields that may not be trailers; they were left out.
    pub trailers_removed: bool,
}

/// # Receiving
///
/// `input` is what was read and is not consumed yet. What a method consumes, it splits off the front; the
/// values it gives are slices of the same memory. When more is read, it goes behind what is left, so `input`
/// always begins where the last call stopped.
impl Connection {
    /// A connection accepted at `now`. The time for its first head runs from here.
    pub fn new(config: Arc<Config>, now: Instant) -> Connection {
        Connection {
            config,
            clocks: Clocks::new(now),
            body: BodyReader::new(RequestFraming::None),
            response: ResponseFraming::None,
            scanner: HeadScanner::HEAD,
            discard_left: 0,
            state: State::START,
            request: RequestFacts::default(),
            close: None,
            blank_lines: 0,
            shutting_down: false,
            peer_finished: false,
        }
    }

    /// Takes the next request head from `input`.
    ///
    /// `Ok(None)`: the head has not ended yet, or this is not the time for one, since a request is being
    /// answered or the connection is over ([`close_reason`](Self::close_reason) tells).
    ///
    /// `spare` is an empty map with room, such as that of an earlier request after `clear()`; it becomes the
    /// map of the request, and an empty one is left in its place. An empty map without room does as well.
    ///
    /// # Errors
    ///
    /// The peer sent what is no request, or one this server must not serve. Answer with
    /// [`send_refusal`](Self::send_refusal). Nothing of the input is consumed, and the same error is given
    /// from now on.
    #[inline]
    pub fn receive_head(
        &mut self,
        input: &mut Bytes,
        spare: &mut HeaderMap,
        now: Instant,
    ) -> Result<Option<RequestHead>, Refusal> {
        if self.state != State::START || self.close.is_some() {
            return match self.close {
                Some(CloseReason::Refused(refusal)) if self.state.sending == Sending::Idle => Err(refusal),
                _ => Ok(None),
            };
        }
        let received = self.read_head(input, spare);
        match &received {
            Ok(Some(head)) => {
                input.advance(head.length);
                self.begin_exchange(head);
            }
            Ok(None) => {
                if !self.scanner.is_new() {
                    self.clocks.wait_for(DeadlineKind::Head, now);
                }
                if self.peer_finished {
                    self.close = Some(self.finished_reason());
                }
            }
            Err(refusal) => {
                // Known also of a head that was refused early: no answer to HEAD has a body.
                self.request.is_head = input.starts_with(b"HEAD ");
                self.fail(*refusal);
            }
        }
        received
    }

    #[inline(always)]
    fn read_head(
        &mut self,
        input: &mut Bytes,
        spare: &mut HeaderMap,
    ) -> Result<Option<RequestHead>, Refusal> {
        if self.scanner.is_new() {
            self.skip_blank_lines(input)?;
            if matches!(&input[..], b"" | b"\r") {
                return Ok(None);
            }
        }
        request_head::read(input, &mut self.scanner, &self.config.limits, spare)
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
    fn fail(&mut self, refusal: Refusal) {
        self.apply(Event::RequestFault);
        self.close = Some(match refusal {
            Refusal::Body(fault) => CloseReason::Body(fault),
            refusal => CloseReason::Refused(refusal),
        });
        self.clocks.rest();
    }
}

/// # Sending
///
/// Text that belongs to HTTP is appended to `out`. Bytes of bodies stay with the caller, who writes them
/// behind what is in `out`: copied, gathered by `writev`, or sent from a file.
impl Connection {
    /// Writes `100 Continue` if the peer waits for it, and tells whether it did. The moment for it is when
    /// the application first asks for the body.
    pub fn send_continue(&mut self, out: &mut Vec<u8>) -> bool {
        let awaited = self.awaits_continue();
        if awaited {
            self.request.awaits_continue = false;
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        awaited
    }

    /// Writes an interim response: 102, 103 or another 1xx but 101. Fields that frame messages or manage the
    /// connection are left out. A 100 is written without fields, and only if the peer waits for it, as by
    /// [`send_continue`](Self::send_continue).
    ///
    /// # Errors
    ///
    /// See [`InterimRefused`]; nothing was written.
    pub fn send_interim(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        out: &mut Vec<u8>,
    ) -> Result<(), InterimRefused> {
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(InterimRefused::NotInterim);
        }
        if self.state.sending != Sending::Head {
            return Err(InterimRefused::TooLate);
        }
        if self.request.is_http10 {
            return Err(InterimRefused::Http10);
        }
        if status == StatusCode::CONTINUE {
            self.send_continue(out);
            return Ok(());
        }
        write_status_line(status, out);
        write_fields(headers, b"", out);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Writes the head of the final response and settles how its body is delimited.
    ///
    /// `date_line` is a whole line, `b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"`, used unless `headers` has a
    /// date; it may be empty. A Content-Length in `headers` is a declaration to which the body is held;
    /// without one, `body` decides.
    ///
    /// Every response is completed by [`send_end`](Self::send_end), also one without a body.
    ///
    /// # Errors
    ///
    /// See [`HeadRefused`]; nothing was written.
    pub fn send_head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        date_line: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SentHead, HeadRefused> {
        if self.state.sending != Sending::Head {
            return Err(HeadRefused::NotAwaited);
        }
        if status.is_informational() {
            return Err(HeadRefused::Interim);
        }
        let is_connect = self.request.upgrade == Some(UpgradeRequest::Connect);
        if is_connect && status.is_success() {
            return Err(HeadRefused::ConnectNeedsAccept);
        }

        write_status_line(status, out);
        let found = write_fields(headers, date_line, out);
        let mut sent = SentHead {
            framing: ResponseFraming::None,
            removed: found.removed,
            length_mismatch: None,
            close: false,
        };
        match status {
            // RFC 9110 section 8.6: no Content-Length.
            StatusCode::NO_CONTENT => {
                if found.content_length.is_some() {
                    sent.removed.add(RemovedFields::CONTENT_LENGTH);
                }
            }
            // The length is that of the 200 it stands for, which only the application knows.
            StatusCode::NOT_MODIFIED => {
                if let Some(length) = found.content_length {
                    write_content_length(length, out);
                }
            }
            _ => {
                sent.framing = self.frame(status, found.content_length, body, out);
                if let (Some(declared), BodyLength::Known(known)) = (found.content_length, body) {
                    sent.length_mismatch = (declared != known && !self.request.is_head).then_some(declared);
                }
            }
        }
        self.settle_persistence(sent.framing, is_connect);
        if self.close.is_some() {
            sent.close = true;
            out.extend_from_slice(b"connection: close\r\n");
        } else if self.request.is_http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if self.request.is_head {
            sent.framing = ResponseFraming::None;
        }
        self.response = sent.framing;
        self.apply(Event::ResponseHead);
        Ok(sent)
    }

    /// Writes the field that delimits a response which may have a body (RFC 9112 section 6.3), for HEAD as
    /// for GET.
    fn frame(
        &self,
        status: StatusCode,
        declared: Option<u64>,
        body: BodyLength,
        out: &mut Vec<u8>,
    ) -> ResponseFraming {
        let length = match (status, declared, body) {
            // RFC 9110 section 15.3.6: 205 has no content, and says so.
            (StatusCode::RESET_CONTENT, _, _) => 0,
            (_, Some(length), _) | (_, None, BodyLength::Known(length)) => length,
            (_, None, BodyLength::Unknown) if self.request.is_http10 => return ResponseFraming::UntilClose,
            (_, None, BodyLength::Unknown) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                return ResponseFraming::Chunked;
            }
        };
        write_content_length(length, out);
        ResponseFraming::Length(length)
    }

    /// Decides, as far as it can be known when the response begins, whether another exchange will follow.
    fn settle_persistence(&mut self, framing: ResponseFraming, is_connect: bool) {
        let reason = match () {
            // RFC 9110 section 10.1.1. The peer may leave the body out now, or send it.
            () if self.awaits_continue() => CloseReason::ContinueNotSent,
            () if is_connect => CloseReason::ConnectRefused,
            () if framing == ResponseFraming::UntilClose => CloseReason::ResponseUntilClose,
            () if self.shutting_down => CloseReason::ShuttingDown,
            () => return,
        };
        self.close.get_or_insert(reason);
    }

    /// Frames a piece of `len` bytes of the response body: write `out`, then the first
    /// [`take`](DataFrame::take) bytes of the piece, then the [`suffix`](DataFrame::suffix).
    ///
    /// An empty piece is nothing on the wire; in particular it does not end a chunked body. Outside of a
    /// response nothing is taken.
    pub fn send_data(&mut self, len: u64, out: &mut Vec<u8>) -> DataFrame {
        const NOTHING: DataFrame = DataFrame { take: 0, suffix: b"", excess: false };
        if len == 0 {
            return NOTHING;
        }
        if self.state.sending != Sending::Body {
            return DataFrame { excess: true, ..NOTHING };
        }
        match &mut self.response {
            ResponseFraming::None => DataFrame { excess: !self.request.is_head, ..NOTHING },
            ResponseFraming::Length(owed) => {
                let take = len.min(*owed);
                *owed -= take;
                DataFrame { take, excess: take < len, ..NOTHING }
            }
            ResponseFraming::Chunked => {
                chunked::write_size_line(len, out);
                DataFrame { take: len, suffix: b"\r\n", excess: false }
            }
            ResponseFraming::UntilClose => DataFrame { take: len, ..NOTHING },
        }
    }

    /// Completes the response. Trailers are sent if the body is chunked and the request said `TE: trailers`;
    /// otherwise, and where a field is no trailer (RFC 9110 section 6.5.1), they are left out.
    ///
    /// Outside of a response it does nothing.
    ///
    /// # Errors
    ///
    /// [`ShortBody`] if the declared length was not reached. The connection is broken then: close it without
    /// writing more, so that the peer does not take the response for a whole one.
    pub fn send_end(
        &mut self,
        trailers: Option<&HeaderMap>,
        out: &mut Vec<u8>,
    ) -> Result<SentEnd, ShortBody> {
        let mut sent = SentEnd { trailers_removed: false };
        if self.state.sending != Sending::Body {
            return Ok(sent);
        }
        match self.response {
            ResponseFraming::Length(missing) if missing > 0 => {
                self.abort(CloseReason::ResponseShort);
                return Err(ShortBody { missing });
            }
            ResponseFraming::Chunked => {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if trailers::is_forbidden(name) {
                        sent.trailers_removed = true;
                    } else if self.request.te_trailers {
                        write_field(name.as_str(), value, out);
                    }
                }
                out.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        self.apply(Event::ResponseEnd);
        Ok(sent)
    }

    /// Answers a request the server does not serve with a whole small response in plain text, without the
    /// text to HEAD. The connection is over then; [`next_exchange`](Self::next_exchange) says how to close
    /// it.
    ///
    /// If a response has begun, nothing is written, and the connection is broken.
    pub fn send_refusal(&mut self, refusal: Refusal, date_line: &[u8], out: &mut Vec<u8>) {
        self.close.get_or_insert(CloseReason::Refused(refusal));
        self.clocks.rest();
        if !matches!(self.state.sending, Sending::Idle | Sending::Head) {
            self.abort(CloseReason::Refused(refusal));
            return;
        }
        let text = refusal.text();
        write_status_line(refusal.status(), out);
        out.extend_from_slice(date_line);
        out.extend_from_slice(b"content-type: text/plain\r\n");
        write_content_length(text.len() as u64 + 1, out);
        out.extend_from_slice(b"connection: close\r\n\r\n");
        if !self.request.is_head {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        self.apply(Event::RefusalSent);
    }

    /// Writes the head that accepts the offered [`UpgradeRequest`]: 101 for a protocol, which `headers` must
    /// name in an `upgrade` field, or 200 for CONNECT. Other fields are kept, but those of connection
    /// management are the server's.
    ///
    /// From here on the bytes are not HTTP: what is left of `input` and all that is read later belongs to the
    /// tunnel, and no deadline applies.
    ///
    /// # Errors
    ///
    /// See [`HeadRefused`]; nothing was written.
    pub fn accept_upgrade(
        &mut self,
        headers: &HeaderMap,
        date_line: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SentHead, HeadRefused> {
        if self.state.sending != Sending::Head {
            return Err(HeadRefused::NotAwaited);
        }
        let offered = self.request.upgrade.ok_or(HeadRefused::UpgradeNotOffered)?;
        let protocol = headers.get(header::UPGRADE);
        let status = match offered {
            UpgradeRequest::Protocol if protocol.is_none() => return Err(HeadRefused::UpgradeUnnamed),
            UpgradeRequest::Protocol => StatusCode::SWITCHING_PROTOCOLS,
            UpgradeRequest::Connect => StatusCode::OK,
        };
        write_status_line(status, out);
        let mut removed = write_fields(headers, date_line, out).removed;
        if let (UpgradeRequest::Protocol, Some(protocol)) = (offered, protocol) {
            removed.take(RemovedFields::UPGRADE);
            write_field("upgrade", protocol, out);
            out.extend_from_slice(b"connection: upgrade\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.apply(Event::Upgrade);
        self.close = Some(CloseReason::Upgraded);
        self.clocks.rest();
        Ok(SentHead { framing: ResponseFraming::None, removed, length_mismatch: None, close: true })
    }

    /// Gives the connection up at once: nothing more is received or sent. For a response that cannot be
    /// completed, and for a failed transport.
    pub fn abort(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
        self.apply(Event::Abort);
        self.clocks.rest();
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
                Ok(true) if self.shutting_down => CloseReason::ShuttingDown,
                Ok(true) if self.peer_finished && input.is_empty() => CloseReason::PeerFinished,
                Ok(true) => {
                    self.apply(Event::NextExchange);
                    self.scanner = HeadScanner::HEAD;
                    self.blank_lines = 0;
                    self.clocks.wait_for(DeadlineKind::Idle, now);
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
    /// further exchange begins after it; a connection that [`is_idle`](Self::is_idle) may be closed at once.
    pub fn shutting_down(&mut self) {
        self.shutting_down = true;
    }

    /// Why no further request is taken, once that is so.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// Whether nothing is going on: no exchange, and nothing of a next head. Such a connection may be parked,
    /// or closed by a server that stops.
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
            DeadlineKind::Discard => CloseReason::DiscardTimeout,
            DeadlineKind::Write => CloseReason::WriteTimeout,
            DeadlineKind::Linger => CloseReason::LingerTimeout,
        };
        self.abort(reason);
        Some(Expired::Close(reason))
    }
}
