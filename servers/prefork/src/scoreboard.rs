//! What each worker process does and has done, in memory that all of them share: so it survives a worker's death, whatever
//! it died of, and the supervisor reads it without asking anybody.
//!
//! ```text
//!   gone      the counters of processes that have ended, together
//!   board 0   pid | progress of each worker | its counters | the exchanges under way: method, target, since when
//!   board 1   ...
//! ```
//!
//! # Reading while others write
//!
//! Nobody waits for anybody. Each number is written by one atomic operation, so none is ever half written. What must not
//! contradict each other is written in one order and read in the opposite one: an exchange is counted as begun before it is
//! counted as over, and readers look at those that are over first, so they never see more ends than beginnings. Whatever
//! belongs to the end of an exchange is counted before the end itself, in the same way. When a process has ended, its
//! counters move to `gone`; readers that see that happen begin again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
            fence,
        },
    },
    time::Duration,
};

use http::StatusCode;
use rustix::{
    process::Pid,
    time::{ClockId, clock_gettime},
};
use varvel::{Finish, Monitor, Outcome, RequestId, Ticket};

use crate::{
    shared_memory::SharedMemory,
    statistics::{Histogram, Statistics},
};

/// How many processes have a board at the same time: those that serve, and those that come and go meanwhile.
pub(crate) const BOARDS: usize = 256;

/// How many event loops of a process have their progress watched. More share.
const WORKERS: usize = 64;

/// How many event loops of a process have counters of their own, so that they do not take them from each other's caches.
const SHARDS: usize = 8;

/// How many exchanges of a process are known by their request. Others are only counted.
const SLOTS: usize = 256;

/// The ticket of no exchange, or of one without a slot.
const NO_EXCHANGE: u32 = u32::MAX;

/// How much of method and target is kept, in bytes.
const REQUEST_BYTES: usize = 120;

/// The table; all clones are the same.
#[derive(Clone)]
pub struct Scoreboard(Arc<SharedMemory<Table>>);

/// A worker process's part of the table.
#[derive(Clone)]
pub(crate) struct Board {
    table: Scoreboard,
    index: usize,
}

/// Atomics, and arrays and structs of them: `shared_memory` relies on it.
pub(crate) struct Table {
    /// Odd while counters move to `gone`.
    moves: AtomicU64,
    gone: Counters,
    /// Exchanges that ended with their process.
    lost: AtomicU64,
    forked: AtomicU64,
    /// A bit for each process that accepts connections, as far as the supervisor knows.
    accepting: [AtomicU64; BOARDS / 64],
    boards: [Process; BOARDS],
}

struct Process {
    /// 0 if the board is free.
    pid: AtomicU32,
    /// Connections that are open.
    open: AtomicU64,
    /// When each worker told of progress last, in milliseconds of the system's monotonic clock; 0 if it never did.
    progress: [AtomicU64; WORKERS],
    /// At which exchange each event loop is, or was last: its ticket. 0 for workers that are no event loops.
    polled: [AtomicU32; WORKERS],
    counters: [Counters; SHARDS],
    /// A bit for each slot that is taken.
    taken: [AtomicU64; SLOTS / 64],
    slots: [Slot; SLOTS],
}

#[repr(align(128))]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    began: AtomicU64,
    ended: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    /// By the first digit of the status; 0 without one.
    statuses: [AtomicU64; 6],
    /// As [`outcome_index`] has it.
    outcomes: [AtomicU64; 5],
    latency: [AtomicU64; Histogram::BUCKETS],
}

/// An exchange under way.
struct Slot {
    connection: AtomicU64,
    exchange: AtomicU64,
    /// In milliseconds of the monotonic clock.
    since: AtomicU64,
    length: AtomicU32,
    /// Method, space, target.
    request: [AtomicU64; REQUEST_BYTES / 8],
}

/// An exchange that a process had under way when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Method and target, escaped.
    pub(crate) request: String,
    pub(crate) connection: u64,
    pub(crate) exchange: u64,
    pub(crate) age: Duration,
    /// Whether its event loop was at it.
    pub(crate) is_current: bool,
}

impl Scoreboard {
    /// # Errors
    /// If the system has no memory to share.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(SharedMemory::zeroed()?)))
    }

    /// Takes a free board for a process that is about to be forked.
    pub(crate) fn take_board(&self) -> Option<Board> {
        let index = self.0.boards.iter().position(|board| board.pid.load(Acquire) == 0)?;
        // Only the supervisor takes boards, and it has one thread.
        self.0.boards[index].pid.store(u32::MAX, Release);
        self.0.forked.fetch_add(1, Relaxed);
        Some(Board { table: self.clone(), index })
    }

    /// The boards of processes that accept connections.
    fn accepting(&self) -> impl Iterator<Item = usize> {
        self.0.accepting.iter().enumerate().flat_map(|(number, word)| {
            let mut bits = word.load(Relaxed);
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits.checked_sub(1)?;
                Some(number * 64 + bit)
            })
        })
    }

    /// What all processes have done, those that have ended included.
    pub fn statistics(&self) -> Statistics {
        loop {
            let moves = self.0.moves.load(Acquire);
            if moves % 2 == 0 {
                let mut statistics = Statistics::default();
                for board in self.0.boards.iter().filter(|board| board.pid.load(Acquire) != 0) {
                    statistics.processes += 1;
                    board.counters.iter().for_each(|counters| counters.add_to(&mut statistics));
                }
                self.0.gone.add_to(&mut statistics);
                statistics.lost = self.0.lost.load(Relaxed);
                statistics.in_flight = statistics.in_flight.saturating_sub(statistics.lost);
                statistics.processes_forked = self.0.forked.load(Relaxed);
                fence(Acquire);
                if self.0.moves.load(Relaxed) == moves {
                    return statistics;
                }
            }
            std::hint::spin_loop();
        }
    }
}

impl Board {
    pub(crate) fn set_pid(&self, pid: Pid) {
        self.process().pid.store(pid.as_raw_nonzero().get().unsigned_abs(), Release);
    }

    /// Says whether its process accepts connections, so that others leave it some.
    pub(crate) fn set_accepting(&self, accepts: bool) {
        let (word, bit) = (&self.table.0.accepting[self.index / 64], 1 << (self.index % 64));
        match accepts {
            true => word.fetch_or(bit, Relaxed),
            false => word.fetch_and(!bit, Relaxed),
        };
    }

    /// How long ago the worker of the process that is furthest behind told of progress; `None` if none ever did.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let told = self.process().progress.iter().map(|progress| progress.load(Relaxed));
        let last = told.filter(|progress| *progress != 0).min()?;
        Some(Duration::from_millis(now().saturating_sub(last)))
    }

    /// How many exchanges have ended.
    pub(crate) fn exchanges_ended(&self) -> u64 {
        self.process().counters.iter().map(|counters| counters.ended.load(Relaxed)).sum()
    }

    /// How many exchanges are under way.
    pub(crate) fn exchanges_under_way(&self) -> u64 {
        let ended = self.exchanges_ended();
        fence(Acquire);
        let began = self.process().counters.iter().map(|counters| counters.began.load(Relaxed)).sum::<u64>();
        began.saturating_sub(ended)
    }

    /// The exchanges under way whose requests are known, the one first at which an event loop was, then the oldest.
    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let process = self.process();
        let now = now();
        let current = process.polled.each_ref().map(|polled| polled.load(Relaxed));
        let mut unfinished = Vec::new();
        for (index, slot) in process.slots.iter().enumerate() {
            if process.taken[index / 64].load(Acquire) & 1 << (index % 64) != 0 {
                unfinished.push(slot.read(now, current.contains(&(index as u32 + 1))));
            }
        }
        unfinished.sort_by_key(|exchange| (!exchange.is_current, std::cmp::Reverse(exchange.age)));
        unfinished
    }

    /// Adds what its process counted to that of those that have ended, and frees the board. The process must have ended.
    pub(crate) fn clear(self) {
        self.set_accepting(false);
        let (table, process) = (&self.table.0, self.process());
        table.moves.fetch_add(1, Relaxed);
        // Whoever sees anything of what follows sees that it has begun.
        fence(Release);
        table.lost.fetch_add(self.exchanges_under_way(), Relaxed);
        for counters in &process.counters {
            counters.move_to(&table.gone);
        }
        for word in process.progress.iter().chain(&process.taken) {
            word.store(0, Relaxed);
        }
        process.polled.iter().for_each(|polled| polled.store(0, Relaxed));
        process.open.store(0, Relaxed);
        process.pid.store(0, Relaxed);
        table.moves.fetch_add(1, Release);
    }

    fn process(&self) -> &Process {
        &self.table.0.boards[self.index]
    }

    fn polled(&self, worker: u32) -> &AtomicU32 {
        &self.process().polled[worker as usize % WORKERS]
    }

    fn counters(&self, worker: u32) -> &Counters {
        &self.process().counters[worker as usize % SHARDS]
    }

    /// Takes a slot, if there is one.
    fn take_slot(&self, worker: u32) -> Option<usize> {
        let words = &self.process().taken;
        let first = worker as usize % words.len();
        for word in (0..words.len()).map(|step| (first + step) % words.len()) {
            let mut taken = words[word].load(Relaxed);
            while taken != u64::MAX {
                let free = (!taken).trailing_zeros();
                match words[word].compare_exchange_weak(taken, taken | 1 << free, AcqRel, Relaxed) {
                    Ok(_) => return Some(word * 64 + free as usize),
                    Err(now) => taken = now,
                }
            }
        }
        None
    }
}

/// What the process's server tells.
impl Monitor for Board {
    fn progress(&self, worker: u32) {
        self.process().progress[worker as usize % WORKERS].store(now(), Relaxed);
    }

    fn connection_opened(&self, worker: u32) {
        self.process().open.fetch_add(1, Relaxed);
        self.counters(worker).opened.fetch_add(1, Relaxed);
    }

    /// Whether the process has more than each would have if all who accept had the same: by a sixteenth, and by one, for
    /// others open and close theirs meanwhile.
    fn is_ahead(&self, connections: usize) -> bool {
        let own = connections as u64;
        let (mut processes, mut all) = (1, own);
        for other in self.table.accepting().filter(|index| *index != self.index) {
            processes += 1;
            all = all.saturating_add(self.table.0.boards[other].open.load(Relaxed));
        }
        let share = all / processes;
        own > share.saturating_add(share / 16 + 1)
    }

    fn connection_closed(&self, worker: u32) {
        self.process().open.fetch_sub(1, Relaxed);
        self.counters(worker).closed.fetch_add(1, Release);
    }

    fn exchange_began(&self, worker: u32, request: RequestId<'_>) -> Ticket {
        self.counters(worker).began.fetch_add(1, Relaxed);
        let Some(slot) = self.take_slot(worker) else { return Ticket(NO_EXCHANGE) };
        self.process().slots[slot].write(&request);
        let ticket = slot as u32 + 1;
        // An event loop calls the application now; threads do so beside each other.
        let polled = self.polled(worker);
        if polled.load(Relaxed) != 0 {
            polled.store(ticket, Relaxed);
        }
        Ticket(ticket)
    }

    fn polling(&self, worker: u32, exchange: Option<Ticket>) {
        self.polled(worker).store(exchange.map_or(NO_EXCHANGE, |exchange| exchange.0), Relaxed);
    }

    fn exchange_ended(&self, worker: u32, exchange: Ticket, finish: &Finish, duration: Duration) {
        if let Some(slot) = exchange.0.checked_sub(1).filter(|_| exchange.0 != NO_EXCHANGE) {
            self.process().taken[slot as usize / 64].fetch_and(!(1 << (slot % 64)), Release);
        }
        // The slot may be another loop's next.
        let polled = self.polled(worker);
        if polled.load(Relaxed) == exchange.0 && exchange.0 != 0 {
            polled.store(NO_EXCHANGE, Relaxed);
        }
        let counters = self.counters(worker);
        counters.bytes.fetch_add(finish.bytes, Relaxed);
        counters.outcomes[outcome_index(finish.outcome)].fetch_add(1, Relaxed);
        counters.latency[Histogram::bucket(duration)].fetch_add(1, Relaxed);
        counters.answered(finish.status);
        counters.ended.fetch_add(1, Release);
    }

    fn refused(&self, worker: u32, status: StatusCode) {
        let counters = self.counters(worker);
        counters.answered(Some(status));
        counters.refused.fetch_add(1, Release);
    }
}

impl Counters {
    fn answered(&self, status: Option<StatusCode>) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(5);
        self.statuses[class].fetch_add(1, Relaxed);
    }

    /// Ends first, beginnings last.
    fn add_to(&self, statistics: &mut Statistics) {
        let ended = self.ended.load(Acquire);
        let closed = self.closed.load(Acquire);
        statistics.refused += self.refused.load(Acquire);
        statistics.requests += ended;
        for (sum, count) in statistics.outcomes_mut().into_iter().zip(&self.outcomes) {
            *sum += count.load(Relaxed);
        }
        for (sum, count) in statistics.statuses.iter_mut().zip(&self.statuses) {
            *sum += count.load(Relaxed);
        }
        for (bucket, count) in self.latency.iter().enumerate() {
            statistics.latency.add(bucket, count.load(Relaxed));
        }
        statistics.bytes += self.bytes.load(Relaxed);
        statistics.in_flight += self.began.load(Relaxed).saturating_sub(ended);
        let opened = self.opened.load(Relaxed);
        statistics.connections += opened;
        statistics.connections_open += opened.saturating_sub(closed);
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        let single = [&self.opened, &self.closed, &self.began, &self.ended, &self.refused, &self.bytes];
        single.into_iter().chain(&self.statuses).chain(&self.outcomes).chain(&self.latency)
    }

    fn move_to(&self, other: &Self) {
        // Its connections went with the process.
        self.closed.store(self.opened.load(Relaxed), Relaxed);
        for (from, to) in self.all().zip(other.all()) {
            to.fetch_add(from.swap(0, Relaxed), Relaxed);
        }
    }
}

impl Slot {
    fn write(&self, request: &RequestId<'_>) {
        let mut text = [0; REQUEST_BYTES];
        let mut length = 0;
        let method = request.method.map_or("-", |method| method.as_str()).as_bytes();
        for part in [method, b" ", request.target] {
            let part = &part[..part.len().min(REQUEST_BYTES - length)];
            text[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        for (word, bytes) in self.request.iter().zip(text.chunks_exact(8)).take(length.div_ceil(8)) {
            word.store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        self.length.store(length as u32, Relaxed);
        self.connection.store(request.connection, Relaxed);
        self.exchange.store(request.exchange, Relaxed);
        self.since.store(now(), Release);
    }

    fn read(&self, now: u64, is_current: bool) -> Unfinished {
        let since = self.since.load(Acquire);
        let length = (self.length.load(Relaxed) as usize).min(REQUEST_BYTES);
        let mut text = [0; REQUEST_BYTES];
        for (bytes, word) in text.chunks_exact_mut(8).zip(&self.request) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        let cut = if length == REQUEST_BYTES { "..." } else { "" };
        Unfinished {
            request: format!("{}{cut}", text[..length].escape_ascii()),
            connection: self.connection.load(Relaxed),
            exchange: self.exchange.load(Relaxed),
            age: Duration::from_millis(now.saturating_sub(since)),
            is_current,
        }
    }
}

fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Disconnected => 1,
        Outcome::Failed => 2,
        Outcome::TimedOut => 3,
        Outcome::Stopped => 4,
        _ => 0,
    }
}

/// Milliseconds of the monotonic clock, which all processes of a machine have in common.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests;
