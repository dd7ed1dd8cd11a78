//! The exchanges of a connection: each hook runs once and is told the truth, each watcher is woken.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use http::StatusCode;
use loom::{
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
    thread,
};
use varvel::{Finish, Outcome};

use crate::exchanges::Exchanges;

pub(crate) const ALL: &[crate::Model] = &[
    ("exchanges: a hook at the end of its exchange runs once", hook_at_the_end),
    ("exchanges: a hook of who has left runs once", hook_of_who_has_left),
    ("exchanges: a hook is not told of another exchange", hook_behind_the_next_exchange),
    ("exchanges: who watches at the end is woken", watch_at_the_end),
    ("exchanges: who watches while the client leaves is woken", watch_at_the_disconnect),
];

fn finish(number: u64) -> Finish {
    match number {
        1 => Finish::new(Outcome::Failed, Some(StatusCode::INTERNAL_SERVER_ERROR), 1),
        _ => Finish::new(Outcome::Stopped, Some(StatusCode::OK), 2),
    }
}

fn hook_at_the_end() {
    let exchanges = Arc::new(Exchanges::default());
    exchanges.begin(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let (application, counted) = (Arc::clone(&exchanges), Arc::clone(&runs));
    let hooking = thread::spawn(move || {
        let hook = move |seen: &Finish| {
            assert_eq!(*seen, finish(1));
            counted.fetch_add(1, SeqCst);
        };
        application.on_finish(1, Box::new(hook), |_| {});
    });
    exchanges.end(finish(1), |_| {});
    hooking.join().unwrap();
    assert_eq!(runs.load(SeqCst), 1);
}

/// The evented server ends an exchange without an atomic exchange where the count of its handle says that nobody else
/// has it; the count here goes as that of an `Arc` does.
fn hook_of_who_has_left() {
    let exchanges = Arc::new(Exchanges::default());
    exchanges.begin(1);
    let (runs, holders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let (application, counted, leaving) = (Arc::clone(&exchanges), Arc::clone(&runs), Arc::clone(&holders));
    let hooking = thread::spawn(move || {
        let hook = move |_: &Finish| _ = counted.fetch_add(1, SeqCst);
        application.on_finish(1, Box::new(hook), |_| {});
        leaving.fetch_sub(1, Release);
    });
    let is_unobserved = holders.load(Relaxed) == 0;
    fence(Acquire);
    match is_unobserved {
        true => exchanges.end_unobserved(finish(1), |_| {}),
        false => exchanges.end(finish(1), |_| {}),
    }
    hooking.join().unwrap();
    assert_eq!(runs.load(SeqCst), 1);
}

/// One that is late enough may be told nothing, but nothing wrong.
fn hook_behind_the_next_exchange() {
    let exchanges = Arc::new(Exchanges::default());
    exchanges.begin(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let (application, counted) = (Arc::clone(&exchanges), Arc::clone(&runs));
    let hooking = thread::spawn(move || {
        let hook = move |seen: &Finish| {
            assert!(*seen == finish(1) || *seen == Finish::new(Outcome::Completed, None, 0), "{seen:?}");
            counted.fetch_add(1, SeqCst);
        };
        application.on_finish(1, Box::new(hook), |_| {});
    });
    exchanges.end(finish(1), |_| {});
    exchanges.begin(2);
    exchanges.end(finish(2), |_| {});
    hooking.join().unwrap();
    assert_eq!(runs.load(SeqCst), 1);
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn watch(change: impl FnOnce(&Exchanges)) {
    let exchanges = Arc::new(Exchanges::default());
    exchanges.begin(1);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let (application, waker) = (Arc::clone(&exchanges), Waker::from(Arc::clone(&flag)));
    let watching =
        thread::spawn(move || application.poll_disconnected(1, &mut Context::from_waker(&waker)).is_ready());
    change(&exchanges);
    let ready = watching.join().unwrap();
    assert!(ready || flag.0.load(SeqCst), "one waits for ever");
    assert!(exchanges.is_disconnected(1));
}

fn watch_at_the_end() {
    watch(|exchanges| exchanges.end(finish(1), |_| {}));
}

fn watch_at_the_disconnect() {
    watch(Exchanges::disconnected);
}
