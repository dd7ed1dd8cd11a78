//! The notes, in memory, and who waits for the next.

use std::{
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
    waiting: Vec<Waker>,
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
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until there is a note of this number.
    pub(crate) async fn wait_for(&self, number: usize) -> Note {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if let Some(note) = inner.all.get(number) {
                return Poll::Ready(note.clone());
            }
            if !inner.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                inner.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
