//! What an exchange needs of its target, be it in this process or behind a socket.

use std::{io, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use varvel::Frame;

use crate::{Failure, server::InProcess};

/// The head of a response: final, or interim (1xx).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The fields as the client got them, those of the framing included.
    pub headers: HeaderMap,
}

/// Whether to wait for what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// As long as the client's patience lasts, and not at all once it is certain that nothing comes.
    Patiently,
    /// Not for others; only what runs already comes to rest.
    Not,
}

/// The client's end of one exchange.
pub(crate) trait Line {
    /// Looks for the final head, which it then keeps.
    fn poll_head(&mut self, wait: Wait) -> Poll<Result<Head, Failure>>;

    /// The interim heads so far.
    fn interims(&mut self) -> Vec<Head>;

    /// Looks for the next frame of the answer.
    fn poll_frame(&mut self, wait: Wait) -> Poll<Option<Result<Frame, Failure>>>;

    /// Why there is nothing, after a poll that was pending.
    fn why_pending(&self) -> Failure;

    /// Sends some of the request body.
    fn send(&mut self, data: Bytes);

    /// Ends the request body.
    fn end_body(&mut self, trailers: Option<HeaderMap>);

    /// Ends the sending side.
    fn end_sending(&mut self);

    /// Closes the connection.
    fn disconnect(&mut self);

    /// Whether the final head has made a tunnel of the connection.
    fn is_tunnel(&self) -> bool;

    /// Sends bytes through the tunnel.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reads bytes from the tunnel; 0 at the end.
    fn poll_read(&mut self, buffer: &mut [u8], wait: Wait) -> Poll<io::Result<usize>>;

    /// Lets everything go on that can.
    fn run(&mut self) {}

    /// What can be seen from inside the server alone; `None` from outside.
    fn inside(&self) -> Option<&InProcess> {
        None
    }
}
