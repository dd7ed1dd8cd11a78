//! A load client so cheap that the server is what one measures.
//!
//! It asks once, learns how many bytes an answer has, and from then on counts bytes instead of parsing. One thread waits
//! for all connections. What the server's processes and this one spend meanwhile is read from their clocks at the very
//! start and end of the measured time, so that neither start nor connecting counts.

pub mod answer;
pub mod clocks;
pub mod descriptors;
pub mod drive;
pub mod hold;
pub mod latency;
pub mod loops;
pub mod neighbour;
pub mod request;
