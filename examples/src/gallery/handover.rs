//! One value from one place to another, once: from a thread, or from another request, to a future that waits.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The end that gives.
#[derive(Debug)]
pub(super) struct Giver<T>(Arc<Mutex<Slot<T>>>);

/// The end that waits: a future of the value, or of `None` if the giver was dropped without one.
#[derive(Debug)]
pub(super) struct Taker<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    given_up: bool,
    waker: Option<Waker>,
}

pub(super) fn handover<T>() -> (Giver<T>, Taker<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, given_up: false, waker: None }));
    (Giver(Arc::clone(&slot)), Taker(slot))
}

impl<T> Giver<T> {
    /// Whether anybody still waits.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Gives the value.
    pub(super) fn give(self, value: T) {
        lock(&self.0).value = Some(value);
    }
}

/// Wakes the taker, with or without a value.
impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.given_up = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Taker<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        let value = slot.value.take();
        if value.is_some() || slot.given_up {
            return Poll::Ready(value);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
