//! Timers: who is to be woken, and when.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use varvel::TimerId;

use super::{Fault, settings::Settings};

/// How late a fault fires timers.
const COARSE: Duration = Duration::from_millis(400);

/// One thread that wakes others in time.
#[derive(Default)]
pub(super) struct Timers {
    queue: Mutex<TimerQueue>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerQueue {
    next: u128,
    /// In the order in which they fire.
    wakers: BTreeMap<(Instant, u128), Waker>,
    deadlines: HashMap<u128, Instant>,
    ended: bool,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, TimerQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `waker` woken at the deadline.
    pub(super) fn set(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let mut queue = self.lock();
        queue.next += 1;
        let id = queue.next;
        queue.wakers.insert((deadline, id), waker.clone());
        queue.deadlines.insert(id, deadline);
        drop(queue);
        self.changed.notify_all();
        TimerId(id)
    }

    /// Has another one woken; `false` if the timer has fired.
    pub(super) fn move_to(&self, TimerId(id): TimerId, waker: &Waker) -> bool {
        let mut queue = self.lock();
        let Some(deadline) = queue.deadlines.get(&id).copied() else { return false };
        queue.wakers.insert((deadline, id), waker.clone());
        true
    }

    /// Forgets a timer.
    pub(super) fn cancel(&self, TimerId(id): TimerId) {
        let mut queue = self.lock();
        if let Some(deadline) = queue.deadlines.remove(&id) {
            queue.wakers.remove(&(deadline, id));
        }
    }

    /// Wakes until [`end`](Self::end), on a thread of its own.
    pub(super) fn run(&self, settings: &Settings) {
        let never = settings.has(Fault::TimersNeverWake);
        let last_first = settings.has(Fault::TimersFireLate);
        let late = if settings.has(Fault::TimersAreCoarse) { COARSE } else { Duration::ZERO };
        let mut queue = self.lock();
        while !queue.ended {
            let mut due = queue.wakers.keys();
            let next = if last_first { due.next_back() } else { due.next() };
            let Some((deadline, id)) = next.copied().filter(|_| !never) else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = (deadline + late).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            queue.deadlines.remove(&id);
            let waker = queue.wakers.remove(&(deadline, id));
            // Whoever is woken may set another timer at once.
            drop(queue);
            waker.into_iter().for_each(Waker::wake);
            queue = self.lock();
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}
