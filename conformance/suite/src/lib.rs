//! Checks any Varvel server, clause by clause, over real sockets.
//!
//! A server author writes one impl and one line, as a test with `harness = false`:
//!
//! ```
//! use varvel::{Launch, ServeError, Served};
//! use varvel_conformance::{Probe, Subject, Tuning};
//!
//! struct Mine;
//!
//! impl Subject for Mine {
//!     fn name(&self) -> String {
//!         "mine".to_owned()
//!     }
//!
//!     fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
//!         MyServer::new(tuning.head_timeout /* and so on */).serve(probe, launch)
//!     }
//! }
//!
//! # mod main {
//! # use super::Mine;
//! varvel_conformance::conformance!(Mine);
//! # }
//! # struct MyServer;
//! # impl MyServer {
//! #     fn new(_: std::time::Duration) -> Self { Self }
//! #     fn serve(self, _: Probe, _: Launch) -> Result<Served, ServeError> { Ok(Served::new(0)) }
//! # }
//! # fn main() {}
//! ```
//!
//! and is told which clauses of the specification hold, which do not, and why: what was sent, seen and expected.
//!
//! # How a check works
//!
//! ```text
//!    Check  --run-->  Case  --connect-->  Client ==== raw socket ====>  server under test
//!                      |                                                   | calls      | reports
//!                      |                                                   v            v
//!                      +----- wait_for, open a gate --->  Recorder <---  Probe      Recording
//! ```
//!
//! The [`Client`] sends and reads bytes; it reads strictly and repairs nothing. The [probe] is the application: it does
//! what the query of each request tells it and tells the [`Recorder`] what is done to it, over a socket, so that servers
//! of several processes can be seen too. Calls are held open at gates, which the check opens; nothing sleeps to wait for
//! something to happen.
//!
//! A server that [forks](Forking) runs in a process of its own, with the probe in its workers. Nothing else is different: the
//! recorder's socket is a file, and everything that a process has told is there to be read when a check looks.
//!
//! The checks are the tables at the top of the files in `cases/`, a file for each chapter. Most share one running
//! server; those that need other settings, or stop it, start one of their own.
//!
//! # The wire corpus
//!
//! What can be seen with nothing but a connection and an application that describes its requests is data: the
//! [`corpus`], some 870 vectors of bytes, answers and calls. A [`Suite`] runs them against a subject, a
//! [`Target`](corpus::Target) against any server by its address.
//!
//! # The catalogue and its reports
//!
//! Checks and vectors are [`entries`]. Whatever runs them, [`conformance!`] as a test or the program
//! `varvel-conformance`, turns each into a [`Finding`], and all into a [`Report`], which can be told to people, READMEs,
//! programs and continuous integration ([`report`]). Of a server that is only known by its address,
//! an [`Acquaintance`] tells what can be judged.
//!
//! # Why they can be believed
//!
//! Each check names faults of a small [reference server](broken::Reference) that it must catch. The tests of this crate
//! run it against that server as it is, where it must pass, and with each of these faults, where it must fail; and they
//! hold that every clause has a check or a reason why not ([`UNCHECKED`]). Of the corpus they turn each line into something
//! wrong, which must be found.

#![forbid(unsafe_code)]

mod about;
mod acquaintance;
mod apart;
mod case;
mod cases;
mod check;
mod client;
mod coverage;
mod entry;
mod message;
mod mostly_inline;
mod recorder;
mod run;
mod running;
mod subject;
mod suite;
mod transcript;
mod turn;

pub mod broken;
pub mod corpus;
pub mod probe;
pub mod report;

pub use about::{About, Form};
pub use acquaintance::Acquaintance;
pub use apart::{Apart, Forking, Observer, Start, run_forking, serve_apart};
pub use case::Case;
pub use cases::checks;
pub use check::{Check, Failure, Verdict, ensure, expect_eq};
pub use client::{Client, End, LIMIT, SILENCE};
pub use coverage::{ELSEWHERE, GROUPS, UNCHECKED, unchecked};
pub use entry::{Entry, entries};
pub use message::{Framing, Head, Response};
pub use mostly_inline::{MostlyInline, MostlyInlineApp};
pub use probe::{Plan, Probe};
pub use recorder::{Event, Recorder};
pub use report::{Evidence, Finding, Mark, Measure, Report};
pub use run::{run, silence_planned_panics};
pub use running::{Ended, Running, Setup};
pub use subject::{Skip, Subject, Tuning};
pub use suite::{Outcome, Suite};
