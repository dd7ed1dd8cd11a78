//! What the server sends: heads, bodies, and what stands in for them when the application fails.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Method, StatusCode, response};
use varvel::{
    AppError, AsyncAppResult, AsyncBody, AsyncTunnel, BodyError, BodyErrorKind, BodyParts, Caps, Event,
    Frame, Outcome, Phase,
};

use super::{Call, End, Running};
use crate::{
    Head,
    server::{
        Server,
        answer::{self, Asked, Framing, Verdict},
        panic_message,
        pipe::Pipe,
    },
};

impl Call {
    /// The body's next frame, or its end.
    pub(super) fn produced(&mut self, frame: Option<Result<Frame, BodyError>>, server: &Server) {
        match frame {
            Some(Ok(frame)) => self.send(frame, server),
            Some(Err(error)) => self.body_failed(error, server),
            None => self.body_ended(server),
        }
    }

    pub(super) fn answer(&mut self, result: AsyncAppResult, server: &Server) {
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.fail(error, server),
        };
        let (mut head, body) = response.into_parts();
        self.contain_drop(std::mem::take(&mut head.extensions), server);
        if self.discarding {
            self.running = Running::Answering(body);
            return;
        }
        if self.left {
            // The transport refuses the head (spec E9).
            self.running = Running::Answering(body);
            return self.notice_leaving(server);
        }
        let length = body.exact_len();
        match body.into_parts() {
            BodyParts::Tunnel(tunnel) => self.begin_tunnel(head.headers, tunnel, server),
            parts => {
                let at_once = matches!(parts, BodyParts::Empty | BodyParts::Full(_));
                self.begin_answer(head, length, AsyncBody::from(parts), at_once, server);
            }
        }
    }

    fn begin_answer(
        &mut self,
        head: response::Parts,
        length: Option<u64>,
        mut body: AsyncBody,
        at_once: bool,
        server: &Server,
    ) {
        // If the answer's body is what pulls the request's, a client that waits for 100 gets it ahead of the head.
        let mut first = None;
        if self.connection.awaits_continue() && !at_once && self.asked.method != Method::HEAD {
            let waker = self.task.waker();
            let poll = || body.poll_frame(&mut Context::from_waker(&waker));
            first = match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(Some(Err(error)))) => {
                    self.contain_drop(body, server);
                    return self.fail(error.into(), server);
                }
                Ok(Poll::Ready(frame)) => Some(frame),
                Err(panic) => {
                    self.report_panic(server, Phase::Body, panic);
                    self.contain_drop(body, server);
                    return self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
                }
            };
        }
        let report = |event: Event<'_>| self.report(server, event);
        match answer::head(&self.with_persistence(), head.status, head.headers, length, server.date(), report)
        {
            Ok((head, framing)) => self.begin_body(head, framing, body, at_once, server),
            Err(()) => {
                self.contain_drop(body, server);
                return self.respond(StatusCode::INTERNAL_SERVER_ERROR, server);
            }
        }
        if let (Some(frame), Running::Answering(_)) = (first, &self.running) {
            self.produced(frame, server);
        }
    }

    fn begin_tunnel(&mut self, headers: HeaderMap, tunnel: AsyncTunnel, server: &Server) {
        let report = |event: Event<'_>| self.report(server, event);
        let head = answer::accepted(&self.asked, headers, server.date(), report);
        self.send_head(head);
        let pipe = Pipe::new(server.limits().write_high_water);
        if self.half_closed {
            pipe.end_sending();
        }
        let end = pipe.end();
        self.pipe = Some(pipe);
        match catch_unwind(AssertUnwindSafe(|| tunnel.run(end))) {
            Ok(running) => self.running = Running::Tunnel(running),
            Err(panic) => {
                self.report_panic(server, Phase::Tunnel, panic);
                self.finish(Outcome::Failed, server);
            }
        }
    }

    fn begin_body(&mut self, head: Head, framing: Framing, body: AsyncBody, at_once: bool, server: &Server) {
        self.send_head(head);
        self.framing = framing;
        if framing == Framing::None {
            // HEAD, 204, 304: the body is dropped without having been polled (spec H1, H2).
            self.contain_drop(body, server);
            self.end = Some(End::Complete);
            return self.finish(Outcome::Completed, server);
        }
        self.running = Running::Answering(body);
        if at_once {
            self.wanted = u64::MAX;
        }
    }

    /// The call has returned an error, ahead of the head (the table of chapter E).
    fn fail(&mut self, error: AppError, server: &Server) {
        let kind = error.kind();
        if answer::is_reportable(kind) {
            let source = error.source().map(|source| source as _);
            self.report(server, Event::AppFailed { kind, error: source });
        }
        let text = error.to_string();
        self.error = Some(Arc::new(error));
        if self.discarding {
            return self.finish(Outcome::Disconnected, server);
        }
        match answer::verdict(kind) {
            Verdict::Respond(status, close) => {
                self.asked.close |= close;
                self.respond(status, server);
            }
            Verdict::Silence { aborted } => {
                self.end = Some(End::Silence(text));
                self.finish(if aborted { Outcome::Failed } else { Outcome::Disconnected }, server);
            }
        }
    }

    /// Sends a whole error response.
    pub(super) fn respond(&mut self, status: StatusCode, server: &Server) {
        if self.left {
            return self.finish(Outcome::Disconnected, server);
        }
        let (headers, text) = answer::error(status);
        let (date, length) = (server.date(), Some(text.len() as u64));
        let Ok((head, framing)) =
            answer::head(&self.with_persistence(), status, headers, length, date, |_| ())
        else {
            unreachable!("nothing is wrong with {status}");
        };
        self.begin_body(head, framing, AsyncBody::from_static(text.as_bytes()), true, server);
    }

    /// What the head's Connection field depends on: a client that still waits for 100 will not send its body
    /// (spec H10).
    fn with_persistence(&self) -> Asked {
        Asked { close: self.asked.close || self.connection.awaits_continue(), ..self.asked.clone() }
    }

    fn send_head(&mut self, head: Head) {
        if let (true, Some(incoming)) = (self.connection.awaits_continue(), &self.incoming) {
            // A client that was not asked for its body does not send it.
            incoming.withhold();
        }
        self.connection.head_sent();
        self.head = Some(head);
    }

    fn send(&mut self, frame: Frame, server: &Server) {
        if self.discarding {
            return;
        }
        if self.left {
            return self.notice_leaving(server);
        }
        match frame {
            Frame::Data(data) if data.is_empty() => {}
            Frame::Data(mut data) => {
                let mut excess = false;
                if let Framing::Length(owed) = &mut self.framing {
                    excess = data.len() as u64 > *owed;
                    data.truncate(usize::try_from(*owed).unwrap_or(usize::MAX));
                    *owed -= data.len() as u64;
                }
                self.bytes += data.len() as u64;
                if !data.is_empty() {
                    self.outbox.push_back(Frame::Data(data));
                }
                if self.framing == Framing::Length(0) {
                    // The client has all that it waits for, and leaves the rest to the server.
                    self.wanted = u64::MAX;
                }
                if excess {
                    let detail = "the answer's body is longer than its content-length; it was cut";
                    self.report(server, Event::Contract { clause: "H4", detail });
                    self.end = Some(End::Complete);
                    self.finish(Outcome::Completed, server);
                }
            }
            Frame::Trailers(mut trailers) => {
                if self.framing == Framing::Chunked {
                    answer::clean_trailers(&mut trailers, |event| self.report(server, event));
                    let sent = self.asked.takes_trailers && server.has(Caps::TRAILERS_OUT);
                    if sent && !trailers.is_empty() {
                        self.outbox.push_back(Frame::Trailers(trailers));
                    }
                }
                self.body_ended(server);
            }
            // A frame of a kind that HTTP/1 cannot express.
            _ => {}
        }
    }

    fn body_ended(&mut self, server: &Server) {
        if self.discarding {
            return self.finish(Outcome::Disconnected, server);
        }
        if let Framing::Length(owed @ 1..) = self.framing {
            let detail = format!("the answer's body ended {owed} bytes short of its content-length");
            self.report(server, Event::Contract { clause: "H4", detail: &detail });
            return self.break_off(Outcome::Failed, detail, server);
        }
        self.end = Some(End::Complete);
        self.finish(Outcome::Completed, server);
    }

    fn body_failed(&mut self, error: BodyError, server: &Server) {
        let gone = self.discarding || error.kind() == BodyErrorKind::Disconnected;
        if !gone {
            self.report(server, Event::BodyFailed { error: &error });
        }
        let outcome = if gone { Outcome::Disconnected } else { Outcome::Failed };
        self.break_off(outcome, error.to_string(), server);
    }

    pub(super) fn body_panicked(&mut self, panic: Box<dyn Any + Send>, server: &Server) {
        let why = format!("its body panicked: {}", panic_message(&*panic));
        self.report_panic(server, Phase::Body, panic);
        self.break_off(Outcome::Failed, why, server);
    }

    pub(super) fn break_off(&mut self, outcome: Outcome, why: String, server: &Server) {
        self.end = Some(End::BrokenOff(why));
        self.finish(outcome, server);
    }
}
