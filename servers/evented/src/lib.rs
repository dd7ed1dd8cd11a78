//! An evented Varvel server: one event loop per core on `mio`.
//!
//! Each loop is a thread with a poller, its own application, and its own connections; nothing is shared on the way of a
//! request. Async applications are polled on the loop, sync ones run on the blocking pool through
//! [`varvel::bridge::Offloaded`], or on the loop through [`varvel::bridge::Inline`].
//!
//! ```text
//!                       +--------------------- event loop (a thread, a worker) ---------------------+
//!   listener --accept-->| connections: bytes -> http1 -> the application's future -> outbox -> bytes |
//!   (all loops)         | timers, deadlines, spawned tasks                                           |
//!                       +-------^--------------------------------------------------------^-----------+
//!                               | mailbox: wake-ups, connections from busier loops,      |
//!                               | tasks, the stop                                        |
//!               blocking pool --+                                          other loops --+
//! ```
//!
//! # How a loop turns
//!
//! 1. Wait for events, no longer than until the next timer or deadline, and not at all if the mailbox holds something.
//! 2. For each connection that is readable, writable or woken: drive it as far as it goes without waiting.
//!    All requests in one read are answered by one write.
//! 3. Timers, deadlines, tasks, new connections.
//!
//! Sockets are registered once, edge-triggered, for both directions; a connection remembers what it has not used up.
//!
//! # The drain
//!
//! On [`Control::stop`](varvel::Control::stop) each loop raises the stopping signal, accepts what waits in the backlog
//! already and then closes its listeners, closes connections on which no exchange has begun (one that is younger than a
//! second has the rest of it for its first request), says `connection: close` in every answer, and ends when its last
//! connection and task has. At the deadline it drops what is left, with outcome `Stopped`. Then the application is torn
//! down on the loop.
//!
//! # Example
//!
//! ```no_run
//! use std::net::TcpListener;
//! use http::Response;
//! use varvel::{AsyncBody, Launch, Server, Shared, app_fn};
//! use varvel_evented::Evented;
//! use varvel_server_kit::settings::Settings;
//!
//! let app = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"Hello, World!"))) });
//! let listener = TcpListener::bind("127.0.0.1:8000")?;
//! Evented::new(Settings::default()).serve(Shared(app), Launch::new(vec![listener.into()]))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod accept;
mod connection;
mod event_loop;
mod exchange;
mod handle;
mod interims;
mod lingering;
mod mailbox;
mod places;
mod request_body;
mod server;
mod shared;
mod sync;
mod tasks;
mod tunnel;
mod turn;
mod worker;

pub use server::Evented;
