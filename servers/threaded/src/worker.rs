//! What applications can ask of the worker: timers, background tasks, blocking jobs, and to be told of the stop.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use varvel::{BoxFuture, Job, Report, TimerId, WorkerInfo, WorkerOps};

use crate::shared::Shared;

impl WorkerOps for Shared {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        self.reporter.report(report);
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        self.table.set_timer(deadline, waker.clone())
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        self.table.move_timer(id, waker.clone())
    }

    fn cancel_timer(&self, id: TimerId) {
        self.table.cancel_timer(id);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        self.offload.submit(job)
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.tasks.spawn(task, &self.threads)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_raised()
    }

    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stopping.poll(cx)
    }
}

/// The stopping signal (spec L7).
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    raised: AtomicBool,
    watchers: Mutex<Vec<Waker>>,
}

/// When so many watch, all are woken for nothing: those that still live come back, the others are forgotten. An
/// application that watches from each request would else leave a waker behind with each.
const WATCHERS_MAX: usize = 1024;

impl Stopping {
    /// Raises the signal, once and for all.
    pub(crate) fn raise(&self) {
        self.raised.store(true, SeqCst);
        let watchers = std::mem::take(&mut *self.lock());
        watchers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(SeqCst)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut watchers = self.lock();
        if self.is_raised() {
            return Poll::Ready(());
        }
        let crowd = if watchers.len() >= WATCHERS_MAX { std::mem::take(&mut *watchers) } else { Vec::new() };
        if !watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            watchers.push(cx.waker().clone());
        }
        drop(watchers);
        crowd.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
