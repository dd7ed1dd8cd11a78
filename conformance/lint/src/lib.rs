//! Middleware that checks an application and the server above it, clause by clause.

#![forbid(unsafe_code)]

mod answer;
mod breach;
mod cancelling;
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
pub use lint::{Lint, LintCall};
pub use middleware::{
    Source, SyncSource, middleware, middleware_sync, middleware_sync_with, middleware_with,
};
pub use rule::{Party, Rule, rule, rules};
pub use stress::{
    cancel_everywhere, overlap, overlap_sync, without_each_capability, without_each_capability_sync,
};

#[cfg(test)]
mod tests;
