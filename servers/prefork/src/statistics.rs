//! What all processes of a supervisor have done together.

use std::time::Duration;

/// Counters of all worker processes, those that have ended included; from
/// [`Scoreboard::statistics`](crate::Scoreboard::statistics).
///
/// They come from servers that tell a [`Monitor`](varvel::Monitor) what goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Worker processes that there are.
    pub processes: u64,
    /// Worker processes that there ever were.
    pub processes_forked: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Exchanges that ended.
    pub requests: u64,
    /// Exchanges under way.
    pub in_flight: u64,
    /// Exchanges that were under way in a process when it died.
    pub lost: u64,
    /// Requests that were answered without a call, because they could not be read.
    pub refused: u64,
    /// Answers by the first digit of their status; at 0, exchanges that ended without one.
    pub statuses: [u64; 6],
    /// Bytes of answers, without heads and framing.
    pub bytes: u64,
    /// Exchanges whose answer was handed to the system as a whole.
    pub completed: u64,
    /// Exchanges whose client left.
    pub disconnected: u64,
    /// Exchanges whose application failed, or whose answer broke off.
    pub failed: u64,
    /// Exchanges that the client was too slow for.
    pub timed_out: u64,
    /// Exchanges that a stop cut off.
    pub stopped: u64,
    /// How long exchanges took, from the whole head of the request to the end of the answer.
    pub latency: Histogram,
}

impl Statistics {
    /// In the order in which they are counted.
    pub(crate) fn outcomes_mut(&mut self) -> [&mut u64; 5] {
        let Self { completed, disconnected, failed, timed_out, stopped, .. } = self;
        [completed, disconnected, failed, timed_out, stopped]
    }
}

/// How often durations came up, in steps of a fifth or so from a microsecond to more than an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram([u64; Self::BUCKETS]);

impl Histogram {
    /// Each power of two is divided by four.
    const FINE: u32 = 2;

    pub(crate) const BUCKETS: usize = 128;

    /// In which bucket a duration is counted.
    pub(crate) fn bucket(duration: Duration) -> usize {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let power = (micros | 1).ilog2().max(Self::FINE) - Self::FINE;
        let bucket = (u64::from(power) << Self::FINE) + (micros >> power);
        usize::try_from(bucket).map_or(Self::BUCKETS - 1, |bucket| bucket.min(Self::BUCKETS - 1))
    }

    /// The longest duration that is counted in a bucket, in microseconds.
    fn longest(bucket: usize) -> u64 {
        let fine = 1 << Self::FINE;
        let power = (bucket as u64 / fine).saturating_sub(1);
        let steps = bucket as u64 - power * fine;
        ((steps + 1) << power) - 1
    }

    pub(crate) fn add(&mut self, bucket: usize, count: u64) {
        self.0[bucket] += count;
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What a share of all durations does not exceed, a fifth or so too long at most: `0.5` is the median. `None` without
    /// any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        self.buckets().find_map(|(longest, count)| {
            below += count;
            (below >= rank).then_some(longest)
        })
    }

    /// The longest duration of each bucket, and how many are in it; from the shortest on.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let micros = |bucket| Duration::from_micros(Self::longest(bucket));
        self.0.iter().enumerate().map(move |(bucket, count)| (micros(bucket), *count))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self([0; Self::BUCKETS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_whose_bounds_hold_it() {
        let mut before = 0;
        for micros in (0..10_000).chain((0..40).map(|power| 1 << power)) {
            let bucket = Histogram::bucket(Duration::from_micros(micros));
            if bucket == Histogram::BUCKETS - 1 {
                continue;
            }
            assert!(micros <= Histogram::longest(bucket), "{micros} in {bucket}");
            assert!(bucket == 0 || micros > Histogram::longest(bucket - 1), "{micros} in {bucket}");
            assert!(bucket >= before || micros == 1);
            before = bucket;
        }
        assert_eq!(Histogram::bucket(Duration::MAX), Histogram::BUCKETS - 1);
        assert!(Histogram::longest(Histogram::BUCKETS - 2) > 3600 * 1_000_000);
    }

    #[test]
    fn quantiles_are_those_of_the_durations_a_fifth_too_long_at_most() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=1000 {
            histogram.add(Histogram::bucket(Duration::from_millis(millis)), 1);
        }
        for (share, exact) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = histogram.quantile(share).unwrap().as_micros() as f64 / (exact * 1000) as f64;
            assert!((1.0..1.25).contains(&found), "{share}: {found}");
        }
    }
}
