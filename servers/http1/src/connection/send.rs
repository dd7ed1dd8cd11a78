//! From responses to bytes.

use http::{HeaderMap, StatusCode, header};

use super::Connection;
use crate::chunked;
use crate::close_reason::CloseReason;
use crate::error::{HeadRefused, InterimRefused, Refusal, ShortBody};
use crate::framing::{BodyLength, ResponseFraming};
use crate::request_head::UpgradeRequest;
use crate::response_head::{
    RemovedFields, SentHead, write_content_length, write_field, write_fields, write_status_line,
    write_upgrade,
};
use crate::state::{Event, Sending};
use crate::trailers;

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
        // RFC 9110 section 15.5.22: 426 has to say which protocol would do.
        if status == StatusCode::UPGRADE_REQUIRED && sent.removed.take(RemovedFields::UPGRADE) {
            write_upgrade(headers, out);
        }
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
        let status = match offered {
            UpgradeRequest::Protocol if !headers.contains_key(header::UPGRADE) => {
                return Err(HeadRefused::UpgradeUnnamed);
            }
            UpgradeRequest::Protocol => StatusCode::SWITCHING_PROTOCOLS,
            UpgradeRequest::Connect => StatusCode::OK,
        };
        write_status_line(status, out);
        let mut removed = write_fields(headers, date_line, out).removed;
        if offered == UpgradeRequest::Protocol && removed.take(RemovedFields::UPGRADE) {
            write_upgrade(headers, out);
        }
        out.extend_from_slice(b"\r\n");
        self.apply(Event::Upgrade);
        self.close = Some(CloseReason::Upgraded);
        self.clocks.rest();
        Ok(SentHead { framing: ResponseFraming::None, removed, length_mismatch: None, close: true })
    }

    /// Gives the connection up at once: nothing more is received or sent. For a response that cannot be
    /// completed, and for a failed transport. Output that is pending keeps its clock, for the caller who still
    /// writes it out.
    pub fn abort(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
        self.apply(Event::Abort);
        self.clocks.rest();
    }
}
