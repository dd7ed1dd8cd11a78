//! The rules of the [pool](super), with a channel in place of the poller.

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
    /// It computes until the gate opens.
    computes: bool,
    /// Whether it shall seem to have taken long.
    slowly: bool,
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
        Self::with_watch(threads, processors, limit, || false)
    }

    fn with_watch(
        threads: usize,
        processors: usize,
        limit: usize,
        each_tick: impl FnMut() -> bool + Send + 'static,
    ) -> Self {
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
        let wake = events.clone();
        thread::spawn(move || watched.watch(each_tick, || drop(wake.send(Vec::new()))));
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
            Turn::Serve { item, .. } => {
                done.send((item.name, thread::current().id())).unwrap();
                if let Some(gate) = item.gate {
                    while item.computes && gate.try_recv() == Err(mpsc::TryRecvError::Empty) {}
                    let _ = gate.recv();
                }
                Came::Served { slowly: item.slowly }
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
    Item { name, gate: None, computes: false, slowly: false }
}

fn gated(name: u32) -> (Item, Sender<()>) {
    let (open, gate) = mpsc::channel();
    (Item { name, gate: Some(gate), computes: false, slowly: true }, open)
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
    // Events are taken note of.
    bench.wait_until(|_| bench.led.load(SeqCst) > before);
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
fn calls_that_compute_keep_neither_items_nor_events_from_being_seen() {
    let bench = Bench::new(4, 1, 5);
    let mut gates = Vec::new();
    for name in 0..3 {
        let (item, gate) = gated(name);
        bench.happen(vec![Item { computes: true, ..item }]);
        assert_eq!(bench.served().0, name);
        gates.push(gate);
    }
    bench.happen(vec![quick(3)]);
    assert_eq!(bench.served().0, 3);
}

/// An endless upload that is echoed computes and streams at once.
#[test]
fn a_watch_that_has_streams_to_write_calls_hands_all_the_same() {
    let bench = Bench::with_watch(4, 1, 5, || true);
    let (item, _gate) = gated(0);
    bench.happen(vec![Item { computes: true, ..item }]);
    assert_eq!(bench.served().0, 0);
    bench.happen(vec![quick(1)]);
    assert_eq!(bench.served().0, 1);
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
fn a_leader_that_waits_is_told_of_items_that_busy_threads_leave_behind() {
    let bench = Bench::new(1, 1, 2);
    let (item, _gate) = gated(0);
    bench.happen(vec![item]);
    bench.served();
    bench.wait_until(|state| state.has_leader && !state.watching);
    let before = bench.led.load(SeqCst);
    bench.pool.push(quick(1));
    bench.wait_until(|_| bench.led.load(SeqCst) > before);
    let mut items = Vec::new();
    assert!(bench.pool.take_unexamined(&mut items) && items.len() == 1);
    bench.wait_until(|state| !state.watching);
}

#[test]
fn a_long_queue_does_not_keep_the_poller_from_being_looked_at() {
    let pool = Pool::new(1, 1);
    assert!(pool.start(Box::new(|| true)));
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    // As if the second thread had come and gone to sleep.
    pool.lock().starting = 0;
    let mut ready = (0..=ITEMS_PER_POLL).collect();
    let mut came = Came::Led(&mut ready);
    for item in 0..ITEMS_PER_POLL {
        assert_eq!(pool.next(came), Turn::Serve { item, timed: false });
        came = Came::Served { slowly: false };
    }
    assert_eq!(pool.next(came), Turn::Lead { wait: false });
    assert_eq!(pool.next(Came::Led(&mut Vec::new())), Turn::Serve { item: ITEMS_PER_POLL, timed: false });
}

#[test]
fn who_had_a_turn_comes_after_all_whom_the_poller_knows_of() {
    let pool = Pool::new(2, 1);
    assert!(pool.start(Box::new(|| true)));
    pool.lock().starting = 0;
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    assert_eq!(pool.next(Came::Led(&mut vec![1])), Turn::Serve { item: 1, timed: false });
    for other in 2..5 {
        pool.push_again(1);
        // As if the second thread had come and gone to sleep.
        pool.lock().sleeping = 1;
        assert_eq!(pool.next(Came::Served { slowly: false }), Turn::Lead { wait: false });
        assert_eq!(pool.lock().called, 0, "who looks into the poller comes back soon");
        let mut ready = vec![other];
        assert_eq!(pool.next(Came::Led(&mut ready)), Turn::Serve { item: other, timed: false });
        assert_eq!(pool.next(Came::Served { slowly: false }), Turn::Serve { item: 1, timed: false });
    }
}

#[test]
fn beside_a_turn_that_moves_bytes_without_end_all_goes_on_as_if_it_were_not_there() {
    let pool = Arc::new(Pool::new(2, 1));
    assert!(pool.start(Box::new(|| true)));
    // As if all had come.
    pool.lock().starting = 0;
    pool.lock().threads = 3;
    let (uploading, uploads) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let its = Arc::clone(&pool);
    let upload = thread::spawn(move || {
        assert_eq!(its.next(Came::Started), Turn::Lead { wait: true });
        assert_eq!(its.next(Came::Led(&mut vec![0])), Turn::Serve { item: 0, timed: false });
        its.moved(BYTES_PER_TURN + 1);
        uploading.send(()).unwrap();
        let _ = ends.recv();
        its.next(Came::Served { slowly: false })
    });
    uploads.recv_timeout(PATIENCE).unwrap();
    // It would sleep if it counted on the end of the upload.
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    for item in 1..4 {
        assert_eq!(pool.next(Came::Led(&mut vec![item])), Turn::Serve { item, timed: false });
        assert_eq!(pool.next(Came::Served { slowly: false }), Turn::Lead { wait: true });
    }
    assert_eq!(pool.lock().outlasting, 1);
    drop(end);
    let begun = std::time::Instant::now();
    while pool.lock().sleeping == 0 {
        assert!(begun.elapsed() < PATIENCE, "the upload has ended");
        thread::yield_now();
    }
    assert_eq!(pool.lock().outlasting, 0);
    pool.end();
    assert_eq!(upload.join().unwrap(), Turn::End);
}

#[test]
fn bodies_may_be_read_on_threads_of_another_server() {
    let (pool, other) = (Pool::new(2, 1), Pool::<u32>::new(2, 1));
    assert!(pool.start(Box::new(|| true)));
    pool.lock().starting = 0;
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    assert_eq!(pool.next(Came::Led(&mut vec![0])), Turn::Serve { item: 0, timed: false });
    other.moved(BYTES_PER_TURN + 1);
    assert_eq!(other.lock().outlasting, 0, "none of its turns lasts");
    assert_eq!(pool.next(Came::Served { slowly: false }), Turn::Lead { wait: true });
}

#[test]
fn a_turn_that_lasts_calls_somebody_who_leads() {
    let pool = Arc::new(Pool::new(2, 1));
    assert!(pool.start(Box::new(|| true)));
    pool.lock().starting = 0;
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    assert_eq!(pool.next(Came::Led(&mut vec![0])), Turn::Serve { item: 0, timed: false });
    let its = Arc::clone(&pool);
    let other = thread::spawn(move || its.next(Came::Started));
    let begun = std::time::Instant::now();
    while pool.lock().sleeping == 0 {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    pool.moved(BYTES_PER_TURN);
    assert_eq!(pool.lock().sleeping, 1, "so much a large answer has, too");
    pool.moved(1);
    assert_eq!(other.join().unwrap(), Turn::Lead { wait: true });
    assert_eq!(pool.lock().outlasting, 1);
}

#[test]
fn who_finds_the_processors_busy_with_quick_calls_sleeps_and_the_watch_knows() {
    let pool = Arc::new(Pool::new(2, 1));
    assert!(pool.start(Box::new(|| true)));
    pool.lock().starting = 0;
    assert_eq!(pool.next(Came::Started), Turn::Lead { wait: true });
    assert_eq!(pool.next(Came::Led(&mut vec![1, 2])), Turn::Serve { item: 1, timed: false });
    pool.lock().watching = false;
    let its = Arc::clone(&pool);
    let other = thread::spawn(move || its.next(Came::Started));
    let begun = std::time::Instant::now();
    while pool.lock().sleeping == 0 {
        assert!(begun.elapsed() < PATIENCE && !pool.lock().has_leader, "it leads");
        thread::yield_now();
    }
    assert!(pool.lock().watching, "the call may block after all");
    assert_eq!(pool.next(Came::Served { slowly: false }), Turn::Serve { item: 2, timed: false });
    pool.end();
    assert_eq!(other.join().unwrap(), Turn::End);
}
