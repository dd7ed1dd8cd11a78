//! The mailbox of a loop: a loop that waits is woken by what comes.

use std::{sync::Arc, time::Duration};

use loom::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};
use mio::{Events, Poll, Token};

use crate::{
    accept::Accepted,
    mailbox::{Letters, Mailbox, Summons, Woken},
};

pub(crate) const ALL: &[crate::Model] = &[
    ("mailbox: a loop does not sleep over a letter", letter),
    ("mailbox: nor over one of two", two_letters),
    ("mailbox: nor over a timer", timer),
    ("mailbox: who is summoned sees why, or is summoned again", summons),
    ("mailbox: a task is run or given back", task_at_the_end),
    ("mailbox: a connection is taken in or given back", connection_at_the_close),
];

struct Loop {
    poll: Poll,
    mailbox: Arc<Mailbox>,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), Token(0)).unwrap();
        Self { poll, mailbox: Mailbox::new(waker) }
    }

    /// Whether the wait of a loop would have ended by now.
    fn is_woken(&mut self) -> bool {
        let mut events = Events::with_capacity(1);
        self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    fn letters(&self) -> usize {
        let mut letters = Letters::default();
        self.mailbox.take(&mut letters);
        letters.woken.len()
    }
}

fn letter() {
    let mut event_loop = Loop::new();
    let mailbox = Arc::clone(&event_loop.mailbox);
    let posting = thread::spawn(move || mailbox.post(|letters| letters.woken.push(Woken::Root)));
    let waits = event_loop.mailbox.begin_wait();
    posting.join().unwrap();
    assert!(!waits || event_loop.is_woken(), "the loop sleeps");
    event_loop.mailbox.end_wait();
    assert_eq!(event_loop.letters(), 1);
}

fn two_letters() {
    let mut event_loop = Loop::new();
    let posting = [(); 2].map(|()| {
        let mailbox = Arc::clone(&event_loop.mailbox);
        thread::spawn(move || mailbox.post(|letters| letters.woken.push(Woken::Root)))
    });
    // A first turn that finds one, both or none.
    event_loop.mailbox.begin_wait();
    event_loop.mailbox.end_wait();
    let found = event_loop.letters();
    let waits = event_loop.mailbox.begin_wait();
    posting.into_iter().for_each(|posting| posting.join().unwrap());
    let left = event_loop.letters();
    assert_eq!(found + left, 2);
    assert!(!waits || left == 0 || event_loop.is_woken(), "the loop sleeps");
}

/// Timers lie elsewhere, under a lock of their own; whoever sets one only rings.
fn timer() {
    let mut event_loop = Loop::new();
    let timers = Arc::new(Mutex::new(0));
    let (mailbox, others) = (Arc::clone(&event_loop.mailbox), Arc::clone(&timers));
    let setting = thread::spawn(move || {
        *others.lock().unwrap() += 1;
        mailbox.ring();
    });
    event_loop.mailbox.begin_wait();
    let seen = *timers.lock().unwrap();
    setting.join().unwrap();
    assert!(seen == 1 || event_loop.is_woken(), "the loop sleeps");
}

/// What happened is written down without any care for order, as an application may do it.
fn summons() {
    let event_loop = Loop::new();
    let summons = Arc::new(Summons::new(Woken::Root, Arc::clone(&event_loop.mailbox)));
    let happened = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let sending = [0, 1].map(|index| {
        let (summons, happened) = (Arc::clone(&summons), Arc::clone(&happened));
        thread::spawn(move || {
            happened[index].store(1, Relaxed);
            summons.send();
        })
    });
    event_loop.letters();
    summons.heed();
    let seen = happened.each_ref().map(|happened| happened.load(Relaxed));
    sending.into_iter().for_each(|sending| sending.join().unwrap());
    assert!(seen == [1, 1] || event_loop.letters() > 0, "what happened is never seen");
}

fn task_at_the_end() {
    let event_loop = Loop::new();
    let mailbox = Arc::clone(&event_loop.mailbox);
    let posting = thread::spawn(move || usize::from(mailbox.post_task(Box::pin(async {})).is_err()));
    let mut run = 0;
    while !event_loop.mailbox.end() {
        let mut letters = Letters::default();
        event_loop.mailbox.take(&mut letters);
        run += letters.tasks.len();
    }
    let given_back = posting.join().unwrap();
    assert_eq!(run + given_back, 1);
}

fn connection_at_the_close() {
    let event_loop = Loop::new();
    let mailbox = Arc::clone(&event_loop.mailbox);
    let posting = thread::spawn(move || usize::from(mailbox.post_connection(Accepted).is_err()));
    let taken_in = event_loop.mailbox.close().len();
    let given_back = posting.join().unwrap();
    assert_eq!(taken_in + given_back, 1);
}
