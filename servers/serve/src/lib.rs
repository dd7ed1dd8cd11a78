//! From an application to a program: `main` is one call, and the server is chosen when the program is started.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use http::Response;
//! use varvel::{AsyncBody, app_fn};
//!
//! fn main() -> ExitCode {
//!     varvel_serve::run(app_fn(|_request, _scope| async {
//!         Ok(Response::new(AsyncBody::from_static(b"Hello, World!")))
//!     }))
//! }
//! ```
//!
//! ```text
//!   $ hello --server threaded --bind :8080 --drain-timeout 10s
//!   2026-11-22T08:53:55.042Z [4711] info: varvel-threaded 0.1.0 (spec 0.1) listening on http://[::]:8080, 200 threads
//! ```
//!
//! What the program and its servers have to say goes to standard error so, each line behind the time and the number of its
//! process; to systemd's journal, which has both of its own, without them ([`varvel::Stderr`]).
//!
//! # What `run` takes
//!
//! Anything that implements [`Deploy`]: sync and async applications, factories of either, [`Both`] for an application that is
//! both, as those of frameworks are, [`PerServer`] for a program that has a form of its own for each server, and
//! [`EventedOnly`] for applications that cannot leave their thread.
//!
//! | | `--server threaded` | `--server evented` |
//! |---|---|---|
//! | sync application | as it is | [`Offloaded`](varvel::bridge::Offloaded); with `--inline` [`Inline`](varvel::bridge::Inline) |
//! | async application | [`BlockOn`](varvel::bridge::BlockOn) | as it is |
//! | [`Both`] | as it is | as it is |
//!
//! `--server prefork` runs either of them in several processes (`--worker threaded` or `evented`), which a supervisor
//! starts, watches and replaces; see [`varvel_prefork`].
//!
//! # Three ways in
//!
//! - [`run`]: the whole of `main`.
//! - [`Program`]: the same with a description and defaults of its own.
//! - [`serve`]: for programs with a command line of their own; takes a [`Config`] and a [`Control`] and touches neither
//!   arguments, environment, signals nor standard streams. (But the pre-fork supervisor obeys signals: whoever sends them knows
//!   its process alone.)
//!
//! # What it leaves out
//!
//! The settings themselves are defined in [`settings`], each once; options, environment variables and help are made
//! from that list. Protocol, threads and loops are the servers'.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use varvel::{Control, Served};

mod command_line;
mod config;
mod deploy;
mod descriptors;
mod error;
mod listening;
mod prefork;
mod program;
mod pulse;

pub use config::{Config, ServerKind};
pub use deploy::{Both, BothForms, Deploy, EventedOnly, PerServer, kind};
pub use error::Error;
pub use program::Program;
use varvel_prefork::Heritage;
pub use varvel_prefork::{Hooks, WorkerProcess};
pub use varvel_server_kit::settings;

use listening::Listening;

/// Serves an application as the command line and the environment say, until a signal stops it: all that `main` has to
/// do.
///
/// The exit status is 0 after a stop, 1 if it could not serve, 2 for a command line that makes no sense.
pub fn run<K>(app: impl Deploy<K>) -> ExitCode {
    Program::new(app).run()
}

/// Serves an application until `control` stops it; blocks until then.
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use varvel::{Control, WriteBody, sync_fn};
/// use varvel_serve::{Config, ServerKind, serve};
///
/// let mut config = Config::new(ServerKind::Threaded);
/// config.settings.bind = vec!["127.0.0.1:0".parse()?];
/// let control = Control::new();
/// control.stop(Duration::ZERO);
/// let app = sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello"))));
/// assert_eq!(serve(app, &config, control)?.cut, 0);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If an address cannot be bound, the application cannot be built, or this server cannot run this application.
pub fn serve<K>(app: impl Deploy<K>, config: &Config, control: Control) -> Result<Served, Error> {
    if config.server == ServerKind::Prefork {
        let supervisor = prefork::supervisor(config, Heritage::default())?.with_control(control);
        return prefork::supervise(supervisor, app, config);
    }
    let (launch, _files) = Listening::bind(config)?.launch(control);
    app.deploy(config, launch)
}
