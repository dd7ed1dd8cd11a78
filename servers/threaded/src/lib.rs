//! A blocking server: one application, shared by a bounded pool of threads, each of which serves one request at a time
//! and may wait in it as long as it likes. Whoever merely waits holds no thread: idle connections, unfinished heads, clients
//! that do not read their answer, deferred replies.
//!
//! ```no_run
//! use std::{net::TcpListener, sync::Arc};
//!
//! use http::Response;
//! use varvel::{Launch, Server, Shared, WriteBody, sync_fn};
//! use varvel_server_kit::settings::Settings;
//! use varvel_threaded::Threaded;
//!
//! let app = sync_fn(|_request, _scope| Ok(Response::new(WriteBody::from_static(b"Hello, World!"))));
//! let listener = TcpListener::bind("127.0.0.1:8000")?;
//! let launch = Launch::new(vec![listener.into()]);
//! Threaded::new(Settings::default()).serve(Shared(Arc::new(app)), launch)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! ```text
//!                 poller (mio)                  run queue                     table
//!        +-----------------------+      +-----------------------+     +---------------------+
//!        | listeners, sockets    |      | connections that can  |     | parked connections, |
//!        | edge-triggered, once  |      | go on                 |     | deadlines, timers   |
//!        +-----------+-----------+      +---^---------------+---+     +---^-------------+---+
//!                    |                      |               |             |             |
//!                    +--> leader: accepts, +                +--> serving: reads a head, calls the application,
//!                         sees who can go on,                    writes the answer, parks the connection
//!                         minds the table  <------------------------------------------------+
//!
//!        `threads` + 1 threads of equal kind      the thread that called `serve`: builds, watches, tears down
//!        a thread per tunnel                      one for background tasks, a pool for blocking jobs
//!                                                 one for timers, while the application is built and torn down
//! ```
//!
//! At most `threads` serve at a time, so one is always free to lead, whatever the applications do; and while no other is
//! free, it reads heads, answers bad ones and expires slow ones itself. At low load one thread does everything without
//! handing anything over. The rules are told in `pool.rs`, the states of a connection in `connection.rs`, how no
//! event is lost in `schedule.rs`.
//!
//! # What a request costs
//!
//! One `recv` and one `send`, and its share of an `epoll_wait`; no allocation. Sockets are registered once; requests that
//! come in one piece are answered in one piece. What this server adds to an event loop is locks that nobody else wants, of
//! the connection, the table and the queue, and a second reading of the clock, for a call may have taken its time.
//!
//! All of that is less than one hand-over from thread to thread. So what counts is that a quick call is served by the
//! thread that saw its request, and that no thread waits in the poller while others have the processors: each event would
//! wake it at their cost. That is what the rules in `pool.rs` are for.
//!
//! An idle connection takes some 720 bytes: its state, its socket, its place in the table and its deadline.
//!
//! # Blocking
//!
//! What blocks a serving thread: the call; pulling a request body that has not arrived; pushing into a sink whose client
//! does not keep up; flushing it. The last three end at the protocol's deadlines. An answer whose body is in memory or
//! a file is not waited for: what the socket does not take goes when there is room, whichever thread sees it.
//!
//! Async applications come through [`BlockOn`](varvel::bridge::BlockOn) and then hold their thread while they wait.
//!
//! # Clients that leave
//!
//! The leader sees a client leave while its call runs, and the watch of the exchange tells of it. The end of the client's
//! sending side counts (there is no `HALF_CLOSE`); a sync call goes on all the same and its answer is sent, since whoever
//! ended only that side still reads (spec E13, E15).
//!
//! # The end
//!
//! 1. [`Control::stop`](varvel::Control::stop) raises the stopping signal at once (spec L7).
//! 2. The leader lets in who waits in the kernel's queue, as far as there is room, because closing the listener would
//!    reset them although they came in time; then it closes the listeners.
//! 3. Connections on which nothing is going on are closed, after a last look whether a request has just come; one that
//!    is younger than a second has the rest of it for its first. All others get `connection: close` with their answer.
//! 4. When connections, tunnels and tasks are over, or else at the deadline, the rest is cut: sockets are shut down, so
//!    that whatever waits for them returns with an error, watches are woken, hooks see `Stopped` (spec L8).
//! 5. The threads are joined and the application is torn down on the thread that built it. A call that does not end keeps
//!    neither: the server returns without it, and its thread tears the application down if it ever ends.
//!
//! # What it leaves out
//!
//! TLS, HTTP/2, HALF_CLOSE. Each connection beyond `max_connections` waits in the kernel's queue, which is bounded by
//! `backlog`. Unix only, as the kit.

#![forbid(unsafe_code)]

mod server;

mod kernel_thread;
mod leader;
mod pool;
mod schedule;
mod table;

mod connection;
mod input;

mod call;
mod request_body;
mod sink;
mod tunnel;

mod tasks;
mod worker;

mod shared;
mod threads;

pub use server::Threaded;
