//! Who does what: the run queue, the leadership, and when another thread is called.
//!
//! All threads are alike. Each asks [`Pool::next`] what to do and is told to *serve* an item of the run queue, to
//! *lead* (wait in the poller for everybody, and fill the queue), or to end. Two rules hold:
//!
//! 1. At most `threads` serve at a time, and never the last thread there is. So however many calls block, one thread is
//!    free to lead. While no other is free, it looks at the items itself and does what can be done without the
//!    application: unfinished heads, time-outs and closes do not wait for a thread.
//! 2. Whoever takes something to do leaves nothing behind that nobody will come for: if there are items in the queue or
//!    nobody leads, either another thread is called now, or the [watch](Pool::watch) looks whether one is needed. It also
//!    wakes a leader that waits while items lie there for it to look at.
//!
//! Calling a sleeping thread costs both sides some microseconds, more than a quick request does altogether. So as
//! long as calls are quick, the thread that led serves what it found itself, one after the other, and then leads again,
//! as an event loop would; only if there is more to do and another processor to do it is another thread called.
//!
//! The bet is lost when a call blocks. The watch sees that within [`TICK`]: nothing is taken although there is something
//! to take, and who took last *waits*, as the system knows. It calls another thread, and from then on leadership and queue
//! are handed over at once, until [`SLOW_MEMORY`] turns in a row were quick.
//!
//! A clock alone cannot tell a call that blocks from a thread whose processor was given to somebody else for some
//! milliseconds. Handing over on that suspicion has more threads compete for the processor, which makes more turns look
//! slow: with a thousand connections on one core it doubled the cost of a request, for good. Therefore who merely computes,
//! or would like to, gets company only after [`COMPUTING_TICKS`], and one at a time.
//!
//! A turn that the watch had to call somebody for *outlasts* the others, and so does one that moves more than
//! [`BYTES_PER_TURN`]. Nobody counts on its end any more: quick calls go on beside it as if it were not there. While it
//! moves bytes it offers the processor to them again and again.
//!
//! Who goes on after a turn that was cut short, with requests of a long pipeline or an answer without end, comes after
//! all whom the poller knows of. So between two turns of one connection everybody else has one.
//!
//! Threads are started only on the word of the watch: for a call that blocks so many that their number may double, so a
//! hundred blocking calls have a hundred threads after some ticks.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::kernel_thread::KernelThread;

/// How often the watch looks while there is something to do.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A turn that takes longer is not quick.
pub(crate) const SLOW: Duration = Duration::from_micros(500);

/// For how many turns a call that blocked is remembered.
const SLOW_MEMORY: u32 = 64;

/// How long the watch lets a thread compute while there is something else to do.
const COMPUTING_TICKS: u32 = 4;

/// After so many items somebody looks into the poller, even if the queue is not empty yet.
const ITEMS_PER_POLL: u32 = 64;

/// A turn in which more bytes are moved outlasts others: some hundred microseconds, as much as a large answer takes.
const BYTES_PER_TURN: u64 = 1024 * 1024;

/// After so many bytes whoever else wants the processor may have it.
const BYTES_PER_YIELD: u64 = 256 * 1024;

/// Starts one more thread, which is to begin with [`Came::Started`]; `false` if there is none to be had.
pub(crate) type Starter = Box<dyn Fn() -> bool + Send + Sync>;

/// A run queue of `T` and the threads that serve it.
pub(crate) struct Pool<T> {
    /// How many may serve at a time.
    threads: usize,
    /// How many serve at a time as long as calls are quick.
    processors: usize,
    starter: OnceLock<Starter>,
    state: Mutex<State<T>>,
    /// Sleeping threads wait here to be called.
    called: Condvar,
    /// The watch waits here for something to watch.
    watch: Condvar,
    /// A thread that serves has gone on to something else since somebody asked.
    progressed: AtomicBool,
}

struct State<T> {
    /// Items as they were found to be ready.
    queue: VecDeque<T>,
    /// Items that have had a turn since somebody led.
    again: VecDeque<T>,
    /// Items of which the leader has done all that it can do.
    examined: VecDeque<T>,
    /// Threads that exist, those being started included.
    threads: usize,
    /// Threads that were asked of the system and have not come yet.
    starting: usize,
    /// Threads that sleep and were not called.
    sleeping: usize,
    /// Threads that were called and have not woken yet.
    called: usize,
    serving: usize,
    /// How many of them outlast others.
    outlasting: usize,
    /// Turns up to this number outlast others.
    outlasting_up_to: u64,
    has_leader: bool,
    /// Who leads does not wait.
    leader_looks: bool,
    /// Items and leaderships taken so far, which is the number of the last turn.
    taken: u64,
    /// Who took last.
    taker: Option<KernelThread>,
    /// Items taken since somebody led.
    since_poll: u32,
    /// Calls block. Counts down with every quick turn.
    slow: u32,
    /// How many threads may be started.
    allowance: usize,
    watching: bool,
    ended: bool,
}

thread_local! {
    /// The calling thread's, kept here so that bytes are counted without a lock.
    static TURN: Cell<OwnTurn> = const { Cell::new(OwnTurn::NONE) };
}

/// What a thread knows of the turn in which it serves.
#[derive(Clone, Copy)]
struct OwnTurn {
    /// The address of the pool; 0 if the thread does not serve. Bodies may be read on threads of another server.
    pool: usize,
    number: u64,
    /// How many bytes it has moved.
    moved: u64,
    /// It said itself that it outlasts others.
    outlasts: bool,
}

impl OwnTurn {
    const NONE: Self = Self { pool: 0, number: 0, moved: 0, outlasts: false };
}

/// What a thread has done before it asks.
pub(crate) enum Came<'a, T> {
    /// Nothing, it has just begun.
    Started,
    /// It served.
    Served {
        /// It was [timed](Turn::Serve::timed), and took longer than [`SLOW`].
        slowly: bool,
    },
    /// It led, and found these to be ready.
    Led(&'a mut Vec<T>),
}

/// What a thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// Serve.
    Serve {
        /// What.
        item: T,
        /// How long it takes is of interest.
        timed: bool,
    },
    /// Lead; `wait` tells whether there is time to wait for events.
    Lead { wait: bool },
    /// End.
    End,
}

impl<T> Pool<T> {
    /// A pool without threads.
    pub(crate) fn new(threads: usize, processors: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            again: VecDeque::new(),
            examined: VecDeque::new(),
            threads: 0,
            starting: 0,
            sleeping: 0,
            called: 0,
            serving: 0,
            outlasting: 0,
            outlasting_up_to: 0,
            has_leader: false,
            leader_looks: false,
            taken: 0,
            taker: None,
            since_poll: 0,
            slow: 0,
            // As many as it takes to have all processors serve while one thread leads.
            allowance: processors.saturating_sub(1),
            watching: false,
            ended: false,
        };
        Self {
            threads,
            processors,
            starter: OnceLock::new(),
            state: Mutex::new(state),
            called: Condvar::new(),
            watch: Condvar::new(),
            progressed: AtomicBool::new(false),
        }
    }

    /// Starts the two threads without which nothing can be done, one to serve and one to lead, and later as many as are
    /// needed. `false` if the two cannot be had.
    pub(crate) fn start(&self, starter: Starter) -> bool {
        self.starter.set(starter).is_ok() && (0..2).all(|_| self.start_thread(self.lock()))
    }

    /// Appends an item from outside of the pool, or from a thread that goes on with something else.
    pub(crate) fn push(&self, item: T) {
        let mut state = self.lock();
        if !state.ended {
            state.queue.push_back(item);
            self.enlist(state);
        }
    }

    /// Appends an item that has had a turn just now and goes on: others come first.
    pub(crate) fn push_again(&self, item: T) {
        let mut state = self.lock();
        if !state.ended {
            state.again.push_back(item);
            self.enlist(state);
        }
    }

    /// Appends an item that only a serving thread can do something about.
    pub(crate) fn push_examined(&self, item: T) {
        let mut state = self.lock();
        if !state.ended {
            state.examined.push_back(item);
            self.enlist(state);
        }
    }

    /// Whether no further thread may serve.
    pub(crate) fn is_saturated(&self) -> bool {
        self.lock().serving >= self.threads
    }

    /// Notes that a thread that serves goes on to something else.
    pub(crate) fn note_progress(&self) {
        // Most find it noted already, and leave it to the caches of all processors.
        if !self.progressed.load(Relaxed) {
            self.progressed.store(true, Relaxed);
        }
    }

    /// Whether a further thread may serve, or one has gone on since this was asked the last time.
    pub(crate) fn has_progress(&self) -> bool {
        self.progressed.swap(false, Relaxed) || !self.is_saturated()
    }

    /// If no further thread may serve: takes the items that nobody has looked at yet, for the leader to look at them.
    /// Tells whether it is so.
    pub(crate) fn take_unexamined(&self, items: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        let saturated = state.serving >= self.threads;
        if saturated {
            items.extend(state.queue.drain(..));
            items.extend(state.again.drain(..));
        }
        saturated
    }

    /// The application's code on the calling thread has moved so many bytes of a body. If its turn is not quick any
    /// more, somebody is called who looks after the others; and from time to time they get the processor.
    pub(crate) fn moved(&self, bytes: u64) {
        let mut turn = TURN.get();
        let before = turn.moved;
        turn.moved += bytes;
        TURN.set(turn);
        if turn.moved > BYTES_PER_TURN && !turn.outlasts && turn.pool == self.address() {
            self.outlast(turn);
        }
        if before / BYTES_PER_YIELD != turn.moved / BYTES_PER_YIELD {
            thread::yield_now();
        }
    }

    /// The calling thread's turn is going to last.
    fn outlast(&self, turn: OwnTurn) {
        TURN.set(OwnTurn { outlasts: true, ..turn });
        let mut state = self.lock();
        if turn.number > state.outlasting_up_to {
            state.outlasting += 1;
            if self.needs_hands(&state) {
                state.allowance = state.allowance.max(1);
                self.enlist(state);
            }
        }
    }

    /// What the calling thread is to do next. Sleeps until there is something.
    pub(crate) fn next(&self, came: Came<'_, T>) -> Turn<T> {
        let mut state = self.lock();
        match came {
            Came::Started => state.starting = state.starting.saturating_sub(1),
            Came::Led(ready) => {
                state.has_leader = false;
                state.leader_looks = false;
                if !state.ended {
                    state.queue.extend(ready.drain(..));
                    let again = std::mem::take(&mut state.again);
                    state.queue.extend(again);
                }
            }
            Came::Served { slowly } => {
                self.note_progress();
                let turn = TURN.replace(OwnTurn::NONE);
                state.serving -= 1;
                state.outlasting -= usize::from(turn.outlasts || turn.number <= state.outlasting_up_to);
                state.slow = if slowly { SLOW_MEMORY } else { state.slow.saturating_sub(1) };
            }
        }
        loop {
            if state.ended {
                return Turn::End;
            }
            let may_serve = state.items() > 0 && state.serving < self.capacity(&state);
            let poll_is_due = !state.has_fresh() || !may_serve || state.since_poll >= ITEMS_PER_POLL;
            if !state.has_leader && poll_is_due && !self.is_enough_awake(&state) {
                state.has_leader = true;
                state.leader_looks = may_serve;
                state.since_poll = 0;
                state.take();
                // What lies there it looks at first of all.
                if self.needs_hands(&state) {
                    self.enlist(state);
                }
                return Turn::Lead { wait: !may_serve };
            }
            if may_serve {
                if let Some(item) = state.pop() {
                    state.serving += 1;
                    state.since_poll += 1;
                    state.take();
                    TURN.set(OwnTurn { pool: self.address(), number: state.taken, ..OwnTurn::NONE });
                    let timed = state.slow > 0;
                    self.enlist(state);
                    return Turn::Serve { item, timed };
                }
            }
            state = self.sleep(state);
        }
    }

    /// Looks after rule 2 until the pool has ended; on a thread of its own. Calls `each_tick` on the way, which tells
    /// whether it did something. `wake_leader` ends the wait of who leads.
    pub(crate) fn watch(&self, mut each_tick: impl FnMut() -> bool, wake_leader: impl Fn()) {
        let mut state = self.lock();
        // Ticks in a row in which who took last computed, and nobody took anything.
        let mut computing = 0;
        while !state.ended {
            if !state.watching {
                state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let taken = state.taken;
            state = self.watch.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
            drop(state);
            let busy = each_tick();
            state = self.lock();
            if state.taken != taken {
                computing = 0;
            } else if self.needs_hands(&state) {
                let taker = state.taker;
                drop(state);
                let computes = taker.is_some_and(KernelThread::is_runnable);
                computing = if computes { computing + 1 } else { 0 };
                state = self.lock();
                if state.taken == taken && (!computes || computing >= COMPUTING_TICKS) {
                    self.send_hands(state, computes);
                    state = self.lock();
                    computing = 0;
                }
            } else if state.has_unexamined() {
                drop(state);
                wake_leader();
                state = self.lock();
            } else {
                state.watching = busy;
            }
        }
    }

    /// Has somebody come for what nobody has taken for too long, since who took last computes or else blocks.
    fn send_hands<'a>(&'a self, mut state: MutexGuard<'a, State<T>>, computes: bool) {
        // Nothing was taken for a tick at least: nobody who does something comes by soon.
        state.outlasting = state.serving;
        state.outlasting_up_to = state.taken;
        state.leader_looks = false;
        if computes {
            state.allowance = state.allowance.max(1);
        } else {
            state.slow = SLOW_MEMORY;
            state.allowance = state.threads;
        }
        self.enlist(state);
    }

    /// Has the watch look for some ticks.
    pub(crate) fn wake_watch(&self) {
        self.begin_watch(&mut self.lock());
    }

    /// Sends all threads home, and forgets the items. Who leads has to be woken by who calls this.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let State { queue, again, examined, .. } = &mut *state;
        let left = [queue, again, examined].map(std::mem::take);
        drop(state);
        self.called.notify_all();
        self.watch.notify_all();
        drop(left);
    }

    /// How many threads may serve just now: never all there are.
    fn capacity(&self, state: &State<T>) -> usize {
        self.threads.min((state.threads - state.starting).saturating_sub(1))
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether all processors are busy with calls that are going to end soon. Who led beside them would take the processor
    /// from one of them with each event.
    fn is_enough_awake(&self, state: &State<T>) -> bool {
        state.slow == 0 && state.quick() >= self.processors
    }

    /// Whether there is something to do that nobody does.
    fn needs_hands(&self, state: &State<T>) -> bool {
        !state.has_leader || (state.items() > 0 && state.serving < self.threads)
    }

    /// Calls one more thread if it is worth it, and lets go of the state.
    fn enlist<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) {
        if state.ended {
            return;
        }
        if !self.needs_hands(&state) {
            // All threads are taken: what nobody has looked at is the leader's, who may not know of it.
            if state.has_unexamined() {
                self.begin_watch(&mut state);
            }
            return;
        }
        let coming = state.called + state.starting;
        let wanted = match state.quick() {
            _ if state.slow > 0 => state.items() + usize::from(!state.has_leader),
            // There is nobody who would come by.
            0 => (state.items() + usize::from(!state.has_leader)).min(self.processors),
            quick => state.items().min(self.processors.saturating_sub(quick)),
        };
        if coming < wanted {
            self.call(state);
        } else {
            // Whoever is awake comes by soon, unless it blocks: that is for the watch to see.
            self.begin_watch(&mut state);
        }
    }

    /// Calls or starts a thread. Without one to be had, the watch looks again.
    fn call<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) {
        if state.sleeping > 0 {
            state.sleeping -= 1;
            state.called += 1;
            drop(state);
            self.called.notify_one();
            return;
        }
        if state.threads <= self.threads && state.allowance > 0 {
            state.allowance -= 1;
            if self.start_thread(state) {
                return;
            }
            state = self.lock();
        }
        self.begin_watch(&mut state);
    }

    fn begin_watch(&self, state: &mut State<T>) {
        if !state.watching {
            state.watching = true;
            self.watch.notify_one();
        }
    }

    fn start_thread(&self, mut state: MutexGuard<'_, State<T>>) -> bool {
        state.threads += 1;
        state.starting += 1;
        drop(state);
        let started = self.starter.get().is_some_and(|start| start());
        if !started {
            let mut state = self.lock();
            state.threads -= 1;
            state.starting -= 1;
        }
        started
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        if !state.has_leader {
            self.begin_watch(&mut state);
        }
        state.sleeping += 1;
        while state.called == 0 && !state.ended {
            state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.called = state.called.saturating_sub(1);
        state
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn items(&self) -> usize {
        self.queue.len() + self.again.len() + self.examined.len()
    }

    /// Whether there are items that have had no turn since somebody led.
    fn has_fresh(&self) -> bool {
        !(self.queue.is_empty() && self.examined.is_empty())
    }

    /// Whether the leader could do something for an item.
    fn has_unexamined(&self) -> bool {
        !(self.queue.is_empty() && self.again.is_empty())
    }

    /// How many threads are doing something that is going to end soon.
    fn quick(&self) -> usize {
        self.serving - self.outlasting + usize::from(self.leader_looks)
    }

    /// The calling thread takes something to do.
    fn take(&mut self) {
        self.taken += 1;
        self.taker = Some(KernelThread::current());
    }

    /// The next item; those examined have waited longer.
    fn pop(&mut self) -> Option<T> {
        let Self { examined, queue, again, .. } = self;
        [examined, queue, again].into_iter().find_map(VecDeque::pop_front)
    }
}

#[cfg(test)]
mod tests;
