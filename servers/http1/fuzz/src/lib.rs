//! Fuzz targets for `varvel-http1`, as plain functions: each takes some bytes, and panics if what the crate
//! promises does not hold for them.
//!
//! - [`differential`]: the verdict on some bytes never depends on the pieces in which they arrive.
//! - [`cuts`]: any bytes, in any pieces, to a server that answers, waits, gives up and misuses the crate as
//!   it likes. No panic, no hang, no memory beyond the limits, and nothing on the wire that is not HTTP.
//! - [`round_trip`]: valid conversations. What the crate reads is what was meant, and what it writes is what
//!   a strict client reads.
//!
//! The targets in `fuzz_targets` hand them to libFuzzer. `tests/fuzz.rs` of the crate itself includes this
//! file, and runs the same functions over the seeds and a fixed number of mutations.

mod cuts;
mod differential;
mod round_trip;

// What they play with: bounds, decisions, chance.
mod config;
mod script;

// What they compare with, and what they start from.
mod chunks;
mod client;
mod request;
mod response;
mod seeds;

#[path = "../../tests/wire/random.rs"]
mod random;
#[path = "../../tests/wire/server.rs"]
mod server;
#[path = "../../tests/wire/vector.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod vector;

pub(crate) use random::Random;

pub use cuts::cuts;
pub use differential::differential;
pub use round_trip::round_trip;
pub use seeds::{Seed, corpus, vectors};
