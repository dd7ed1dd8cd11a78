//! How long answers take, in a histogram whose buckets are 1.6 % wide.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Sub-buckets of each power of two.
const STEPS: u64 = 64;

/// Counts by microseconds.
#[derive(Debug)]
pub struct Histogram(Vec<u64>);

/// What a histogram comes to, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// Half of all are quicker.
    pub p50: f64,
    /// All but one in a hundred are quicker.
    pub p99: f64,
    /// All but one in a thousand are quicker.
    pub p999: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; bucket(u64::from(u32::MAX)) + 1])
    }
}

impl Histogram {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        self.0[bucket(micros)] += 1;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// What it comes to.
    pub fn latency(&self) -> Latency {
        Latency { p50: self.quantile(0.5), p99: self.quantile(0.99), p999: self.quantile(0.999) }
    }

    fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.0.iter().sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = self.0.iter().position(|count| {
            seen += count;
            seen >= rank && seen > 0
        });
        reached.map_or(0.0, middle)
    }
}

/// Values below 64 have a bucket each; above, every power of two has 64.
fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(STEPS.ilog2() + 1);
    (u64::from(shift) * STEPS + (micros >> shift)) as usize
}

fn middle(bucket: usize) -> f64 {
    let shift = (bucket as u64 / STEPS).saturating_sub(1);
    let low = (bucket as u64 - shift * STEPS) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_tells_its_values_to_one_percent() {
        for micros in
            (0..30).flat_map(|power| [1u64 << power, (1 << power) + (1 << power) / 3, (2 << power) - 1])
        {
            let told = middle(bucket(micros));
            assert!((told - micros as f64).abs() <= micros as f64 * 0.01, "{micros} is told as {told}");
        }
    }

    #[test]
    fn quantiles_are_where_they_should_be() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), Latency::default());
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let Latency { p50, p99, p999 } = histogram.latency();
        for (told, exact) in [(p50, 500.0), (p99, 990.0), (p999, 999.0)] {
            assert!((told - exact).abs() <= exact * 0.01, "{told} for {exact}");
        }
        histogram.clear();
        assert_eq!(histogram.latency(), Latency::default());
    }
}
