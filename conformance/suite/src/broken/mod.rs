//! A server to check the checks with: the smallest honest implementation of the contract, and what it can be made to do
//! wrong.
//!
//! It is written to be read, not to be fast. Each connection has three threads: one reads, one writes, and one between
//! them parses, calls and answers. It shares no code with the servers that the suite is for, so that both have to agree
//! with the specification and not with each other. Without a [`Fault`] it passes every check; with one it fails those
//! that name it, or the check does not look.
//!
//! ```text
//!  server.rs      workers: build, accept, stop, tear down, replace
//!    connection.rs   receive a request, call, answer; wait without a thread for a deferred reply
//!      parser.rs        the head of a request
//!      request_body.rs  its body, pulled
//!      response.rs      the head and body of the answer, pushed
//!      exchange.rs      what scopes and watches see; hooks, interim heads, reports
//!      tunnel.rs        after an upgrade
//!    wire.rs      a socket with a thread for each direction
//!    worker.rs    places for calls, pool, tasks; timers.rs
//!    meddler.rs   what a server of async applications could do wrong, ahead of the bridge
//!    undead.rs    what a server could do wrong whose applications can be cloned
//! ```

mod connection;
mod exchange;
mod fault;
mod meddler;
mod parser;
mod request_body;
mod response;
mod server;
mod settings;
mod timers;
mod tunnel;
mod undead;
mod wire;
mod worker;

use varvel::{Caps, Launch, ServeError, Served, Server, bridge::BlockOn};

use self::{meddler::Meddler, settings::Settings, undead::Undead};
use crate::{Form, Probe, Subject, Tuning};

pub use fault::Fault;

/// The reference server, a server of sync applications.
///
/// Its bounds are those of any server of threads: `AppFactory + Send + Sync + 'static` with an `App + Send + Sync +
/// 'static`.
///
/// ```
/// use varvel_conformance::broken::{Fault, Reference};
///
/// let right = Reference::new();
/// let wrong = Reference::new().with_fault(Fault::HeadSendsBody);
/// # let _ = (right, wrong);
/// ```
#[derive(Clone, Debug)]
pub struct Reference {
    settings: Settings,
    form: Form,
}

impl Reference {
    /// What it can, and advertises unless told otherwise.
    pub const CAPS: Caps = Caps::INTERIM
        .with(Caps::UPGRADE)
        .with(Caps::CONNECT)
        .with(Caps::TRAILERS_IN)
        .with(Caps::TRAILERS_OUT)
        .with(Caps::FULL_DUPLEX)
        .with(Caps::DISCONNECT_WATCH)
        .with(Caps::OFFLOAD)
        .with(Caps::SPAWN)
        .with(Caps::DEFER)
        .with(Caps::MONITOR);

    /// A server without a fault, set as [`Tuning::default`] says.
    pub fn new() -> Self {
        Self {
            settings: Settings { caps: Self::CAPS, fault: None, tuning: Tuning::default() },
            form: Form::Sync,
        }
    }

    /// A server that can, and advertises, only this much of [`CAPS`](Self::CAPS) and `HALF_CLOSE`.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.settings.caps = caps & (Self::CAPS | Caps::HALF_CLOSE);
        self
    }

    /// A server that does this wrong.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.settings.fault = Some(fault);
        self
    }

    /// A server set like this.
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.settings.tuning = tuning;
        self
    }

    /// As a subject: calls the probe in its async form, through the bridge.
    #[must_use]
    pub fn bridged(mut self) -> Self {
        self.form = Form::Async;
        self
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self::new()
    }
}

impl Subject for Reference {
    fn name(&self) -> String {
        let form = if self.form == Form::Async { " through BlockOn" } else { "" };
        let fault = self.settings.fault.map_or_else(String::new, |fault| format!(" with {fault:?}"));
        format!("reference{form}{fault}")
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let server = self.clone().with_tuning(tuning.clone());
        match (self.form, self.settings.fault) {
            (Form::Sync, Some(Fault::CallsAfterTeardown)) => Server::serve(server, Undead(probe), launch),
            (Form::Sync, _) => Server::serve(server, probe, launch),
            (Form::Async, Some(fault)) if meddler::knows(fault) => {
                Server::serve(server, BlockOn::new(Meddler::new(probe, fault)), launch)
            }
            (Form::Async, _) => Server::serve(server, BlockOn::new(probe), launch),
        }
    }
}
