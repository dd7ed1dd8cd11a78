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

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use varvel::{
    AppError, AsyncApp, AsyncAppResult, AsyncBody, AsyncTunnel, BodyErrorKind, BodyParts, Event, FailKind,
    Finish, Frame, OnDisconnect, Outcome, Phase as Running, Report, Reporter,
};
use varvel_http1::{
    After, BodyEvent, BodyFault, BodyFaultKind, BodyLength, CloseReason, Expired, Refusal, RequestHead,
    ResponseFraming,
};
use varvel_server_kit::{
    access_log::AccessLog,
    gateway::{
        ErrorResponse, Verdict, failure, panic_message, request,
        response::{self, Sent},
    },
    http_date::DateLine,
    outbox::{Outbox, Progress, WriteError},
    transport::{Discarded, Transport, is_disconnect},
};

use crate::{
    exchange::{AnswerHead, Exchange, LogFacts, Stage},
    handle::Handle,
    request_body::Incoming,
    tunnel::{Origin, Tunnel},
    turn::Turn,
};

/// What the connections of a loop share.
pub(crate) struct Shared<A: AsyncApp> {
    pub(crate) app: A,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) http: Arc<varvel_http1::Config>,
    pub(crate) date: DateLine,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// When the loop woke up.
    pub(crate) now: Instant,
    pub(crate) read_buffer: Box<[u8]>,
    pub(crate) read_ahead: usize,
    pub(crate) write_high_water: u64,
    /// A header map that an answer came in, emptied for the next request.
    pub(crate) spare_headers: HeaderMap,
    #[expect(clippy::vec_box, reason = "connections hold boxes; it is those that are used again")]
    spare_exchanges: Vec<Box<Exchange<A::Future>>>,
    pub(crate) turn: Turn,
}

/// How many finished exchanges a loop keeps for their memory.
const SPARE_EXCHANGES_MAX: usize = 64;

/// How many requests a connection may have answered before others get their turn.
const REQUESTS_PER_TURN: u32 = 128;

/// How much a client may still send after the last answer before it is cut off, in bytes.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// The least a read takes room for while a large body arrives, in bytes.
const BODY_READ_MIN: u64 = 4 * 1024;

impl<A: AsyncApp> Shared<A> {
    pub(crate) fn new(
        app: A,
        policy: varvel::Policy,
        reporter: Arc<dyn Reporter>,
        http: Arc<varvel_http1::Config>,
        limits: &varvel::Limits,
        access_log: Option<Arc<AccessLog>>,
    ) -> Self {
        Self {
            app,
            on_disconnect: policy.on_disconnect,
            reporter,
            http,
            date: DateLine::new(),
            access_log,
            now: Instant::now(),
            read_buffer: vec![0; 64 * 1024].into_boxed_slice(),
            read_ahead: usize::try_from(limits.read_ahead).unwrap_or(usize::MAX).max(1),
            write_high_water: limits.write_high_water,
            spare_headers: HeaderMap::new(),
            spare_exchanges: Vec::new(),
            turn: Turn::new(policy.exclusive),
        }
    }

    fn exchange(&mut self) -> Box<Exchange<A::Future>> {
        self.spare_exchanges.pop().unwrap_or_else(Exchange::new)
    }

    fn recycle(&mut self, mut exchange: Box<Exchange<A::Future>>) {
        if self.spare_exchanges.len() < SPARE_EXCHANGES_MAX {
            exchange.reset();
            self.spare_exchanges.push(exchange);
        }
    }
}

pub(crate) struct Connection<F> {
    transport: Transport,
    handle: Arc<Handle>,
    /// Wakes the loop for this connection.
    waker: Waker,
    http: varvel_http1::Connection,
    /// What was read and not used up.
    input: Bytes,
    /// The input is the rest of a larger piece, of which requests were taken.
    shares_batch: bool,
    outbox: Outbox,
    phase: Phase<F>,
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
}

enum Phase<F> {
    /// Between two exchanges, or inside a head.
    Head,
    Exchange(Box<Exchange<F>>),
    /// What the application did not read of a request is dropped.
    Discard,
    /// What is in the outbox goes out, then the connection is closed, or reset if an end could be taken for the body's.
    Closing {
        reset: bool,
    },
    /// Everything is said; the client is given time to hear it.
    Lingering {
        until: Instant,
        budget: u64,
    },
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

impl<F: Future<Output = AsyncAppResult>> Connection<F> {
    pub(crate) fn new<A>(transport: Transport, handle: Handle, shared: &Shared<A>) -> Self
    where
        A: AsyncApp<Future = F>,
    {
        let handle = Arc::new(handle);
        Self {
            transport,
            waker: Waker::from(Arc::clone(&handle)),
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
        match self.phase {
            Phase::Lingering { until, .. } => Some(http.map_or(until, |http| http.min(until))),
            _ => http,
        }
    }

    /// Has every further answer say `connection: close`; `true` if the connection can be closed at once (spec S17).
    pub(crate) fn stop(&mut self) -> bool {
        self.http.shutting_down();
        // A request may be there that the poller has not told of yet.
        self.readable = true;
        matches!(self.phase, Phase::Head)
            && self.http.is_idle()
            && self.input.is_empty()
            && self.outbox.is_empty()
    }

    /// Takes the connection apart for its tunnel.
    pub(crate) fn into_tunnel(self, tunnel: AsyncTunnel, origin: Origin) -> Tunnel {
        Tunnel::new(tunnel, self.transport, self.handle, self.input, self.outbox, origin)
    }

    /// Breaks off whatever is under way, with this outcome; whether anything was.
    pub(crate) fn abandon<A>(&mut self, outcome: Outcome, shared: &mut Shared<A>) -> bool
    where
        A: AsyncApp<Future = F>,
    {
        match std::mem::replace(&mut self.phase, Phase::Closing { reset: true }) {
            Phase::Exchange(exchange) => {
                self.end_exchange(exchange, outcome, shared);
                true
            }
            _ => false,
        }
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.transport.reset();
    }

    /// Goes as far as possible without waiting.
    pub(crate) fn drive<A>(&mut self, index: usize, shared: &mut Shared<A>) -> Fate
    where
        A: AsyncApp<Future = F>,
    {
        self.handle.driven();
        let mut requests = 0;
        let fate = loop {
            let step = match &mut self.phase {
                Phase::Head => {
                    requests += 1;
                    if requests > REQUESTS_PER_TURN { Step::Yield } else { self.receive(index, shared) }
                }
                Phase::Exchange(_) => self.advance(shared),
                Phase::Discard => self.discard(shared),
                Phase::Closing { .. } => self.close(shared),
                Phase::Lingering { .. } => self.linger(shared),
            };
            match step {
                Step::Go => {}
                Step::Wait => break Fate::Wait,
                Step::Yield => break Fate::Again,
                Step::End(fate) => return fate,
            }
        };
        match self.flush(shared) {
            Ok(true) => fate,
            Ok(false) if self.writable => Fate::Again,
            Ok(false) => fate,
            Err(error) => self.write_failed(error, shared).unwrap_or(fate),
        }
    }

    /// Deals with a deadline that has passed.
    pub(crate) fn expire<A>(&mut self, index: usize, shared: &mut Shared<A>) -> Fate
    where
        A: AsyncApp<Future = F>,
    {
        if let Phase::Lingering { until, .. } = self.phase {
            if until <= shared.now {
                return Fate::Close;
            }
        }
        match self.http.expire(shared.now) {
            None => {}
            Some(Expired::Close(reason)) => {
                self.abandon(Outcome::TimedOut, shared);
                // A client that does not read is to see that this is no end; one that was idle, that it is.
                return if reason == CloseReason::WriteTimeout { Fate::Reset } else { Fate::Close };
            }
            Some(Expired::Refuse(refusal)) => {
                self.refuse(refusal, shared);
            }
            Some(Expired::Body(fault)) => {
                if let Phase::Exchange(exchange) = &self.phase {
                    if let Some(incoming) = &exchange.incoming {
                        incoming.fail(body_error(fault), &self.waker);
                    }
                }
            }
        }
        self.drive(index, shared)
    }

    // ---- receiving ----

    /// Takes the next head from the input, reading if there is none.
    fn receive<A>(&mut self, index: usize, shared: &mut Shared<A>) -> Step
    where
        A: AsyncApp<Future = F>,
    {
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
        if !shared.turn.take(index) {
            return Step::Wait;
        }
        match self.http.receive_head(&mut self.input, &mut shared.spare_headers, shared.now) {
            Ok(Some(head)) => {
                self.begin(head, shared);
                Step::Go
            }
            Ok(None) => {
                shared.turn.give_back();
                match self.read(shared) {
                    Read::Some => Step::Go,
                    Read::None => {
                        self.release_batch();
                        Step::Wait
                    }
                    Read::Over => self.ended(shared),
                }
            }
            Err(refusal) => {
                shared.turn.give_back();
                self.refuse(refusal, shared)
            }
        }
    }

    /// The beginning of a head that stays for now must not hold on to the memory of the requests that came before it.
    fn release_batch(&mut self) {
        if std::mem::take(&mut self.shares_batch) {
            self.input = Bytes::copy_from_slice(&self.input);
        }
    }

    /// Answers a request that the application never sees (spec S4).
    fn refuse<A: AsyncApp>(&mut self, refusal: Refusal, shared: &Shared<A>) -> Step {
        self.http.send_refusal(refusal, shared.date.as_bytes(), self.outbox.text_mut());
        self.next_exchange(shared)
    }

    /// The client has ended where no exchange is under way.
    fn ended<A: AsyncApp>(&mut self, shared: &Shared<A>) -> Step {
        self.http.receive_eof();
        self.next_exchange(shared)
    }

    /// Reads once, and appends what came to the input.
    fn read<A: AsyncApp>(&mut self, shared: &mut Shared<A>) -> Read {
        self.read_up_to(shared.read_buffer.len(), shared)
    }

    fn read_up_to<A: AsyncApp>(&mut self, limit: usize, shared: &mut Shared<A>) -> Read {
        if !self.readable {
            return Read::None;
        }
        let limit = limit.min(shared.read_buffer.len());
        let buffer = &mut shared.read_buffer[..limit];
        match self.transport.read(buffer) {
            Ok(0) => Read::Over,
            Ok(read) => {
                // A short read has drained the socket, and the poller tells of what comes next. Not so behind an end, which
                // it told of already.
                self.readable = read == limit || self.hung_up;
                append(&mut self.input, &buffer[..read]);
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

    // ---- the exchange ----

    /// Calls the application.
    fn begin<A>(&mut self, head: RequestHead, shared: &mut Shared<A>)
    where
        A: AsyncApp<Future = F>,
    {
        self.number += 1;
        self.shares_batch = !self.input.is_empty();
        let mut exchange = shared.exchange();
        exchange.method = head.request.method().clone();
        exchange.target = head.target.clone();
        exchange.log = shared.access_log.is_some().then(|| Box::new(LogFacts::of(&head.request, shared.now)));
        self.handle.exchanges.begin(self.number);
        self.handle.interims.open(self.number, head.request.version() == http::Version::HTTP_10);
        let body = self.request_body(&head, &mut exchange, shared.now);
        let handle = Arc::clone(&self.handle);
        let (request, scope) = request::admit(head, handle, self.number, shared.now);
        let request = request.map(|()| body);
        match catch_unwind(AssertUnwindSafe(|| shared.app.call(request, scope))) {
            Ok(call) => exchange.call.as_mut().set(Some(call)),
            // Without a future there is nothing to poll; `advance` sees that the call has failed.
            Err(panic) => {
                report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Call, &*panic)
            }
        }
        self.phase = Phase::Exchange(exchange);
    }

    /// The body of a request: in memory if it has arrived as a whole, which most have.
    fn request_body(&mut self, head: &RequestHead, exchange: &mut Exchange<F>, now: Instant) -> AsyncBody {
        let exact_len = head.framing.exact_len();
        exchange.body_left = exact_len;
        if exact_len == Some(0) {
            return AsyncBody::empty();
        }
        if exact_len.is_some_and(|len| len <= self.input.len() as u64) {
            if let Ok(BodyEvent::Data(data)) = self.http.receive_body(&mut self.input, now) {
                if exact_len == Some(data.len() as u64) {
                    return AsyncBody::full(data);
                }
                let (incoming, body) = Incoming::new(exact_len, self.waker.clone());
                exchange.body_left = exact_len.map(|len| len - data.len() as u64);
                incoming.push_data(data, &self.waker);
                exchange.incoming = Some(incoming);
                return body;
            }
        }
        let (incoming, body) = Incoming::new(exact_len, self.waker.clone());
        exchange.incoming = Some(incoming);
        body
    }

    /// Goes on with the exchange.
    fn advance<A>(&mut self, shared: &mut Shared<A>) -> Step
    where
        A: AsyncApp<Future = F>,
    {
        let Phase::Exchange(mut exchange) = std::mem::replace(&mut self.phase, Phase::Head) else {
            return Step::Go;
        };
        loop {
            let next = match exchange.stage {
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
                    };
                    shared.recycle(exchange);
                    return Step::End(Fate::Tunnel(tunnel, origin));
                }
            }
        }
    }

    fn poll_call<A>(&mut self, exchange: &mut Exchange<F>, shared: &mut Shared<A>) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        let Some(polled) = self.poll_app(exchange) else {
            // The call panicked before there was a future, which was reported then.
            return self.respond_error(exchange, &ErrorResponse::INTERNAL, shared);
        };
        match polled {
            Ok(Poll::Pending) => {
                self.send_interims(shared);
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
                report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Call, &*panic);
                self.drop_call(exchange, shared);
                self.respond_error(exchange, &ErrorResponse::INTERNAL, shared)
            }
        }
    }

    /// Polls the application's future, if there is one.
    fn poll_app(&self, exchange: &mut Exchange<F>) -> Option<std::thread::Result<Poll<AsyncAppResult>>> {
        let call = exchange.call.as_mut().as_pin_mut()?;
        let mut cx = Context::from_waker(&self.waker);
        if let Some(incoming) = &exchange.incoming {
            incoming.set_polled(true);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| call.poll(&mut cx)));
        if let Some(incoming) = &exchange.incoming {
            incoming.set_polled(false);
        }
        Some(polled)
    }

    /// Drops the application's future, which may panic in doing so.
    fn drop_call<A: AsyncApp>(&mut self, exchange: &mut Exchange<F>, shared: &Shared<A>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| exchange.call.as_mut().set(None))) {
            report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Drop, &*panic);
        }
    }

    /// Sends what the application has answered, or begins to.
    fn answer<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        result: AsyncAppResult,
        shared: &mut Shared<A>,
    ) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.answer_failure(exchange, &error, shared),
        };
        let (head, body) = response.into_parts();
        if exchange.discarding {
            return self.discard_answer(exchange, body);
        }
        let exact_len = body.exact_len();
        let parts = match body.into_parts() {
            BodyParts::Tunnel(tunnel) => {
                self.close_interims(shared);
                let date = shared.date.as_bytes();
                let out = self.outbox.text_mut();
                return match self.http.accept_upgrade(&head.headers, date, out) {
                    Ok(_) => {
                        exchange.status = Some(head.status);
                        Next::Tunnel(tunnel)
                    }
                    Err(_) => {
                        let detail =
                            "the answer to one request carried the upgrade token of another; 500 was sent";
                        report(
                            shared,
                            exchange.id(self.handle.id(), self.number),
                            Event::Contract { clause: "U7", detail },
                        );
                        self.respond_error(exchange, &ErrorResponse::INTERNAL, shared)
                    }
                };
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
            // A client that waits for 100 gets it ahead of the head, if the answer's body is what pulls the request's.
            let bodiless = exchange.method == Method::HEAD
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            return if self.http.awaits_continue() && !bodiless {
                Next::Go
            } else {
                self.send_head_of_stream(exchange, shared)
            };
        }
        let framing = match self.send_head(exchange, head, shared) {
            Ok(framing) => framing,
            Err(next) => return self.dropping(exchange, parts, shared, next),
        };
        if framing == ResponseFraming::None {
            // HEAD, 204, 304: the body is dropped without having been polled (spec H1, H2).
            let _ = self.http.send_end(None, self.outbox.text_mut());
            let next = self.written_or_done(exchange);
            return self.dropping(exchange, parts, shared, next);
        }
        match parts {
            BodyParts::Empty => self.end_answer(exchange, None, shared),
            BodyParts::Full(data) => {
                self.send_data(exchange, data, shared);
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
                report(
                    shared,
                    exchange.id(self.handle.id(), self.number),
                    Event::Contract { clause: "X2", detail },
                );
                self.break_off(exchange, Outcome::Failed, shared)
            }
        }
    }

    /// Writes the head of an answer; if it is none, what is to be done instead.
    fn send_head<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        mut head: AnswerHead,
        shared: &mut Shared<A>,
    ) -> Result<ResponseFraming, Next>
    where
        A: AsyncApp<Future = F>,
    {
        self.close_interims(shared);
        let id = exchange.id(self.handle.id(), self.number);
        let sent = response::send_head(
            &mut self.http,
            head.status,
            &head.headers,
            head.length,
            shared.date.as_bytes(),
            self.outbox.text_mut(),
            |event| report(shared, id, event),
        );
        head.headers.clear();
        shared.spare_headers = head.headers;
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
    fn send_head_of_stream<A>(&mut self, exchange: &mut Exchange<F>, shared: &mut Shared<A>) -> Next
    where
        A: AsyncApp<Future = F>,
    {
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

    /// Drops a body that is not wanted, which may panic in doing so.
    fn dropping<A: AsyncApp, T>(
        &mut self,
        exchange: &Exchange<F>,
        body: T,
        shared: &Shared<A>,
        next: Next,
    ) -> Next {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(body))) {
            report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Drop, &*panic);
        }
        next
    }

    fn answer_failure<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        error: &AppError,
        shared: &mut Shared<A>,
    ) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        let kind = error.kind();
        if failure::is_reportable(kind) && kind != FailKind::Abort {
            let error = error.source().map(|source| source as _);
            report(shared, exchange.id(self.handle.id(), self.number), Event::AppFailed { kind, error });
        }
        match Verdict::of(kind) {
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

    /// Sends an error response in place of an answer.
    fn respond_error<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        error: &ErrorResponse,
        shared: &mut Shared<A>,
    ) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        if exchange.discarding {
            return Next::Over(Outcome::Disconnected, Some(Fate::Close));
        }
        self.close_interims(shared);
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

    fn poll_body<A>(&mut self, exchange: &mut Exchange<F>, shared: &mut Shared<A>) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        if !exchange.discarding && self.outbox.len() >= shared.write_high_water {
            match self.flush(shared) {
                Ok(true) => {}
                Ok(false) if self.outbox.len() < shared.write_high_water => {}
                Ok(false) if self.writable => return Next::Yield,
                Ok(false) => return Next::Wait,
                Err(error) => return self.write_failed_in(exchange, error, shared),
            }
        }
        let Some(body) = &mut exchange.body else { return Next::Done };
        let mut cx = Context::from_waker(&self.waker);
        if let Some(incoming) = &exchange.incoming {
            incoming.set_polled(true);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(&mut cx)));
        if let Some(incoming) = &exchange.incoming {
            incoming.set_polled(false);
        }
        if exchange.head.is_some() && matches!(polled, Ok(Poll::Ready(None | Some(Ok(_))))) {
            match self.send_head_of_stream(exchange, shared) {
                Next::Go => {}
                next => return next,
            }
        }
        match polled {
            Ok(Poll::Ready(Some(Ok(_)))) if exchange.discarding => Next::Go,
            Ok(Poll::Ready(Some(Ok(Frame::Data(data))))) => {
                self.send_data(exchange, data, shared);
                Next::Go
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
                    report(shared, exchange.id(self.handle.id(), self.number), event);
                }
                self.break_off(exchange, if gone { Outcome::Disconnected } else { Outcome::Failed }, shared)
            }
            Err(panic) => {
                report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Body, &*panic);
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

    fn drop_body<A: AsyncApp>(&mut self, exchange: &mut Exchange<F>, shared: &Shared<A>) {
        let body = exchange.body.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(body))) {
            report_panic(shared, exchange.id(self.handle.id(), self.number), Running::Drop, &*panic);
        }
    }

    fn send_data<A: AsyncApp>(&mut self, exchange: &mut Exchange<F>, mut data: Bytes, shared: &Shared<A>) {
        let frame = self.http.send_data(data.len() as u64, self.outbox.text_mut());
        if frame.excess {
            let detail = "the answer's body is longer than its content-length; it was cut";
            report(
                shared,
                exchange.id(self.handle.id(), self.number),
                Event::Contract { clause: "A5", detail },
            );
        }
        data.truncate(frame.take as usize);
        exchange.bytes += frame.take;
        self.outbox.push_bytes(data);
        self.outbox.push_text(frame.suffix);
    }

    /// Reports a body that is longer than declared, once.
    fn check_excess<A: AsyncApp>(&self, excess: bool, exchange: &mut Exchange<F>, shared: &Shared<A>) {
        if excess && !std::mem::replace(&mut exchange.length_reported, true) {
            let detail = "the answer's body is longer than its content-length; it was cut";
            report(
                shared,
                exchange.id(self.handle.id(), self.number),
                Event::Contract { clause: "A5", detail },
            );
        }
    }

    /// The body has ended.
    fn end_answer<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        trailers: Option<&HeaderMap>,
        shared: &mut Shared<A>,
    ) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        match self.http.send_end(trailers, self.outbox.text_mut()) {
            Ok(sent) => {
                if sent.trailers_removed {
                    let detail = "fields that may not be trailers were removed from the answer's";
                    let event = Event::Contract { clause: "B18", detail };
                    report(shared, exchange.id(self.handle.id(), self.number), event);
                }
                self.written_or_done(exchange)
            }
            Err(short) => {
                if !exchange.length_reported {
                    let detail = short.to_string();
                    let event = Event::Contract { clause: "A5", detail: &detail };
                    report(shared, exchange.id(self.handle.id(), self.number), event);
                }
                self.break_off(exchange, Outcome::Failed, shared)
            }
        }
    }

    /// An exchange is over when its answer is written, if anybody could tell the difference; else the next one may begin
    /// at once, and both are written together.
    fn written_or_done(&mut self, exchange: &mut Exchange<F>) -> Next {
        if exchange.has_file || self.handle.exchanges.is_watched() {
            exchange.stage = Stage::Writing;
            Next::Go
        } else {
            Next::Done
        }
    }

    fn poll_written<A>(&mut self, exchange: &mut Exchange<F>, shared: &mut Shared<A>) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        match self.flush(shared) {
            Ok(true) => Next::Done,
            Ok(false) if self.writable => Next::Yield,
            Ok(false) => Next::Wait,
            Err(error) => self.write_failed_in(exchange, error, shared),
        }
    }

    /// The answer is complete: what comes next on this connection?
    fn complete<A>(&mut self, exchange: Box<Exchange<F>>, shared: &mut Shared<A>) -> Step
    where
        A: AsyncApp<Future = F>,
    {
        self.end_exchange(exchange, Outcome::Completed, shared);
        self.next_exchange(shared)
    }

    fn next_exchange<A: AsyncApp>(&mut self, shared: &Shared<A>) -> Step {
        self.phase = match self.http.next_exchange(&mut self.input, shared.now) {
            After::KeepAlive => Phase::Head,
            After::Discard => Phase::Discard,
            After::Close(_) => Phase::Closing { reset: false },
        };
        Step::Go
    }

    /// Whatever became of it, this is the end of an exchange: everything of it is dropped, and its hooks run.
    fn end_exchange<A>(&mut self, mut exchange: Box<Exchange<F>>, outcome: Outcome, shared: &mut Shared<A>)
    where
        A: AsyncApp<Future = F>,
    {
        self.drop_call(&mut exchange, shared);
        self.drop_body(&mut exchange, shared);
        drop(self.handle.interims.close());
        if let Some(incoming) = exchange.incoming.take() {
            // Whoever still holds it must not touch the next request (spec S21).
            incoming.fail(BodyErrorKind::Disconnected, &self.waker);
        }
        let finish = Finish::new(outcome, exchange.status, exchange.bytes);
        let id = exchange.id(self.handle.id(), self.number);
        self.handle.exchanges.end(finish, |event| report(shared, id, event));
        if let (Some(log), Some(facts)) = (&shared.access_log, &exchange.log) {
            log.record(&facts.entry(&exchange, self.handle.peer(), Instant::now()));
        }
        shared.turn.give_back();
        shared.recycle(exchange);
    }

    /// The answer cannot be completed: what is in the outbox goes out, and then the connection ends in a way that nobody
    /// takes for the end of the body (spec B10).
    fn break_off<A>(&mut self, exchange: &mut Exchange<F>, outcome: Outcome, shared: &mut Shared<A>) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        self.drop_body(exchange, shared);
        // An end without the last chunk, or short of the length, tells by itself.
        let reset = exchange.until_close;
        self.http.abort(CloseReason::Application);
        self.phase = Phase::Closing { reset };
        Next::Over(outcome, None)
    }

    /// Receives what the application waits for of the request's body; whether anything has changed.
    fn feed<A: AsyncApp>(&mut self, exchange: &mut Exchange<F>, shared: &mut Shared<A>) -> bool {
        if !exchange.wants_body() {
            return false;
        }
        let Some(incoming) = &exchange.incoming else { return false };
        if !exchange.discarding {
            // The first pull is what the client may be waiting for (spec H9).
            self.http.send_continue(self.outbox.text_mut());
        }
        loop {
            match self.http.receive_body(&mut self.input, shared.now) {
                Ok(BodyEvent::Data(data)) => {
                    exchange.body_left =
                        exchange.body_left.map(|left| left.saturating_sub(data.len() as u64));
                    incoming.push_data(data, &self.waker);
                    return true;
                }
                Ok(BodyEvent::End(trailers)) => {
                    incoming.finish(trailers, &self.waker);
                    return true;
                }
                Err(fault) => {
                    let kind = if self.broken { BodyErrorKind::Disconnected } else { body_error(fault) };
                    incoming.fail(kind, &self.waker);
                    return true;
                }
                Ok(BodyEvent::NeedMore) => {}
            }
            match self.read_body(exchange, shared) {
                Read::Some => {}
                Read::None => return false,
                Read::Over => {
                    self.http.receive_eof();
                    self.hung_up = true;
                }
            }
        }
    }

    /// Reads more of a body. A large one is received right where it stays.
    fn read_body<A: AsyncApp>(&mut self, exchange: &Exchange<F>, shared: &mut Shared<A>) -> Read {
        let left = exchange.body_left.unwrap_or(0);
        if !self.readable || left < BODY_READ_MIN || !self.input.is_empty() {
            return self.read_up_to(shared.read_ahead, shared);
        }
        let room = left.min(shared.read_ahead as u64).min(shared.read_buffer.len() as u64) as usize;
        let mut piece = Vec::with_capacity(room);
        match self.transport.read_spare(&mut piece) {
            Ok(0) => Read::Over,
            Ok(read) => {
                self.readable = read == room || self.hung_up;
                self.input = Bytes::from(piece);
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

    /// While the application waits: is there still somebody to answer? (spec E8, E13)
    fn check_client<A>(&mut self, exchange: &mut Exchange<F>, shared: &Shared<A>) -> Option<Next>
    where
        A: AsyncApp<Future = F>,
    {
        // Behind an unread part of the request an end is the body's affair.
        let gone = self.broken || (self.hung_up && !self.http.wants_body());
        if !gone || exchange.discarding {
            return None;
        }
        self.handle.exchanges.disconnected();
        match shared.on_disconnect {
            OnDisconnect::Cancel => Some(Next::Over(Outcome::Disconnected, Some(Fate::Close))),
            OnDisconnect::Finish => {
                exchange.discarding = true;
                self.outbox.clear();
                Some(Next::Go)
            }
        }
    }

    /// Under the policy to finish, the body of an answer to nobody is polled to its end (spec E10).
    fn discard_answer(&mut self, exchange: &mut Exchange<F>, body: AsyncBody) -> Next {
        match body.into_parts() {
            BodyParts::Stream(body) => {
                exchange.body = Some(body);
                exchange.stage = Stage::Streaming;
                Next::Go
            }
            _ => Next::Over(Outcome::Disconnected, Some(Fate::Close)),
        }
    }

    // ---- sending ----

    fn send_interims<A: AsyncApp>(&mut self, shared: &Shared<A>) {
        for (status, headers) in self.handle.interims.take() {
            self.send_interim(status, &headers, shared);
        }
    }

    /// No informational head from here on.
    fn close_interims<A: AsyncApp>(&mut self, shared: &Shared<A>) {
        for (status, headers) in self.handle.interims.close() {
            self.send_interim(status, &headers, shared);
        }
    }

    fn send_interim<A: AsyncApp>(&mut self, status: StatusCode, headers: &HeaderMap, _shared: &Shared<A>) {
        if status == StatusCode::CONTINUE {
            self.http.send_continue(self.outbox.text_mut());
        } else {
            // Why it could be refused was checked when the application asked for it.
            let _ = self.http.send_interim(status, headers, self.outbox.text_mut());
        }
    }

    /// Writes what the outbox holds; whether it is empty now.
    fn flush<A: AsyncApp>(&mut self, shared: &Shared<A>) -> Result<bool, WriteError> {
        if self.outbox.is_empty() {
            return Ok(true);
        }
        if !self.writable {
            return Ok(false);
        }
        let before = self.outbox.len();
        let progress = self.outbox.write_to(&self.transport)?;
        let written = (before - self.outbox.len()) as usize;
        let drained = progress == Progress::Drained;
        if progress == Progress::Blocked {
            self.writable = false;
        }
        self.http.output_progress(written, !drained, shared.now);
        Ok(drained)
    }

    /// Writing has failed where no exchange is under way, or after the step.
    fn write_failed<A>(&mut self, error: WriteError, shared: &mut Shared<A>) -> Option<Fate>
    where
        A: AsyncApp<Future = F>,
    {
        let Phase::Exchange(mut exchange) = std::mem::replace(&mut self.phase, Phase::Head) else {
            return Some(Fate::Close);
        };
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

    /// Writing has failed during an exchange: the client is gone (spec E9), or a file is (spec B14).
    fn write_failed_in<A>(
        &mut self,
        exchange: &mut Exchange<F>,
        error: WriteError,
        shared: &Shared<A>,
    ) -> Next
    where
        A: AsyncApp<Future = F>,
    {
        self.outbox.clear();
        match error {
            WriteError::Transport(error) => {
                debug_assert!(is_disconnect(&error) || error.raw_os_error().is_some());
                self.broken = true;
                self.handle.exchanges.disconnected();
                if shared.on_disconnect == OnDisconnect::Finish && exchange.stage != Stage::Writing {
                    exchange.discarding = true;
                    return Next::Go;
                }
                Next::Over(Outcome::Disconnected, Some(Fate::Close))
            }
            error => {
                let error = varvel::BodyError::failed(error);
                report(
                    shared,
                    exchange.id(self.handle.id(), self.number),
                    Event::BodyFailed { error: &error },
                );
                Next::Over(Outcome::Failed, Some(Fate::Reset))
            }
        }
    }

    // ---- the end ----

    fn discard<A>(&mut self, shared: &mut Shared<A>) -> Step
    where
        A: AsyncApp<Future = F>,
    {
        match self.read(shared) {
            Read::Some => self.next_exchange(shared),
            Read::None => Step::Wait,
            Read::Over => self.ended(shared),
        }
    }

    fn close<A: AsyncApp>(&mut self, shared: &Shared<A>) -> Step {
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
        let until = shared.now + shared.http.timeouts.linger_timeout;
        self.phase = Phase::Lingering { until, budget: LINGER_BYTES_MAX };
        Step::Go
    }

    fn linger<A: AsyncApp>(&mut self, shared: &mut Shared<A>) -> Step {
        let Phase::Lingering { budget, .. } = &mut self.phase else { return Step::Go };
        match self.transport.discard(&mut shared.read_buffer, budget) {
            Discarded::Pending => Step::Wait,
            Discarded::Finished | Discarded::TooMuch => Step::End(Fate::Close),
        }
    }
}

/// How an exchange goes on.
enum Next {
    Go,
    Wait,
    Yield,
    /// The answer is complete.
    Done,
    /// The exchange is over with this outcome, and what becomes of the connection unless its phase says.
    Over(Outcome, Option<Fate>),
    Tunnel(AsyncTunnel),
}

/// Appends to what is left of the input, in its own memory if that is possible.
fn append(input: &mut Bytes, data: &[u8]) {
    if input.is_empty() {
        *input = Bytes::copy_from_slice(data);
        return;
    }
    let mut joined = match std::mem::take(input).try_into_mut() {
        Ok(own) => own,
        // The rest of a batch, whose earlier heads are still in use.
        Err(rest) => BytesMut::from(&rest[..]),
    };
    joined.extend_from_slice(data);
    *input = joined.freeze();
}

fn body_error(fault: BodyFault) -> BodyErrorKind {
    match fault.kind() {
        BodyFaultKind::Malformed => BodyErrorKind::Malformed,
        BodyFaultKind::Incomplete => BodyErrorKind::Incomplete,
        BodyFaultKind::TooLarge => BodyErrorKind::TooLarge,
        BodyFaultKind::Timeout => BodyErrorKind::Timeout,
    }
}

fn report<A: AsyncApp>(shared: &Shared<A>, request: varvel::RequestId<'_>, event: Event<'_>) {
    shared.reporter.report(&Report::of(request, event));
}

fn report_panic<A: AsyncApp>(
    shared: &Shared<A>,
    request: varvel::RequestId<'_>,
    during: Running,
    panic: &(dyn std::any::Any + Send),
) {
    report(shared, request, Event::Panicked { during, message: panic_message(panic) });
}
