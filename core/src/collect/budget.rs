//! How much work collection may do at a time, and what it has done.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::graph::Graph;

/// How much one commit, or one slice of the background worker, may do for collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Objects that are deleted at once. A cycle of more than these is condemned, and then deleted a
    /// part at a time.
    pub deletes: u64,
    /// Rows that are read.
    pub reads: u64,
    /// Time on top of that; none makes what happens reproducible.
    pub time: Option<Duration>,
}

impl Budget {
    /// What a commit may do unless the store's options say otherwise.
    pub const COMMIT: Budget = Budget {
        deletes: 256,
        reads: 4096,
        time: Some(Duration::from_millis(2)),
    };

    /// No bound: everything is collected at once, in memory that grows with the garbage. For tests.
    pub const UNLIMITED: Budget = Budget {
        deletes: u64::MAX,
        reads: u64::MAX,
        time: None,
    };
}

/// When to stop, so that what has been prepared by then can be written in time as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    end: Instant,
    /// What writing a row takes.
    row_cost: Duration,
    /// Rows that were to be written anyway.
    rows: u64,
}

impl Deadline {
    pub(crate) fn new(time: Duration, row_cost: Duration, graph: &dyn Graph) -> Deadline {
        Deadline {
            end: Instant::now() + time,
            row_cost,
            rows: graph.rows_to_write(),
        }
    }

    /// So much before this one.
    pub(crate) fn before(self, time: Duration) -> Deadline {
        Deadline {
            end: self.end.checked_sub(time).unwrap_or(self.end),
            ..self
        }
    }

    fn is_past(&self, graph: &dyn Graph) -> bool {
        let rows = graph.rows_to_write().saturating_sub(self.rows);
        let write = self
            .row_cost
            .saturating_mul(rows.try_into().unwrap_or(u32::MAX));
        Instant::now() + write >= self.end
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Meter {
    deletes: u64,
    reads_end: u64,
    steps: u64,
    deadline: Option<Deadline>,
}

/// Steps that need no reading count as so much less than a read.
const STEPS_PER_READ: u64 = 16;
/// How often the clock is looked at, in steps.
const CLOCK_EVERY: u64 = 16;

impl Meter {
    /// The time is that of the deadline, not the budget's.
    pub(crate) fn new(budget: Budget, deadline: Option<Deadline>, graph: &dyn Graph) -> Meter {
        Meter {
            deletes: budget.deletes,
            reads_end: graph.spent().saturating_add(budget.reads),
            steps: budget.reads.saturating_mul(STEPS_PER_READ),
            deadline,
        }
    }

    /// Counts a step, and says whether there may be one.
    pub(crate) fn more(&mut self, graph: &dyn Graph) -> bool {
        if self.deletes == 0 || self.steps == 0 || graph.spent() >= self.reads_end {
            return false;
        }
        self.steps -= 1;
        let look = self.steps.is_multiple_of(CLOCK_EVERY);
        !look || self.is_in_time(graph)
    }

    /// Whether no time is set, or some is left.
    pub(crate) fn is_in_time(&self, graph: &dyn Graph) -> bool {
        self.deadline
            .is_none_or(|deadline| !deadline.is_past(graph))
    }

    /// Counts deleted objects.
    pub(crate) fn deleted(&mut self, count: u64) {
        self.deletes = self.deletes.saturating_sub(count);
    }
}

/// How often a number was how large: in steps of powers of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// How many numbers were 0, 1, 2 to 3, 4 to 7, and so on; the last counts all larger ones.
    pub counts: [u64; 24],
    /// Their sum.
    pub sum: u64,
    /// The largest.
    pub max: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, number: u64) {
        let bucket = (u64::BITS - number.leading_zeros()) as usize;
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(bucket.min(last)) {
            *count += 1;
        }
        self.sum += number;
        self.max = self.max.max(number);
    }

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What collection has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Objects that were deleted.
    pub deleted: u64,
    /// Bytes of their stored records.
    pub deleted_bytes: u64,
    /// Orphans that received another anchor.
    pub anchored: u64,
    /// Searches that ended within the commit or slice in which they began.
    pub searches: u64,
    /// Searches that went on beyond it.
    pub long_searches: u64,
    /// Parts of long searches that were begun again since a commit had touched an object in them.
    pub restarts: u64,
    /// Large structures that were condemned.
    pub condemned: u64,
    /// Rows that a commit read for collection; commits that had nothing to collect are not counted.
    pub reads: Histogram,
    /// Steps from a referrer to where it was known to be safe or not.
    pub climbs: Histogram,
}
