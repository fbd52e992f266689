//! How long single operations took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many buckets for each doubling: what falls into one differs by 9 % at most.
const PER_DOUBLING: f64 = 8.0;
/// Up to some minutes.
const BUCKETS: usize = 320;

/// Counts of times, by their logarithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS],
            longest: Duration::ZERO,
        }
    }
}

/// How long single operations took, in microseconds, to some 9 %.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many were timed.
    pub timed: u64,
    /// The median.
    pub p50_us: f64,
    /// What a tenth takes longer than.
    pub p90_us: f64,
    /// What a hundredth takes longer than.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The ends of the ranges of time in which there are any, and how many there are in each.
    pub histogram: Vec<(f64, u64)>,
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        let nanoseconds = (time.as_nanos() as f64).max(1.0);
        let bucket = (nanoseconds.log2() * PER_DOUBLING) as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(BUCKETS - 1)) {
            *count += 1;
        }
        self.longest = self.longest.max(time);
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.longest = self.longest.max(other.longest);
    }

    /// In figures; `None` where nothing was timed.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let timed: u64 = self.counts.iter().sum();
        let longest = self.longest.as_secs_f64() * 1e6;
        let end = |bucket: usize| ((bucket + 1) as f64 / PER_DOUBLING).exp2() / 1e3;
        let share = |share: f64| {
            let wanted = (timed as f64 * share).ceil() as u64;
            let mut seen = 0;
            let bucket = self.counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            bucket.map_or(longest, |bucket| end(bucket).min(longest))
        };
        let counts = self.counts.iter().enumerate();
        (timed > 0).then(|| Latency {
            timed,
            p50_us: share(0.5),
            p90_us: share(0.9),
            p99_us: share(0.99),
            max_us: longest,
            histogram: counts
                .filter(|(_, count)| **count > 0)
                .map(|(bucket, count)| (end(bucket), *count))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_what_was_timed() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.latency(), None);
        for microseconds in 1..=1000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        let mut other = Histogram::default();
        other.add(Duration::from_secs(1_000_000));
        histogram.merge(&other);
        let latency = histogram.latency().unwrap();
        assert_eq!((latency.timed, latency.max_us), (1001, 1e12));
        for (found, expected) in [
            (latency.p50_us, 500.0),
            (latency.p90_us, 900.0),
            (latency.p99_us, 990.0),
        ] {
            assert!((expected..expected * 1.1).contains(&found), "{found}");
        }
        assert_eq!(
            latency
                .histogram
                .iter()
                .map(|(_, count)| count)
                .sum::<u64>(),
            1001
        );
        assert!(
            latency
                .histogram
                .is_sorted_by(|left, right| left.0 < right.0)
        );
    }
}
