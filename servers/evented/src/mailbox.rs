//! What reaches a loop from elsewhere: other threads, and its own wakers.

use std::{collections::VecDeque, sync::Arc, task::Wake};

use varvel::BoxFuture;

use crate::{
    accept::Accepted,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// The mailbox of one loop. Posting from the loop's own thread costs no system call.
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    /// The loop waits, or is about to: whoever posts must wake it. Set before the loop looks into the mailbox for the last
    /// time, read after something was posted, so one of the two always sees the other. Both are swaps, which have one
    /// order however late a processor hears of the stores of another.
    waiting: AtomicBool,
    waker: mio::Waker,
}

/// What has arrived.
#[derive(Default)]
pub(crate) struct Letters {
    /// Who was woken.
    pub(crate) woken: Vec<Woken>,
    /// Connections that a busier loop accepted.
    pub(crate) connections: VecDeque<Accepted>,
    /// Tasks to be run.
    pub(crate) tasks: VecDeque<BoxFuture>,
    /// The control's stop has changed.
    pub(crate) stop: bool,
    /// A full server may have room again.
    pub(crate) room: bool,
    /// The loop takes no more connections.
    closed: bool,
    /// It takes no more tasks either.
    ended: bool,
}

/// A future that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// That of a connection, by its index.
    Connection(u32),
    /// A spawned task, by its index.
    Task(u32),
    /// What the loop itself waits for: build or teardown.
    Root,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Arc<Self> {
        Arc::new(Self { letters: Mutex::default(), waiting: AtomicBool::new(false), waker })
    }

    /// Puts something in.
    pub(crate) fn post(&self, put: impl FnOnce(&mut Letters)) {
        put(&mut self.lock());
        self.ring();
    }

    /// Puts a connection in, or gives it back if the loop takes no more.
    pub(crate) fn post_connection(&self, accepted: Accepted) -> Result<(), Accepted> {
        let mut letters = self.lock();
        if letters.closed {
            return Err(accepted);
        }
        letters.connections.push_back(accepted);
        drop(letters);
        self.ring();
        Ok(())
    }

    /// Puts a task in, or gives it back if the loop runs no more.
    pub(crate) fn post_task(&self, task: BoxFuture) -> Result<(), BoxFuture> {
        let mut letters = self.lock();
        if letters.ended {
            return Err(task);
        }
        letters.tasks.push_back(task);
        drop(letters);
        self.ring();
        Ok(())
    }

    /// Takes no more connections, but hands out those that came before.
    pub(crate) fn close(&self) -> VecDeque<Accepted> {
        let mut letters = self.lock();
        letters.closed = true;
        std::mem::take(&mut letters.connections)
    }

    /// The loop has died for good: takes nothing any more.
    pub(crate) fn bury(&self) {
        let connections = self.close();
        self.lock().ended = true;
        drop(connections);
    }

    /// Puts back what a loop that died has taken out and not come to, ahead of what has arrived since. Who was woken is not
    /// among it: whoever is still there is woken again.
    pub(crate) fn put_back(&self, mut rest: Letters) {
        let mut letters = self.lock();
        rest.connections.append(&mut letters.connections);
        letters.connections = rest.connections;
        rest.tasks.append(&mut letters.tasks);
        letters.tasks = rest.tasks;
        letters.stop |= rest.stop;
    }

    /// Ends the loop's wait, if it waits. Enough for what the loop looks at after it has said that it is about to wait,
    /// as it does at its timers; everything else needs a letter.
    pub(crate) fn ring(&self) {
        if self.waiting.swap(false, SeqCst) {
            // It fails only if the poller is gone, and then nobody waits.
            let _ = self.waker.wake();
        }
    }

    /// Says that the loop is about to wait; `false` if there is something that it must not wait with.
    pub(crate) fn begin_wait(&self) -> bool {
        self.waiting.swap(true, SeqCst);
        self.lock().is_empty()
    }

    /// The same for a loop that only runs a build or a teardown and leaves connections where they are.
    pub(crate) fn begin_wait_without_connections(&self) -> bool {
        self.waiting.swap(true, SeqCst);
        self.lock().has_no_work()
    }

    /// Takes what there is but connections, in exchange for empty letters.
    pub(crate) fn take_work(&self, empty: &mut Letters) {
        let mut letters = self.lock();
        std::mem::swap(&mut letters.woken, &mut empty.woken);
        std::mem::swap(&mut letters.tasks, &mut empty.tasks);
        empty.stop = std::mem::take(&mut letters.stop);
    }

    /// Takes no more tasks, unless there is something in it: then it goes on, and this is `false`.
    pub(crate) fn end(&self) -> bool {
        let mut letters = self.lock();
        letters.ended = letters.is_empty();
        letters.ended
    }

    /// Says that the loop turns again.
    pub(crate) fn end_wait(&self) {
        self.waiting.store(false, SeqCst);
    }

    /// Takes what there is, in exchange for empty letters whose memory is used again.
    pub(crate) fn take(&self, empty: &mut Letters) {
        let mut letters = self.lock();
        std::mem::swap(&mut letters.woken, &mut empty.woken);
        std::mem::swap(&mut letters.connections, &mut empty.connections);
        std::mem::swap(&mut letters.tasks, &mut empty.tasks);
        empty.stop = std::mem::take(&mut letters.stop);
        empty.room = std::mem::take(&mut letters.room);
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to have something driven by the loop: one letter, however often it is asked for before the loop heeds it.
pub(crate) struct Summons {
    whom: Woken,
    mailbox: Arc<Mailbox>,
    /// The letter is on its way.
    sent: AtomicBool,
}

impl Summons {
    pub(crate) fn new(whom: Woken, mailbox: Arc<Mailbox>) -> Self {
        Self { whom, mailbox, sent: AtomicBool::new(false) }
    }

    /// Sends the letter, unless it is on its way.
    pub(crate) fn send(&self) {
        if !self.sent.swap(true, SeqCst) {
            self.mailbox.post(|letters| letters.woken.push(self.whom));
        }
    }

    /// Says that the loop is about to look; what happens from now on needs another letter. Tells whether there was one.
    ///
    /// Whoever found the letter on its way relies on being seen now. Reading the flag while clearing it makes it so on
    /// every machine; clearing it alone would not.
    pub(crate) fn heed(&self) -> bool {
        self.sent.swap(false, SeqCst)
    }
}

impl Wake for Summons {
    fn wake(self: Arc<Self>) {
        self.send();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.send();
    }
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.has_no_work() && self.connections.is_empty() && !self.room
    }

    fn has_no_work(&self) -> bool {
        self.woken.is_empty() && self.tasks.is_empty() && !self.stop
    }
}
