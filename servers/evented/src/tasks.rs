//! Spawned tasks: background work that is polled on the loop beside its connections (spec W2).

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use slab::Slab;
use varvel::{BoxFuture, Event, Phase, Report, Worker};
use varvel_server_kit::{containment::contain, journal::Journal};

use crate::mailbox::{Mailbox, Summons, Woken};

pub(crate) struct Tasks {
    tasks: Slab<Task>,
    mailbox: Arc<Mailbox>,
    journal: Arc<Journal>,
}

struct Task {
    future: BoxFuture,
    summons: Arc<Summons>,
    waker: Waker,
}

impl Tasks {
    pub(crate) fn new(mailbox: Arc<Mailbox>, journal: Arc<Journal>) -> Self {
        Self { tasks: Slab::new(), mailbox, journal }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Takes a task in and polls it for the first time.
    pub(crate) fn start(&mut self, future: BoxFuture, worker: &Worker) {
        let entry = self.tasks.vacant_entry();
        let index = entry.key();
        let summons = Arc::new(Summons::new(Woken::Task(index as u32), Arc::clone(&self.mailbox)));
        let waker = Waker::from(Arc::clone(&summons));
        entry.insert(Task { future, summons, waker });
        self.poll(index, worker);
    }

    /// Polls a task that was woken; one that has ended meanwhile is none any more.
    pub(crate) fn poll(&mut self, index: usize, worker: &Worker) {
        let Some(task) = self.tasks.get_mut(index) else { return };
        task.summons.heed();
        self.journal.polling();
        let mut cx = Context::from_waker(&task.waker);
        let report = |event: Event<'_>| worker.report(&Report::new(event));
        let polled = contain(Phase::Background, report, || task.future.as_mut().poll(&mut cx));
        if let Some(Poll::Pending) = polled {
            return;
        }
        let task = self.tasks.remove(index);
        drop_contained(worker, task.future);
    }

    /// Has every task polled again, for a loop that has lost the letters that said which.
    pub(crate) fn wake_all(&self) {
        for (_, task) in &self.tasks {
            task.summons.heed();
            task.summons.send();
        }
    }

    /// Drops all tasks.
    pub(crate) fn drop_all(&mut self, worker: &Worker) {
        for task in self.tasks.drain() {
            drop_contained(worker, task.future);
        }
    }
}

fn drop_contained(worker: &Worker, future: BoxFuture) {
    contain(Phase::Drop, |event| worker.report(&Report::new(event)), || drop(future));
}
