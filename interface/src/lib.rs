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
//! # Send
//!
//! The traits ask for neither `Send` nor `Sync`; each [`Server`] states its bounds. An event loop takes applications
//! that are not `Send`:
//!
//! ```
//! use std::{cell::Cell, rc::Rc};
//! use http::Response;
//! use varvel::{AsyncBody, app_fn, async_factory_fn};
//!
//! let factory = async_factory_fn(|_worker| async {
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
mod report;
mod scope;
mod server;
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
pub use deferral::{Answer, Deferral, Reply, ReplyError};
pub use error::{AppError, BodyError, BodyErrorKind, BoxError, FailKind};
pub use exchange::{Address, ConnInfo, Exchange, Finish, FinishHook, InterimError, Outcome, TlsInfo};
pub use factory::{
    AppFactory, AsyncAppFactory, FactoryFn, OnDisconnect, Policy, Shared, StartError, async_factory_fn,
    factory_fn,
};
pub use report::{Event, Level, Phase, Report, Reporter, RequestId, Stderr};
pub use scope::{MountError, Scope, Watch};
pub use server::{Control, Launch, Listener, ServeError, Served, Server};
pub use upgrade::{
    AsyncIo, AsyncTunnel, BlockingIo, BlockingTransport, BlockingTunnel, Offer, PollIo, Upgrade, UpgradeKind,
};
pub use worker::{
    BoxFuture, Caps, Driver, Job, Lifetime, Limits, ProcessModel, Timer, TimerId, Worker, WorkerInfo,
    WorkerOps,
};

/// The version of the specification that this crate expresses, major and minor.
pub const SPEC_VERSION: (u16, u16) = (0, 1);
