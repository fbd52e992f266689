//! Reading that may have to wait for the disk, on threads that serve other connections as well.

use std::time::{Duration, Instant};

/// What takes longer has waited for the disk.
const SLOW: Duration = Duration::from_micros(500);
/// After that, so many reads are done where others need not wait for them.
const SUSPECT: u32 = 32;

/// Whether what a connection reads next may have to wait for the disk, going by what it read before.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    left: u32,
}

impl Suspicion {
    /// Reads something small; where it may have to wait, another thread serves other connections meanwhile.
    pub(crate) fn run<T>(&mut self, read: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = match self.left {
            0 => read(),
            _ => {
                self.left -= 1;
                tokio::task::block_in_place(read)
            }
        };
        if begin.elapsed() > SLOW {
            self.left = SUSPECT;
        }
        result
    }
}
