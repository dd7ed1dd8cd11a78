//! The call as the evented server makes it: see `servers/evented/src/connection/call.rs` and `answer.rs`.

use std::{
    fmt,
    future::{Ready, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use http::{Request, Response, header};
use varvel::{
    Address, App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, BodyParts, Caps, ConnInfo, Driver,
    Exchange, Finish, FinishHook, Mode, Outcome, ReadBody, Report, Scope, TimerId, Worker, WorkerInfo,
    WorkerOps,
};
use varvel_http1::{BodyLength, RequestHead};
use varvel_server_kit::gateway::{Exchanges, request, response};

use crate::{HELLO, TEXT, Way, Wire};

/// Through the contract: an application.
pub struct Contract<A: AsyncApp> {
    app: A,
    handle: Arc<Handle>,
    /// Made once and used for every call.
    call: Pin<Box<Option<A::Future>>>,
    number: u64,
    now: Instant,
}

impl<A: AsyncApp> Contract<A> {
    /// Calls this application.
    pub fn new(app: A) -> Self {
        Self { app, handle: Arc::default(), call: Box::pin(None), number: 0, now: Instant::now() }
    }

    /// Calls the application and polls it once.
    fn call(&mut self, head: &mut RequestHead) -> Poll<AsyncAppResult> {
        let waker = Waker::from(Arc::clone(&self.handle));
        let handle = Arc::clone(&self.handle);
        let called = catch_unwind(AssertUnwindSafe(|| {
            let (request, scope) = request::admit(head, AsyncBody::empty(), handle, self.number, self.now);
            self.app.call(request, scope)
        }));
        self.call.as_mut().set(called.ok());
        let Some(call) = self.call.as_mut().as_pin_mut() else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| call.poll(&mut Context::from_waker(&waker))));
        let _ = catch_unwind(AssertUnwindSafe(|| self.call.as_mut().set(None)));
        polled.unwrap_or(Poll::Pending)
    }
}

impl<A: AsyncApp> Way for Contract<A> {
    #[inline]
    fn answer(&mut self, head: &mut RequestHead, wire: &mut Wire, out: &mut Vec<u8>) {
        self.number += 1;
        self.handle.exchanges.begin(self.number);
        let Poll::Ready(Ok(answer)) = self.call(head) else { panic!("the application answers at once") };
        let (head, body) = answer.into_parts();
        let length = body.exact_len().map_or(BodyLength::Unknown, BodyLength::Known);
        let BodyParts::Full(body) = body.into_parts() else { panic!("the application answers from memory") };
        let date = wire.date.as_bytes();
        response::send_head(&mut wire.http, head.status, &head.headers, length, date, out, |_| {});
        wire.send_body(&body, out);
        wire.keep(head.headers);
        let finish = Finish::new(Outcome::Completed, Some(head.status), body.len() as u64);
        self.handle.exchanges.end_unobserved(finish, |_| {});
    }
}

impl<A: AsyncApp> fmt::Debug for Contract<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A connection, as scopes see it.
pub struct Handle {
    worker: Worker,
    info: ConnInfo,
    exchanges: Exchanges,
}

impl Default for Handle {
    fn default() -> Self {
        let mut info = WorkerInfo::new("varvel-bench", Driver::Evented);
        info.caps = Caps::UPGRADE.with(Caps::CONNECT).with(Caps::DEFER);
        Self {
            worker: Worker::new(Arc::new(Quiet(info))),
            info: ConnInfo::new(0, Address::Unnamed, Address::Unnamed),
            exchanges: Exchanges::default(),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {}
}

impl Exchange for Handle {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.info
    }

    fn is_disconnected(&self, number: u64) -> bool {
        self.exchanges.is_disconnected(number)
    }

    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.exchanges.poll_disconnected(number, cx)
    }

    fn on_finish(&self, number: u64, hook: FinishHook) {
        self.exchanges.on_finish(number, hook, |_| {});
    }
}

/// A worker of which nobody wants anything.
struct Quiet(WorkerInfo);

impl WorkerOps for Quiet {
    fn info(&self) -> &WorkerInfo {
        &self.0
    }

    fn report(&self, _report: &Report<'_>) {}

    fn set_timer(&self, _deadline: Instant, _waker: &Waker) -> TimerId {
        TimerId(0)
    }

    fn move_timer(&self, _id: TimerId, _waker: &Waker) -> bool {
        false
    }

    fn cancel_timer(&self, _id: TimerId) {}

    fn is_stopping(&self) -> bool {
        false
    }

    fn poll_stopping(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

fn hello<M: Mode, T>(request: &Request<T>) -> Response<Body<M>> {
    let body = if request.uri().path() == "/" { HELLO } else { b"" };
    let mut response = Response::new(Body::from_static(body));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// The application as a future.
#[derive(Clone, Copy, Debug)]
pub struct OnLoops;

impl AsyncApp for OnLoops {
    type Future = Ready<AsyncAppResult>;

    fn call(&self, request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
        ready(Ok(hello(&request)))
    }
}

/// The same as a function that might block.
#[derive(Clone, Copy, Debug)]
pub struct OnThreads;

impl App for OnThreads {
    fn call(&self, request: Request<ReadBody>, _scope: Scope) -> AppResult {
        Ok(hello(&request))
    }
}
