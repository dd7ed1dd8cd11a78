//! WebSocket (RFC 6455), the server's side: the handshake, and messages both ways over the tunnel of an upgrade.
//!
//! ```
//! use http::Request;
//! use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
//! use varvel_toolkit::websocket::{Handshake, WebSocket};
//!
//! async fn echo(request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
//!     Ok(Handshake::new().accept(&request, &mut scope, |mut socket: WebSocket| async move {
//!         while let Ok(Some(message)) = socket.recv().await {
//!             if socket.send(message).await.is_err() {
//!                 break;
//!             }
//!         }
//!     }))
//! }
//! # let client = varvel_test::Client::new(app_fn(echo));
//! # let key = "dGhlIHNhbXBsZSBub25jZQ==";
//! # let request = client.get("/").header("sec-websocket-version", "13").header("sec-websocket-key", key);
//! # assert_eq!(request.upgrade("websocket").head().headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! ```
//!
//! The sync form has the same names: [`Handshake::accept_blocking`] gives a `WebSocket<Blocking>`, whose methods block.
//! One state machine is behind both.
//!
//! This happens by itself, as long as the application receives or sends:
//! - Pings are answered; a silent client is pinged, and given up if it stays silent.
//! - If the client violates the protocol, it is sent the Close that RFC 6455 asks for, and the application gets an [`Error`].
//! - When the server stops, [`recv`](WebSocket::recv) closes with 1001 and returns `None` (spec U8). Messages can still be sent
//!   for as long as a Close may take.
//! - A socket that is dropped while open is closed with 1000, or with 1011 in a panic.
//!
//! Memory is bounded: messages and frames have a maximum size, at most one message is read ahead, nothing is read while
//! a Pong waits for the client to read, and a [`send`](WebSocket::send) waits until the server has taken the whole message,
//! which depends on the client reading (spec U9).
//!
//! Not supported: extensions, `permessage-deflate` among them, because tungstenite has none; they are not negotiated, so
//! clients do without. Text is checked for UTF-8 frame by frame, not within a frame. Lengths that are not in their shortest
//! form are accepted, and unsolicited Pongs are ignored.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use varvel::Worker;

use crate::{Blocking, Polled};

mod connection;
mod error;
mod handshake;
mod link;
mod message;

use connection::Connection;
pub use error::Error;
pub use handshake::{Agreed, Handshake};
use link::Over;
pub use message::{Close, Message, Text};

/// An open WebSocket; in a sync application a `WebSocket<Blocking>`.
///
/// The futures of all methods may be dropped while they wait, as `select` does: nothing that was received is lost, and a
/// message is sent either whole or not at all.
pub struct WebSocket<F: Over = Polled> {
    connection: Connection<F::Link>,
    protocol: Option<Box<str>>,
}

impl<F: Over> WebSocket<F> {
    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// What the client's Close said, once it has come.
    pub fn closed_with(&self) -> Option<&Close> {
        self.connection.closed_with()
    }

    /// The worker that drives the tunnel: for its timers, and to learn of a stop.
    pub fn worker(&self) -> &Worker {
        self.connection.worker()
    }
}

impl WebSocket<Polled> {
    /// Waits for the next message; `None` once the connection is closed, by either side.
    ///
    /// # Errors
    /// If the connection came to another end than a Close; `None` from then on.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv), to wait for several things at once.
    ///
    /// # Errors
    /// As there.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.connection.poll_recv(cx)
    }

    /// Sends a message, and waits until the server has taken it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is closed or being closed; else why it failed.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.connection.poll_send(cx, &mut message)).await
    }

    /// Closes, and waits for the client's Close; messages that arrive before it are dropped. Does nothing if the connection is
    /// closed.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the client does not answer.
    ///
    /// # Panics
    /// If no endpoint may send this code (RFC 6455 section 7.4), or the reason has more than 123 bytes.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), Error> {
        let close = Close::to_send(code, reason);
        poll_fn(|cx| self.connection.poll_close(cx, &close)).await
    }
}

impl WebSocket<Blocking> {
    /// Waits for the next message; `None` once the connection is closed, by either side.
    ///
    /// # Errors
    /// If the connection came to another end than a Close; `None` from then on.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.connection.wait(|connection, cx| connection.poll_recv(cx))
    }

    /// Sends a message, and waits until the server has taken it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is closed or being closed; else why it failed.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        self.connection.wait(|connection, cx| connection.poll_send(cx, &mut message))
    }

    /// Closes, and waits for the client's Close; messages that arrive before it are dropped. Does nothing if the connection is
    /// closed.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the client does not answer.
    ///
    /// # Panics
    /// If no endpoint may send this code (RFC 6455 section 7.4), or the reason has more than 123 bytes.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), Error> {
        let close = Close::to_send(code, reason);
        self.connection.wait(|connection, cx| connection.poll_close(cx, &close))
    }
}

impl<F: Over> fmt::Debug for WebSocket<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("protocol", &self.protocol)
            .field("closed_with", &self.closed_with())
            .finish_non_exhaustive()
    }
}
