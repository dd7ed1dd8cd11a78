//! What a server tells while it serves, to whoever looks after it from outside: a supervisor that must know a worker that
//! hangs from one that works, and which request it hangs in; and counters that many processes add up to.

use std::time::Duration;

use http::StatusCode;

use crate::{Finish, RequestId};

/// Follows the work of a server, as its [`Launch`](crate::Launch) asks (spec L13, capability
/// [`Caps::MONITOR`](crate::Caps::MONITOR)).
///
/// The methods are called on the threads that serve, several times for each request: they must be quick, and must neither
/// block nor panic. `worker` is the [`index`](crate::WorkerInfo::index) of the worker.
///
/// A [`Reporter`](crate::Reporter) is told what went wrong, in words for people; a monitor what goes on, in numbers. Of
/// several processes only it can know how the others are doing, so there is one thing that it may be
/// [asked](Self::is_ahead).
///
/// ```
/// use std::{sync::atomic::{AtomicU64, Ordering::Relaxed}, time::Duration};
/// use varvel::{Finish, Monitor, Outcome, Ticket};
///
/// /// How many exchanges have failed.
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Monitor for Failures {
///     fn exchange_ended(&self, _worker: u32, _: Ticket, finish: &Finish, _duration: Duration) {
///         if finish.outcome == Outcome::Failed {
///             self.0.fetch_add(1, Relaxed);
///         }
///     }
/// }
/// ```
pub trait Monitor: Send + Sync {
    /// The worker can do its work: its event loop turns, or a thread of its pool is free for the next call or has become
    /// so. Told at least once every [`PROGRESS_INTERVAL`], also where nothing happens, and never while it cannot.
    fn progress(&self, worker: u32) {
        let _ = worker;
    }

    /// A connection was accepted.
    fn connection_opened(&self, worker: u32) {
        let _ = worker;
    }

    /// Whether with so many connections in all its workers the server has more than others who accept from the same
    /// listeners, so that the next one had better be theirs. It may ask before each, and leave it to them for a moment; then
    /// it accepts it all the same, for they may be busy or gone. A server that could not serve it says that it has as many as
    /// there can be.
    fn is_ahead(&self, connections: usize) -> bool {
        let _ = connections;
        false
    }

    /// A connection was closed. Told once for each that was opened.
    fn connection_closed(&self, worker: u32) {
        let _ = worker;
    }

    /// A request has arrived, and the application is about to be called. What is returned comes back with what is told
    /// of this exchange later.
    fn exchange_began(&self, worker: u32, request: RequestId<'_>) -> Ticket {
        let _ = (worker, request);
        Ticket(0)
    }

    /// An event loop is about to run code of the application: for this exchange, or with `None` something that belongs to
    /// none, such as a background task or the waker of a timer. If the loop does not turn any more, this is where it is, or
    /// at an exchange that [began](Self::exchange_began) after that. Told by servers that run several exchanges on one
    /// thread, and by them also before the first.
    fn polling(&self, worker: u32, exchange: Option<Ticket>) {
        let _ = (worker, exchange);
    }

    /// The exchange is over, `duration` after its head had arrived. Told once for each that began.
    fn exchange_ended(&self, worker: u32, exchange: Ticket, finish: &Finish, duration: Duration) {
        let _ = (worker, exchange, finish, duration);
    }

    /// The server has answered a request by itself, without a call, as it does with one that it cannot read.
    fn refused(&self, worker: u32, status: StatusCode) {
        let _ = (worker, status);
    }
}

/// How often [`Monitor::progress`] is told at least.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Names an exchange to the [`Monitor`] that gave it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(
    /// Chosen by the monitor.
    pub u32,
);
