//! What the scopes and watches of a connection hold of it, and what its future's wakers wake.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake},
};

use http::{HeaderMap, StatusCode};
use varvel::{Address, ConnInfo, Event, Exchange, FinishHook, InterimError, Report, RequestId, Worker};
use varvel_server_kit::gateway::Exchanges;

use crate::mailbox::{Mailbox, Woken};

/// The shared side of a connection. The loop owns the connection itself; this outlives it as long as somebody looks.
pub(crate) struct Handle {
    worker: Worker,
    info: ConnInfo,
    /// Where the loop keeps the connection. After it is gone the index may be another's; waking that is harmless.
    index: usize,
    mailbox: Arc<Mailbox>,
    /// The connection is in the mailbox already.
    woken: AtomicBool,
    pub(crate) exchanges: Exchanges,
    pub(crate) interims: Interims,
}

/// Informational heads on their way to the loop, which alone writes.
#[derive(Default)]
pub(crate) struct Interims {
    /// The exchange whose final head is not under way yet; 0 for none.
    open: AtomicU64,
    /// Set before `open` is looked at, read after it was changed: a head is either sent or refused, never lost.
    used: AtomicBool,
    http10: AtomicBool,
    pending: Mutex<Vec<(StatusCode, HeaderMap)>>,
}

impl Handle {
    pub(crate) fn new(worker: Worker, info: ConnInfo, index: usize, mailbox: Arc<Mailbox>) -> Self {
        Self {
            worker,
            info,
            index,
            mailbox,
            woken: AtomicBool::new(false),
            exchanges: Exchanges::default(),
            interims: Interims::default(),
        }
    }

    /// Says that the connection is being driven: a wake-up from now on counts again.
    pub(crate) fn driven(&self) {
        self.woken.store(false, SeqCst);
    }

    pub(crate) fn id(&self) -> u64 {
        self.info.id
    }

    pub(crate) fn peer(&self) -> &Address {
        &self.info.peer
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, SeqCst) {
            self.mailbox.post(|letters| letters.woken.push(Woken::Connection(self.index)));
        }
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
        if !self.woken.swap(true, SeqCst) {
            self.mailbox.post(|letters| letters.woken.push(Woken::Connection(self.index)));
        }
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

impl Interims {
    /// Accepts informational heads for exchange `number`, unless its client speaks HTTP/1.0.
    pub(crate) fn open(&self, number: u64, http10: bool) {
        self.http10.store(http10, SeqCst);
        self.open.store(number, SeqCst);
    }

    /// Accepts none any more, and gives out those that are still to be sent.
    pub(crate) fn close(&self) -> Vec<(StatusCode, HeaderMap)> {
        self.open.store(0, SeqCst);
        self.take()
    }

    /// Gives out those that are to be sent.
    pub(crate) fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        if self.used.swap(false, SeqCst) { std::mem::take(&mut *self.lock()) } else { Vec::new() }
    }

    fn add(&self, number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        let mut pending = self.lock();
        self.used.store(true, SeqCst);
        if self.open.load(SeqCst) != number {
            return Err(InterimError::TooLate);
        }
        if self.http10.load(SeqCst) {
            return Err(InterimError::Unsupported);
        }
        pending.push((status, headers.clone()));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(StatusCode, HeaderMap)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
