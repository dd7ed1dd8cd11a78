//! The notes, in memory, and who waits for the next.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use serde::Serialize;

#[derive(Clone, Serialize)]
pub(crate) struct Note {
    pub(crate) author: String,
    pub(crate) text: String,
    /// The name of its file.
    pub(crate) picture: Option<String>,
}

#[derive(Default)]
pub(crate) struct Notes(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    all: Vec<Note>,
    /// Who waits for the next note, by numbers of their own.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Note> {
        self.lock().all.clone()
    }

    pub(crate) fn get(&self, number: usize) -> Option<Note> {
        self.lock().all.get(number).cloned()
    }

    pub(crate) fn add(&self, note: Note) {
        let waiting = {
            let mut inner = self.lock();
            inner.all.push(note);
            std::mem::take(&mut inner.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until there is a note of this number.
    pub(crate) async fn wait_for(&self, number: usize) -> Note {
        let waiter = self.waiter();
        poll_fn(|cx| {
            let mut inner = self.lock();
            if let Some(note) = inner.all.get(number) {
                return Poll::Ready(note.clone());
            }
            inner.waiting.insert(waiter.number, cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn waiter(&self) -> Waiter<'_> {
        let mut inner = self.lock();
        inner.next_waiter += 1;
        Waiter { notes: self, number: inner.next_waiter }
    }
}

/// One who waits. A page that was closed is forgotten, or pages that come and go would fill the memory.
struct Waiter<'n> {
    notes: &'n Notes,
    number: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let waker = self.notes.lock().waiting.remove(&self.number);
        // Behind the lock: what a waker drops may want it.
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn pages_that_come_and_go_leave_nothing() {
        let notes = Notes::default();
        for _ in 0..3 {
            let mut waiting = pin!(notes.wait_for(0));
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(notes.lock().waiting.len(), 1);
        }
        assert!(notes.lock().waiting.is_empty());
    }
}
