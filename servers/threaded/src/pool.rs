//! Who does what: the run queue, the leadership, and when another thread is called.
//!
//! All threads are alike. Each asks [`Pool::next`] what to do and is told to *serve* an item of the run queue, to
//! *lead* (wait in the poller for everybody, and fill the queue), or to end. Two rules hold:
//!
//! 1. At most `threads` serve at a time, and never the last thread there is. So however many calls block, one thread is
//!    free to lead. While no other is free, it looks at the items itself and does what can be done without the
//!    application: unfinished heads, time-outs and closes do not wait for a thread.
//! 2. Whoever takes something to do leaves nothing behind that nobody will come for: if there are items in the queue or
//!    nobody leads, either another thread is called now, or the [watch](Pool::watch) looks whether one is needed.
//!
//! Calling a sleeping thread costs both sides some microseconds, more than a quick request does altogether. So as
//! long as calls are quick, the thread that led serves what it found itself, one after the other, and then leads again,
//! as an event loop would; only if there is more to do and another processor to do it is another thread called. The bet
//! is lost when a call blocks. The watch sees that within [`TICK`], since then nothing is taken although there is
//! something to take, and calls another thread; and from then on calls count as *slow*, and leadership and queue are
//! handed over at once, until [`SLOW_MEMORY`] calls in a row were quick.
//!
//! Threads are started only on the word of the watch, and then so many that their number may double: a hundred blocking
//! calls have a hundred threads after some ticks, while quick calls never have more than processors, on however busy a
//! machine.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// How often the watch looks while there is something to do.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A turn that takes longer counts as slow.
const SLOW: Duration = Duration::from_micros(500);

/// For how many turns a slow one is remembered.
const SLOW_MEMORY: u32 = 16;

/// After so many items somebody looks into the poller, even if the queue is not empty yet.
const ITEMS_PER_POLL: u32 = 64;

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
}

struct State<T> {
    /// Items as they were found to be ready.
    queue: VecDeque<T>,
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
    has_leader: bool,
    /// Items and leaderships taken so far.
    taken: u64,
    /// Items taken since somebody led.
    since_poll: u32,
    /// Counts down with every quick turn.
    slow: u32,
    /// How many threads may be started.
    allowance: usize,
    watching: bool,
    ended: bool,
}

/// What a thread has done before it asks.
pub(crate) enum Came<'a, T> {
    /// Nothing, it has just begun.
    Started,
    /// It served, and that took so long.
    Served(Duration),
    /// It led, and found these to be ready.
    Led(&'a mut Vec<T>),
}

/// What a thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// Serve this.
    Serve(T),
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
            examined: VecDeque::new(),
            threads: 0,
            starting: 0,
            sleeping: 0,
            called: 0,
            serving: 0,
            has_leader: false,
            taken: 0,
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
        state.queue.push_back(item);
        self.enlist(state);
    }

    /// Appends an item that only a serving thread can do something about.
    pub(crate) fn push_examined(&self, item: T) {
        let mut state = self.lock();
        state.examined.push_back(item);
        self.enlist(state);
    }

    /// Whether no further thread may serve.
    pub(crate) fn is_saturated(&self) -> bool {
        self.lock().serving >= self.threads
    }

    /// If no further thread may serve: takes the items that nobody has looked at yet, for the leader to look at them.
    /// Tells whether it is so.
    pub(crate) fn take_unexamined(&self, items: &mut Vec<T>) -> bool {
        let mut state = self.lock();
        let saturated = state.serving >= self.threads;
        if saturated {
            items.extend(state.queue.drain(..));
        }
        saturated
    }

    /// What the calling thread is to do next. Sleeps until there is something.
    pub(crate) fn next(&self, came: Came<'_, T>) -> Turn<T> {
        let mut state = self.lock();
        match came {
            Came::Started => state.starting = state.starting.saturating_sub(1),
            Came::Led(ready) => {
                state.has_leader = false;
                state.queue.extend(ready.drain(..));
            }
            Came::Served(took) => {
                state.serving -= 1;
                state.slow = if took >= SLOW { SLOW_MEMORY } else { state.slow.saturating_sub(1) };
            }
        }
        loop {
            if state.ended {
                return Turn::End;
            }
            let may_serve = state.items() > 0 && state.serving < self.capacity(&state);
            let poll_is_due = !may_serve || state.since_poll >= ITEMS_PER_POLL;
            if !state.has_leader && poll_is_due {
                state.has_leader = true;
                state.since_poll = 0;
                state.taken += 1;
                self.enlist(state);
                return Turn::Lead { wait: !may_serve };
            }
            if may_serve {
                if let Some(item) = state.pop() {
                    state.serving += 1;
                    state.since_poll += 1;
                    state.taken += 1;
                    self.enlist(state);
                    return Turn::Serve(item);
                }
            }
            state = self.sleep(state);
        }
    }

    /// Looks after rule 2 until the pool has ended; on a thread of its own. Calls `each_tick` on the way, which tells
    /// whether it did something.
    pub(crate) fn watch(&self, mut each_tick: impl FnMut() -> bool) {
        let mut state = self.lock();
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
            if busy || state.taken != taken {
                continue;
            }
            if self.needs_hands(&state) {
                state.slow = SLOW_MEMORY;
                state.allowance = state.threads;
                self.enlist(state);
                state = self.lock();
            } else {
                state.watching = false;
            }
        }
    }

    /// Has the watch look for some ticks.
    pub(crate) fn wake_watch(&self) {
        self.begin_watch(self.lock());
    }

    /// Sends all threads home. Who leads has to be woken by who calls this.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.called.notify_all();
        self.watch.notify_all();
    }

    /// How many threads may serve just now: never all there are.
    fn capacity(&self, state: &State<T>) -> usize {
        self.threads.min((state.threads - state.starting).saturating_sub(1))
    }

    /// Whether there is something to do that nobody does.
    fn needs_hands(&self, state: &State<T>) -> bool {
        !state.has_leader || (state.items() > 0 && state.serving < self.threads)
    }

    /// Calls one more thread if it is worth it, and lets go of the state.
    fn enlist<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) {
        if state.ended || !self.needs_hands(&state) {
            return;
        }
        let coming = state.called + state.starting;
        let wanted = if state.slow > 0 {
            state.items() + usize::from(!state.has_leader)
        } else {
            state.items().min(self.processors.saturating_sub(state.serving))
        };
        if coming < wanted {
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
        }
        // Whoever is awake comes by soon, unless it blocks: that is for the watch to see.
        self.begin_watch(state);
    }

    fn begin_watch(&self, mut state: MutexGuard<'_, State<T>>) {
        if !state.watching {
            state.watching = true;
            drop(state);
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
        self.queue.len() + self.examined.len()
    }

    /// The next item; those examined have waited longer.
    fn pop(&mut self) -> Option<T> {
        self.examined.pop_front().or_else(|| self.queue.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc::{self, Receiver, Sender},
        },
        thread::{self, ThreadId},
    };

    use super::*;

    /// What is served here: says who serves it, and may wait at a gate.
    struct Item {
        name: u32,
        gate: Option<Receiver<()>>,
        /// How long it shall seem to have taken.
        took: Duration,
    }

    /// A pool whose poller is a channel.
    struct Bench {
        pool: Arc<Pool<Item>>,
        events: Sender<Vec<Item>>,
        served: Receiver<(u32, ThreadId)>,
        /// How often somebody has led.
        led: Arc<AtomicUsize>,
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    impl Bench {
        /// With at most `limit` threads that the system gives.
        fn new(threads: usize, processors: usize, limit: usize) -> Self {
            let pool = Arc::new(Pool::new(threads, processors));
            let (events, poller) = mpsc::channel();
            let poller = Arc::new(Mutex::new(poller));
            let (done, served) = mpsc::channel();
            let led = Arc::new(AtomicUsize::new(0));
            let given = AtomicUsize::new(0);
            let its = (Arc::clone(&pool), Arc::clone(&led));
            let starter = move || {
                if given.fetch_add(1, SeqCst) >= limit {
                    return false;
                }
                let (pool, led, poller, done) =
                    (Arc::clone(&its.0), Arc::clone(&its.1), Arc::clone(&poller), done.clone());
                thread::spawn(move || live(&pool, &poller, &led, &done));
                true
            };
            assert!(pool.start(Box::new(starter)));
            let watched = Arc::clone(&pool);
            thread::spawn(move || watched.watch(|| false));
            let bench = Self { pool, events, served, led };
            bench.wait_until(|state| state.has_leader && state.sleeping == 1);
            bench
        }

        fn wait_until(&self, condition: impl Fn(&State<Item>) -> bool) {
            let begun = std::time::Instant::now();
            while !condition(&self.pool.lock()) {
                assert!(begun.elapsed() < PATIENCE, "the pool got there");
                thread::yield_now();
            }
        }

        fn happen(&self, items: Vec<Item>) {
            self.events.send(items).unwrap();
        }

        fn served(&self) -> (u32, ThreadId) {
            self.served.recv_timeout(PATIENCE).unwrap()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            self.pool.end();
            let _ = self.events.send(Vec::new());
        }
    }

    fn live(
        pool: &Pool<Item>,
        poller: &Mutex<Receiver<Vec<Item>>>,
        led: &AtomicUsize,
        done: &Sender<(u32, ThreadId)>,
    ) {
        let mut ready = Vec::new();
        let mut came = Came::Started;
        loop {
            came = match pool.next(came) {
                Turn::Serve(item) => {
                    done.send((item.name, thread::current().id())).unwrap();
                    if let Some(gate) = item.gate {
                        let _ = gate.recv();
                    }
                    Came::Served(item.took)
                }
                Turn::Lead { wait } => {
                    led.fetch_add(1, SeqCst);
                    let poller = poller.lock().unwrap();
                    let events = if wait { poller.recv().ok() } else { poller.try_recv().ok() };
                    ready.extend(events.unwrap_or_default());
                    Came::Led(&mut ready)
                }
                Turn::End => return,
            };
        }
    }

    fn quick(name: u32) -> Item {
        Item { name, gate: None, took: Duration::ZERO }
    }

    fn gated(name: u32) -> (Item, Sender<()>) {
        let (open, gate) = mpsc::channel();
        (Item { name, gate: Some(gate), took: SLOW }, open)
    }

    #[test]
    fn quick_items_are_served_by_the_thread_that_found_them() {
        let bench = Bench::new(8, 1, 9);
        let mut threads = Vec::new();
        for name in 0..100 {
            bench.happen(vec![quick(name)]);
            let (served, thread) = bench.served();
            assert_eq!(served, name);
            threads.push(thread);
            // Serving was quick, also if this machine was not.
            bench.wait_until(|state| state.has_leader);
        }
        threads.dedup();
        // The watch may have taken a slow machine for a slow call now and then.
        assert!(threads.len() < 50, "{} changes of thread in 100 items", threads.len());
    }

    #[test]
    fn however_many_items_block_there_is_somebody_who_leads() {
        let bench = Bench::new(3, 1, 4);
        let mut gates = Vec::new();
        for name in 0..3 {
            let (item, gate) = gated(name);
            bench.happen(vec![item]);
            assert_eq!(bench.served().0, name);
            gates.push(gate);
        }
        bench.wait_until(|state| state.serving == 3 && state.has_leader);
        let before = bench.led.load(SeqCst);
        bench.happen(vec![quick(3)]);
        bench.wait_until(|state| state.items() == 1 && state.has_leader);
        assert!(bench.led.load(SeqCst) > before, "events are taken note of");
        assert!(bench.served.try_recv().is_err(), "no fourth item is served");
        gates.pop();
        assert_eq!(bench.served().0, 3);
    }

    #[test]
    fn a_batch_is_shared_among_threads_once_one_of_it_blocks() {
        let bench = Bench::new(4, 1, 5);
        let (item, _gate) = gated(0);
        bench.happen(vec![item, quick(1), quick(2), quick(3)]);
        let mut served = (0..4).map(|_| bench.served()).collect::<Vec<_>>();
        served.sort_by_key(|(name, _)| *name);
        assert!(served[1..].iter().all(|(_, thread)| *thread != served[0].1));
    }

    #[test]
    fn the_last_thread_leads_and_does_not_serve() {
        let bench = Bench::new(8, 8, 2);
        let (first, gate) = gated(0);
        let (second, _second_gate) = gated(1);
        bench.happen(vec![first, second]);
        let one = bench.served();
        bench.wait_until(|state| state.has_leader && state.items() == 1);
        assert!(bench.served.try_recv().is_err());
        drop(gate);
        assert_ne!(bench.served().0, one.0);
    }

    #[test]
    fn only_while_no_thread_is_free_does_the_leader_look_at_items() {
        let bench = Bench::new(1, 1, 2);
        let mut items = Vec::new();
        assert!(!bench.pool.take_unexamined(&mut items));
        let (item, gate) = gated(0);
        bench.happen(vec![item]);
        bench.served();
        bench.wait_until(|state| state.has_leader);
        bench.pool.push(quick(1));
        assert!(bench.pool.take_unexamined(&mut items));
        assert_eq!(items.len(), 1);
        bench.pool.push_examined(items.remove(0));
        assert!(bench.pool.take_unexamined(&mut items) && items.is_empty(), "once");
        drop(gate);
        assert_eq!(bench.served().0, 1);
    }

    #[test]
    fn a_long_queue_does_not_keep_the_poller_from_being_looked_at() {
        let bench = Bench::new(1, 1, 2);
        let (item, gate) = gated(0);
        bench.happen(vec![item]);
        bench.served();
        bench.wait_until(|state| state.has_leader);
        let before = bench.led.load(SeqCst);
        for name in 1..=10 * ITEMS_PER_POLL {
            bench.pool.push(quick(name));
        }
        // The leader waits; whoever is free takes its place for a look.
        bench.happen(Vec::new());
        drop(gate);
        for _ in 1..=10 * ITEMS_PER_POLL {
            bench.served();
        }
        assert!(bench.led.load(SeqCst) > before);
    }
}
