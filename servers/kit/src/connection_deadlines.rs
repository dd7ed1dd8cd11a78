//! Time-outs of connections: many, moved with every request, and reached by nearly none. No clock in here; the time is an
//! argument.
//!
//! A deadline is up to 1/8 s late and never early. Timers that must be exact are a
//! [`TimerQueue`](crate::timer_queue::TimerQueue)'s.

use std::time::{Duration, Instant};

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
