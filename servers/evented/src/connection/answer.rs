//! The answer: its head, its body, and what is sent when there is none.

use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use varvel::{
    AppError, AsyncApp, AsyncAppResult, AsyncBody, BodyErrorKind, BodyParts, Event, FailKind, Frame, Outcome,
    Phase as Running, Report,
};
use varvel_http1::{BodyLength, CloseReason, ResponseFraming};
use varvel_server_kit::{
    containment::contain,
    gateway::{
        ErrorResponse, Verdict, failure,
        response::{self, Sent},
    },
};

use super::{Connection, Fate, Phase, call::Next};
use crate::{
    exchange::{AnswerHead, Exchange, Stage},
    shared::Shared,
};

impl<A: AsyncApp> Connection<A> {
    /// Sends what the application has answered, or begins to.
    pub(super) fn answer(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        result: AsyncAppResult,
        shared: &mut Shared<A>,
    ) -> Next {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let next = self.answer_failure(exchange, &error, shared);
                self.dropping(exchange, error, shared);
                return next;
            }
        };
        let (mut head, body) = response.into_parts();
        if !head.extensions.is_empty() {
            // Values of the application, whose drop may panic.
            let extensions = std::mem::take(&mut head.extensions);
            self.dropping(exchange, extensions, shared);
        }
        if exchange.discarding {
            return self.discard_answer(exchange, body, shared);
        }
        let exact_len = body.exact_len();
        let parts = match body.into_parts() {
            BodyParts::Tunnel(tunnel) => {
                self.close_interims();
                let id = exchange.id(self.handle.id(), self.number);
                let accepted = response::accept_upgrade(
                    &mut self.http,
                    &exchange.method,
                    &head.headers,
                    shared.date.as_bytes(),
                    self.outbox.text_mut(),
                    |event| shared.reporter.report(&Report::of(id, event)),
                );
                if accepted.is_none() {
                    self.dropping(exchange, tunnel, shared);
                    return self.respond_error(exchange, &ErrorResponse::INTERNAL, shared);
                }
                exchange.status = accepted;
                return Next::Tunnel(tunnel);
            }
            parts => parts,
        };
        let length = exact_len.map_or(BodyLength::Unknown, BodyLength::Known);
        let status = head.status;
        let head = AnswerHead { status, headers: head.headers, length };
        if let BodyParts::Stream(body) = parts {
            exchange.body = Some(body);
            exchange.stage = Stage::Streaming;
            exchange.head = Some(head);
            let bodiless = exchange.method == Method::HEAD
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            // Otherwise the body is asked first: if it fails at once, the client gets 500 and not a broken answer; and if it
            // pulls the request's body, a client that waits for 100 gets it ahead of the head.
            return if bodiless { self.send_head_of_stream(exchange, shared) } else { Next::Go };
        }
        let framing = match self.send_head(exchange, head, shared) {
            Ok(framing) => framing,
            Err(next) => {
                self.dropping(exchange, parts, shared);
                return next;
            }
        };
        if framing == ResponseFraming::None {
            // HEAD, 204, 304: the body is dropped without having been polled (spec H1, H2).
            let _ = self.http.send_end(None, self.outbox.text_mut());
            self.dropping(exchange, parts, shared);
            return self.written_or_done(exchange);
        }
        match parts {
            BodyParts::Empty => self.end_answer(exchange, None, shared),
            BodyParts::Full(data) => {
                let _ = self.send_data(exchange, data, shared);
                self.end_answer(exchange, None, shared)
            }
            BodyParts::File(region) => {
                let frame = self.http.send_data(region.len, self.outbox.text_mut());
                self.check_excess(frame.excess, exchange, shared);
                self.outbox.push_file(region.file, region.offset, frame.take);
                self.outbox.push_text(frame.suffix);
                exchange.bytes = frame.take;
                exchange.has_file = true;
                self.end_answer(exchange, None, shared)
            }
            _ => {
                let detail = "the answer's body is of a kind that this server does not know";
                self.report(exchange, shared, Event::Contract { clause: "X2", detail });
                self.break_off(exchange, Outcome::Failed, shared)
            }
        }
    }

    /// Writes the head of an answer; if it is none, what is to be done instead.
    pub(super) fn send_head(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        mut head: AnswerHead,
        shared: &mut Shared<A>,
    ) -> Result<ResponseFraming, Next> {
        self.close_interims();
        let id = exchange.id(self.handle.id(), self.number);
        let sent = response::send_head(
            &mut self.http,
            head.status,
            &head.headers,
            head.length,
            shared.date.as_bytes(),
            self.outbox.text_mut(),
            |event| shared.reporter.report(&Report::of(id, event)),
        );
        head.headers.clear();
        shared.spare.headers = head.headers;
        match sent {
            Sent::Head(sent) => {
                exchange.status = Some(head.status);
                exchange.until_close = sent.framing == ResponseFraming::UntilClose;
                exchange.length_reported = sent.length_mismatch.is_some();
                Ok(sent.framing)
            }
            Sent::Replaced(sent) => {
                exchange.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
                if sent.framing != ResponseFraming::None {
                    exchange.bytes = ErrorResponse::INTERNAL.text.len() as u64;
                }
                Err(self.written_or_done(exchange))
            }
            Sent::Nothing => Err(Next::Over(Outcome::Failed, Some(Fate::Close))),
        }
    }

    /// Writes the head that a streaming answer still holds back.
    pub(super) fn send_head_of_stream(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        shared: &mut Shared<A>,
    ) -> Next {
        let Some(head) = exchange.head.take() else { return Next::Go };
        match self.send_head(exchange, head, shared) {
            Ok(ResponseFraming::None) => {
                self.drop_body(exchange, shared);
                self.end_answer(exchange, None, shared)
            }
            Ok(_) => Next::Go,
            Err(next) => {
                self.drop_body(exchange, shared);
                next
            }
        }
    }

    /// Sends an error response in place of an answer.
    pub(super) fn respond_error(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        error: &ErrorResponse,
        shared: &mut Shared<A>,
    ) -> Next {
        if exchange.discarding {
            return Next::Over(Outcome::Disconnected, Some(Fate::Close));
        }
        self.close_interims();
        match response::send_error(&mut self.http, error, shared.date.as_bytes(), self.outbox.text_mut()) {
            None => Next::Over(Outcome::Failed, Some(Fate::Close)),
            Some(head) => {
                exchange.status = Some(error.status);
                if head.framing != ResponseFraming::None {
                    exchange.bytes = error.text.len() as u64;
                }
                self.written_or_done(exchange)
            }
        }
    }

    pub(super) fn answer_failure(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        error: &AppError,
        shared: &mut Shared<A>,
    ) -> Next {
        let kind = error.kind();
        if failure::is_reportable(kind) && kind != FailKind::Abort {
            let error = error.source().map(|source| source as _);
            self.report(exchange, shared, Event::AppFailed { kind, error });
        }
        match Verdict::of(kind).given(self.http.close_reason()) {
            _ if exchange.discarding => Next::Over(Outcome::Disconnected, Some(Fate::Close)),
            Verdict::Respond(response) => self.respond_error(exchange, &response, shared),
            Verdict::Close => Next::Over(Outcome::Disconnected, Some(Fate::Close)),
            Verdict::Reset => {
                // Earlier answers in the outbox are still the client's.
                self.phase = Phase::Closing { reset: true };
                Next::Over(Outcome::Failed, None)
            }
        }
    }

    pub(super) fn poll_body(&mut self, exchange: &mut Exchange<A::Future>, shared: &mut Shared<A>) -> Next {
        if !exchange.discarding && self.outbox.len() >= shared.write_high_water {
            match self.flush_for_more(shared) {
                Ok(true) => {}
                Ok(false) if self.outbox.len() < shared.write_high_water => {}
                Ok(false) if self.writable => return Next::Yield,
                Ok(false) => return Next::Wait,
                Err(error) => return self.write_failed_in(exchange, error, shared),
            }
        }
        let Some(polled) = exchange.poll_body() else { return Next::Done };
        if exchange.head.is_some() && matches!(polled, Ok(Poll::Ready(None | Some(Ok(_))))) {
            match self.send_head_of_stream(exchange, shared) {
                Next::Go => {}
                next => return next,
            }
        }
        match polled {
            Ok(Poll::Ready(Some(Ok(_)))) if exchange.discarding => Next::Go,
            Ok(Poll::Ready(Some(Ok(Frame::Data(data))))) => {
                if self.send_data(exchange, data, shared) {
                    return Next::Go;
                }
                // What is beyond the declared length nobody wants.
                self.drop_body(exchange, shared);
                self.end_answer(exchange, None, shared)
            }
            Ok(Poll::Ready(Some(Ok(Frame::Trailers(trailers))))) => {
                self.drop_body(exchange, shared);
                self.end_answer(exchange, Some(&trailers), shared)
            }
            // A frame of a kind that HTTP/1 cannot express.
            Ok(Poll::Ready(Some(Ok(_)))) => Next::Go,
            Ok(Poll::Ready(None)) => {
                self.drop_body(exchange, shared);
                if exchange.discarding {
                    return Next::Over(Outcome::Disconnected, Some(Fate::Close));
                }
                self.end_answer(exchange, None, shared)
            }
            Ok(Poll::Ready(Some(Err(error)))) if exchange.head.take().is_some() => {
                self.drop_body(exchange, shared);
                self.answer_failure(exchange, &AppError::from(error), shared)
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                let gone = exchange.discarding || error.kind() == BodyErrorKind::Disconnected;
                if !gone {
                    let event = Event::BodyFailed { error: &error };
                    self.report(exchange, shared, event);
                }
                self.break_off(exchange, if gone { Outcome::Disconnected } else { Outcome::Failed }, shared)
            }
            Err(panic) => {
                self.report_panic(exchange, shared, Running::Body, panic);
                if exchange.head.take().is_some() {
                    self.drop_body(exchange, shared);
                    return self.respond_error(exchange, &ErrorResponse::INTERNAL, shared);
                }
                self.break_off(exchange, Outcome::Failed, shared)
            }
            Ok(Poll::Pending) => {
                if self.feed(exchange, shared) {
                    return Next::Go;
                }
                if let Some(next) = self.check_client(exchange, shared) {
                    return next;
                }
                match self.send_head_of_stream(exchange, shared) {
                    Next::Go => {}
                    next => return next,
                }
                // What was accepted must not wait for the next frame (spec B9).
                match self.flush(shared) {
                    Err(error) => self.write_failed_in(exchange, error, shared),
                    Ok(_) => Next::Wait,
                }
            }
        }
    }

    /// Puts some of the body into the outbox; `false` if it is longer than declared.
    pub(super) fn send_data(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        mut data: Bytes,
        shared: &Shared<A>,
    ) -> bool {
        let frame = self.http.send_data(data.len() as u64, self.outbox.text_mut());
        self.check_excess(frame.excess, exchange, shared);
        data.truncate(frame.take as usize);
        exchange.bytes += frame.take;
        self.outbox.push_bytes(data);
        self.outbox.push_text(frame.suffix);
        if !frame.suffix.is_empty() {
            exchange.chunks.push(frame.take, self.outbox.len());
        }
        !frame.excess
    }

    /// Reports a body that is longer than declared, once.
    pub(super) fn check_excess(&self, excess: bool, exchange: &mut Exchange<A::Future>, shared: &Shared<A>) {
        if excess && !std::mem::replace(&mut exchange.length_reported, true) {
            let detail = "the answer's body is longer than its content-length; it was cut";
            self.report(exchange, shared, Event::Contract { clause: "H4", detail });
        }
    }

    /// The body has ended.
    pub(super) fn end_answer(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        trailers: Option<&HeaderMap>,
        shared: &mut Shared<A>,
    ) -> Next {
        let before = self.outbox.len();
        match self.http.send_end(trailers, self.outbox.text_mut()) {
            Ok(sent) => {
                exchange.chunks.end(self.outbox.len() - before);
                if sent.trailers_removed {
                    let detail = "fields that may not be trailers were removed from the answer's";
                    let event = Event::Contract { clause: "B18", detail };
                    self.report(exchange, shared, event);
                }
                self.written_or_done(exchange)
            }
            Err(short) => {
                if !exchange.length_reported {
                    let detail = short.to_string();
                    let event = Event::Contract { clause: "H4", detail: &detail };
                    self.report(exchange, shared, event);
                }
                self.break_off(exchange, Outcome::Failed, shared)
            }
        }
    }

    /// An exchange is over when its answer is written, if anybody could tell the difference; else the next one may begin
    /// at once, and both are written together.
    pub(super) fn written_or_done(&mut self, exchange: &mut Exchange<A::Future>) -> Next {
        if exchange.has_file || self.handle.exchanges.is_watched() {
            exchange.stage = Stage::Writing;
            Next::Go
        } else {
            Next::Done
        }
    }

    pub(super) fn poll_written(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        shared: &mut Shared<A>,
    ) -> Next {
        match self.flush(shared) {
            Ok(true) => Next::Done,
            Ok(false) if self.writable => Next::Yield,
            Ok(false) => Next::Wait,
            Err(error) => self.write_failed_in(exchange, error, shared),
        }
    }

    /// The answer cannot be completed: what is in the outbox goes out, and then the connection ends in a way that nobody
    /// takes for the end of the body (spec B10).
    pub(super) fn break_off(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        outcome: Outcome,
        shared: &mut Shared<A>,
    ) -> Next {
        self.drop_body(exchange, shared);
        // An end without the last chunk, or short of the length, tells by itself.
        let reset = exchange.until_close;
        self.http.abort(CloseReason::Application);
        self.phase = Phase::Closing { reset };
        Next::Over(outcome, None)
    }

    /// Under the policy to finish, the body of an answer to nobody is polled to its end (spec E10).
    pub(super) fn discard_answer(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        body: AsyncBody,
        shared: &Shared<A>,
    ) -> Next {
        match body.into_parts() {
            BodyParts::Stream(body) => {
                exchange.body = Some(body);
                exchange.stage = Stage::Streaming;
                Next::Go
            }
            parts => {
                self.dropping(exchange, parts, shared);
                Next::Over(Outcome::Disconnected, Some(Fate::Close))
            }
        }
    }

    /// Drops something of the application's, which may panic in doing so (spec E7).
    pub(super) fn dropping<T>(&self, exchange: &Exchange<A::Future>, value: T, shared: &Shared<A>) {
        contain(Running::Drop, |event| self.report(exchange, shared, event), || drop(value));
    }

    pub(super) fn drop_body(&mut self, exchange: &mut Exchange<A::Future>, shared: &Shared<A>) {
        if let Some(body) = exchange.body.take() {
            self.dropping(exchange, body, shared);
        }
    }

    /// No informational head from here on.
    pub(super) fn close_interims(&mut self) {
        for (status, headers) in self.handle.close_interims() {
            self.send_interim(status, &headers);
        }
    }

    pub(super) fn send_interim(&mut self, status: StatusCode, headers: &HeaderMap) {
        // Why it could be refused was checked when the application asked for it.
        let _ = self.http.send_interim(status, headers, self.outbox.text_mut());
    }
}
