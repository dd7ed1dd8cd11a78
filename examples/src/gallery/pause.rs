//! Waiting, but not longer than the server lives.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Instant,
};

use varvel::Worker;

/// Why a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time is over.
    InTime,
    /// The server was asked to stop (spec L7).
    Stopping,
}

/// Waits until a moment, or until the server is asked to stop.
pub(super) async fn pause(worker: &Worker, until: Instant) -> Woken {
    let mut timer = worker.timer(until);
    poll_fn(|cx| {
        if worker.poll_stopping(cx).is_ready() {
            return Poll::Ready(Woken::Stopping);
        }
        Pin::new(&mut timer).poll(cx).map(|()| Woken::InTime)
    })
    .await
}
