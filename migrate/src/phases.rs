//! How long the parts of a migration took.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long the parts of a migration took, those of earlier runs not counted. Together they are all of
/// the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Opening both sides, and removing or reading what an earlier run has left.
    pub open: Duration,
    /// Finding what the root reaches, where nothing else is copied.
    pub walk: Duration,
    /// Reading the objects, and writing them.
    pub copy: Duration,
    /// Sorting the references and writing the collector's tables, up to a sync of everything.
    pub link: Duration,
    /// Reading back and comparing, as far as it was not done while the references were linked.
    pub verify: Duration,
    /// Bringing over what was written meanwhile, and waiting for the end of that.
    pub follow: Duration,
    /// Making the destination appear, and closing it.
    pub publish: Duration,
}

/// Tells the parts apart: each lasts until it is said to have ended.
#[derive(Debug)]
pub(crate) struct Clock {
    since: Cell<Instant>,
    phases: Cell<Phases>,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            since: Cell::new(Instant::now()),
            phases: Cell::default(),
        }
    }

    /// What passed since another part has ended was of this one.
    pub(crate) fn end(&self, part: impl FnOnce(&mut Phases) -> &mut Duration) {
        let now = Instant::now();
        let mut phases = self.phases.get();
        *part(&mut phases) += now - self.since.replace(now);
        self.phases.set(phases);
    }

    pub(crate) fn phases(&self) -> Phases {
        self.phases.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_of_the_time() {
        let begin = Instant::now();
        let clock = Clock::start();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(2));
            clock.end(|phases| &mut phases.copy);
            clock.end(|phases| &mut phases.link);
        }
        let Phases { copy, link, .. } = clock.phases();
        assert!(copy >= Duration::from_millis(6) && copy + link <= begin.elapsed());
        assert_eq!(clock.phases().verify, Duration::ZERO);
    }
}
