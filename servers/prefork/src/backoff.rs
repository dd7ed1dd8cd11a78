//! When to try again after workers died young.

use std::time::{Duration, Instant};

/// How long a worker must have served to count as one that works.
pub(crate) const YOUNG: Duration = Duration::from_secs(1);

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before the next fork, which grows while workers die before they have served for [`YOUNG`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    deaths: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// A worker died before it was ready, or soon after. Returns the pause.
    pub(crate) fn died_young(&mut self, now: Instant) -> Duration {
        self.deaths += 1;
        self.last = Some(now);
        self.pause()
    }

    /// A worker that was forked then has served for long enough.
    pub(crate) fn survived(&mut self, forked: Instant) {
        if self.last.is_some_and(|last| last < forked) {
            *self = Self::default();
        }
    }

    /// Until when no worker may be forked.
    pub(crate) fn until(&self) -> Option<Instant> {
        Some(self.last? + self.pause())
    }

    fn pause(&self) -> Duration {
        FIRST.saturating_mul(1 << self.deaths.saturating_sub(1).min(16)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_when_a_worker_survives() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        assert_eq!(backoff.until(), None);
        let pauses: Vec<u64> = (0..12).map(|_| backoff.died_young(start).as_millis() as u64).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        assert_eq!(backoff.until(), Some(start + LONGEST));
        // One that was there before says nothing about those that are forked now.
        backoff.survived(start);
        assert_eq!(backoff.until(), Some(start + LONGEST));
        backoff.survived(start + Duration::from_millis(1));
        assert_eq!(backoff.until(), None);
    }
}
