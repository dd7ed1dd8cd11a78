//! What applications can ask of the worker: timers, background tasks, blocking jobs, and to be told of the stop.

use std::{
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
