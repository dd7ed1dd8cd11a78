//! What all threads of a server share, and all of its connections refer to.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use varvel::{Event, Report, Reporter, RequestId, WorkerInfo};
use varvel_http1::Spare;
use varvel_server_kit::{http_date::DateLine, journal::Journal, stopping::Stopping, worker_pool::WorkerPool};

use crate::{connection::Connection, pool::Pool, table::Table, tasks::Tasks, threads::Threads};

/// Everything but the application, the poller and the listeners.
pub(crate) struct Shared {
    pub(crate) info: WorkerInfo,
    pub(crate) http: Arc<varvel_http1::Config>,
    pub(crate) table: Table,
    pub(crate) pool: Pool<Arc<Connection>>,
    pub(crate) offload: WorkerPool,
    pub(crate) tasks: Arc<Tasks>,
    /// The threads of the pool, of the tunnels and of the tasks.
    pub(crate) threads: Arc<Threads>,
    pub(crate) stopping: Stopping,
    /// Connections in whose outbox answers wait for company, while application code runs that may take its time.
    pub(crate) held: Mutex<Vec<Arc<Connection>>>,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) journal: Arc<Journal>,
    /// How many exchanges were cut at the deadline.
    pub(crate) cut: AtomicU64,
}

impl Shared {
    /// How much is read at once, in bytes: no more than may be held unread (spec B7).
    pub(crate) fn read_limit(&self) -> usize {
        usize::try_from(self.info.limits.read_ahead).unwrap_or(usize::MAX)
    }

    /// Lets go of answers that wait for company. Tells whether there were any.
    pub(crate) fn release_held(&self) -> bool {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in &held {
            connection.release(&mut connection.lock());
        }
        !held.is_empty()
    }

    /// Tells the reporter.
    pub(crate) fn report(&self, request: Option<RequestId<'_>>, event: Event<'_>) {
        self.reporter.report(&match request {
            Some(request) => Report::of(request, event),
            None => Report::new(event),
        });
    }
}

/// What each thread that serves has for itself.
pub(crate) struct Tools {
    /// What one request leaves to the next.
    pub(crate) spare: Spare,
    pub(crate) date: DateLine,
}

impl Tools {
    pub(crate) fn new() -> Self {
        Self { spare: Spare::default(), date: DateLine::new() }
    }

    /// The `date` line for now.
    pub(crate) fn date_line(&mut self) -> &[u8] {
        self.date.refresh();
        self.date.as_bytes()
    }
}
