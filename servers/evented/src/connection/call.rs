//! The call: from a head to the application's answer, and the end of an exchange whatever became of it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use http::StatusCode;
use varvel::{
    AsyncApp, AsyncBody, AsyncTunnel, BodyErrorKind, Event, Exchange as _, Finish, OnDisconnect, Outcome,
    Phase as Running, Report,
};
use varvel_http1::{BodyEvent, BodyFault, BodyFaultKind, RequestHead};
use varvel_server_kit::{
    containment::{contain, discard},
    gateway::{ErrorResponse, panic_message, request},
    outbox::WriteError,
};

use super::{Connection, Fate, Phase, Read, Step};
use crate::{
    exchange::{Exchange, Stage},
    request_body::Incoming,
    shared::Shared,
    tunnel::Origin,
};

/// How often one exchange is seen to before other connections get their turn: a bound on applications that always have
/// something to say, but little.
const STEPS_PER_TURN: u32 = 32;

/// The least a read takes room for while a large body arrives, in bytes.
const BODY_READ_MIN: usize = 4 * 1024;

/// How an exchange goes on.
pub(super) enum Next {
    Go,
    Wait,
    Yield,
    /// The answer is complete.
    Done,
    /// The exchange is over with this outcome, and what becomes of the connection unless its phase says.
    Over(Outcome, Option<Fate>),
    Tunnel(AsyncTunnel),
}

impl<A: AsyncApp> Connection<A> {
    /// Calls the application with a request that had arrived by `received`.
    pub(super) fn begin(&mut self, mut head: Box<RequestHead>, received: Instant, shared: &mut Shared<A>) {
        self.number += 1;
        self.shares_batch = !self.input.is_empty();
        let mut exchange = shared.exchange();
        exchange.waker = Waker::from(Arc::clone(&self.handle));
        exchange.method = head.request.method().clone();
        exchange.target = head.target.clone();
        if shared.journal.is_followed() {
            let conn = self.handle.conn();
            let account = shared.journal.begin(&head.request, &head.target, conn, self.number, received);
            exchange.account = Some(account);
        }
        self.handle.exchanges.begin(self.number);
        self.handle.interims.open(self.number, head.request.version() == http::Version::HTTP_10);
        let body = self.request_body(&head, &mut exchange, shared.now);
        let handle = Arc::clone(&self.handle);
        // Made right where the application takes them, as they are large.
        let called = catch_unwind(AssertUnwindSafe(|| {
            let (request, scope) = request::admit(&mut head, body, handle, self.number, received);
            shared.app.call(request, scope)
        }));
        shared.spare.recycle(head);
        match called {
            Ok(call) => exchange.call.as_mut().set(Some(call)),
            // Without a future there is nothing to poll; `advance` sees that the call has failed.
            Err(panic) => self.report_panic(&exchange, shared, Running::Call, panic),
        }
        self.phase = Phase::Exchange(exchange);
    }

    /// The body of a request: in memory if it has arrived as a whole, which most have.
    pub(super) fn request_body(
        &mut self,
        head: &RequestHead,
        exchange: &mut Exchange<A::Future>,
        now: Instant,
    ) -> AsyncBody {
        let exact_len = head.framing.exact_len();
        exchange.body_left = exact_len;
        if exact_len == Some(0) {
            exchange.request_complete = true;
            return AsyncBody::empty();
        }
        if exact_len.is_some_and(|len| len <= self.input.len() as u64) {
            if let Ok(BodyEvent::Data(data)) = self.http.receive_body(&mut self.input, now) {
                debug_assert_eq!(exact_len, Some(data.len() as u64), "what is there is given at once");
                exchange.request_complete = true;
                return AsyncBody::full(data);
            }
        }
        let (incoming, body) = Incoming::new(exact_len, exchange.waker.clone());
        exchange.incoming = Some(incoming);
        body
    }

    /// Goes on with the exchange.
    pub(super) fn advance(&mut self, shared: &mut Shared<A>) -> Step {
        let Phase::Exchange(mut exchange) = std::mem::replace(&mut self.phase, Phase::Head) else {
            return Step::Go;
        };
        let mut steps = 0;
        loop {
            steps += 1;
            let next = match exchange.stage {
                _ if steps > STEPS_PER_TURN || shared.turn_bytes_left == 0 => Next::Yield,
                Stage::Calling => self.poll_call(&mut exchange, shared),
                Stage::Streaming => self.poll_body(&mut exchange, shared),
                Stage::Writing => self.poll_written(&mut exchange, shared),
            };
            match next {
                Next::Go => {}
                Next::Wait => {
                    self.phase = Phase::Exchange(exchange);
                    return Step::Wait;
                }
                Next::Yield => {
                    self.phase = Phase::Exchange(exchange);
                    return Step::Yield;
                }
                Next::Done => return self.complete(exchange, shared),
                Next::Over(outcome, fate) => {
                    self.end_exchange(exchange, outcome, shared);
                    return match fate {
                        Some(fate) => Step::End(fate),
                        None => Step::Go,
                    };
                }
                Next::Tunnel(tunnel) => {
                    shared.turn.give_back();
                    let origin = Origin {
                        number: self.number,
                        method: exchange.method.clone(),
                        target: exchange.target.clone(),
                        status: exchange.status.unwrap_or(StatusCode::SWITCHING_PROTOCOLS),
                        account: exchange.account.take().map(Box::new),
                    };
                    shared.recycle(exchange);
                    return Step::End(Fate::Tunnel(tunnel, origin));
                }
            }
        }
    }

    pub(super) fn poll_call(&mut self, exchange: &mut Exchange<A::Future>, shared: &mut Shared<A>) -> Next {
        let Some(polled) = exchange.poll_call() else {
            // The call panicked before there was a future, which was reported then.
            return self.respond_error(exchange, &ErrorResponse::INTERNAL, shared);
        };
        match polled {
            Ok(Poll::Pending) => {
                self.send_interims();
                if self.feed(exchange, shared) {
                    return Next::Go;
                }
                if let Some(next) = self.check_client(exchange, shared) {
                    return next;
                }
                // Interim heads and 100 must not wait for the answer.
                match self.flush(shared) {
                    Err(error) => self.write_failed_in(exchange, error, shared),
                    Ok(_) => Next::Wait,
                }
            }
            Ok(Poll::Ready(result)) => {
                self.drop_call(exchange, shared);
                self.answer(exchange, result, shared)
            }
            Err(panic) => {
                self.report_panic(exchange, shared, Running::Call, panic);
                self.drop_call(exchange, shared);
                self.respond_error(exchange, &ErrorResponse::INTERNAL, shared)
            }
        }
    }

    pub(super) fn send_interims(&mut self) {
        for (status, headers) in self.handle.interims.take() {
            self.send_interim(status, &headers);
        }
    }

    /// While the application waits: is there still somebody to answer? (spec E8, E13)
    pub(super) fn check_client(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        shared: &Shared<A>,
    ) -> Option<Next> {
        // Inside the request an end is the body's affair.
        let complete = exchange.request_complete || exchange.body_left == Some(0);
        if exchange.discarding || !(self.broken || self.hung_up && complete) {
            return None;
        }
        match shared.on_disconnect {
            // Whoever has only ended its sending side may still read.
            OnDisconnect::Answer if !self.broken => {
                self.tell_of_leaving(exchange, shared);
                None
            }
            OnDisconnect::Finish => {
                self.tell_of_leaving(exchange, shared);
                exchange.discarding = true;
                // Earlier answers are still on their way to a client that has only ended its sending side.
                if self.broken || self.flush(shared).is_err() {
                    self.drop_output(exchange, shared);
                }
                Some(Next::Go)
            }
            _ => {
                self.handle.exchanges.note_gone();
                self.phase = Phase::Closing { reset: false };
                Some(Next::Over(Outcome::Disconnected, None))
            }
        }
    }

    /// Receives what the application waits for of the request's body; whether anything has changed.
    pub(super) fn feed(&mut self, exchange: &mut Exchange<A::Future>, shared: &mut Shared<A>) -> bool {
        if !exchange.wants_body() {
            return false;
        }
        let Some(incoming) = &exchange.incoming else { return false };
        // The first pull is what the client may be waiting for (spec H9). Without that nothing is written, and a text buffer
        // that was asked for would be kept while the body is waited for.
        if !exchange.discarding && self.http.awaits_continue() {
            self.http.send_continue(self.outbox.text_mut());
        }
        loop {
            match self.http.receive_body(&mut self.input, shared.now) {
                Ok(BodyEvent::Data(data)) => {
                    exchange.body_left =
                        exchange.body_left.map(|left| left.saturating_sub(data.len() as u64));
                    let puller = incoming.push_data(data, &exchange.waker);
                    self.wake(puller, exchange, shared);
                    return true;
                }
                Ok(BodyEvent::End(trailers)) => {
                    exchange.request_complete = true;
                    let puller = incoming.finish(trailers, &exchange.waker);
                    self.wake(puller, exchange, shared);
                    return true;
                }
                Err(fault) => {
                    let kind = if self.broken { BodyErrorKind::Disconnected } else { body_error(fault) };
                    let puller = incoming.fail(kind, &exchange.waker);
                    self.wake(puller, exchange, shared);
                    return true;
                }
                Ok(BodyEvent::NeedMore) => {}
            }
            match self.read_body(exchange.body_left, &mut exchange.body_flows, shared) {
                Read::Some => {}
                Read::None => return false,
                Read::Over => {
                    self.http.receive_eof();
                    self.hung_up = true;
                }
            }
        }
    }

    /// Reads more of a body of which so much is left. If much comes at a time, it is received right where it stays.
    fn read_body(&mut self, left: Option<u64>, flows: &mut bool, shared: &mut Shared<A>) -> Read {
        let left = left.unwrap_or(0).min(shared.read_bytes_max as u64) as usize;
        let limit = if *flows && left >= BODY_READ_MIN { left } else { shared.read_bytes_max };
        let before = self.input.len();
        let read = self.read_up_to(limit, shared);
        if let Read::Some = read {
            // Else room for much would be made each time that little comes.
            *flows = self.input.len() - before >= limit / 4;
        }
        read
    }

    /// The answer is complete: what comes next on this connection?
    pub(super) fn complete(&mut self, exchange: Box<Exchange<A::Future>>, shared: &mut Shared<A>) -> Step {
        self.end_exchange(exchange, Outcome::Completed, shared);
        self.next_exchange(shared)
    }

    /// Whatever became of it, this is the end of an exchange: everything of it is dropped, and its hooks run.
    pub(super) fn end_exchange(
        &mut self,
        mut exchange: Box<Exchange<A::Future>>,
        outcome: Outcome,
        shared: &mut Shared<A>,
    ) {
        self.drop_call(&mut exchange, shared);
        self.drop_body(&mut exchange, shared);
        if exchange.status.is_none() {
            drop(self.handle.close_interims());
        }
        if let Some(incoming) = exchange.incoming.take() {
            // Whoever still holds it must not touch the next request (spec S21).
            let puller = incoming.fail(BodyErrorKind::Disconnected, &exchange.waker);
            self.wake(puller, &exchange, shared);
        }
        if outcome != Outcome::Completed {
            exchange.take_back(self.outbox.len());
        }
        let finish = Finish::new(outcome, exchange.status, exchange.bytes);
        self.handle.end_exchange(finish, |event| self.report(&exchange, shared, event));
        if let Some(account) = exchange.account.take() {
            account.end(&finish);
        }
        shared.turn.give_back();
        shared.recycle(exchange);
    }

    /// Drops the application's future, which may panic in doing so.
    pub(super) fn drop_call(&mut self, exchange: &mut Exchange<A::Future>, shared: &Shared<A>) {
        if exchange.call.is_none() {
            return;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| exchange.call.as_mut().set(None))) {
            self.report_panic(exchange, shared, Running::Drop, panic);
        }
    }

    /// Writing has failed during an exchange: the client is gone (spec E9), or a file is (spec B14).
    pub(super) fn write_failed_in(
        &mut self,
        exchange: &mut Exchange<A::Future>,
        error: WriteError,
        shared: &Shared<A>,
    ) -> Next {
        self.drop_output(exchange, shared);
        match error {
            WriteError::Transport(_) => {
                self.broken = true;
                if shared.on_disconnect == OnDisconnect::Finish && exchange.stage != Stage::Writing {
                    self.tell_of_leaving(exchange, shared);
                    exchange.discarding = true;
                    return Next::Go;
                }
                self.handle.exchanges.note_gone();
                Next::Over(Outcome::Disconnected, Some(Fate::Close))
            }
            error => {
                let error = varvel::BodyError::failed(error);
                self.report(exchange, shared, Event::BodyFailed { error: &error });
                // A file has a length, so its client sees that something is missing.
                Next::Over(Outcome::Failed, Some(Fate::Close))
            }
        }
    }

    /// Wakes who waits for the request's body.
    pub(super) fn wake(&self, puller: Option<Waker>, exchange: &Exchange<A::Future>, shared: &Shared<A>) {
        if let Some(puller) = puller {
            contain(Running::Background, |event| self.report(exchange, shared, event), || puller.wake());
        }
    }

    /// The client has left, and the call goes on.
    fn tell_of_leaving(&self, exchange: &Exchange<A::Future>, shared: &Shared<A>) {
        let report = |event: Event<'_>| self.report(exchange, shared, event);
        contain(Running::Background, report, || self.handle.exchanges.disconnected());
    }

    /// Nobody takes what is in the outbox.
    fn drop_output(&mut self, exchange: &mut Exchange<A::Future>, shared: &Shared<A>) {
        exchange.take_back(self.outbox.len());
        self.outbox.clear();
        self.http.output_progress(0, false, shared.now);
    }

    /// Reports something about an exchange.
    pub(super) fn report(&self, exchange: &Exchange<A::Future>, shared: &Shared<A>, event: Event<'_>) {
        let id = exchange.id(self.handle.id(), self.number);
        shared.reporter.report(&Report::of(id, event));
    }

    /// Reports a panic of the application.
    pub(super) fn report_panic(
        &self,
        exchange: &Exchange<A::Future>,
        shared: &Shared<A>,
        during: Running,
        panic: Box<dyn Any + Send>,
    ) {
        self.report(exchange, shared, Event::Panicked { during, message: panic_message(&*panic) });
        discard(panic);
    }
}

pub(super) fn body_error(fault: BodyFault) -> BodyErrorKind {
    match fault.kind() {
        BodyFaultKind::Malformed => BodyErrorKind::Malformed,
        BodyFaultKind::Incomplete => BodyErrorKind::Incomplete,
        BodyFaultKind::TooLarge => BodyErrorKind::TooLarge,
        BodyFaultKind::Timeout => BodyErrorKind::Timeout,
    }
}
