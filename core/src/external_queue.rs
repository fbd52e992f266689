//! A priority queue of more pairs of numbers than fit in memory.
//!
//! This is what "time-forward processing" needs (Chiang, Goodrich, Grove, Tamassia, Vengroff and
//! Vitter, "External-memory graph algorithms", SODA 1995): whoever walks over a graph in the order of
//! its numbers sends a message to each later neighbour by pushing (neighbour, message), and finds its
//! own messages at the front of the queue when its turn comes.
//!
//! Pairs beyond the memory are sorted into runs, which lie in temporary files without a name. Runs have
//! levels: where there are `FAN` of one level, they become a single one of the next, so that a pair is
//! rewritten a logarithmic number of times, and as few buffers are needed for reading.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::external_sort::{
    PAIR_BYTES, Pair, READ_BYTES_MIN, RunReader, RunWriter, joined, taken_apart,
};

/// Runs of one level before they are merged.
const FAN: usize = 16;
/// The least memory that a queue works with.
const MEMORY_BYTES_MIN: usize = 64 << 10;

/// Gives pairs back smallest first, while more are being added; see the [module](self).
///
/// ```
/// use durum_core::external_queue::PairQueue;
/// let mut queue = PairQueue::new(None, 1 << 20);
/// queue.push(5, 1)?;
/// queue.push(3, 2)?;
/// assert_eq!(queue.pop()?, Some((3, 2)));
/// queue.push(4, 9)?;
/// assert_eq!(queue.pop()?, Some((4, 9)));
/// assert_eq!(queue.pop()?, Some((5, 1)));
/// assert_eq!(queue.pop()?, None);
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PairQueue {
    directory: Option<PathBuf>,
    /// Pairs in memory at most.
    recent_max: usize,
    recent: BinaryHeap<Reverse<u128>>,
    runs: Vec<Option<OpenRun>>,
    /// The next pair of every run that has one, with the run's place in `runs`.
    heads: BinaryHeap<Reverse<(u128, usize)>>,
}

#[derive(Debug)]
struct OpenRun {
    reader: RunReader,
    level: u32,
}

impl PairQueue {
    /// An empty queue that keeps about `memory_bytes` bytes in memory (64 KiB at the least; with very
    /// many pairs some 64 KiB more for each sixteenfold), and the rest in nameless files in
    /// `directory`, or in the system's directory for temporary files.
    pub fn new(directory: Option<&Path>, memory_bytes: usize) -> PairQueue {
        PairQueue {
            directory: directory.map(Path::to_path_buf),
            recent_max: memory_bytes.max(MEMORY_BYTES_MIN) / PAIR_BYTES,
            recent: BinaryHeap::new(),
            runs: Vec::new(),
            heads: BinaryHeap::new(),
        }
    }

    /// Adds a pair. Equal pairs are all kept.
    ///
    /// # Errors
    /// `Full` or `Io` when a temporary file cannot be written or read.
    pub fn push(&mut self, first: u64, second: u64) -> Result<()> {
        if self.recent.len() >= self.recent_max {
            self.spill()?;
        }
        self.recent.push(Reverse(joined((first, second))));
        Ok(())
    }

    /// The smallest pair, which stays in the queue.
    pub fn peek(&self) -> Option<(u64, u64)> {
        let recent = self.recent.peek().map(|Reverse(pair)| *pair);
        let stored = self.heads.peek().map(|Reverse((pair, _))| *pair);
        let smallest = match (recent, stored) {
            (Some(recent), Some(stored)) => Some(recent.min(stored)),
            (recent, stored) => recent.or(stored),
        };
        smallest.map(taken_apart)
    }

    /// Takes the smallest pair out.
    ///
    /// # Errors
    /// As [`PairQueue::push`].
    pub fn pop(&mut self) -> Result<Option<(u64, u64)>> {
        let recent = self.recent.peek().map(|Reverse(pair)| *pair);
        let head = self.heads.peek_mut();
        let mut head = match head {
            Some(head) if recent.is_none_or(|recent| head.0.0 < recent) => head,
            _ => return Ok(self.recent.pop().map(|Reverse(pair)| taken_apart(pair))),
        };
        let Reverse((pair, place)) = *head;
        // The next one of the run takes its place: once up or down the heap, and not twice.
        match next_of(&mut self.runs, place)? {
            Some(next) => *head = Reverse((joined(next), place)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(taken_apart(pair)))
    }

    /// Brings the first pair of a run into `heads`.
    fn begin(&mut self, place: usize) -> Result<()> {
        if let Some(pair) = next_of(&mut self.runs, place)? {
            self.heads.push(Reverse((joined(pair), place)));
        }
        Ok(())
    }

    /// Moves what is in memory to a run.
    fn spill(&mut self) -> Result<()> {
        let mut sorted = std::mem::take(&mut self.recent).into_vec();
        sorted.sort_unstable_by(|left, right| right.cmp(left));
        let mut out = RunWriter::create(self.directory.as_deref())?;
        for Reverse(pair) in &sorted {
            out.push(taken_apart(*pair))?;
        }
        sorted.clear();
        // Its memory serves the next pairs.
        self.recent = BinaryHeap::from(sorted);
        self.add_run(out, 0)?;
        let mut level = 0;
        while self.runs_of(level).count() >= FAN {
            self.merge(level)?;
            level += 1;
        }
        Ok(())
    }

    fn runs_of(&self, level: u32) -> impl Iterator<Item = usize> {
        let places = self.runs.iter().enumerate();
        places.filter_map(move |(place, run)| {
            let run = run.as_ref()?;
            (run.level == level).then_some(place)
        })
    }

    fn add_run(&mut self, mut written: RunWriter, level: u32) -> Result<()> {
        written.end_run();
        for run in written.finish()? {
            let reader = RunReader::new(run, READ_BYTES_MIN);
            let open = Some(OpenRun { reader, level });
            let free = self.runs.iter().position(Option::is_none);
            let place = match free.and_then(|place| self.runs.get_mut(place)) {
                Some(slot) => {
                    *slot = open;
                    free.unwrap_or_default()
                }
                None => {
                    self.runs.push(open);
                    self.runs.len() - 1
                }
            };
            self.begin(place)?;
        }
        Ok(())
    }

    /// Merges what is left of all runs of a level into one of the next.
    fn merge(&mut self, level: u32) -> Result<()> {
        let members: Vec<usize> = self.runs_of(level).collect();
        let (mut inputs, others): (BinaryHeap<_>, BinaryHeap<_>) = self
            .heads
            .drain()
            .partition(|Reverse((_, place))| members.contains(place));
        self.heads = others;
        let mut out = RunWriter::create(self.directory.as_deref())?;
        while let Some(Reverse((pair, place))) = inputs.pop() {
            out.push(taken_apart(pair))?;
            if let Some(Some(run)) = self.runs.get_mut(place)
                && let Some(next) = run.reader.next()?
            {
                inputs.push(Reverse((joined(next), place)));
            }
        }
        for place in members {
            if let Some(slot) = self.runs.get_mut(place) {
                *slot = None;
            }
        }
        self.add_run(out, level + 1)
    }
}

/// The next pair of a run, which is closed at its end.
fn next_of(runs: &mut [Option<OpenRun>], place: usize) -> Result<Option<Pair>> {
    let Some(slot) = runs.get_mut(place) else {
        return Ok(None);
    };
    let next = match slot {
        Some(run) => run.reader.next()?,
        None => None,
    };
    if next.is_none() {
        *slot = None;
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use durum_testkit::seed;

    use super::*;

    /// A queue with memory for `recent_max` pairs next to a heap, pushed and popped at random.
    fn equals(random: &mut fastrand::Rng, recent_max: usize, steps: usize, ahead: u64) {
        let mut queue = PairQueue::new(None, 0);
        queue.recent_max = recent_max;
        let mut model = BinaryHeap::new();
        let (mut now, mut most) = (0, 0);
        for step in 0..steps {
            // Filled in the first half, emptied in the second, at random within both.
            let push = random.usize(..10) < if step < steps / 2 { 7 } else { 3 };
            if push {
                let pair = (now + random.u64(..ahead), random.u64(..50));
                queue.push(pair.0, pair.1).unwrap();
                model.push(Reverse(pair));
            } else {
                assert_eq!(queue.peek(), model.peek().map(|Reverse(pair)| *pair));
                let popped = queue.pop().unwrap();
                assert_eq!(popped, model.pop().map(|Reverse(pair)| pair));
                now = popped.map_or(now, |(first, _)| first);
            }
            most = most.max(queue.runs.iter().flatten().count());
        }
        while let Some(Reverse(pair)) = model.pop() {
            assert_eq!(queue.pop().unwrap(), Some(pair));
        }
        assert_eq!((queue.pop().unwrap(), queue.peek()), (None, None));
        let levels = (steps / recent_max).max(1).ilog(FAN) as usize + 2;
        assert!(most <= levels * FAN, "{most} runs were open at a time");
    }

    #[test]
    fn equals_a_heap_in_memory() {
        let mut random = fastrand::Rng::with_seed(seed());
        for recent_max in [1, 2, 7, 100] {
            for ahead in [1, 40, 1 << 40] {
                equals(&mut random, recent_max, 6000, ahead);
            }
        }
        let steps = random.usize(..20_000);
        equals(&mut random, 1000, steps, 500);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_its_name() {
        let mut queue = PairQueue::new(Some(Path::new("/nonexistent-durum")), 0);
        let failed = (0..10_000).try_for_each(|n| queue.push(n, n)).unwrap_err();
        assert!(
            failed.to_string().contains("/nonexistent-durum"),
            "{failed}"
        );
    }
}
