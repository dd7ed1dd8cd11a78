//! Checks any Varvel server, clause by clause, over real sockets

#![forbid(unsafe_code)]

mod about;
mod case;
mod cases;
mod check;
mod client;
mod coverage;
mod message;
mod recorder;
mod report;
mod run;
mod running;
mod subject;
mod suite;
mod transcript;

pub mod broken;
pub mod probe;

pub use about::{About, Form};
pub use case::Case;
pub use cases::checks;
pub use check::{Check, Failure, Verdict, ensure, expect_eq};
pub use client::{Client, End, LIMIT, SILENCE};
pub use coverage::{GROUPS, UNCHECKED};
pub use message::{Framing, Head, Response};
pub use probe::{Plan, Probe};
pub use recorder::{Event, Recorder};
pub use run::{run, silence_planned_panics};
pub use running::{Ended, Running, Setup};
pub use subject::{Skip, Subject, Tuning};
pub use suite::{Outcome, Suite};
