//! Middleware that stands between a server and an application while a real application runs, and checks both sides of
//! the contract, clause by clause: the application below it (chapter A of the specification), a middleware around it
//! (chapter M), and the server above it (whatever of S, H, B, L, U, E, X and W can be seen from there). What
//! `Rack::Lint` is to Rack and `wsgiref.validate` to WSGI.
//!
//! # One line
//!
//! Wrap the application in a test. A breach panics and says which rule was broken, what happened, what to do, and what
//! the specification says:
//!
//! ```should_panic
//! use http::{Request, Response, header};
//! use varvel::{App, ReadBody, Scope, WriteBody, sync_fn};
//! use varvel_lint::Lint;
//!
//! let app = sync_fn(|_, _| {
//!     Ok(Response::builder().header(header::CONTENT_LENGTH, 12).body(WriteBody::from("hello"))?)
//! });
//! let app = Lint::new(app); // this is all
//! let _ = app.call(Request::new(ReadBody::empty()), Scope::for_test());
//! ```
//!
//! ```text
//! A5.known broken by the application: Content-Length is 12, the body has 5 bytes
//!   during: GET /, exchange 1 of connection 0
//!   required: A Content-Length is the length of the body, where that is known beforehand.
//!   to do: Leave it to the server, which knows the length of this body; correct it where the body is replaced.
//!   clause A5 A declared length is true (MUST, RFC 9110 §8.6)
//!     A Content-Length set by an application MUST occur once and equal the number of data bytes that its body produces,
//!     except in an answer to HEAD and with 304.
//! ```
//!
//! It wraps a sync application, an async one, or the factory of either, and is the same again, so it goes wherever the
//! application goes: into a call without a server, or onto any server. There, where a panic of the application is
//! contained, the test asks at its end:
//!
//! ```
//! # use http::Response;
//! # use varvel::{AsyncBody, Shared, app_fn};
//! # use varvel_lint::Lint;
//! # let factory = || Shared(std::sync::Arc::new(app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) })));
//! let factory = Lint::factory(factory);
//! let findings = factory.findings();
//! // ... serve(factory), send requests, stop ...
//! findings.assert_none();
//! ```
//!
//! # What it does about a breach
//!
//! | mode | |
//! |---|---|
//! | [`Lint::panic`] | panics; the default, for tests |
//! | [`Lint::log_once`] | tells the server's reporter of the first breach of each rule; for production |
//! | [`Lint::count`] | counts; for production, with [`Findings::counts`] for a page of metrics |
//!
//! # Tests that provoke
//!
//! The lint by itself only watches. These make things happen that happen seldom:
//!
//! | | clause | |
//! |---|---|---|
//! | [`middleware`], [`middleware_sync`] | M1 - M8 | tries a middleware with sources of every kind |
//! | [`assert_as_mobile!`] | M7 | holds a middleware to being `Send` and `Sync` where what it wraps is |
//! | [`cancel_everywhere`] | A6 | drops a call at every place where it waits |
//! | [`Lint::cancelling`] | A6 | drops calls where they wait while a server runs, and makes them again |
//! | [`overlap`], [`overlap_sync`] | A2 | makes calls overlap at every place where they wait |
//! | [`without_each_capability`], [`without_each_capability_sync`] | A10 | builds and calls without each capability in turn |
//! | [`Lint::without`] | A10 | hides capabilities while a server runs |
//! | [`Lint::factory`] | A9 | watches what the making of a factory opens and starts |
//!
//! ```
//! use http::{Request, Response};
//! use varvel::{AsyncBody, Shared, app_fn};
//!
//! let app = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"hello"))) });
//! let request = || Request::get("/").body("").unwrap();
//! varvel_lint::cancel_everywhere(&app, request());
//! varvel_lint::overlap(&app, request());
//! varvel_lint::without_each_capability(&Shared(&app), request());
//! ```
//!
//! A middleware is watched in a real program between two lints: [`Lint::sandwich`].
//!
//! # What it looks at
//!
//! [`rules`] lists all there is; [`rule`] finds one by its id, and its `Display` explains it. Ids are the clause and a
//! word, such as `A5.short`. A rule binds an application, a middleware or a server ([`Party`]). Those of servers are told
//! of whatever is above the lint: with middleware of yours in between, say so with [`Lint::below_middleware`].
//!
//! Some things only the types hold, and no rule is needed: an answer is given once because it is returned, a token cannot
//! be made, a body that has ended is not polled again. [`UNRULED`] lists the clauses of chapters A and M for which there
//! is no rule, with the reasons.
//!
//! # How it stands
//!
//! ```text
//!   server ----- request, scope ---->  Lint  ----- the same ---->  application
//!          <---- response, body -----        <---- response -----
//!            |                         |                       |
//!            +- request, order of      +- its hook at the end: +- head, lengths, frames,
//!               calls, polls, drops       the truth of Finish     errors, time of polls
//! ```
//!
//! It hands on the very scope that it was given and every frame as it comes: files stay files, bodies in memory stay in
//! memory. A lint that [serves](Lint::serving) or [hides capabilities](Lint::without) puts an exchange and a worker of its
//! own in front of the server's, and sees interim heads, jobs and tasks as well.
//!
//! Every rule has a subject in the tests of this crate that breaks it and is caught, and most checks of the conformance
//! suite run under a lint on our servers: none of its rules about servers is broken, and no check notices that it is there.

#![forbid(unsafe_code)]

mod answer;
mod breach;
mod cancelling;
mod coverage;
mod drive;
mod factory;
mod incoming;
mod lint;
mod middleware;
mod outgoing;
mod passage;
mod record;
mod request;
mod rule;
mod rules;
mod serving;
mod stress;
mod tunnel;

pub mod mobility;

pub use breach::{Breach, Findings, RequestLine};
pub use cancelling::{Cancelling, CancellingCall};
pub use coverage::UNRULED;
pub use lint::{Lint, LintCall};
pub use middleware::{
    Source, SyncSource, middleware, middleware_sync, middleware_sync_with, middleware_with,
};
pub use rule::{Party, Rule, rule, rules};
pub use stress::{
    cancel_everywhere, overlap, overlap_sync, without_each_capability, without_each_capability_sync,
};

/// The examples of the README are compiled like these.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
