//! Reading no faster than allowed.

use std::time::{Duration, Instant};

/// How long at most until a request to stop is noticed.
const NAP: Duration = Duration::from_millis(100);

/// Holds a thread up so that it moves so many bytes a second on average.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    start: Instant,
    bytes: u64,
}

impl Rate {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Rate {
        Rate {
            bytes_per_second,
            start: Instant::now(),
            bytes: 0,
        }
    }

    /// Waits after `bytes` more were moved; false where it is `over` meanwhile.
    pub(crate) fn wait(&mut self, bytes: usize, over: &dyn Fn() -> bool) -> bool {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else {
            return true;
        };
        self.bytes += bytes as u64;
        let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
        while let Some(left) = due.checked_sub(self.start.elapsed()) {
            if over() {
                return false;
            }
            std::thread::sleep(left.min(NAP));
        }
        true
    }
}
