//! Nothing just closes: it closes for a [`CloseReason`].

use std::fmt;

use crate::error::{BodyFault, Refusal};

/// Why a connection takes no further request.
///
/// The first reason found is the one kept, except that a fault of the peer displaces what was only a plan to
/// close. It is for logs and counters; the peer sees `connection: close` or the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The request said `Connection: close`.
    PeerAsked,
    /// The request was HTTP/1.0 without `Connection: keep-alive`.
    Http10,
    /// The peer closed its sending side between two requests.
    PeerFinished,
    /// The peer closed its sending side inside a head.
    HeadTruncated,
    /// The head was refused.
    Refused(Refusal),
    /// The request body could not be read to its end.
    Body(BodyFault),
    /// The peer waited for `100 Continue` and got a final response: nobody can say whether the body will come
    /// (RFC 9110 section 10.1.1).
    ContinueNotSent,
    /// More of the request body was left unread than is worth dropping.
    BodyUnread,
    /// Dropping the rest of the request body took too long.
    DiscardTimeout,
    /// A response without known length to HTTP/1.0 ends with the connection.
    ResponseUntilClose,
    /// The response ended before its declared length.
    ResponseShort,
    /// The response was not finished when the server went on.
    ResponseUnfinished,
    /// CONNECT was answered with something other than a tunnel; what follows may not be HTTP.
    ConnectRefused,
    /// The connection became a tunnel.
    Upgraded,
    /// The server is shutting down.
    ShuttingDown,
    /// No request came in time.
    IdleTimeout,
    /// The peer did not take the response in time.
    WriteTimeout,
    /// The peer did not close its side in time after the last response.
    LingerTimeout,
    /// The application failed or gave up after its response had begun.
    Application,
    /// Reading from or writing to the transport failed.
    Transport,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            CloseReason::PeerAsked => "the peer asked to close",
            CloseReason::Http10 => "HTTP/1.0 without keep-alive",
            CloseReason::PeerFinished => "the peer closed between requests",
            CloseReason::HeadTruncated => "the peer closed inside a head",
            CloseReason::Refused(refusal) => return write!(f, "request refused: {refusal}"),
            CloseReason::Body(fault) => return write!(f, "request body failed: {fault}"),
            CloseReason::ContinueNotSent => "final response while the peer waited for 100 Continue",
            CloseReason::BodyUnread => "too much of the request body was left unread",
            CloseReason::DiscardTimeout => "the rest of the request body came too slowly",
            CloseReason::ResponseUntilClose => "the response ends with the connection",
            CloseReason::ResponseShort => "the response was shorter than declared",
            CloseReason::ResponseUnfinished => "the response was not finished",
            CloseReason::ConnectRefused => "CONNECT was not accepted",
            CloseReason::Upgraded => "the connection became a tunnel",
            CloseReason::ShuttingDown => "the server is shutting down",
            CloseReason::IdleTimeout => "no request in time",
            CloseReason::WriteTimeout => "the peer did not take the response in time",
            CloseReason::LingerTimeout => "the peer did not close in time",
            CloseReason::Application => "the application gave up",
            CloseReason::Transport => "the transport failed",
        };
        f.write_str(text)
    }
}
