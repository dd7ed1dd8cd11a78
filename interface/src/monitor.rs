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
/// A [`Reporter`](crate::Reporter) is told what went wrong, in words for people; a monitor what goes on, in numbers.
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

    /// An event loop polls the call or the answer of this exchange: if it does not turn any more, this is where it is. Told
    /// by servers that poll several exchanges on one thread.
    fn exchange_polled(&self, worker: u32, exchange: Ticket) {
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
