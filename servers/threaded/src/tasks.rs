//! Background tasks, on a thread of their own.
//!
//! Not on the pool for blocking jobs: that one may be full and turn work away, and the wake-up of a task must never be
//! turned away. One thread is enough for tasks that keep the rule not to block when polled (spec A1); one that breaks
//! it delays other tasks, never a request.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use slab::Slab;
use varvel::{BoxFuture, Event, Phase, Report, Reporter};
use varvel_server_kit::containment::contain;

use crate::threads::Threads;

/// The tasks of a worker.
pub(crate) struct Tasks {
    state: Mutex<State>,
    /// Told when a task was woken, and at the end. The thread waits here.
    woken: Condvar,
    reporter: Arc<dyn Reporter>,
    /// Called when no task is left.
    on_idle: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// Tasks to be polled.
    queue: VecDeque<Arc<Task>>,
    /// All tasks that are not done.
    tasks: Slab<Arc<Task>>,
    has_thread: bool,
    ended: bool,
}

struct Task {
    tasks: Weak<Tasks>,
    /// `None` once it is done.
    future: Mutex<Option<BoxFuture>>,
    /// It is in the queue.
    queued: AtomicBool,
    key: usize,
}

impl Tasks {
    pub(crate) fn new(reporter: Arc<dyn Reporter>, on_idle: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), woken: Condvar::new(), reporter, on_idle })
    }

    /// Has a task polled to its end; gives it back where that is not possible any more.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        future: BoxFuture,
        threads: &Arc<Threads>,
    ) -> Result<(), BoxFuture> {
        let mut state = self.lock();
        if state.ended {
            return Err(future);
        }
        if !state.has_thread {
            let tasks = Arc::clone(self);
            if !threads.start("varvel-tasks", move || tasks.run()) {
                return Err(future);
            }
            state.has_thread = true;
        }
        let entry = state.tasks.vacant_entry();
        let task = Arc::new(Task {
            tasks: Arc::downgrade(self),
            future: Mutex::new(Some(future)),
            queued: AtomicBool::new(true),
            key: entry.key(),
        });
        entry.insert(Arc::clone(&task));
        state.queue.push_back(task);
        drop(state);
        self.woken.notify_one();
        Ok(())
    }

    /// Takes no more tasks if none is left; whether that is so.
    pub(crate) fn end_if_none(&self) -> bool {
        let mut state = self.lock();
        let none = state.tasks.is_empty();
        state.ended |= none;
        drop(state);
        self.woken.notify_one();
        none
    }

    /// Drops the tasks that are left and takes no more.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.woken.notify_one();
    }

    /// The life of the thread.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if state.ended {
                let left = std::mem::take(&mut state.tasks);
                state.queue.clear();
                drop(state);
                for (_, task) in left {
                    self.drop_future(task.lock().take());
                }
                return (self.on_idle)();
            }
            let Some(task) = state.queue.pop_front() else {
                state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let done = self.poll(&task);
            state = self.lock();
            if done && state.tasks.try_remove(task.key).is_some() && state.tasks.is_empty() {
                drop(state);
                (self.on_idle)();
                state = self.lock();
            }
        }
    }

    /// Polls a task once; whether it is done by that.
    fn poll(&self, task: &Arc<Task>) -> bool {
        // Woken from here on, it has to be polled again. Whoever found it in the queue relies on being seen now: reading the
        // flag while clearing it makes it so on every machine.
        task.queued.swap(false, SeqCst);
        let mut place = task.lock();
        let Some(mut future) = place.take() else { return false };
        let waker = Waker::from(Arc::clone(task));
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        match contain(Phase::Background, |event| self.report(event), poll) {
            Some(Poll::Pending) => {
                *place = Some(future);
                false
            }
            Some(Poll::Ready(())) | None => {
                drop(place);
                self.drop_future(Some(future));
                true
            }
        }
    }

    fn drop_future(&self, future: Option<BoxFuture>) {
        contain(Phase::Drop, |event| self.report(event), || drop(future));
    }

    fn report(&self, event: Event<'_>) {
        self.reporter.report(&Report::new(event));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn lock(&self) -> MutexGuard<'_, Option<BoxFuture>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        if !self.queued.swap(true, SeqCst) {
            tasks.lock().queue.push_back(self);
            tasks.woken.notify_one();
        }
    }
}
