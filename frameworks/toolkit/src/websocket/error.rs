//! Why a WebSocket ended without a Close.

use std::{fmt, io};

use tungstenite::error::ProtocolError;

use super::Close;

/// Why a WebSocket failed. If it was the client's fault, the client was told so in a Close.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// It is closed already: nothing more can be sent.
    Closed,
    /// The client violated RFC 6455, and was told so with 1002.
    Protocol(String),
    /// The client sent text that is not UTF-8, and was told so with 1007.
    NotUtf8,
    /// The client sent more than the limits allow, and was told so with 1009.
    TooLarge,
    /// The client is silent, or does not read, or did not answer a Close.
    TimedOut,
    /// The connection failed, or ended without a Close.
    Io(io::Error),
}

impl Error {
    /// The Close for the client; none if the connection is lost.
    pub(super) fn close(&self) -> Option<Close> {
        let (code, reason) = match self {
            Self::Protocol(_) => (Close::PROTOCOL_ERROR, "protocol error"),
            Self::NotUtf8 => (Close::INVALID_DATA, "not UTF-8"),
            Self::TooLarge => (Close::TOO_BIG, "message too big"),
            Self::Closed | Self::TimedOut | Self::Io(_) => return None,
        };
        Some(Close::to_send(code, reason))
    }
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error as E;
        match error {
            E::ConnectionClosed | E::AlreadyClosed => Self::Closed,
            E::Protocol(ProtocolError::SendAfterClosing) => Self::Closed,
            E::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Io(io::ErrorKind::UnexpectedEof.into())
            }
            E::Protocol(error) => Self::Protocol(error.to_string()),
            E::Utf8(_) => Self::NotUtf8,
            E::Capacity(_) => Self::TooLarge,
            E::Io(error) => Self::Io(error),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the WebSocket is closed"),
            Self::Protocol(what) => write!(f, "the client violated the WebSocket protocol: {what}"),
            Self::NotUtf8 => f.write_str("the client sent text that is not UTF-8"),
            Self::TooLarge => f.write_str("the client sent a message beyond the limit"),
            Self::TimedOut => f.write_str("the client is silent or does not read"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
