//! The crate as a peer sees it: bytes in, bytes out.

// What is tested.
mod cost;
mod deadlines;
mod exchanges;
mod repeats;
mod responses;
mod vectors;

// What the tests share.
mod peer;
mod random;
mod server;
mod vector;
