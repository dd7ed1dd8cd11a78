//! What the scopes and watches of a connection hold of it, and what its future's wakers wake.

use std::{
    sync::{
        Arc,
        atomic::{Ordering::Acquire, fence},
    },
    task::{Context, Poll, Wake},
};

use http::{HeaderMap, StatusCode};
use varvel::{ConnInfo, Event, Exchange, Finish, FinishHook, InterimError, Report, RequestId, Worker};
use varvel_server_kit::gateway::Exchanges;

use crate::{interims::Interims, mailbox::Summons};

/// The shared side of a connection. The loop owns the connection itself; this outlives it as long as somebody looks.
pub(crate) struct Handle {
    worker: Worker,
    info: ConnInfo,
    /// Has the connection driven. After it is gone its index may be another's; driving that is harmless.
    summons: Summons,
    pub(crate) exchanges: Exchanges,
    pub(crate) interims: Interims,
}

impl Handle {
    pub(crate) fn new(worker: Worker, info: ConnInfo, summons: Summons) -> Self {
        Self { worker, info, summons, exchanges: Exchanges::default(), interims: Interims::default() }
    }

    /// Says that the connection is being driven: a wake-up from now on counts again.
    pub(crate) fn driven(&self) {
        self.summons.heed();
    }

    /// Whether nobody is left who could look at the exchange or act on it: no scope, no watch, and no waker but the
    /// exchange's own. What they have done is visible then.
    fn is_unobserved(self: &Arc<Self>) -> bool {
        /// The connection's handle, and the exchange's waker.
        const OWN: usize = 2;
        let alone = Arc::strong_count(self) == OWN;
        // As in the drop of an `Arc`: behind what the others did before they let go.
        fence(Acquire);
        alone
    }

    /// Accepts no informational head any more, and gives out those that are still to be sent.
    pub(crate) fn close_interims(self: &Arc<Self>) -> Vec<(StatusCode, HeaderMap)> {
        if self.is_unobserved() { self.interims.close_unobserved() } else { self.interims.close() }
    }

    /// Ends the exchange under way: its hooks run (spec E12).
    pub(crate) fn end_exchange(self: &Arc<Self>, finish: Finish, report: impl Fn(Event<'_>)) {
        match self.is_unobserved() {
            true => self.exchanges.end_unobserved(finish, report),
            false => self.exchanges.end(finish, report),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.info.id
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.summons.send();
    }
}

impl Exchange for Handle {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.info
    }

    fn interim(&self, number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        self.interims.add(number, status, headers)?;
        self.summons.send();
        Ok(())
    }

    fn is_disconnected(&self, number: u64) -> bool {
        self.exchanges.is_disconnected(number)
    }

    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.exchanges.poll_disconnected(number, cx)
    }

    fn on_finish(&self, number: u64, hook: FinishHook) {
        self.exchanges.on_finish(number, hook, |event: Event<'_>| {
            self.worker.report(&Report::of(RequestId::new(self.info.id, number, None, b""), event));
        });
    }
}
