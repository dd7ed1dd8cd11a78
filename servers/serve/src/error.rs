//! Why a program did not serve, or not to the end.

use std::{error, fmt, io};

use varvel::ServeError;
use varvel_server_kit::listener::BindError;

use crate::ServerKind;

/// Why a program did not serve, or not to the end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be bound.
    Bind(BindError),
    /// The server failed, or the application could not be built.
    Serve(ServeError),
    /// This server cannot run this application.
    Unsuitable {
        /// The server that was chosen.
        server: ServerKind,
        /// What stands in the way.
        why: &'static str,
    },
    /// The system did not let us listen for signals.
    Signals(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::Unsuitable { server, why } => {
                write!(f, "the {server} server cannot run this program: {why}")
            }
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Bind(error) => error.source(),
            Self::Serve(error) => error.source(),
            Self::Unsuitable { .. } => None,
            Self::Signals(error) => Some(error),
        }
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<ServeError> for Error {
    fn from(error: ServeError) -> Self {
        Self::Serve(error)
    }
}
