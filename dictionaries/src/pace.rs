//! Healing no faster than is wanted, beside others that have work to do.

use std::time::{Duration, Instant};

/// Spreads work over time.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: Option<u32>,
    begun: Instant,
    done: u64,
}

impl Pace {
    /// So many dictionaries, or lines of an index, a second at most.
    pub(crate) fn new(per_second: Option<u32>) -> Pace {
        Pace {
            per_second,
            begun: Instant::now(),
            done: 0,
        }
    }

    /// How long to wait after so many more.
    pub(crate) fn due(&mut self, more: u64) -> Duration {
        self.due_at(more, self.begun.elapsed())
    }

    fn due_at(&mut self, more: u64, passed: Duration) -> Duration {
        let Some(per_second) = self.per_second else {
            return Duration::ZERO;
        };
        self.done += more;
        let wanted = Duration::from_secs_f64(self.done as f64 / f64::from(per_second.max(1)));
        wanted.saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_spread_evenly() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(Some(100));
        assert_eq!(pace.due_at(50, Duration::ZERO), second / 2);
        assert_eq!(pace.due_at(50, second / 2), second / 2);
        // What took longer by itself is not waited for, and not made up for by more haste than is allowed.
        assert_eq!(pace.due_at(100, second * 3), Duration::ZERO);
        assert_eq!(pace.due_at(200, second * 3), second);
        let mut unbounded = Pace::new(None);
        assert_eq!(unbounded.due_at(1 << 40, Duration::ZERO), Duration::ZERO);
    }
}
