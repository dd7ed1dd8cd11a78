//! Bridges: applications of one kind on servers of the other.
//!
//! | bridge | turns | into | costs |
//! |---|---|---|---|
//! | [`BlockOn`] | async | sync | the thread waits; some 50 ns when nothing has to |
//! | [`Offloaded`] | sync | async | a hand-over to a blocking pool and back, some 20 µs |
//! | [`Inline`] | sync | async | nothing, but the author promises that it does not block |
//!
//! Each wraps an application, and equally the factory of one; a bridged application keeps every clause of the server
//! that it runs on (spec X5).

mod block_on;
mod inline;
mod link;
mod offloaded;
mod origin;
mod tunnel;

pub use block_on::BlockOn;
pub use inline::Inline;
pub use offloaded::{Offloaded, OffloadedCall};
