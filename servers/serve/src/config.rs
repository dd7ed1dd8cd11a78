//! Which server, and how: what a command line comes down to.

use std::fmt;

use varvel_server_kit::settings::Settings;

/// A server that this version has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerKind {
    /// A bounded pool of threads that block: `varvel-threaded`.
    Threaded,
    /// An event loop per core: `varvel-evented`.
    #[default]
    Evented,
    /// Worker processes under a supervisor, each of which runs one of the others: `varvel-prefork`.
    Prefork,
}

impl ServerKind {
    pub(crate) const ALL: [Self; 3] = [Self::Threaded, Self::Evented, Self::Prefork];

    /// As `--server` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threaded => "threaded",
            Self::Evented => "evented",
            Self::Prefork => "prefork",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which server, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The server. Default: [`ServerKind::Evented`].
    pub server: ServerKind,
    /// What each worker process of the pre-fork server runs. Default: [`ServerKind::Evented`], with one event loop.
    pub worker: ServerKind,
    /// Whether the evented server calls a sync application on its loops instead of handing each call to a thread.
    /// Right for applications that never block. Default: no.
    pub inline: bool,
    /// Everything that has a value.
    pub settings: Settings,
}

impl Config {
    /// This server, with the defaults for everything else.
    pub fn new(server: ServerKind) -> Self {
        Self { server, ..Self::default() }
    }

    /// The server that calls the application: in worker processes, theirs.
    pub fn innermost(&self) -> ServerKind {
        if self.server == ServerKind::Prefork { self.worker } else { self.server }
    }

    /// As it is for the worker processes of the pre-fork server.
    pub(crate) fn of_workers(&self) -> Self {
        let mut config = Self { server: self.worker, ..self.clone() };
        // There is a process for each processor already.
        config.settings.loops.get_or_insert(1);
        config
    }
}
