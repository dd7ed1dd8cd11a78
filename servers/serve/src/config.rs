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
}

impl ServerKind {
    pub(crate) const ALL: [Self; 2] = [Self::Threaded, Self::Evented];

    /// As `--server` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Threaded => "threaded",
            Self::Evented => "evented",
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
}
