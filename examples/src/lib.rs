//! Programs that show, measure and examine Varvel. Each takes the whole command line of `varvel-serve`.
//!
//! | program | what it is for |
//! |---|---|
//! | [`gallery`] | seeing with a browser what servers, contract and frameworks can do; what `cargo run` starts |
//! | [`notes`] | reading: one small service on both frameworks, the programs `notes-resource` and `notes-micro` |
//! | [`bench_target`] | being loaded: little but the server is measured |
//! | `probe` | being examined: the routes of the conformance suite, which say what reached the application and misbehave on request |
//!
//! `hello.rs` and `hello_sync.rs`, in this folder, are the programs to start from.

#![forbid(unsafe_code)]

pub mod bench_target;
pub mod gallery;
pub mod notes;

/// The programs of the front page compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod digest;
mod query;
mod wire_text;
