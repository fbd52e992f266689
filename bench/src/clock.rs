//! Time, and processor time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Whose processor time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This thread's.
    Thread,
    /// That of all threads of the process.
    Process,
}

/// What something took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) processor: Duration,
}

impl Took {
    /// Runs `work` and adds what it takes.
    pub(crate) fn add<T>(&mut self, whose: Whose, work: impl FnOnce() -> T) -> T {
        let (before, begin) = (processor(whose), Instant::now());
        let result = work();
        self.time += begin.elapsed();
        self.processor += processor(whose).saturating_sub(before);
        result
    }
}

fn processor(whose: Whose) -> Duration {
    let now: Timespec = clock_gettime(match whose {
        Whose::Thread => ClockId::ThreadCPUTime,
        Whose::Process => ClockId::ProcessCPUTime,
    });
    let (seconds, nanoseconds) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_takes_time_and_working_takes_the_processor() {
        let mut slept = Took::default();
        slept.add(Whose::Thread, || {
            std::thread::sleep(Duration::from_millis(50))
        });
        assert!(slept.time >= Duration::from_millis(50) && slept.processor < slept.time);
        for whose in [Whose::Thread, Whose::Process] {
            let mut worked = Took::default();
            worked.add(whose, || {
                let begin = processor(Whose::Thread);
                while processor(Whose::Thread) - begin < Duration::from_millis(5) {}
            });
            assert!(worked.processor >= Duration::from_millis(5));
        }
    }
}
