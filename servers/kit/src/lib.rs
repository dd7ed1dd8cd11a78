//! What every server of Varvel needs and no application sees: sockets, buffers, timers, threads, signals,
//! settings, log.
//!
//! It knows nothing of how a server waits, which is where servers differ: nothing in here owns a loop, and except
//! where its documentation says so, nothing blocks. Unix only, Linux first.
//!
//! ```text
//!   settings --> listener --accept--> transport --read--> gateway --> application
//!                                        ^                   |
//!                                        +---- outbox <------+  head with http_date, body
//!
//!   connection_deadlines, timer_queue: what to wait for next     worker_pool: what must not run on the loop
//!   shutdown: when to end                  journal: what happens, to the access_log and the monitor
//!   log_files: where lines go              service_manager, pid_file: what others know of the process
//! ```
//!
//! The modules stand in reading order.

mod bind_address;
mod inherited_fd;
pub mod listener;
pub mod reuse_port;
pub mod transport;

pub mod http_date;
pub mod outbox;

pub mod connection_deadlines;
pub mod stopping;
pub mod timer_queue;
pub mod waiting_chunks;
pub mod worker_pool;

pub mod containment;
pub mod gateway;

pub mod access_log;
pub mod journal;
pub mod log_files;
pub mod pid_file;
pub mod service_manager;
pub mod settings;
pub mod shutdown;

mod sync;
#[cfg(test)]
mod testing;
