//! Upgrades: how an application takes the connection over.
//!
//! ```text
//! scope.take_upgrade()  ->  Upgrade  --accept(head, run)-->  Response with a tunnel  ->  server sends the head,
//!    (a valid request)     (a token)                          (returned as any other)     then drives `run(io)`
//! ```
//!
//! The server drives the continuation, so no executor is assumed and threads work as well. Without the token no tunnel
//! can be built.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, Read, Write},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, StatusCode, header};

use crate::{AsyncBody, BodyParts, BoxFuture, Worker, WriteBody, worker::after};

/// The right to take the connection over, once. From [`Scope::take_upgrade`](crate::Scope::take_upgrade).
pub struct Upgrade {
    offer: Offer,
    worker: Worker,
}

/// What a client offered to upgrade to; a server puts it into the scope.
#[derive(Clone, Debug)]
pub struct Offer {
    kind: UpgradeKind,
    protocols: String,
}

/// Which mechanism the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeKind {
    /// `Upgrade` on HTTP/1.1 (RFC 9110 section 7.8).
    Http1,
    /// The CONNECT method (RFC 9110 section 9.3.6).
    Connect,
    /// Extended CONNECT (RFC 8441).
    ExtendedConnect,
}

impl Offer {
    /// An offer of these protocols, separated by commas as in the `Upgrade` field; none for a plain CONNECT.
    pub fn new(kind: UpgradeKind, protocols: impl Into<String>) -> Self {
        Self { kind, protocols: protocols.into() }
    }
}

impl Upgrade {
    pub(crate) fn new(offer: Offer, worker: Worker) -> Self {
        Self { offer, worker }
    }

    /// Which mechanism the client used.
    pub fn kind(&self) -> UpgradeKind {
        self.offer.kind
    }

    /// What the client offers to speak, most preferred first, such as `websocket`.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.offer.protocols.split(',').map(str::trim).filter(|protocol| !protocol.is_empty())
    }

    /// Accepts: the head's fields are kept, status and connection fields are filled in (spec U3), and `run` gets the
    /// connection, beginning with the bytes that followed the request (spec U4). It ends when `run` returns (spec U6).
    pub fn accept<F, Fut>(self, head: Response<()>, run: F) -> Response<AsyncBody>
    where
        F: FnOnce(AsyncIo) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let head = self.head(head);
        let tunnel = AsyncTunnel { run: Box::new(|io| Box::pin(run(io))), worker: self.worker };
        head.map(|()| AsyncBody::from(BodyParts::Tunnel(tunnel)))
    }

    /// [`accept`](Self::accept) for sync applications: `run` has a thread of its own and may block on it.
    pub fn accept_blocking(
        self,
        head: Response<()>,
        run: impl FnOnce(BlockingIo) + Send + 'static,
    ) -> Response<WriteBody> {
        let head = self.head(head);
        let tunnel = BlockingTunnel { run: Box::new(run), worker: self.worker };
        head.map(|()| WriteBody::from(BodyParts::Tunnel(tunnel)))
    }

    fn head(&self, mut head: Response<()>) -> Response<()> {
        match self.offer.kind {
            UpgradeKind::Http1 => {
                *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                if !head.headers().contains_key(header::UPGRADE) {
                    let first = self.protocols().next().unwrap_or_default();
                    if let Ok(protocol) = HeaderValue::from_str(first) {
                        head.headers_mut().insert(header::UPGRADE, protocol);
                    }
                }
            }
            UpgradeKind::Connect | UpgradeKind::ExtendedConnect => {
                if !head.status().is_success() {
                    *head.status_mut() = StatusCode::OK;
                }
            }
        }
        head
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upgrade").field(&self.offer).finish()
    }
}

/// The continuation of an upgrade that an async application accepted; for servers.
pub struct AsyncTunnel {
    run: Box<dyn FnOnce(AsyncIo) -> BoxFuture + Send>,
    worker: Worker,
}

impl AsyncTunnel {
    /// A tunnel that is run by this function; for bridges.
    pub fn new(worker: Worker, run: impl FnOnce(AsyncIo) -> BoxFuture + Send + 'static) -> Self {
        Self { run: Box::new(run), worker }
    }

    /// Begins to run the continuation over a connection. The connection is over when the future completes.
    pub fn run(self, io: impl PollIo + 'static) -> BoxFuture {
        (self.run)(AsyncIo { io: Box::new(io), worker: self.worker })
    }

    /// The worker on which the upgrade was accepted.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl fmt::Debug for AsyncTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncTunnel").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// The continuation of an upgrade that a sync application accepted; for servers.
pub struct BlockingTunnel {
    run: Box<dyn FnOnce(BlockingIo) + Send>,
    worker: Worker,
}

impl BlockingTunnel {
    /// A tunnel that is run by this function; for bridges.
    pub fn new(worker: Worker, run: impl FnOnce(BlockingIo) + Send + 'static) -> Self {
        Self { run: Box::new(run), worker }
    }

    /// Runs the continuation over a connection, which is over when this returns.
    pub fn run(self, io: impl BlockingTransport + 'static) {
        (self.run)(BlockingIo {
            io: Box::new(io),
            worker: self.worker,
            read_timeout: None,
            write_timeout: None,
        });
    }

    /// The worker on which the upgrade was accepted.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl fmt::Debug for BlockingTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingTunnel").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// The server's side of an [`AsyncIo`].
pub trait PollIo: Send {
    /// Reads some bytes; 0 once the client has closed its sending side.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Gives everything written to the transport.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes our sending side, and leaves the other open (spec U5).
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A connection taken over by an async application. Dropping it closes the connection.
///
/// With the feature `futures` it has the traits of `futures-io`.
pub struct AsyncIo {
    io: Box<dyn PollIo>,
    worker: Worker,
}

impl AsyncIo {
    /// Reads some bytes; 0 once the client has closed its sending side.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_read(cx, buffer)
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, bytes)
    }

    /// Gives everything written to the transport.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    /// Closes our sending side, and leaves the other open.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_close(cx)
    }

    /// Reads some bytes; 0 once the client has closed its sending side.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Writes all bytes, and flushes.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Closes our sending side, and leaves the other open.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// The worker that drives the tunnel: for its timers, and to learn that a stop was asked for (spec U8).
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl fmt::Debug for AsyncIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncIo")
    }
}

/// The server's side of a [`BlockingIo`]: a transport that never blocks, and one place to wait.
pub trait BlockingTransport: Send {
    /// Reads what there is; 0 once the client has closed its sending side.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is nothing yet.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing fits just now.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Closes our sending side, and leaves the other open (spec U5).
    ///
    /// # Errors
    /// If the connection failed.
    fn close_write(&mut self) -> io::Result<()>;

    /// Blocks until one of the wanted things may be possible, the [`waker`](Self::waker) was woken since the last wait,
    /// or the time is over. Returning early is allowed.
    ///
    /// # Errors
    /// If waiting is impossible.
    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends a [`wait`](Self::wait) from another thread.
    fn waker(&self) -> Waker;
}

/// A connection taken over by a sync application: [`Read`] and [`Write`]. Dropping it closes the connection.
pub struct BlockingIo {
    io: Box<dyn BlockingTransport>,
    worker: Worker,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl BlockingIo {
    /// How long a read may wait before it fails with [`io::ErrorKind::TimedOut`]. Default: for ever.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// How long a write may wait before it fails with [`io::ErrorKind::TimedOut`]. Default: for ever.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// Closes our sending side, and leaves the other open.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn close_write(&mut self) -> io::Result<()> {
        self.io.close_write()
    }

    /// The worker that runs the tunnel: to learn that a stop was asked for (spec U8).
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Takes the transport out, for bridges.
    pub fn into_transport(self) -> (Box<dyn BlockingTransport>, Worker) {
        (self.io, self.worker)
    }

    fn wait_until(&mut self, readable: bool, deadline: Option<Instant>) -> io::Result<()> {
        let left = match deadline.map(|deadline| deadline.saturating_duration_since(self.worker.now())) {
            Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
            left => left,
        };
        self.io.wait(readable, !readable, left)
    }
}

impl Read for BlockingIo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = self.read_timeout.map(|timeout| after(self.worker.now(), timeout));
        loop {
            match self.io.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_until(true, deadline)?,
                result => return result,
            }
        }
    }
}

impl Write for BlockingIo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let deadline = self.write_timeout.map(|timeout| after(self.worker.now(), timeout));
        loop {
            match self.io.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_until(false, deadline)?
                }
                result => return result,
            }
        }
    }

    /// Nothing to do: a write that returned was given to the transport.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BlockingIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingIo")
            .field("read_timeout", &self.read_timeout)
            .field("write_timeout", &self.write_timeout)
            .finish_non_exhaustive()
    }
}
