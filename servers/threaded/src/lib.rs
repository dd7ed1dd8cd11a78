//! A blocking server for applications that share one value between threads.

#![forbid(unsafe_code)]

mod call;
mod connection;
mod input;
mod leader;
mod pool;
mod request_body;
mod schedule;
mod server;
mod shared;
mod sink;
mod table;
mod tasks;
mod tunnel;
mod worker;

pub use server::Threaded;
