//! Calls Varvel applications in tests: in process, without a socket, or on a live server.
//!
//! A test is an ordinary function. The client drives the application on the test's own thread, and only while the test
//! calls one of its methods; what happens is the same in every run.
//!
//! ```text
//!   test --- Client, Exchange, Tunnel ---+--- in-process server --- your application
//!                                        |      clock moved by hand, reports kept
//!                                        |
//!                                        +--- socket --- a live server --- your application
//! ```
//!
//! ```
//! use std::time::Duration;
//! use http::Response;
//! use varvel::{AsyncBody, app_fn};
//! use varvel_test::Client;
//!
//! // A clock that ticks three times.
//! let app = app_fn(|_request, scope| async move {
//!     let worker = scope.worker().clone();
//!     Ok(Response::new(AsyncBody::generate(|mut frames| async move {
//!         for tick in 1..=3 {
//!             worker.sleep(Duration::from_secs(1)).await;
//!             frames.data(format!("tick {tick}\n")).await;
//!         }
//!         Ok(())
//!     })))
//! });
//!
//! let client = Client::new(app);
//! let mut exchange = client.get("/").start();
//! for tick in 1..=3 {
//!     assert!(exchange.poll_frame().is_pending());
//!     client.advance(Duration::from_secs(1));
//!     assert_eq!(exchange.read(7), format!("tick {tick}\n"));
//! }
//! assert_eq!(exchange.response().text(), "");
//! ```
//!
//! # Where to look
//!
//! - [`Client`]: of an async or sync application, of a factory, of a live server; time, the stop, reports
//! - [`Setup`]: capabilities taken away, limits, policy, addresses
//! - [`RequestBuilder`]: a request; sent whole, started to be conducted step by step, or for an upgrade
//! - [`Response`]: a whole answer; [`Failure`]: why there is none
//! - [`Exchange`]: both bodies piece by piece, the disconnect, single polls
//! - [`Tunnel`]: the other end of an upgrade
//! - [`Record`]: a report
//!
//! # What passes here means something
//!
//! The in-process server is a server of the specification. Errors and panics become the answers of its chapter E, bodies
//! are held to their declared lengths and to B1 to B6, HEAD drops a body without a poll, fields that are not the
//! application's are removed and reported, hooks run once and are told the truth. What it mends in an answer fails the
//! test: [`RequestBuilder::send`] panics, with the application's own panic if there was one, and
//! [`try_send`](RequestBuilder::try_send) shows the answer together with the reports.
//!
//! It differs from a server with sockets where a test is better off:
//! - Nothing runs between two calls of the test.
//! - A response body is polled when the test wants a frame of it. [`Exchange::stall`] has the server go ahead of its reader
//!   as far as it may, and so does time that passes.
//! - Each request has a connection of its own, well-formed by construction. What servers do about others is examined by
//!   the conformance suite.
//! - Time stands still until [`Client::advance`]. The year 2000 begins with each client. An application that asks
//!   [`Instant::now`](std::time::Instant::now) in place of [`Worker::now`](varvel::Worker::now) lives in two times.
//!   Only while it is built or torn down, when no test could move the clock, time jumps to the timer that it waits for.
//!
//! # Nothing hangs
//!
//! An application that waits for what does not come fails the test, and the message says what it waits for: a timer, more
//! of the request, the client's leaving. As long as nobody else holds a waker of it, that is certain and found at once.
//! Otherwise another thread may wake it, for which the client waits [a few seconds](Setup::patience). One that wakes itself
//! without end is polled as long, and a body without end is collected up to [a limit](Setup::answer_bytes_max). Only a poll
//! that does not return hangs the test, as it would hang a server.
//!
//! # Threads
//!
//! A sync application has a thread for each call, but it takes turns with the test: one of them runs at a time, and the
//! turn goes back when the application reads a body that has not come, writes one that nobody reads yet, waits in
//! [`Worker::block_on`](varvel::Worker::block_on), as async applications on threads do, or returns. One that blocks in any
//! other way, in [`thread::sleep`](std::thread::sleep) for example, keeps the turn, and the test waits.
//! [Offloaded](varvel::Worker::offload) jobs have threads, too, and run until they end or wait in `block_on`, while the
//! test waits. Of threads that an application starts itself nothing is known.
//!
//! # Features
//!
//! - `json`, on by default: [`RequestBuilder::json`] and [`Response::json`].

#![forbid(unsafe_code)]

mod client;
mod exchange;
mod failure;
mod line;
mod live;
mod record;
mod request;
mod response;
mod server;
mod setup;
mod tunnel;

pub use client::Client;
pub use exchange::{Exchange, Stage};
pub use failure::{Failure, FailureKind};
pub use line::Head;
pub use record::{Record, Recorded};
pub use request::RequestBuilder;
pub use response::Response;
pub use setup::Setup;
pub use tunnel::Tunnel;

use line::Wait;

/// The examples of the README compile and pass.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
