//! Worker processes under a supervisor: what gunicorn is to Python's servers and puma's cluster mode to Ruby's.
//!
//! Each worker is a process of its own that runs any server of the contract with an application built behind the fork. What
//! that gives: an application that crashes, leaks or hangs takes a worker with it and nothing else; a reload replaces
//! workers without losing a request; and what all of them do is counted in one place.
//!
//! ```no_run
//! use std::sync::Arc;
//! use http::Response;
//! use varvel::{AsyncBody, Server, Shared, app_fn};
//! use varvel_evented::Evented;
//! use varvel_prefork::{Sockets, Supervisor};
//! use varvel_server_kit::settings::Settings;
//!
//! let settings = Settings::default();
//! let sockets = Sockets::bind(&settings.bind, &settings.bind_options())?;
//! let app = app_fn(|_request, _scope| async { Ok(Response::new(AsyncBody::from_static(b"Hello, World!"))) });
//! let mut each = settings.clone();
//! each.loops = Some(1);
//! Supervisor::new(settings, sockets)?.run(|launch| Evented::new(each).serve(Shared(Arc::new(app)), launch))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Processes
//!
//! ```text
//!                        signals        status: ready, worn, failed
//!                           |            +-------------------------+
//!                           v            v                         |
//!   listeners ---- supervisor: one thread, no application          |
//!      |             |      |      reads                           |
//!      |       fork  |      +---------------> scoreboard           |
//!      |             v                           ^ heartbeats,     |
//!      |          worker processes --------------+ counters,       |
//!      +--------> accept, serve                    requests -------+
//! ```
//!
//! The supervisor never serves and never runs the application, so nothing that comes from a client reaches it. It decides
//! in `crew.rs`, without a system call, and acts in `supervisor.rs`.
//!
//! # Signals
//!
//! | signal to the supervisor | does | gunicorn |
//! |---|---|---|
//! | TERM | stops: workers finish what they have begun, within `drain-timeout` | the same |
//! | INT, QUIT | stops at once; who hangs is killed 7 s later, or by a second one | kills who hangs after `--graceful-timeout` |
//! | HUP | reloads: new workers are started, and take over when all of them are ready | kills the old ones whatever becomes of the new |
//! | TTIN, TTOU | one worker more, one fewer | the same |
//! | USR1 | reopens the log files, in all workers too | the same |
//! | USR2 | starts the program anew, which takes over when all its workers serve; see [`Relaunch`] | starts a second one, and the operator stops one of them |
//!
//! HUP starts the program that runs already: a factory reads its files anew, `main` and its arguments are not gone through
//! again. A program that was built anew is for USR2.
//!
//! As process 1 of a container it takes in the processes that others have left. When its program was replaced (USR2) it
//! stays, passes all these signals on to whoever serves, and ends with the status of that.
//!
//! # Options
//!
//! What gunicorn's are called with `varvel_serve`. Each is also an environment variable (`VARVEL_WORKERS`), and
//! `--print-config` shows what came of all of them; there is no configuration file.
//!
//! | gunicorn | here |
//! |---|---|
//! | `-w 4`, `--workers 4` | `--server prefork`, and the same |
//! | `-k gthread --threads 8` | `--worker threaded --threads 8` |
//! | `-k gevent`, `-k uvicorn.workers.UvicornWorker` | `--worker evented`, the default |
//! | `--worker-connections` | `--max-connections`, of each worker |
//! | `-b`, `--bind` | the same; in place of `fd://3` it is `fd:3` |
//! | `--timeout` | `--worker-timeout` |
//! | `--graceful-timeout` | `--drain-timeout` |
//! | `--keep-alive` | `--keep-alive-timeout` |
//! | `--max-requests`, `--max-requests-jitter` | the same |
//! | `--limit-request-line`, `--limit-request-fields` | `--request-line-bytes-max`, `--header-count-max` |
//! | `--limit-request-field_size` | `--head-bytes-max`, of all fields together |
//! | `--access-logfile FILE` | `--access-log combined --access-log-file FILE` |
//! | `--error-logfile` | `--log-file` |
//! | `-p`, `--pid` | `--pid-file` |
//! | `-u`, `--user`, `-g`, `--group` | `--user`, `--group` |
//! | `--preload` | what `main` makes is there before the fork; what a factory builds is not |
//! | `--reload`, `--daemon`, `-c` | none: `watchexec`, a service manager and the environment do that |
//!
//! # What workers share
//!
//! Nothing that is written behind the fork: each has its own copy of the application's memory, so a counter or a cache counts
//! and holds what its worker has seen. State that all of them need belongs in a database.
//!
//! The process that forks has one thread. What starts threads, such as a runtime of tokio or a pool of connections, is
//! built by a factory ([`factory_fn`](varvel::factory_fn), [`sync_factory_fn`](varvel::sync_factory_fn)), in the worker.
//!
//! # Who a worker is
//!
//! With the settings `user` and `group` workers give up the supervisor's privileges before anything of the application runs.
//! Names are looked up in /etc/passwd and /etc/group alone; whom only a directory service knows is given by number.
//!
//! # Under a service manager
//!
//! With systemd a unit should say `Type=notify`: then it knows when all workers serve, and which process is the main one after
//! the program was replaced. With any other type it takes the end of the process that it has started for the end of the
//! service, and stops the new one.
//!
//! # What is proven
//!
//! `crew.rs` and `scoreboard.rs` are tested by themselves, by chance and while others write; `tests/processes` starts real
//! supervisors, kills, reloads and stops them, and accounts for every request of clients that ask meanwhile. Two soaks, of
//! a million requests over 50 reloads and of a minute of random kills, are run with
//! `TEST_PROCESSES_SOAK=1 cargo test --release -p varvel-prefork --test processes soak -- --nocapture`.
//!
//! # What it leaves out
//!
//! Anything that is not Unix. The number of workers does not follow the load.

mod backoff;
mod crew;
mod fork;
mod hooks;
mod identity;
mod init;
mod passed_fds;
mod post_mortem;
mod scoreboard;
mod service;
mod shared_memory;
mod signals;
mod sockets;
mod statistics;
mod status;
mod supervisor;
mod upgrade;
mod worker;

pub use hooks::{Hooks, WorkerProcess};
pub use scoreboard::Scoreboard;
pub use service::Service;
pub use sockets::Sockets;
pub use statistics::{Histogram, Statistics};
pub use supervisor::{Supervisor, WORKERS_MAX};
pub use upgrade::{Heritage, Relaunch};
