//! The exchanges of one connection as their scopes see them: which one is current, whether the client is gone, and the
//! hooks for the end.

use std::task::{Context, Poll, Waker};

use http::StatusCode;
use varvel::{Event, Finish, FinishHook, Outcome, Phase};

use crate::{
    containment::{contain, wake_all},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
};

/// The state behind a server's [`varvel::Exchange`]; one per connection, shared with every scope and watch of it.
///
/// An exchange that nobody watches and that has no hook ends without a lock: `used` says whether there is anything under it.
#[derive(Debug, Default)]
pub struct Exchanges {
    /// The number of the exchange under way, 0 between two.
    current: AtomicU64,
    gone: AtomicBool,
    /// Set before `current` is looked at, read after it was changed: so either [`end`](Self::end) sees that there is a
    /// hook to run, or [`on_finish`](Self::on_finish) sees that the exchange is over. Both are swaps, which have one order
    /// however late a processor hears of the stores of another.
    used: AtomicBool,
    /// What became of the last exchange, for a hook that comes too late. Written with every exchange, so without a lock:
    /// its number, its status and outcome, its bytes.
    last: AtomicU64,
    last_ending: AtomicU32,
    last_bytes: AtomicU64,
    /// There once somebody watched or hooked.
    state: Mutex<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
    hooks: Vec<FinishHook>,
    watchers: Vec<Waker>,
}

/// When so many watch one exchange, all are woken for nothing: those that still live come back.
const WATCHERS_MAX: usize = 64;

impl Exchanges {
    /// Begins exchange `number`.
    pub fn begin(&self, number: u64) {
        // Whoever has this number got it behind this store; to an older one it is all the same which other it sees.
        self.current.store(number, Relaxed);
    }

    /// Whether exchange `number` is under way.
    pub fn is_current(&self, number: u64) -> bool {
        self.current.load(SeqCst) == number
    }

    /// Whether somebody may watch the exchange under way, or wait for its end.
    pub fn is_watched(&self) -> bool {
        self.used.load(SeqCst)
    }

    /// Ends the exchange under way, if any: wakes who watches it and runs its hooks, each exactly once (spec E12).
    ///
    /// A hook that panics is contained and reported (spec E7).
    pub fn end(&self, finish: Finish, report: impl Fn(Event<'_>)) {
        if self.note_end(&finish) {
            self.tell(&finish, report);
        }
    }

    /// The first half of [`end`](Self::end), which runs no code but its own and so may be done under any lock. With `true`
    /// the other half, [`tell`](Self::tell), must follow.
    pub fn note_end(&self, finish: &Finish) -> bool {
        let number = self.current.load(SeqCst);
        if number == 0 {
            return false;
        }
        self.keep_last(number, finish);
        self.current.store(0, SeqCst);
        self.used.swap(false, SeqCst)
    }

    /// The same where nobody holds a scope or watch of this connection any more, so that nobody can look or add a hook
    /// meanwhile: most exchanges end so, and an atomic exchange costs as much as a hundred other instructions.
    pub fn end_unobserved(&self, finish: Finish, report: impl Fn(Event<'_>)) {
        if self.current.load(Relaxed) == 0 {
            return;
        }
        self.current.store(0, Relaxed);
        if self.used.load(Relaxed) {
            self.used.store(false, Relaxed);
            self.tell(&finish, report);
        }
    }

    /// Wakes who watches and runs the hooks.
    pub fn tell(&self, finish: &Finish, report: impl Fn(Event<'_>)) {
        // Taken out, not under the lock: hooks and wakers may do anything.
        let Some(state) = self.lock().take() else { return };
        let State { hooks, watchers } = *state;
        contain(Phase::Background, &report, || wake_all(watchers));
        for hook in hooks {
            run(hook, finish, &report);
        }
    }

    /// Notes that the client has left. Who watches for it is woken by the [`end`](Self::end), which must follow: the call
    /// is gone by then, so a reply that somebody sends on being woken finds nobody who waits for it (spec W5).
    pub fn note_gone(&self) {
        self.gone.store(true, SeqCst);
    }

    /// Notes that the client has left, and wakes who watches for it, where the call goes on.
    pub fn disconnected(&self) {
        self.gone.store(true, SeqCst);
        let watchers = self.lock().as_mut().map(|state| std::mem::take(&mut state.watchers));
        wake_all(watchers.into_iter().flatten());
    }

    /// See [`varvel::Exchange::is_disconnected`].
    pub fn is_disconnected(&self, number: u64) -> bool {
        self.gone.load(SeqCst) || !self.is_current(number)
    }

    /// See [`varvel::Exchange::poll_disconnected`].
    pub fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.used.swap(true, SeqCst);
        let mut state = self.lock();
        if self.is_disconnected(number) {
            return Poll::Ready(());
        }
        let watchers = &mut state.get_or_insert_default().watchers;
        let full = watchers.len() >= WATCHERS_MAX;
        let crowd = if full { std::mem::take(watchers) } else { Vec::new() };
        if !watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            watchers.push(cx.waker().clone());
        }
        drop(state);
        crowd.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// See [`varvel::Exchange::on_finish`].
    pub fn on_finish(&self, number: u64, hook: FinishHook, report: impl Fn(Event<'_>)) {
        self.used.swap(true, SeqCst);
        let mut state = self.lock();
        if self.is_current(number) {
            state.get_or_insert_default().hooks.push(hook);
            return;
        }
        drop(state);
        run(hook, &self.last_of(number), report);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_last(&self, number: u64, finish: &Finish) {
        let outcome = match finish.outcome {
            Outcome::Disconnected => 1,
            Outcome::Failed => 2,
            Outcome::TimedOut => 3,
            Outcome::Stopped => 4,
            _ => 0,
        };
        let status = finish.status.map_or(0, |status| u32::from(status.as_u16()));
        // Whoever sees one of the values behind the number sees the number as well. Whoever sees that the exchange is over
        // sees all of them: `current` is changed after them.
        self.last.store(number, Relaxed);
        self.last_ending.store(status << 8 | outcome, Release);
        self.last_bytes.store(finish.bytes, Release);
    }

    /// What became of an exchange that is over. Of one before the last nothing is known any more.
    fn last_of(&self, number: u64) -> Finish {
        let ending = self.last_ending.load(Acquire);
        let outcome = match ending & 0xff {
            1 => Outcome::Disconnected,
            2 => Outcome::Failed,
            3 => Outcome::TimedOut,
            4 => Outcome::Stopped,
            _ => Outcome::Completed,
        };
        let status = StatusCode::from_u16((ending >> 8) as u16).ok();
        let bytes = self.last_bytes.load(Acquire);
        match self.last.load(Relaxed) == number {
            true => Finish::new(outcome, status, bytes),
            false => Finish::new(Outcome::Completed, None, 0),
        }
    }
}

fn run(hook: FinishHook, finish: &Finish, report: impl Fn(Event<'_>)) {
    contain(Phase::Hook, report, || hook(finish));
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("hooks", &self.hooks.len())
            .field("watchers", &self.watchers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::AtomicUsize,
        mpsc::{self, Sender},
    };
    use std::task::Wake;

    use super::*;

    fn hook(to: &Sender<Outcome>) -> FinishHook {
        let to = to.clone();
        Box::new(move |finish| to.send(finish.outcome).unwrap())
    }

    #[test]
    fn a_hook_runs_once_with_what_became_of_its_exchange() {
        let (sender, receiver) = mpsc::channel();
        let exchanges = Exchanges::default();
        exchanges.begin(1);
        exchanges.on_finish(1, hook(&sender), |_| {});
        exchanges.end(Finish::new(Outcome::Failed, None, 3), |_| {});
        exchanges.end(Finish::new(Outcome::Completed, None, 3), |_| {});
        exchanges.begin(2);
        // Too late for the first, and none of the second's business.
        exchanges.on_finish(1, hook(&sender), |_| {});
        exchanges.end(Finish::new(Outcome::Completed, None, 0), |_| {});
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Outcome::Failed, Outcome::Failed]);
    }

    #[test]
    fn a_hook_runs_also_where_nobody_looks_any_more() {
        let (sender, receiver) = mpsc::channel();
        let exchanges = Exchanges::default();
        exchanges.begin(1);
        exchanges.on_finish(1, hook(&sender), |_| {});
        exchanges.end_unobserved(Finish::new(Outcome::Failed, None, 3), |_| {});
        exchanges.end_unobserved(Finish::new(Outcome::Completed, None, 3), |_| {});
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Outcome::Failed]);
        assert!(exchanges.is_disconnected(1));
    }

    #[test]
    fn a_hook_that_comes_too_late_is_told_the_truth() {
        let (sender, receiver) = mpsc::channel();
        let exchanges = Exchanges::default();
        exchanges.begin(1);
        let finish = Finish::new(Outcome::Failed, Some(StatusCode::INTERNAL_SERVER_ERROR), 22);
        exchanges.end(finish, |_| {});
        exchanges.on_finish(1, Box::new(move |finish| sender.send(*finish).unwrap()), |_| {});
        assert_eq!(receiver.recv(), Ok(finish));
    }

    #[test]
    fn a_panicking_hook_is_reported_and_the_next_one_runs() {
        let (sender, receiver) = mpsc::channel();
        let panics = AtomicUsize::new(0);
        let exchanges = Exchanges::default();
        exchanges.begin(1);
        exchanges.on_finish(1, Box::new(|_| panic!("in a hook")), |_| {});
        exchanges.on_finish(1, hook(&sender), |_| {});
        exchanges.end(Finish::new(Outcome::Completed, None, 0), |event| {
            assert!(matches!(event, Event::Panicked { during: Phase::Hook, message: "in a hook" }));
            panics.fetch_add(1, SeqCst);
        });
        assert_eq!((receiver.recv(), panics.into_inner()), (Ok(Outcome::Completed), 1));
    }

    #[test]
    fn a_hook_whose_panic_carries_what_panics_too_ends_the_loop_that_runs_it() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the second");
            }
        }
        let (sender, receiver) = mpsc::channel();
        let exchanges = Exchanges::default();
        exchanges.begin(1);
        exchanges.on_finish(1, Box::new(|_| std::panic::panic_any(Bomb)), |_| {});
        exchanges.on_finish(1, hook(&sender), |_| {});
        exchanges.end(Finish::new(Outcome::Completed, None, 0), |_| {});
        assert_eq!(receiver.recv(), Ok(Outcome::Completed));
    }

    #[test]
    fn who_watches_is_woken_by_the_disconnect_and_by_the_end() {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, SeqCst);
            }
        }
        for leave in [true, false] {
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&flag));
            let mut cx = Context::from_waker(&waker);
            let exchanges = Exchanges::default();
            exchanges.begin(1);
            assert!(exchanges.poll_disconnected(1, &mut cx).is_pending());
            if leave {
                exchanges.disconnected();
            } else {
                exchanges.end(Finish::new(Outcome::Completed, None, 0), |_| {});
            }
            assert!(flag.0.load(SeqCst));
            assert!(exchanges.poll_disconnected(1, &mut cx).is_ready());
        }
    }
}
