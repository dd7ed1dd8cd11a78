//! The worker that a loop is to its application.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use varvel::{BoxFuture, Job, Phase, Report, Reporter, TimerId, WorkerInfo, WorkerOps};
use varvel_server_kit::{
    containment::contain, journal::Journal, stopping::Stopping, timer_queue::TimerQueue,
    worker_pool::WorkerPool,
};

use crate::mailbox::Mailbox;

pub(crate) struct LoopWorker {
    info: WorkerInfo,
    reporter: Arc<dyn Reporter>,
    pub(crate) journal: Arc<Journal>,
    pool: Arc<WorkerPool>,
    mailbox: Arc<Mailbox>,
    timers: Mutex<TimerQueue<Waker>>,
    stopping: Stopping,
}

impl LoopWorker {
    pub(crate) fn new(
        info: WorkerInfo,
        reporter: Arc<dyn Reporter>,
        journal: Arc<Journal>,
        pool: Arc<WorkerPool>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self {
            info,
            reporter,
            journal,
            pool,
            mailbox,
            timers: Mutex::new(TimerQueue::new()),
            stopping: Stopping::default(),
        }
    }

    /// Wakes whom a timer is due for, and says when the next one is.
    pub(crate) fn fire_timers(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut timers = lock(&self.timers);
            let Some(due) = timers.pop_expired(now) else { return timers.next_deadline() };
            // Not under the lock: a waker may do anything, such as set a timer.
            drop(timers);
            self.journal.polling();
            self.contain(|| due.wake());
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        lock(&self.timers).next_deadline()
    }

    /// Raises the stopping signal (spec L7).
    pub(crate) fn stop(&self) {
        self.contain(|| self.stopping.raise());
    }

    /// Wakes somebody, who is the application's and may panic.
    fn contain(&self, wake: impl FnOnce()) {
        contain(Phase::Background, |event| self.report(&Report::new(event)), wake);
    }
}

impl WorkerOps for LoopWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, report: &Report<'_>) {
        self.reporter.report(report);
    }

    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let mut timers = lock(&self.timers);
        let is_next = timers.next_deadline().is_none_or(|next| deadline < next);
        let key = timers.insert(deadline, waker.clone());
        drop(timers);
        if is_next {
            // A loop that waits already would wait too long.
            self.mailbox.ring();
        }
        key.into()
    }

    fn move_timer(&self, id: TimerId, waker: &Waker) -> bool {
        let mut timers = lock(&self.timers);
        match timers.value_mut(id.into()) {
            Some(armed) => {
                *armed = waker.clone();
                true
            }
            None => false,
        }
    }

    fn cancel_timer(&self, id: TimerId) {
        let cancelled = lock(&self.timers).cancel(id.into());
        drop(cancelled);
    }

    fn offload(&self, job: Job) -> Result<(), Job> {
        self.pool.submit(job)
    }

    fn spawn(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        self.mailbox.post_task(task)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_raised()
    }

    fn poll_stopping(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stopping.poll(cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
