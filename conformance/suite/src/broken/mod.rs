//! A small reference server with faults that can be switched on: what shows that the checks can fail.

mod fault;

pub use fault::Fault;
