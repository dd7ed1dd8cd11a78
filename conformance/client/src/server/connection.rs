//! A connection as its scope sees it. Each carries one exchange.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, StatusCode, Version};
use varvel::{Caps, ConnInfo, Event, Exchange, Finish, FinishHook, InterimError, Phase, Report, Worker};

use super::{bell::Task, panic_message};
use crate::Head;

pub(crate) struct Connection {
    worker: Worker,
    info: ConnInfo,
    version: Version,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The client was seen to have left, or to have ended its sending side.
    gone: bool,
    /// It waits for 100 before it sends the body.
    expects_continue: bool,
    head_sent: bool,
    interims: Vec<Head>,
    hooks: Vec<FinishHook>,
    watchers: Vec<Waker>,
    finish: Option<Finish>,
}

/// The only exchange of every connection.
pub(crate) const NUMBER: u64 = 1;

impl Connection {
    pub(crate) fn new(worker: Worker, info: ConnInfo, version: Version, expects_continue: bool) -> Arc<Self> {
        let state = Mutex::new(State { expects_continue, ..State::default() });
        Arc::new(Self { worker, info, version, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interim heads since the last time.
    pub(crate) fn take_interims(&self) -> Vec<Head> {
        std::mem::take(&mut self.lock().interims)
    }

    /// The request body is pulled: a client that waits for 100 gets it (spec H9).
    pub(crate) fn send_continue(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.expects_continue) && !state.head_sent {
            state.interims.push(Head { status: StatusCode::CONTINUE, headers: HeaderMap::new() });
        }
    }

    /// Whether the client still waits for 100.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.lock().expects_continue
    }

    /// The final head is sent.
    pub(crate) fn head_sent(&self) {
        self.lock().head_sent = true;
    }

    /// The client was seen to have left.
    pub(crate) fn disconnected(&self) {
        let mut state = self.lock();
        state.gone = true;
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
    }

    /// The exchange is over: its hooks run, once (spec E12). A panic of theirs is told and changes nothing (spec E7).
    pub(crate) fn end(&self, finish: Finish, mut panicked: impl FnMut(Box<dyn Any + Send>)) {
        let mut state = self.lock();
        if state.finish.is_some() {
            return;
        }
        state.finish = Some(finish);
        let hooks = std::mem::take(&mut state.hooks);
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        watchers.into_iter().for_each(Waker::wake);
        for hook in hooks {
            run(hook, &finish, &mut panicked);
        }
    }

    /// How many wakers of a task wait for the client to leave.
    pub(crate) fn wakers_of(&self, task: &Arc<Task>) -> usize {
        let waker = task.waker();
        self.lock().watchers.iter().filter(|watcher| watcher.will_wake(&waker)).count()
    }
}

fn run(hook: FinishHook, finish: &Finish, panicked: impl FnOnce(Box<dyn Any + Send>)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(finish))) {
        panicked(panic);
    }
}

impl Exchange for Connection {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.info
    }

    fn interim(&self, _number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        if !self.worker.info().caps.contains(Caps::INTERIM) {
            return Err(InterimError::Unsupported);
        }
        let mut state = self.lock();
        if state.head_sent || state.finish.is_some() {
            return Err(InterimError::TooLate);
        }
        if self.version < Version::HTTP_11 {
            return Err(InterimError::Unsupported);
        }
        if status == StatusCode::CONTINUE {
            drop(state);
            // Sent only to a client that waits for it (spec H11).
            self.send_continue();
            return Ok(());
        }
        state.interims.push(Head { status, headers: headers.clone() });
        Ok(())
    }

    fn is_disconnected(&self, _number: u64) -> bool {
        let state = self.lock();
        state.gone || state.finish.is_some()
    }

    fn poll_disconnected(&self, _number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.gone || state.finish.is_some() {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn on_finish(&self, _number: u64, hook: FinishHook) {
        let mut state = self.lock();
        match state.finish {
            None => state.hooks.push(hook),
            Some(finish) => {
                drop(state);
                run(hook, &finish, |panic| {
                    let message = panic_message(&*panic);
                    self.worker.report(&Report::new(Event::Panicked { during: Phase::Hook, message }));
                });
            }
        }
    }
}
