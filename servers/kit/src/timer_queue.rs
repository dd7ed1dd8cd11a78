//! Timers of applications: which comes next, and which are due. No clock in here; the time is an argument.
//!
//! Few, exact, each set once; time-outs of connections have other habits, and
//! [`ConnectionDeadlines`](crate::connection_deadlines::ConnectionDeadlines). Setting and cancelling cost O(log n), and a key
//! that is stale is harmless.

use std::time::Instant;

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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

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
}
