//! Timers: which comes next, and which are due. No clock in here; the time is an argument.
//!
//! Two structures, for two habits:
//!
//! | | [`TimerQueue`] | [`ConnectionDeadlines`] |
//! |---|---|---|
//! | for | timers of applications: few, exact, each set once | time-outs of connections: many, moved with every request, nearly never reached |
//! | precision | exact | up to 1/8 s late, never early |
//! | set, cancel | O(log n) | one store (the usual case: moved later) |
//! | key | generational, stale keys are harmless | the connection's slab index |

use std::time::{Duration, Instant};

use slab::Slab;
use varvel::TimerId;

/// Timers in the order of their deadlines; those of the same instant in the order of insertion.
///
/// A binary heap that knows where each timer sits, so that a cancelled one leaves at once: a server that sets a
/// 30 s timer per request and cancels nearly all of them must not keep 30 s worth of corpses.
#[derive(Debug)]
pub struct TimerQueue<T> {
    /// A min-heap by deadline, then by number.
    heap: Vec<Place>,
    entries: Slab<Entry<T>>,
    /// The number of the next timer: its rank among equals, and the generation of its key.
    next_number: u64,
}

/// Names one timer of a [`TimerQueue`], also after it is gone: then it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    slot: usize,
    number: u64,
}

/// As the contract's name for a timer, and back.
impl From<TimerKey> for TimerId {
    fn from(key: TimerKey) -> Self {
        Self((key.slot as u128) << 64 | u128::from(key.number))
    }
}

impl From<TimerId> for TimerKey {
    fn from(id: TimerId) -> Self {
        Self { slot: (id.0 >> 64) as usize, number: id.0 as u64 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    deadline: Instant,
    number: u64,
    /// Index in `entries`.
    slot: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    number: u64,
    /// Index in `heap`.
    position: usize,
}

impl<T> TimerQueue<T> {
    /// No timers.
    pub const fn new() -> Self {
        Self { heap: Vec::new(), entries: Slab::new(), next_number: 0 }
    }

    /// Keeps `value` until `deadline`.
    pub fn insert(&mut self, deadline: Instant, value: T) -> TimerKey {
        let number = self.next_number;
        self.next_number += 1;
        let position = self.heap.len();
        let slot = self.entries.insert(Entry { value, number, position });
        self.heap.push(Place { deadline, number, slot });
        self.rise(position);
        TimerKey { slot, number }
    }

    /// Takes a timer out before its time. `None` if it is gone already.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = self.entries.get(key.slot).filter(|entry| entry.number == key.number)?;
        Some(self.take(entry.position))
    }

    /// The timer that is still waiting under `key`.
    pub fn value_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot).filter(|entry| entry.number == key.number)?;
        Some(&mut entry.value)
    }

    /// Takes out the earliest timer whose deadline is not after `now`. Call until `None`.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let first = self.heap.first()?;
        (first.deadline <= now).then(|| self.take(0))
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|first| first.deadline)
    }

    /// How many timers are waiting.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn take(&mut self, position: usize) -> T {
        let place = self.heap.swap_remove(position);
        if position < self.heap.len() {
            // The former last one has to go up or down from here, never both.
            self.rise(position);
            self.sink(position);
        }
        self.entries.remove(place.slot).value
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 && self.heap[position] < self.heap[(position - 1) / 2] {
            self.heap.swap(position, (position - 1) / 2);
            self.settle(position);
            position = (position - 1) / 2;
        }
        self.settle(position);
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let children = 2 * position + 1..(2 * position + 3).min(self.heap.len());
            match children.min_by_key(|&child| self.heap[child]) {
                Some(child) if self.heap[child] < self.heap[position] => {
                    self.heap.swap(position, child);
                    self.settle(position);
                    position = child;
                }
                _ => break,
            }
        }
        self.settle(position);
    }

    fn settle(&mut self, position: usize) {
        self.entries[self.heap[position].slot].position = position;
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The granularity of [`ConnectionDeadlines`].
pub const TICK: Duration = Duration::from_millis(125);

/// Ticks that the wheel spans: 128 s. Deadlines beyond wait in the last bucket and are moved on from there.
const BUCKETS: u32 = 1024;

/// No deadline; not armed.
const NEVER: u32 = u32::MAX;

/// The end of time, after 17 years: far enough from `NEVER` that no sum overflows.
const LAST_TICK: u32 = NEVER - 2 * BUCKETS;

/// Room that an emptied bucket keeps. A crowd that arrived in the same second must not leave its memory behind.
const BUCKET_CAPACITY_KEPT: usize = 64;

/// One deadline per connection, in ticks of 1/8 s.
///
/// Time-outs are moved with every request and reached by nearly none, so moving one later is made as cheap as it
/// can be: one store. The wheel keeps the connection armed at the earlier tick; when that comes, the true
/// deadline is looked up and the connection armed again. A connection costs 8 bytes, and a wake-up each time-out
/// or so while it is busy.
///
/// ```text
///   deadline[7]: tick 900 <---------------- what is meant; set() stores here
///   armed[7]:    tick 640                   where the wheel has it: never later than meant
///   buckets:     ... 639 [ ]   640 [7]   641 [ ] ...
/// ```
///
/// Connections are named by small numbers, meant to be their slab indices. A number may be used again after
/// [`clear`](Self::clear).
#[derive(Debug)]
pub struct ConnectionDeadlines {
    /// The instant of tick 0.
    origin: Instant,
    /// Every tick before this one has been dealt with.
    cursor: u32,
    connections: Vec<Deadline>,
    /// Bucket `tick % BUCKETS` holds the connections armed at `tick`, for ticks from `cursor` on. An entry whose
    /// connection is armed elsewhere by now is void.
    buckets: Vec<Vec<u32>>,
    /// A bit for each bucket that is not empty.
    occupied: [u64; BUCKETS as usize / 64],
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    meant: u32,
    armed: u32,
}

impl ConnectionDeadlines {
    /// No deadlines. Time begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            cursor: 0,
            connections: Vec::new(),
            buckets: vec![Vec::new(); BUCKETS as usize],
            occupied: [0; BUCKETS as usize / 64],
        }
    }

    /// Sets or moves the deadline of `connection`. It [expires](Self::pop_expired) at `deadline` or at most a
    /// tick later.
    #[inline]
    pub fn set(&mut self, connection: usize, deadline: Instant) {
        let tick = self.tick_after(deadline);
        if connection >= self.connections.len() {
            self.connections.resize(connection + 1, Deadline { meant: NEVER, armed: NEVER });
        }
        let entry = &mut self.connections[connection];
        entry.meant = tick;
        if entry.armed > tick.max(self.cursor) {
            self.arm(connection as u32);
        }
    }

    /// The connection has no deadline any more, or does not exist any more.
    #[inline]
    pub fn clear(&mut self, connection: usize) {
        if let Some(entry) = self.connections.get_mut(connection) {
            entry.meant = NEVER;
        }
    }

    /// A connection whose deadline is not after `now`; it has none from then on. Call until `None`.
    ///
    /// Connections that are due in the same tick come in no particular order.
    pub fn pop_expired(&mut self, now: Instant) -> Option<usize> {
        let now = self.tick_before(now);
        while self.cursor <= now {
            let bucket = self.cursor % BUCKETS;
            while let Some(connection) = self.buckets[bucket as usize].pop() {
                let entry = &mut self.connections[connection as usize];
                if entry.armed != self.cursor {
                    continue;
                }
                entry.armed = NEVER;
                if entry.meant <= self.cursor {
                    entry.meant = NEVER;
                    return Some(connection as usize);
                }
                if entry.meant != NEVER {
                    self.arm(connection);
                }
            }
            if self.buckets[bucket as usize].capacity() > BUCKET_CAPACITY_KEPT {
                self.buckets[bucket as usize] = Vec::new();
            }
            self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
            self.cursor = match self.next_occupied() {
                Some(tick) => tick.min(now + 1),
                None => now + 1,
            };
        }
        None
    }

    /// When to look again; `None` while no connection is armed.
    ///
    /// It may turn out then that all that were due have moved on.
    pub fn next_wake(&self) -> Option<Instant> {
        self.next_occupied().map(|tick| self.origin + TICK * tick)
    }

    /// Enters a connection into the bucket of its deadline, or as near as the wheel reaches.
    fn arm(&mut self, connection: u32) {
        let entry = &mut self.connections[connection as usize];
        entry.armed = entry.meant.clamp(self.cursor, self.cursor + (BUCKETS - 1));
        let bucket = entry.armed % BUCKETS;
        self.buckets[bucket as usize].push(connection);
        self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
    }

    /// The first tick from `cursor` on whose bucket is not empty.
    fn next_occupied(&self) -> Option<u32> {
        const WORDS: u32 = BUCKETS / 64;
        let start = self.cursor % BUCKETS;
        // The word of the cursor comes twice: first its part from the cursor on, at the end the part before.
        (0..=WORDS).find_map(|step| {
            let word = (start / 64 + step) % WORDS;
            let mask = match step {
                0 => !0 << (start % 64),
                WORDS => !(!0 << (start % 64)),
                _ => !0,
            };
            let bits = self.occupied[word as usize] & mask;
            (bits != 0).then(|| {
                let bucket = word * 64 + bits.trailing_zeros();
                self.cursor + (bucket + BUCKETS - start) % BUCKETS
            })
        })
    }

    /// The first tick that is not before `deadline`.
    fn tick_after(&self, deadline: Instant) -> u32 {
        let since = deadline.saturating_duration_since(self.origin);
        ticks(since, since.subsec_nanos().div_ceil(TICK.subsec_nanos()))
    }

    /// The last tick that is not after `now`.
    fn tick_before(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.origin);
        ticks(since, since.subsec_nanos() / TICK.subsec_nanos())
    }
}

fn ticks(whole_seconds_of: Duration, and: u32) -> u32 {
    const PER_SECOND: u64 = 8;
    let ticks = whole_seconds_of.as_secs().saturating_mul(PER_SECOND).saturating_add(and.into());
    ticks.min(LAST_TICK.into()) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::XorShift;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn timers_come_by_deadline_and_equals_in_the_order_of_insertion() {
        let start = Instant::now();
        let mut timers = TimerQueue::new();
        for (at, name) in [(30, "c1"), (10, "a"), (30, "c2"), (20, "b"), (30, "c3")] {
            timers.insert(start + millis(at), name);
        }
        assert_eq!(timers.next_deadline(), Some(start + millis(10)));
        assert_eq!(timers.pop_expired(start + millis(9)), None);
        assert_eq!(timers.pop_expired(start + millis(10)), Some("a"), "due at its very deadline");
        let rest = std::iter::from_fn(|| timers.pop_expired(start + millis(99))).collect::<Vec<_>>();
        assert_eq!(rest, ["b", "c1", "c2", "c3"]);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_stale_key_does_not_touch_the_timer_that_took_the_slot() {
        let now = Instant::now();
        let mut timers = TimerQueue::new();
        let old = timers.insert(now, 1);
        assert_eq!(timers.cancel(old), Some(1));
        let new = timers.insert(now, 2);
        assert_eq!(old.slot, new.slot);
        assert_eq!(timers.cancel(old), None);
        assert_eq!(timers.value_mut(old), None);
        assert_eq!(timers.value_mut(new), Some(&mut 2));
        assert_eq!(timers.cancel(new), Some(2));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_timer_queue_behaves_as_a_sorted_map_does() {
        let start = Instant::now();
        for seed in 1..50 {
            let mut random = XorShift(seed);
            let mut timers = TimerQueue::new();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            let mut now = start;
            for value in 0..600_u32 {
                match random.below(8) {
                    0..=3 => {
                        let deadline = now + millis(random.below(40));
                        let key = timers.insert(deadline, value);
                        model.insert((deadline, value), key);
                        keys.push((key, (deadline, value)));
                    }
                    4..=5 if !keys.is_empty() => {
                        // Any key ever handed out, so that many are stale.
                        let (key, entry) = keys[random.below(keys.len() as u64) as usize];
                        let expected = model.remove(&entry).map(|_| entry.1);
                        assert_eq!(timers.cancel(key), expected);
                    }
                    _ => {
                        now += millis(random.below(10));
                        while let Some(entry) = model.first_entry().filter(|entry| entry.key().0 <= now) {
                            assert_eq!(timers.pop_expired(now), Some(entry.remove_entry().0.1));
                        }
                        assert_eq!(timers.pop_expired(now), None);
                    }
                }
                assert_eq!(timers.len(), model.len());
                assert_eq!(timers.next_deadline(), model.first_key_value().map(|entry| entry.0.0));
            }
        }
    }

    #[test]
    fn deadlines_are_never_early_and_at_most_a_tick_late() {
        let start = Instant::now();
        let deadline = start + millis(1001);
        let mut deadlines = ConnectionDeadlines::new(start);
        deadlines.set(3, deadline);
        assert_eq!(deadlines.pop_expired(deadline - millis(2)), None);
        let wake = deadlines.next_wake().unwrap();
        assert!(deadline <= wake && wake < deadline + TICK);
        assert_eq!(deadlines.pop_expired(wake - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.pop_expired(wake), Some(3));
        assert_eq!(deadlines.pop_expired(wake), None, "once");
        assert_eq!(deadlines.next_wake(), None);
    }

    #[test]
    fn moving_a_deadline_later_enters_nothing_into_the_wheel() {
        let start = Instant::now();
        let mut deadlines = ConnectionDeadlines::new(start);
        for request in 0..1000 {
            deadlines.set(0, start + Duration::from_secs(30) + millis(request));
        }
        assert_eq!(deadlines.buckets.iter().map(Vec::len).sum::<usize>(), 1);
        assert_eq!(deadlines.pop_expired(start + Duration::from_secs(30)), None);
        assert_eq!(deadlines.pop_expired(start + Duration::from_secs(31)), Some(0));
    }

    #[test]
    fn deadlines_in_the_past_are_entered_once_and_come_with_the_next_tick() {
        let start = Instant::now();
        let now = start + Duration::from_secs(10);
        let mut deadlines = ConnectionDeadlines::new(start);
        assert_eq!(deadlines.pop_expired(now), None);
        for _ in 0..1000 {
            deadlines.set(0, start);
        }
        assert_eq!(deadlines.buckets.iter().map(Vec::len).sum::<usize>(), 1);
        assert_eq!(deadlines.pop_expired(now + TICK), Some(0));
    }

    #[test]
    fn alternating_time_outs_do_not_fill_the_wheel() {
        let start = Instant::now();
        let mut deadlines = ConnectionDeadlines::new(start);
        let mut most = 0;
        for request in 0..100_000 {
            let now = start + millis(10 * request);
            assert_eq!(deadlines.pop_expired(now), None);
            deadlines.set(0, now + Duration::from_secs(30));
            deadlines.set(0, now + Duration::from_secs(75));
            most = most.max(deadlines.buckets.iter().map(Vec::len).sum::<usize>());
        }
        assert!(most <= 4, "{most}");
    }

    #[test]
    fn a_number_used_again_has_the_deadline_of_its_new_connection() {
        let start = Instant::now();
        let mut deadlines = ConnectionDeadlines::new(start);
        deadlines.set(0, start + Duration::from_secs(5));
        deadlines.clear(0);
        deadlines.set(0, start + Duration::from_secs(10));
        assert_eq!(deadlines.pop_expired(start + Duration::from_secs(9)), None);
        assert_eq!(deadlines.pop_expired(start + Duration::from_secs(10)), Some(0));
    }

    #[test]
    fn deadlines_beyond_the_wheel_and_beyond_time_are_kept() {
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut deadlines = ConnectionDeadlines::new(start);
        deadlines.set(0, start + hour);
        deadlines.set(1, start + 24 * 365 * 1000 * hour);
        let mut wakes = 0;
        while deadlines.pop_expired(deadlines.next_wake().unwrap()).is_none() {
            wakes += 1;
        }
        assert!(wakes < 2 * 3600 / 120, "{wakes}");
        assert_eq!(deadlines.pop_expired(start + 2 * hour), None, "the other one never comes");
        assert!(deadlines.next_wake().is_some());
    }

    #[test]
    fn a_loop_that_stood_still_for_days_catches_up() {
        let start = Instant::now();
        let mut deadlines = ConnectionDeadlines::new(start);
        for connection in 0..100 {
            deadlines.set(connection, start + Duration::from_secs(connection as u64 * 10));
        }
        let later = start + Duration::from_secs(3 * 86_400);
        let mut expired = std::iter::from_fn(|| deadlines.pop_expired(later)).collect::<Vec<_>>();
        expired.sort_unstable();
        assert_eq!(expired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn connection_deadlines_behave_as_a_plain_table_does() {
        let start = Instant::now();
        for seed in 1..60 {
            let mut random = XorShift(seed);
            let mut deadlines = ConnectionDeadlines::new(start);
            let mut model = BTreeMap::new();
            let mut now = start;
            for _ in 0..1500 {
                let connection = random.below(40) as usize;
                match random.below(6) {
                    0..=2 => {
                        // Mostly within the wheel, some beyond it, some in the past.
                        let span = [500, 5_000, 75_000, 400_000][random.below(4) as usize];
                        let deadline = (now + millis(random.below(span))) - millis(100);
                        deadlines.set(connection, deadline);
                        model.insert(connection, deadline);
                    }
                    3 => {
                        deadlines.clear(connection);
                        model.remove(&connection);
                    }
                    4 => now += millis(random.below(2_000)),
                    _ => now = deadlines.next_wake().unwrap_or(now).max(now),
                }
                while let Some(expired) = deadlines.pop_expired(now) {
                    let deadline = model.remove(&expired).expect("only connections with a deadline expire");
                    assert!(deadline <= now, "early by {:?}", deadline - now);
                }
                for deadline in model.values() {
                    assert!(*deadline + 2 * TICK > now, "late by {:?}", now - *deadline);
                    assert!(deadlines.next_wake().unwrap() < *deadline.max(&now) + 2 * TICK);
                }
            }
        }
    }
}
