//! The server's side of a [`Scope`](crate::Scope): one connection, and what can be done to its current exchange.

use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::{Driver, Report, TimerId, Worker, WorkerInfo, WorkerOps};

/// A connection, as the scopes of its exchanges see it. A server keeps one per connection and allocates nothing for a
/// request.
///
/// Each method that acts on an exchange takes its number, so that a handle kept too long is told so instead of touching
/// the next request on the connection.
pub trait Exchange: Send + Sync {
    /// The worker that runs the application.
    fn worker(&self) -> &Worker;

    /// The connection.
    fn conn(&self) -> &ConnInfo;

    /// Sends an informational head, which is 100 or 102 to 199.
    ///
    /// # Errors
    /// Why nothing was sent.
    fn interim(&self, number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        let _ = (number, status, headers);
        Err(InterimError::Unsupported)
    }

    /// Whether the client is known to have left, or the exchange is over.
    fn is_disconnected(&self, number: u64) -> bool;

    /// Wakes when the client is seen to have left. Ready at once if it has, or if the exchange is over.
    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()>;

    /// Keeps a hook for the end of the exchange. If that is over already, calls it at once with what became of it as
    /// far as that is still known.
    fn on_finish(&self, number: u64, hook: FinishHook);
}

/// Called once at the end of an exchange.
pub type FinishHook = Box<dyn FnOnce(&Finish) + Send>;

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// The status that was sent, if one was.
    pub status: Option<StatusCode>,
    /// How many bytes of the response body were handed to the transport, without its framing.
    pub bytes: u64,
}

impl Finish {
    /// What became of an exchange.
    pub fn new(outcome: Outcome, status: Option<StatusCode>, bytes: u64) -> Self {
        Self { outcome, status, bytes }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The whole response was handed to the transport, be it an error response.
    Completed,
    /// The client left first.
    Disconnected,
    /// The application failed, or the response broke off.
    Failed,
    /// The client was too slow to take or to give.
    TimedOut,
    /// The server's drain deadline passed first (spec L8).
    Stopped,
}

/// Why an informational head was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterimError {
    /// Neither server nor client can: no capability, or HTTP/1.0 (spec H12).
    Unsupported,
    /// The final head is under way, or the exchange is over (spec H12).
    TooLate,
    /// The status is not informational, or is 101.
    NotInterim,
}

impl fmt::Display for InterimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "this server or this client does not support informational responses",
            Self::TooLate => "the final response is already under way",
            Self::NotInterim => "only 100 and 102 to 199 are informational statuses that can be sent",
        })
    }
}

impl Error for InterimError {}

/// The connection that a request came by: its last hop (spec S12).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// The connection's number, unique within the process.
    pub id: u64,
    /// The client's address.
    pub peer: Address,
    /// The address that it connected to.
    pub local: Address,
    /// What is known of the encryption, if the connection is encrypted.
    pub tls: Option<Arc<TlsInfo>>,
}

impl ConnInfo {
    /// An unencrypted connection.
    pub fn new(id: u64, peer: Address, local: Address) -> Self {
        Self { id, peer, local, tls: None }
    }

    /// Whether the last hop is encrypted.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket with a path.
    Unix(Arc<PathBuf>),
    /// A Unix socket without one, as clients have.
    Unnamed,
}

impl Address {
    /// The IP address and port, if it has one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Unnamed => f.write_str("unix:"),
        }
    }
}

/// What is known of a connection's encryption, in the numbers of the TLS registries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol version, such as 0x0304 for TLS 1.3.
    pub version: u16,
    /// The cipher suite, such as 0x1301.
    pub cipher_suite: u16,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The protocol agreed upon by ALPN.
    pub alpn: Option<Bytes>,
    /// The client's certificate chain in DER, its own first; empty if it showed none.
    pub client_certificates: Vec<Bytes>,
}

impl TlsInfo {
    /// Knows the version and the cipher suite; a server adds the rest.
    pub fn new(version: u16, cipher_suite: u16) -> Self {
        Self { version, cipher_suite, server_name: None, alpn: None, client_certificates: Vec::new() }
    }
}

/// The connection of a scope made for a test.
pub(crate) struct Nowhere {
    worker: Worker,
    conn: ConnInfo,
}

impl Default for Nowhere {
    fn default() -> Self {
        let worker = Worker::new(Arc::new(NoOps(WorkerInfo::new(WorkerInfo::NO_SERVER, Driver::Blocking))));
        Self { worker, conn: ConnInfo::new(0, Address::Unnamed, Address::Unnamed) }
    }
}

impl Exchange for Nowhere {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn is_disconnected(&self, _number: u64) -> bool {
        false
    }

    fn poll_disconnected(&self, _number: u64, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_finish(&self, _number: u64, hook: FinishHook) {
        hook(&Finish::new(Outcome::Completed, None, 0));
    }
}

struct NoOps(WorkerInfo);

impl WorkerOps for NoOps {
    fn info(&self) -> &WorkerInfo {
        &self.0
    }

    fn report(&self, _report: &Report<'_>) {}

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        // Without a server there is nobody to wait: a thread for each timer is good enough for a test.
        let waker = waker.clone();
        std::thread::spawn(move || {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            waker.wake();
        });
        TimerId(0)
    }

    fn move_timer(&self, _id: TimerId, _waker: &Waker) -> bool {
        false
    }

    fn cancel_timer(&self, _id: TimerId) {}

    fn is_stopping(&self) -> bool {
        false
    }

    fn poll_stopping(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
