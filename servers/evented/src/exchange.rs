//! One exchange under way: the call, then the body of its answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::Waker,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use varvel::{Address, Finish, PollBody, RequestId};
use varvel_http1::BodyLength;
use varvel_server_kit::access_log::Entry;

use crate::request_body::Incoming;

/// What a connection keeps while a request is being answered. Idle connections have none, and a loop uses the memory of
/// finished ones again.
pub(crate) struct Exchange<F> {
    pub(crate) stage: Stage,
    /// Wakes the loop for the connection.
    pub(crate) waker: Waker,
    /// The application's future; `None` before and after.
    pub(crate) call: Pin<Box<Option<F>>>,
    /// The answer's head, while its body was not asked for anything yet.
    pub(crate) head: Option<AnswerHead>,
    /// The answer's body, while it streams.
    pub(crate) body: Option<Pin<Box<dyn PollBody + Send>>>,
    /// The request's body, unless it was there as a whole.
    pub(crate) incoming: Option<Arc<Incoming>>,
    /// Bytes of it that have not arrived, if it declared a length.
    pub(crate) body_left: Option<u64>,
    /// The request has arrived as a whole.
    pub(crate) request_complete: bool,
    /// The client is gone, and the policy is to finish: what comes is thrown away.
    pub(crate) discarding: bool,
    /// The answer has a file, whose reading may fail until it is written.
    pub(crate) has_file: bool,
    /// That the body's length is not the declared one was reported already (spec E5: once).
    pub(crate) length_reported: bool,
    /// The answer's body ends where the connection does.
    pub(crate) until_close: bool,
    pub(crate) status: Option<StatusCode>,
    /// Body bytes handed to the outbox.
    pub(crate) bytes: u64,
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// For the access log, if there is one.
    pub(crate) log: Option<Box<LogFacts>>,
}

/// What the access log wants to know of a request.
pub(crate) struct LogFacts {
    method: Method,
    target: Bytes,
    version: Version,
    time: SystemTime,
    began: Instant,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

/// An answer without its body.
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) length: BodyLength,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The future of the call is polled.
    Calling,
    /// The body of the answer is polled.
    Streaming,
    /// The answer is in the outbox, and somebody wants to know when it is written.
    Writing,
}

impl<F> Exchange<F> {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            stage: Stage::Calling,
            waker: Waker::noop().clone(),
            call: Box::pin(None),
            head: None,
            body: None,
            incoming: None,
            body_left: None,
            request_complete: false,
            discarding: false,
            has_file: false,
            length_reported: false,
            until_close: false,
            status: None,
            bytes: 0,
            method: Method::GET,
            target: Bytes::new(),
            log: None,
        })
    }

    /// Makes it ready for another request. Call and body are gone already.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Calling;
        self.waker = Waker::noop().clone();
        self.head = None;
        self.incoming = None;
        self.body_left = None;
        self.request_complete = false;
        self.discarding = false;
        self.has_file = false;
        self.length_reported = false;
        self.until_close = false;
        self.status = None;
        self.bytes = 0;
        self.target = Bytes::new();
        self.log = None;
    }

    /// Whether the application waits for more of the request's body.
    pub(crate) fn wants_body(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.is_wanted())
    }

    pub(crate) fn id(&self, connection: u64, number: u64) -> RequestId<'_> {
        RequestId::new(connection, number, Some(&self.method), &self.target)
    }
}

impl LogFacts {
    pub(crate) fn of(request: &Request<()>, target: Bytes, began: Instant) -> Self {
        let field = |name| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            target,
            version: request.version(),
            time: SystemTime::now(),
            began,
            referer: field(header::REFERER),
            user_agent: field(header::USER_AGENT),
        }
    }

    /// The line of an exchange that has come to this end.
    pub(crate) fn entry<'a>(&'a self, finish: &Finish, peer: &'a Address, now: Instant) -> Entry<'a> {
        Entry {
            peer,
            time: self.time,
            method: self.method.as_str(),
            target: &self.target,
            version: self.version,
            // As nginx has it: nothing was sent before the client was gone.
            status: finish.status.map_or(499, |status| status.as_u16()),
            bytes: finish.bytes,
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            duration: now.saturating_duration_since(self.began),
        }
    }
}
