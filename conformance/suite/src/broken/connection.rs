//! One connection: a request, its call, its answer, and again, until a side has had enough.

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use varvel::{
    App, AppError, AppResult, BodyErrorKind, BodyParts, Caps, ConnInfo, Event, FailKind, Offer, Outcome,
    Phase, ReadBody, Scope, TlsInfo, UpgradeKind, WriteBody,
};

use super::{
    Fault,
    exchange::{About, Exchange},
    parser::{BodyFraming, RequestHead, Unserved, read_head},
    request_body::{BodyReader, RequestBody},
    response::{AnswerHead, Asked, Framing, Sink, write_head},
    tunnel,
    wire::{Stuck, Wire, WireThreads},
    worker::{Core, Place, Registration, panic_message},
};

/// How long a connection that was closed waits for its client to close too.
const LINGER: Duration = Duration::from_millis(500);

/// What a fault takes for each connection, in bytes.
const HOARD: usize = 512 * 1024;

/// Who reads between two exchanges, whose numbers begin with 1.
const BETWEEN: u64 = 0;

/// One connection, and the application that answers its requests.
pub(super) struct Connection<A> {
    core: Arc<Core>,
    /// `None` after a fault gave it back too early.
    app: Option<Arc<A>>,
    info: ConnInfo,
    wire: Arc<Wire>,
    threads: WireThreads,
    /// Which exchange is the last that began, from 1.
    number: u64,
    /// What a fault keeps.
    kept: Vec<WriteBody>,
    // Last, so that it is struck off the list only when nothing else is left of it.
    registration: Option<Registration>,
}

/// The exchange that goes on.
struct Current {
    exchange: Arc<Exchange>,
    asked: Asked,
    body: Arc<RequestBody>,
    offered: Option<UpgradeKind>,
    place: Option<Place>,
}

/// What came of a call.
enum Answer {
    /// Never with a deferred body.
    Returned(AppResult),
    Deferred(varvel::Answer),
    Panicked,
}

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    Close,
    Reset,
}

impl<A: App + Send + Sync + 'static> Connection<A> {
    pub(super) fn new(
        core: Arc<Core>,
        app: Arc<A>,
        info: ConnInfo,
        wire: Arc<Wire>,
        threads: WireThreads,
        registration: Registration,
    ) -> Self {
        let hoard = core.has(Fault::HoardsMemory).then(|| WriteBody::full(vec![1; HOARD]));
        Self {
            core,
            app: Some(app),
            info,
            wire,
            threads,
            number: 0,
            kept: hoard.into_iter().collect(),
            registration: Some(registration),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.core.has(fault)
    }

    /// Serves the connection to its end.
    pub(super) fn run(self) {
        self.go_on(None);
    }

    /// Serves it from an answer that came late, if there is one.
    fn go_on(mut self, mut late: Option<(Current, Answer)>) {
        let then = loop {
            let (current, answer) = match late.take() {
                Some(late) => late,
                None => match self.receive() {
                    Ok(head) => self.call(head),
                    Err(then) => break then,
                },
            };
            let then = match answer {
                Answer::Deferred(deferred) => return self.park(current, deferred),
                Answer::Returned(result) => self.answer(current, Some(result)),
                Answer::Panicked => self.answer(current, None),
            };
            if then != Then::Next {
                break then;
            }
        };
        self.end(then);
    }

    fn end(self, then: Then) {
        match then {
            Then::Reset => self.wire.kill(true),
            Then::Close | Then::Next if self.has(Fault::CutsOffSenders) => {
                let _ = self.wire.flush();
                self.wire.kill(true);
            }
            Then::Close | Then::Next => self.wire.close(LINGER),
        }
        self.threads.join();
    }

    // The request.

    /// Waits for a request, and answers those that are refused.
    fn receive(&mut self) -> Result<RequestHead, Then> {
        let timeouts = &self.core.settings.tuning;
        let idle = if self.number == 0 { timeouts.head_timeout } else { timeouts.keep_alive_timeout };
        loop {
            self.number += 1;
            self.wire.give_to(self.number);
            if !self.wire.wait_for_request(idle) {
                if self.number == 1 && self.has(Fault::KeepsDeparted) {
                    while self.wire.wait_for_either(false, false, None).is_ok() {}
                }
                return Err(Then::Close);
            }
            let _place = self.has(Fault::HalfOpenHoldsPlace).then(|| self.core.take_place());
            match read_head(&self.wire, self.number, &self.core.settings) {
                Ok(head) => return Ok(head),
                Err(Unserved::Silence) => return Err(Then::Close),
                Err(Unserved::Refused(status)) => {
                    if !self.refuse(status) {
                        return Err(Then::Close);
                    }
                }
            }
        }
    }

    /// Answers without a call. `true` if a fault goes on with what follows.
    fn refuse(&self, mut status: StatusCode) -> bool {
        if !self.has(Fault::MonitorMissesRefusals) {
            self.core.tell_monitor(|monitor, worker| monitor.refused(worker, status));
        }
        if self.has(Fault::RefusesAllWith400) {
            status = StatusCode::BAD_REQUEST;
        }
        if self.has(Fault::CallsForRefused) {
            let about = About {
                number: self.number,
                conn: self.info.clone(),
                method: Method::GET,
                target: Bytes::from_static(b"/"),
                version: Version::HTTP_11,
                expects_continue: false,
            };
            let exchange = Arc::new(Exchange::begin(&self.core, &self.wire, about));
            let scope = Scope::new(exchange, self.number, Bytes::from_static(b"/"), Instant::now());
            let _ = self.call_app(Request::new(ReadBody::empty()), scope);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        let goes_on = self.has(Fault::ServesAfterRefusal);
        if !goes_on {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        super::response::add_date(&mut headers, false, false);
        let _ = self.wire.put(write_head(status, &headers, false), false);
        goes_on
    }

    // The call.

    fn call(&mut self, mut head: RequestHead) -> (Current, Answer) {
        let received_at = Instant::now();
        let about = About {
            number: self.number,
            conn: self.conn_info(&head.headers),
            method: head.method.clone(),
            target: head.target.clone(),
            version: head.version,
            expects_continue: head.expects_continue,
        };
        let exchange = Arc::new(Exchange::begin(&self.core, &self.wire, about));
        self.set_exchange(Some(&exchange));
        let body = RequestBody::new(Arc::clone(&exchange), head.framing);
        let early_body = self.has(Fault::MergesTrailers).then(|| body.merge_into(&mut head.headers));
        if self.has(Fault::ReadsAheadWithoutBound) {
            self.wire.read_without_bound();
        }
        if self.has(Fault::MissingHttp2IsAccepted) && head.headers.contains_key("http2-settings") {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
            // If it cannot be sent, nothing can.
            let _ = self.wire.put(Bytes::from_static(head), false);
        }
        let offer = tunnel::offer(&head, &self.core);
        let mut current = Current {
            asked: Asked::new(&head, self.has(Fault::Keeps10Alive)),
            offered: offer.as_ref().map(|(kind, _)| *kind),
            place: self.core.take_place(),
            exchange,
            body,
        };
        if current.place.is_none() {
            return (current, Answer::from(Err(AppError::abort())));
        }
        let bodiless = self.has(Fault::ContinuesWithoutBody) && current.body.is_complete();
        if self.has(Fault::ContinuesBeforePull) || bodiless {
            current.exchange.continue_at_pull();
        }
        if self.has(Fault::CallsTwice) {
            let scope = self.scope(&current, &head, received_at);
            let mut request = Request::new(ReadBody::empty());
            *request.uri_mut() = head.uri.clone();
            let _ = self.call_app(request, scope);
        }
        let mut scope = self.scope(&current, &head, received_at);
        if let Some((kind, protocols)) = offer {
            scope = scope.with_upgrade(Offer::new(kind, protocols));
        }
        let can_defer = self.core.can(Caps::DEFER) && !self.has(Fault::NeverGivesDeferral);
        if can_defer || self.has(Fault::MissingDeferralIsGiven) {
            scope = scope.with_deferral();
        }
        let reader = match head.framing {
            _ if early_body.is_some() => ReadBody::full(early_body.unwrap_or_default()),
            BodyFraming::None | BodyFraming::Length(0) => ReadBody::empty(),
            _ => ReadBody::from_frames(BodyReader(Arc::clone(&current.body))),
        };
        let mut request = Request::new(reader);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        let late = self.has(Fault::MonitorHearsLate);
        if !late {
            current.exchange.announce();
        }
        let called = catch_unwind(AssertUnwindSafe(|| self.call_app(request, scope)));
        if late {
            current.exchange.announce();
        }
        let answer = match called {
            Ok(result) => Answer::from(result),
            Err(panic) => {
                let message = panic_message(&*panic);
                current.exchange.report(Event::Panicked { during: Phase::Call, message });
                if self.has(Fault::PanicLeaksPlace) {
                    std::mem::forget(current.place.take());
                }
                if self.has(Fault::PanicKillsConnection) {
                    self.wire.kill(false);
                }
                Answer::Panicked
            }
        };
        if self.has(Fault::BodyEndsWithCall) {
            self.wire.give_to(BETWEEN);
        }
        (current, answer)
    }

    fn call_app(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        self.app.as_ref().map_or_else(|| Err(AppError::abort()), |app| app.call(request, scope))
    }

    fn set_exchange(&self, exchange: Option<&Arc<Exchange>>) {
        if let Some(registration) = &self.registration {
            registration.set_exchange(exchange.map(Arc::clone));
        }
    }

    fn scope(&self, current: &Current, head: &RequestHead, received_at: Instant) -> Scope {
        let exchange: Arc<Exchange> = Arc::clone(&current.exchange);
        Scope::new(exchange, self.number, head.target.clone(), received_at)
            .with_authority(head.authority.clone())
    }

    fn conn_info(&self, headers: &HeaderMap) -> ConnInfo {
        let mut info = self.info.clone();
        if self.has(Fault::SwapsAddresses) {
            std::mem::swap(&mut info.peer, &mut info.local);
        }
        if self.has(Fault::MissingTlsIsClaimed) && headers.contains_key("x-forwarded-proto") {
            info.tls = Some(Arc::new(TlsInfo::new(0x0304, 0x1301)));
        }
        let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        if let (Some(Ok(address)), true) =
            (forwarded.map(str::parse::<IpAddr>), self.has(Fault::TrustsForwardedFor))
        {
            info.peer = varvel::Address::Ip((address, 1).into());
        }
        info
    }

    // The answer.

    /// Gives the thread back until the reply comes (spec W4).
    fn park(self, mut current: Current, deferred: varvel::Answer) {
        if !self.has(Fault::DeferralHoldsPlace) {
            current.place = None;
        }
        let (core, id) = (Arc::clone(&self.core), self.info.id);
        let exchange = Arc::clone(&current.exchange);
        let parked = Arc::new(Mutex::new(Some((self, current))));
        let take = |parked: &Mutex<Option<(Self, Current)>>| {
            parked.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let abandoned = Arc::clone(&parked);
        core.set_abandon(
            id,
            Some(Box::new(move || {
                if let Some((connection, current)) = take(&abandoned) {
                    let then = connection.finish(&current, Outcome::Stopped, Then::Reset);
                    drop(current);
                    connection.end(then);
                }
            })),
        );
        let (early, is_early) = mpsc::channel::<()>();
        let loses_early = core.has(Fault::EarlyReplyIsLost);
        deferred.on_reply(move |result| {
            if loses_early && is_early.try_recv() == Err(mpsc::TryRecvError::Empty) {
                return true;
            }
            if result.is_err() && core.has(Fault::DroppedReplyHangs) {
                return true;
            }
            let Some((connection, current)) = take(&parked) else { return false };
            let mistaken = core.has(Fault::HalfClosedReplyIsLost) && exchange.is_half_closed();
            let result = if mistaken { Err(AppError::abort()) } else { result };
            let wanted = !mistaken && !exchange.is_broken();
            core.set_abandon(id, None);
            let go_on = move || connection.go_on(Some((current, Answer::from(result))));
            if thread::Builder::new().name("connection".into()).spawn(go_on).is_err() {
                exchange.finish(Outcome::Failed);
            }
            wanted
        });
        // Only after this line a reply is not early any more.
        drop(early);
    }

    /// Sends what the call returned, or 500 if it panicked, and sees what becomes of the connection.
    fn answer(&mut self, mut current: Current, result: Option<AppResult>) -> Then {
        if self.has(Fault::TearsDownEarly) {
            (self.app, self.registration) = (None, None);
        }
        let then = match result {
            None => self.fail(&mut current, StatusCode::INTERNAL_SERVER_ERROR),
            Some(Err(error)) => self.answer_error(&mut current, error),
            Some(Ok(response)) => self.answer_response(&mut current, response),
        };
        self.set_exchange(None);
        if then != Then::Next || self.app.is_none() {
            return if then == Then::Next { Then::Close } else { then };
        }
        if self.has(Fault::ForgetsPipelined) {
            while self.wire.try_read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
        }
        // From here on nobody but this connection reads what is left of the body.
        self.wire.give_to(BETWEEN);
        let _place = self.has(Fault::DiscardHoldsPlace).then(|| self.core.take_place());
        if self.has(Fault::UnreadBodyIsNextRequest) || current.body.discard(BETWEEN) {
            Then::Next
        } else {
            Then::Close
        }
    }

    /// The table of chapter E, before the head.
    fn answer_error(&self, current: &mut Current, error: AppError) -> Then {
        let exchange = Arc::clone(&current.exchange);
        let kind = error.kind();
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        let closes = !self.has(Fault::MalformedKeepsConnection);
        let (status, close) = match kind {
            FailKind::Body(_) if self.has(Fault::BodyErrorIs500) => (Some(internal), false),
            FailKind::Abort if self.has(Fault::AbortIs500) => (Some(internal), false),
            FailKind::Abort | FailKind::Body(BodyErrorKind::Disconnected) => (None, true),
            FailKind::Unavailable if self.has(Fault::UnavailableIs500) => (Some(internal), false),
            FailKind::Unavailable => (Some(StatusCode::SERVICE_UNAVAILABLE), false),
            FailKind::Body(BodyErrorKind::TooLarge) => (Some(StatusCode::PAYLOAD_TOO_LARGE), false),
            FailKind::Body(BodyErrorKind::Timeout) => (Some(StatusCode::REQUEST_TIMEOUT), closes),
            FailKind::Body(BodyErrorKind::Malformed) if current.body.trailers_were_too_large() => {
                (Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), true)
            }
            FailKind::Body(BodyErrorKind::Malformed | BodyErrorKind::Incomplete) => {
                (Some(StatusCode::BAD_REQUEST), closes)
            }
            _ => (Some(internal), self.has(Fault::ErrorEndsConnection)),
        };
        let to_report = match kind {
            FailKind::Abort => false,
            FailKind::Body(BodyErrorKind::Failed) | FailKind::Internal | FailKind::Unavailable => true,
            _ => self.has(Fault::ReportsDisconnects),
        };
        if to_report {
            let error = error.source().map(|source| source as &(dyn std::error::Error + 'static));
            exchange.report(Event::AppFailed { kind, error });
        }
        let told = error.to_string();
        exchange.contain(Phase::Drop, || drop(error));
        let Some(status) = status else {
            let outcome = if kind == FailKind::Abort { Outcome::Failed } else { Outcome::Disconnected };
            let outcome = if self.wire.is_gone(true) { Outcome::Disconnected } else { outcome };
            return self.finish(current, outcome, Then::Reset);
        };
        let text = if self.has(Fault::TellsErrorToClient) { Some(told) } else { None };
        self.say(current, status, close, text)
    }

    /// Answers with a status of the server's own.
    fn fail(&self, current: &mut Current, status: StatusCode) -> Then {
        self.say(current, status, false, None)
    }

    fn say(&self, current: &mut Current, status: StatusCode, close: bool, text: Option<String>) -> Then {
        let text = text.unwrap_or_else(|| format!("{}\n", status.canonical_reason().unwrap_or_default()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE && !self.has(Fault::NoRetryAfter) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
        }
        self.send(current, status, headers, WriteBody::full(text), close)
    }

    fn answer_response(&mut self, current: &mut Current, response: Response<WriteBody>) -> Then {
        let exchange = Arc::clone(&current.exchange);
        let (head, body) = response.into_parts();
        let body = match body.into_parts() {
            BodyParts::Tunnel(tunnel) => {
                current.place = None;
                let offered = current.offered.unwrap_or(UpgradeKind::Http1);
                let (outcome, then) = tunnel::run(&exchange, offered, head, tunnel);
                return self.finish(current, outcome, then);
            }
            parts => WriteBody::from(parts),
        };
        let connects = current.asked.method == Method::CONNECT && head.status.is_success();
        let breach = match head.status.as_u16() {
            101 if self.has(Fault::SendsBare101) => None,
            101 => Some("U7"),
            200..=299 if connects && !self.has(Fault::SendsBareConnect) => Some("U7"),
            200..=599 => None,
            _ if self.has(Fault::SendsAnyStatus) => None,
            _ => Some("H21"),
        };
        if let Some(clause) = breach {
            if !self.has(Fault::CorrectsStatusSilently) {
                exchange.report_breach(clause, &format!("answered 500 in place of {}", head.status.as_u16()));
            }
            exchange.contain(Phase::Drop, || drop(body));
            return self.fail(current, StatusCode::INTERNAL_SERVER_ERROR);
        }
        if self.has(Fault::DiscardsForHalfClosed) && self.wire.is_gone(true) {
            return self.finish(current, Outcome::Disconnected, Then::Close);
        }
        let unused = current.asked.method == Method::HEAD;
        if unused && self.has(Fault::KeepsUnusedBody) {
            self.kept.push(body);
            return self.send(current, head.status, head.headers, WriteBody::empty(), false);
        }
        let then = self.send(current, head.status, head.headers, body, false);
        exchange.contain(Phase::Drop, || drop(head.extensions));
        then
    }

    fn send(
        &self,
        current: &mut Current,
        status: StatusCode,
        headers: HeaderMap,
        body: WriteBody,
        close: bool,
    ) -> Then {
        let (exchange, asked) = (Arc::clone(&current.exchange), current.asked.clone());
        let stopping = self.core.is_stopping() && !self.has(Fault::KeepsAliveWhileStopping);
        let uninvited = exchange.owes_continue() && !self.has(Fault::WaitsForUnsentBody);
        let close = close || stopping || uninvited || self.has(Fault::NeverKeepsAlive);
        let close = close || (current.offered.is_some() && self.has(Fault::UnusedTokenCloses));
        let head = AnswerHead::decide(&exchange, &asked, status, headers, body.exact_len(), close);
        let framing = head.framing;
        let then = if head.close { Then::Close } else { Then::Next };
        let bytes = head.write(&exchange, &asked);
        let mut sink = Sink::new(&exchange, &asked, framing);
        // If the client is gone, the body runs all the same, and is told by its sink (spec E15).
        let _ = match self.has(Fault::HoldsHeadBack) {
            true => sink.hold_back(status, bytes),
            false => exchange.put_head(status, bytes),
        };
        let fate = if framing == Framing::Absent {
            self.pass_over(current, body)
        } else {
            self.send_body(current, &mut sink, body)
        };
        current.place = None;
        if self.has(Fault::HookFiresEarly) {
            exchange.finish(Outcome::Completed);
        }
        match fate {
            Fate::Complete if self.has(Fault::AnswersAheadWithoutBound) => {
                self.finish(current, Outcome::Completed, then)
            }
            Fate::Complete => match self.wire.flush() {
                Ok(()) => self.finish(current, Outcome::Completed, then),
                Err(Stuck::TimedOut) => self.finish(current, Outcome::TimedOut, Then::Reset),
                Err(_) => self.finish(current, Outcome::Disconnected, Then::Close),
            },
            Fate::BrokenOff(outcome) => {
                let in_order = framing != Framing::Close || self.has(Fault::ClosesFailedAnswerInOrder);
                let lost = outcome == Outcome::TimedOut || !in_order;
                if self.has(Fault::SecondHead) {
                    let text = Bytes::from_static(
                        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
                    );
                    let _ = self.wire.put(text, false);
                }
                // What was produced before the failure still arrives, unless the client must learn of it by a reset.
                let _ = self.wire.flush();
                self.finish(current, outcome, if lost { Then::Reset } else { Then::Close })
            }
        }
    }

    /// A body that is not sent.
    fn pass_over(&self, current: &Current, body: WriteBody) -> Fate {
        let exchange = &current.exchange;
        let produces = match current.asked.method {
            Method::HEAD => self.has(Fault::HeadRunsBody),
            _ => self.has(Fault::BodilessStatusRunsBody),
        };
        exchange.contain(Phase::Drop, || match produces {
            true => drop(body.write_to(&mut Sink::new(exchange, &current.asked, Framing::Absent))),
            false => drop(body),
        });
        Fate::Complete
    }

    fn send_body(&self, current: &Current, sink: &mut Sink, body: WriteBody) -> Fate {
        let exchange = &current.exchange;
        let taken = catch_unwind(AssertUnwindSafe(|| sink.take_body(body)));
        let outcome = match taken {
            Ok(Ok(())) => match sink.end() {
                true => return Fate::Complete,
                false if sink.stuck.is_some() => self.outcome_of(sink, BodyErrorKind::Disconnected),
                false => Outcome::Failed,
            },
            Ok(Err(error)) => {
                let outcome = self.outcome_of(sink, error.kind());
                if outcome == Outcome::Failed || self.has(Fault::ReportsDisconnects) {
                    exchange.report(Event::BodyFailed { error: &error });
                }
                exchange.contain(Phase::Drop, || drop(error));
                outcome
            }
            Err(panic) => {
                exchange.report(Event::Panicked { during: Phase::Body, message: panic_message(&*panic) });
                Outcome::Failed
            }
        };
        if self.has(Fault::FailedAnswerLooksComplete) {
            sink.pretend_complete();
            return Fate::Complete;
        }
        Fate::BrokenOff(outcome)
    }

    /// How an answer ended whose body could not be sent.
    fn outcome_of(&self, sink: &Sink, kind: BodyErrorKind) -> Outcome {
        match (sink.stuck, kind) {
            (Some(Stuck::TimedOut), _) | (None, BodyErrorKind::Timeout) => Outcome::TimedOut,
            (Some(_), _) => Outcome::Disconnected,
            (None, BodyErrorKind::Disconnected) => Outcome::Disconnected,
            // What the body lacks is what the client did not send.
            (None, BodyErrorKind::Incomplete) if self.wire.is_gone(true) => Outcome::Disconnected,
            (None, _) if self.wire.is_gone(false) => Outcome::Disconnected,
            (None, _) => Outcome::Failed,
        }
    }

    fn finish(&self, current: &Current, outcome: Outcome, then: Then) -> Then {
        current.exchange.finish(outcome);
        then
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All of it was handed on.
    Complete,
    /// It lacks its end.
    BrokenOff(Outcome),
}

impl From<AppResult> for Answer {
    fn from(result: AppResult) -> Self {
        match result.map(Response::into_parts) {
            Err(error) => Self::Returned(Err(error)),
            Ok((head, body)) => match body.into_parts() {
                BodyParts::Deferred(deferred) => Self::Deferred(deferred),
                parts => Self::Returned(Ok(Response::from_parts(head, WriteBody::from(parts)))),
            },
        }
    }
}
