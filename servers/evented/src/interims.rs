//! Informational heads between the application, which may send them from any thread, and the loop, which alone writes.

use http::{HeaderMap, StatusCode};
use varvel::InterimError;

use crate::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

/// Informational heads on their way to the loop, which alone writes.
#[derive(Default)]
pub(crate) struct Interims {
    /// The exchange whose final head is not under way yet; 0 for none.
    open: AtomicU64,
    /// Set before `open` is looked at, read after it was changed: a head is either sent or refused, never lost. Both are
    /// swaps, which have one order however late a processor hears of the stores of another.
    used: AtomicBool,
    http10: AtomicBool,
    pending: Mutex<Pending>,
}

/// Boxed, as most connections never have any.
type Pending = Option<Box<Vec<(StatusCode, HeaderMap)>>>;

impl Interims {
    /// Accepts informational heads for exchange `number`, unless its client speaks HTTP/1.0.
    pub(crate) fn open(&self, number: u64, http10: bool) {
        // Whoever has this number got it behind these stores.
        self.http10.store(http10, Relaxed);
        self.open.store(number, Relaxed);
    }

    /// Accepts none any more, and gives out those that are still to be sent.
    pub(crate) fn close(&self) -> Vec<(StatusCode, HeaderMap)> {
        self.open.store(0, SeqCst);
        self.take()
    }

    /// The same where nobody is left who could add one meanwhile; an atomic exchange costs as much as a hundred other
    /// instructions.
    pub(crate) fn close_unobserved(&self) -> Vec<(StatusCode, HeaderMap)> {
        self.open.store(0, Relaxed);
        if self.used.load(Relaxed) { self.take() } else { Vec::new() }
    }

    /// Gives out those that are to be sent.
    pub(crate) fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        let pending = if self.used.swap(false, SeqCst) { self.lock().take() } else { None };
        pending.map_or(Vec::new(), |pending| *pending)
    }

    /// Adds a head to be sent; whoever adds it wakes the loop.
    pub(crate) fn add(
        &self,
        number: u64,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), InterimError> {
        let mut pending = self.lock();
        self.used.swap(true, SeqCst);
        if self.open.load(SeqCst) != number {
            return Err(InterimError::TooLate);
        }
        if self.http10.load(SeqCst) {
            return Err(InterimError::Unsupported);
        }
        pending.get_or_insert_default().push((status, headers.clone()));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
