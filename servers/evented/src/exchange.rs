//! One exchange under way: the call, then the body of its answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use varvel::{BodyError, Frame, PollBody, RequestId};
use varvel_http1::BodyLength;
use varvel_server_kit::{journal::Account, waiting_chunks::WaitingChunks};

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
    /// The last read of it has filled a good part of the room that there was.
    pub(crate) body_flows: bool,
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
    pub(crate) chunks: WaitingChunks,
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// For whoever follows the loop.
    pub(crate) account: Option<Account>,
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
            body_flows: false,
            request_complete: false,
            discarding: false,
            has_file: false,
            length_reported: false,
            until_close: false,
            status: None,
            bytes: 0,
            chunks: WaitingChunks::default(),
            method: Method::GET,
            target: Bytes::new(),
            account: None,
        })
    }

    /// Makes it ready for another request. Call, body and account are gone already.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Calling;
        self.waker = Waker::noop().clone();
        self.head = None;
        self.incoming = None;
        self.body_left = None;
        self.body_flows = false;
        self.request_complete = false;
        self.discarding = false;
        self.has_file = false;
        self.length_reported = false;
        self.until_close = false;
        self.status = None;
        self.bytes = 0;
        self.chunks.clear();
        self.target = Bytes::new();
    }

    /// Whether the application waits for more of the request's body.
    pub(crate) fn wants_body(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.is_wanted())
    }

    /// What is left in the outbox, so many bytes, is not written any more.
    pub(crate) fn take_back(&mut self, unsent: u64) {
        self.bytes -= self.chunks.content(self.bytes, unsent);
    }

    pub(crate) fn id(&self, connection: u64, number: u64) -> RequestId<'_> {
        RequestId::new(connection, number, Some(&self.method), &self.target)
    }
}

/// Code of the application that was polled: what it came to, or what it panicked with.
pub(crate) type Polled<T> = std::thread::Result<Poll<T>>;

impl<F: Future> Exchange<F> {
    /// Polls the call, if there is one.
    pub(crate) fn poll_call(&mut self) -> Option<Polled<F::Output>> {
        let Self { call, account, incoming, waker, .. } = self;
        let call = call.as_mut().as_pin_mut()?;
        Some(poll(account.as_ref(), incoming.as_deref(), waker, |cx| call.poll(cx)))
    }

    /// Polls the answer's body, if it streams.
    pub(crate) fn poll_body(&mut self) -> Option<Polled<Option<Result<Frame, BodyError>>>> {
        let Self { body, account, incoming, waker, .. } = self;
        let body = body.as_mut()?;
        Some(poll(account.as_ref(), incoming.as_deref(), waker, |cx| body.as_mut().poll_frame(cx)))
    }
}

fn poll<T>(
    account: Option<&Account>,
    incoming: Option<&Incoming>,
    waker: &Waker,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Polled<T> {
    if let Some(account) = account {
        account.polling();
    }
    if let Some(incoming) = incoming {
        incoming.set_polled(true);
    }
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut Context::from_waker(waker))));
    if let Some(incoming) = incoming {
        incoming.set_polled(false);
    }
    polled
}
