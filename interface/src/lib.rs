//! The contract between HTTP servers and applications in Rust: what WSGI and ASGI are to Python and Rack is to Ruby.
//!
//! An application is called with a request and a [`Scope`] and returns a response. It says nothing about sockets,
//! threads or event loops; those are the server's. Write the application once, choose the server when you deploy it.
//! Every sentence of the contract is a numbered clause of the specification (`spec/varvel.md`, quoted as *spec H8*),
//! and the conformance suite proves servers against it clause by clause.
//!
//! # Hello, sync
//!
//! ```
//! use http::{Request, Response, header};
//! use varvel::{AppResult, ReadBody, Scope, WriteBody, sync_fn};
//!
//! fn hello(request: Request<ReadBody>, scope: Scope) -> AppResult {
//!     let text = format!("Hello, {}! You asked for {}.\n", scope.conn().peer, request.uri().path());
//!     let response = Response::builder()
//!         .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
//!         .body(WriteBody::full(text))?;
//!     Ok(response)
//! }
//!
//! let app = sync_fn(hello);
//! # use varvel::App;
//! # let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
//! # assert!(response.status().is_success());
//! ```
//!
//! # Hello, async
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
//!
//! async fn hello(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
//!     scope.worker().sleep(Duration::from_millis(10)).await;
//!     Ok(Response::new(AsyncBody::from_static(b"Hello, World!")))
//! }
//!
//! let app = app_fn(hello);
//! # let _ = app;
//! ```
//!
//! Either runs with `varvel_serve::run(app)` on any server: a sync application on an event loop through
//! [`bridge::Offloaded`], an async one on threads through [`bridge::BlockOn`].
//!
//! # The parts
//!
//! ```text
//!   AppFactory --build(&Worker)--> App --call(Request<ReadBody>, Scope)--> Response<WriteBody>
//!   AsyncAppFactory                AsyncApp      (AsyncBody)                        (AsyncBody)
//!        |                                          |
//!        |  one value for each worker               |  Scope: connection, raw target, interim heads,
//!        |  policy, teardown                        |  disconnects, Upgrade, Deferral, on_finish
//!        v                                          v
//!   Server::serve(factory, Launch { listeners, control, reporter })
//! ```
//!
//! # Where to look
//!
//! For applications:
//! - called: [`App`], [`AsyncApp`], of a function with [`sync_fn`], [`app_fn`]
//! - bodies: [`ReadBody`], [`WriteBody`], [`AsyncBody`], their [`Frame`]s, [`FileRegion`] for files
//! - wrapped by middleware: [`map_response`], [`map_answer`]
//! - failures: [`AppError`] and its [`FailKind`], [`BodyError`]
//! - beside the request: [`Scope`], with [`ConnInfo`], interim heads, [`Upgrade`], [`Deferral`], [`Scope::on_finish`]
//! - time, threads and tasks: [`Worker`], from [`Scope::worker`]
//! - once per worker: [`AppFactory`], [`AsyncAppFactory`], [`Policy`], [`Shared`]
//!
//! For servers:
//! - started and stopped: [`Server`], [`Launch`], [`Listener`], [`Control`], [`ServeError`]
//! - behind the handles: [`Exchange`], [`WorkerOps`], [`WorkerInfo`] with [`Caps`] and [`Limits`]
//! - behind the bodies: [`PollBody`], [`FrameRead`], [`FrameSink`], opened by [`Body::into_parts`]
//! - behind upgrades: [`PollIo`], [`BlockingTransport`], [`AsyncTunnel`], [`BlockingTunnel`]
//! - told of failures: [`Report`], [`Reporter`]; of all that goes on: [`Monitor`]
//! - applications of the other kind: [`bridge`]
//!
//! # Recipes
//!
//! Read a body up to a limit, and refuse what makes no sense. What the client did wrong is a response like any other;
//! `?` is for bodies that cannot be had, which every server answers by itself, and for failures of your own, which are
//! 500:
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
//!
//! fn refuse(status: StatusCode, why: &'static str) -> AsyncAppResult {
//!     Ok(Response::builder().status(status).body(AsyncBody::from_static(why.as_bytes()))?)
//! }
//!
//! async fn double(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
//!     if request.uri().path() != "/double" {
//!         return refuse(StatusCode::NOT_FOUND, "there is only /double\n");
//!     }
//!     // Beyond 1 KiB 413, cut short 400, too slow 408.
//!     let body = request.into_body().collect(1024).await?;
//!     let Some(number) = std::str::from_utf8(&body).ok().and_then(|text| text.parse::<u32>().ok()) else {
//!         return refuse(StatusCode::BAD_REQUEST, "a number, please\n");
//!     };
//!     Ok(Response::new(AsyncBody::full(format!("{}\n", u64::from(number) * 2))))
//! }
//! # use varvel::{App, ReadBody, bridge::BlockOn};
//! # let call = |path: &str, body: &'static str| {
//! #     let request = Request::post(path).body(ReadBody::from(body)).unwrap();
//! #     BlockOn::new(app_fn(double)).call(request, Scope::for_test()).map(|response| response.status().as_u16())
//! # };
//! # assert_eq!(call("/double", "21").unwrap(), 200);
//! # assert_eq!(call("/double", "many").unwrap(), 400);
//! # assert_eq!(call("/", "").unwrap(), 404);
//! # call("/double", Box::leak(" ".repeat(2000).into_boxed_str())).unwrap_err();
//! ```
//!
//! Stream both ways. The request is read while the response is written ([`Caps::FULL_DUPLEX`]); a slow client slows both:
//!
//! ```
//! use std::io;
//! use http::Response;
//! use varvel::{AsyncBody, Frame, WriteBody, app_fn, sync_fn};
//!
//! let upper_case = app_fn(|request, _scope| async {
//!     let mut body = request.into_body();
//!     Ok(Response::new(AsyncBody::generate(|mut frames| async move {
//!         while let Some(frame) = body.frame().await {
//!             if let Frame::Data(data) = frame? {
//!                 frames.data(data.to_ascii_uppercase()).await;
//!             }
//!         }
//!         Ok(())
//!     })))
//! });
//!
//! let echo = sync_fn(|request, _scope| {
//!     let mut body = request.into_body();
//!     Ok(Response::new(WriteBody::from_writer(move |sink| {
//!         io::copy(&mut body, sink)?;
//!         Ok(())
//!     })))
//! });
//! # let _ = (upper_case, echo);
//! ```
//!
//! Share state: keep it in an [`Arc`](std::sync::Arc), and give each call a handle. (Worker processes, `--server prefork`,
//! have a copy each.)
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use http::Response;
//! use varvel::{AsyncBody, app_fn};
//!
//! let hits = Arc::new(AtomicU64::new(0));
//! let app = app_fn(move |_request, _scope| {
//!     let hits = Arc::clone(&hits);
//!     async move {
//!         let hit = hits.fetch_add(1, Ordering::Relaxed);
//!         Ok(Response::new(AsyncBody::full(format!("hit {hit}\n"))))
//!     }
//! });
//! # let _ = app;
//! ```
//!
//! Wrap another application, with a future that is `Send` where its own is (spec M7), or a sync one with [`map_answer`];
//! and call one in a test, an async one through [`bridge::BlockOn`]. For more than a call the crate `varvel-test` has
//! streams, disconnects and a clock moved by hand, and `varvel-lint` watches whether an application keeps to the contract:
//!
//! ```
//! use http::{HeaderValue, Request, Response, header};
//! use varvel::{App, AsyncApp, AsyncBody, MapResponse, ReadBody, Scope, app_fn, bridge::BlockOn, map_response};
//!
//! struct NoSniff<A>(A);
//!
//! impl<A: AsyncApp> AsyncApp for NoSniff<A> {
//!     type Future = MapResponse<A::Future>;
//!
//!     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
//!         map_response(self.0.call(request, scope), |mut response| {
//!             let no_sniff = HeaderValue::from_static("nosniff");
//!             response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
//!             response
//!         })
//!     }
//! }
//!
//! let hello = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"hello"))) });
//! let app = BlockOn::new(NoSniff(hello));
//! let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
//! assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
//! ```
//!
//! Wait for something without holding a thread in a sync application: [`Deferral`].
//!
//! # There is no tokio here
//!
//! Servers drive futures with loops of their own, so what looks for tokio's reactor does not find it:
//! `tokio::time::sleep` and the sockets of tokio panic with "there is no reactor running". Use
//! [`scope.worker()`](Scope::worker): [`sleep`](Worker::sleep) for time, [`offload`](Worker::offload) for what blocks,
//! [`spawn`](Worker::spawn) for what goes on after the answer. Channels and locks of any crate work as they are.
//!
//! A library that is written on tokio works inside a runtime of yours, which must outlive the server. Build it with
//! `enable_all` (in worker processes by a factory, [`factory_fn`], since threads do not survive a fork), keep its `Handle` in
//! the application, and enter it for each poll of the call, and of the response body if that uses the library too:
//!
//! ```ignore
//! struct InTokio<F> {
//!     handle: tokio::runtime::Handle,
//!     future: Pin<Box<F>>,
//! }
//!
//! impl<F: Future> Future for InTokio<F> {
//!     type Output = F::Output;
//!
//!     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
//!         let this = &mut *self;
//!         let _guard = this.handle.enter();
//!         this.future.as_mut().poll(cx)
//!     }
//! }
//! ```
//!
//! # Send
//!
//! The traits ask for neither `Send` nor `Sync`; each [`Server`] states its bounds. An event loop takes applications
//! that are not `Send`:
//!
//! ```
//! use std::{cell::Cell, rc::Rc};
//! use http::Response;
//! use varvel::{AsyncBody, app_fn, factory_fn};
//!
//! let factory = factory_fn(|_worker| async {
//!     let calls = Rc::new(Cell::new(0));
//!     Ok(app_fn(move |_request, _scope| {
//!         calls.set(calls.get() + 1);
//!         let text = format!("call {}\n", calls.get());
//!         async move { Ok(Response::new(AsyncBody::full(text))) }
//!     }))
//! });
//! # let _ = factory;
//! ```
//!
//! # Features
//!
//! - `http-body`: [`AsyncBody`] is an `http_body::Body`, and any such body can become an `AsyncBody`.
//! - `futures`: [`AsyncIo`] has the traits of `futures-io`, [`AsyncBody`] is a `futures_core::Stream` of frames.

#![forbid(unsafe_code)]

mod app;
mod body;
mod deferral;
mod error;
mod exchange;
mod factory;
#[cfg(feature = "futures")]
mod futures;
#[cfg(feature = "http-body")]
mod http_body;
mod map_response;
mod monitor;
mod parking;
mod report;
mod scope;
mod server;
mod stderr;
mod upgrade;
mod worker;

pub mod bridge;

pub use bytes;
pub use http;

pub use app::{
    App, AppFn, AppFuture, AppResult, AsyncApp, AsyncAppResult, Boxed, DynApp, DynAsyncApp, LocalBoxed,
    SyncFn, app_fn, sync_fn,
};
pub use body::{
    Async, AsyncBody, Body, BodyParts, FileRegion, Frame, FrameRead, FrameSender, FrameSink, Mode, PollBody,
    Pull, Push, ReadBody, Reader, WriteBody, Writer,
};
pub use deferral::{Answer, Deferral, Reply, ReplyError, map_answer};
pub use error::{AppError, BodyError, BodyErrorKind, BoxError, FailKind};
pub use exchange::{Address, ConnInfo, Exchange, Finish, FinishHook, InterimError, Outcome, TlsInfo};
pub use factory::{
    AppFactory, AsyncAppFactory, FactoryFn, OnDisconnect, Policy, Shared, StartError, factory_fn,
    sync_factory_fn,
};
pub use map_response::{MapResponse, map_response};
pub use monitor::{Monitor, PROGRESS_INTERVAL, Ticket};
pub use report::{Event, Level, Phase, Report, Reporter, RequestId};
pub use scope::{MountError, Scope, Watch};
pub use server::{Control, Launch, Listener, ServeError, Served, Server};
pub use stderr::Stderr;
pub use upgrade::{
    AsyncIo, AsyncTunnel, BlockingIo, BlockingTransport, BlockingTunnel, Offer, PollIo, Upgrade, UpgradeKind,
};
pub use worker::{
    BoxFuture, Caps, Driver, Job, Lifetime, Limits, ProcessModel, Timer, TimerId, Worker, WorkerInfo,
    WorkerOps,
};

/// The version of the specification that this crate expresses, major and minor.
pub const SPEC_VERSION: (u16, u16) = (0, 1);
