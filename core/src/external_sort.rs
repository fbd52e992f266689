//! Sorting more pairs of numbers than fit in memory.
//!
//! A [`PairSorter`] takes pairs in any order and gives them back ascending. Pairs beyond its memory
//! are sorted in runs, written to a temporary file that has no name (so that nothing is left behind,
//! whatever happens to the process), and merged while they are read back. Where there are more runs
//! than can be merged at once, they are first merged into fewer and longer ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::error::{Error, Result};
use crate::watch::{Steps, UNWATCHED, Watch};

/// A pair, ordered by its first number, then by its second.
pub(crate) type Pair = (u64, u64);

/// A pair as one number, which is compared without a branch.
pub(crate) fn joined(pair: Pair) -> u128 {
    u128::from(pair.0) << 64 | u128::from(pair.1)
}

/// The pair of which [`joined`] made one number.
pub(crate) fn taken_apart(number: u128) -> Pair {
    ((number >> 64) as u64, number as u64)
}

/// Sorts pairs in memory.
pub(crate) fn sort(pairs: &mut [Pair]) {
    pairs.sort_unstable_by_key(|pair| joined(*pair));
}

/// Sorts pairs of numbers in bounded memory; see the [module](self).
///
/// ```
/// use durum_core::external_sort::PairSorter;
/// let mut sorter = PairSorter::new(None, 1 << 20);
/// for pair in [(2, 1), (1, 9), (2, 0)] {
///     sorter.push(pair.0, pair.1)?;
/// }
/// let sorted = sorter.finish()?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(sorted, [(1, 9), (2, 0), (2, 1)]);
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PairSorter {
    directory: Option<PathBuf>,
    memory_bytes: usize,
    pairs: Vec<Pair>,
    runs: Option<RunWriter>,
    pushed: u64,
}

impl PairSorter {
    /// A sorter that keeps about `memory_bytes` bytes in memory (64 KiB at the least), and the rest
    /// in nameless files in `directory`, or in the system's directory for temporary files.
    pub fn new(directory: Option<&Path>, memory_bytes: usize) -> PairSorter {
        PairSorter {
            directory: directory.map(Path::to_path_buf),
            memory_bytes: memory_bytes.max(MEMORY_BYTES_MIN),
            pairs: Vec::new(),
            runs: None,
            pushed: 0,
        }
    }

    /// Adds a pair. Equal pairs are all kept.
    ///
    /// # Errors
    /// `Full` or `Io` when a temporary file cannot be written.
    pub fn push(&mut self, first: u64, second: u64) -> Result<()> {
        if self.pairs.len() >= self.memory_bytes / PAIR_BYTES {
            self.spill()?;
        }
        self.pairs.push((first, second));
        self.pushed += 1;
        Ok(())
    }

    /// How many pairs were added.
    pub fn len(&self) -> u64 {
        self.pushed
    }

    /// Whether no pair was added.
    pub fn is_empty(&self) -> bool {
        self.pushed == 0
    }

    /// Ends the input and gives all pairs back in ascending order.
    ///
    /// # Errors
    /// `Full` or `Io` when a temporary file cannot be written or read, here or while iterating.
    pub fn finish(self) -> Result<SortedPairs> {
        self.finish_watched(UNWATCHED)
    }

    /// As [`PairSorter::finish`]; `watch` is told of no objects, and may end it.
    pub(crate) fn finish_watched(mut self, watch: &Watch<'_>) -> Result<SortedPairs> {
        if self.runs.is_none() {
            sort(&mut self.pairs);
            return Ok(SortedPairs(Source::Memory(self.pairs.into_iter())));
        }
        self.spill()?;
        // The memory of the last run now serves the buffers of the merge.
        self.pairs = Vec::new();
        let Some(writer) = self.runs.take() else {
            return Ok(SortedPairs(Source::Memory(Vec::new().into_iter())));
        };
        let mut runs = writer.finish()?;
        let runs_max = (self.memory_bytes / READ_BYTES_MIN).max(2);
        while runs.len() > runs_max {
            runs = self.merge_once(&runs, runs_max, watch)?;
        }
        Ok(SortedPairs(Source::Merge(Merge::new(
            runs,
            self.memory_bytes,
        )?)))
    }

    /// Sorts what is in memory and writes it out as a run.
    fn spill(&mut self) -> Result<()> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        sort(&mut self.pairs);
        let runs = match &mut self.runs {
            Some(runs) => runs,
            none => none.insert(RunWriter::create(self.directory.as_deref())?),
        };
        for pair in self.pairs.drain(..) {
            runs.push(pair)?;
        }
        runs.end_run();
        Ok(())
    }

    /// Merges every `runs_max` runs into one.
    fn merge_once(&self, runs: &[Run], runs_max: usize, watch: &Watch<'_>) -> Result<Vec<Run>> {
        let mut steps = Steps::new(watch);
        let mut merged = RunWriter::create(self.directory.as_deref())?;
        for group in runs.chunks(runs_max) {
            for pair in Merge::new(group.to_vec(), self.memory_bytes)? {
                merged.push(pair?)?;
                steps.other(0)?;
            }
            merged.end_run();
        }
        merged.finish()
    }
}

/// The pairs of a [`PairSorter`], ascending. After an error there are no more.
#[derive(Debug)]
pub struct SortedPairs(Source);

impl SortedPairs {
    /// The same pairs, merged ahead of who takes them by a thread of its own, where they have to be merged.
    pub(crate) fn ahead<'scope>(self, scope: &'scope Scope<'scope, '_>) -> SortedPairs {
        let Source::Merge(mut merge) = self.0 else {
            return self;
        };
        let (blocks, received) = sync_channel(BLOCKS_AHEAD);
        scope.spawn(move || {
            // After its end, an error, or when nobody takes them any more, there is no other block.
            while let Some(block) = merge.block().transpose() {
                if blocks.send(block).is_err() {
                    break;
                }
            }
        });
        SortedPairs(Source::Blocks(received, Vec::new().into_iter()))
    }
}

impl Iterator for SortedPairs {
    type Item = Result<(u64, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Memory(pairs) => pairs.next().map(Ok),
            Source::Merge(merge) => merge.next(),
            Source::Blocks(blocks, pairs) => {
                if let Some(pair) = pairs.next() {
                    return Some(Ok(pair));
                }
                match blocks.recv().ok()? {
                    Ok(block) => *pairs = block.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
                pairs.next().map(Ok)
            }
        }
    }
}

#[derive(Debug)]
enum Source {
    Memory(std::vec::IntoIter<Pair>),
    Merge(Merge),
    Blocks(Receiver<Result<Vec<Pair>>>, std::vec::IntoIter<Pair>),
}

/// A sorted stretch of a temporary file.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    file: Arc<File>,
    start: u64,
    end: u64,
}

/// Writes runs, one after the other, to a file without a name.
#[derive(Debug)]
pub(crate) struct RunWriter {
    out: BufWriter<File>,
    /// Where each run ends.
    ends: Vec<u64>,
    written: u64,
}

impl RunWriter {
    pub(crate) fn create(directory: Option<&Path>) -> Result<RunWriter> {
        let file = match directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        let file = file.map_err(|error| {
            let error = Error::io(error, WRITE);
            match directory {
                Some(directory) => error.with_path(directory),
                None => error.with_path(std::env::temp_dir()),
            }
        })?;
        Ok(RunWriter {
            out: BufWriter::with_capacity(WRITE_BYTES, file),
            ends: Vec::new(),
            written: 0,
        })
    }

    pub(crate) fn push(&mut self, pair: Pair) -> Result<()> {
        let halves = [pair.0.to_le_bytes(), pair.1.to_le_bytes()];
        self.out
            .write_all(halves.as_flattened())
            .map_err(|error| Error::io(error, WRITE))?;
        self.written += PAIR_BYTES as u64;
        Ok(())
    }

    pub(crate) fn end_run(&mut self) {
        self.ends.push(self.written);
    }

    pub(crate) fn finish(self) -> Result<Vec<Run>> {
        let file = self
            .out
            .into_inner()
            .map_err(|error| Error::io(error.into_error(), WRITE))?;
        let file = Arc::new(file);
        let mut start = 0;
        let runs = self.ends.into_iter().map(|end| {
            let run = Run {
                file: Arc::clone(&file),
                start,
                end,
            };
            start = end;
            run
        });
        Ok(runs.collect())
    }
}

/// Merges runs while they are read.
#[derive(Debug)]
struct Merge {
    readers: Vec<RunReader>,
    /// The next pair of each run that has one, with the number of the run.
    heads: BinaryHeap<Reverse<(u128, usize)>>,
}

impl Merge {
    fn new(runs: Vec<Run>, memory_bytes: usize) -> Result<Merge> {
        let buffer_bytes = (memory_bytes / runs.len().max(1)).clamp(READ_BYTES_MIN, READ_BYTES_MAX)
            / PAIR_BYTES
            * PAIR_BYTES;
        let mut heads = BinaryHeap::with_capacity(runs.len());
        let mut readers = Vec::with_capacity(runs.len());
        for (number, run) in runs.into_iter().enumerate() {
            let mut reader = RunReader::new(run, buffer_bytes);
            if let Some(pair) = reader.next()? {
                heads.push(Reverse((joined(pair), number)));
            }
            readers.push(reader);
        }
        Ok(Merge { readers, heads })
    }

    fn step(&mut self) -> Result<Option<Pair>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse((pair, number)) = *head;
        let next = match self.readers.get_mut(number) {
            Some(reader) => reader.next()?,
            None => None,
        };
        match next {
            Some(next) => *head = Reverse((joined(next), number)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(taken_apart(pair)))
    }

    /// The next pairs; `None` at the end.
    fn block(&mut self) -> Result<Option<Vec<Pair>>> {
        let mut block = Vec::with_capacity(BLOCK_PAIRS);
        while block.len() < BLOCK_PAIRS {
            match self.next() {
                Some(pair) => block.push(pair?),
                None => break,
            }
        }
        Ok(Some(block).filter(|block| !block.is_empty()))
    }
}

impl Iterator for Merge {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        let step = self.step();
        if step.is_err() {
            self.heads.clear();
        }
        step.transpose()
    }
}

/// Reads a run through a buffer.
#[derive(Debug)]
pub(crate) struct RunReader {
    run: Run,
    buffer: Vec<u8>,
    used: usize,
    buffer_bytes: usize,
}

impl RunReader {
    pub(crate) fn new(run: Run, buffer_bytes: usize) -> RunReader {
        RunReader {
            run,
            buffer: Vec::new(),
            used: 0,
            buffer_bytes,
        }
    }

    /// The next pair; `None` at the end of the run.
    pub(crate) fn next(&mut self) -> Result<Option<Pair>> {
        if self.used == self.buffer.len() && !self.refill()? {
            return Ok(None);
        }
        let bytes = self.buffer.get(self.used..).unwrap_or_default();
        let pair = bytes.split_first_chunk::<8>().and_then(|(first, rest)| {
            let second = rest.first_chunk::<8>()?;
            Some((u64::from_le_bytes(*first), u64::from_le_bytes(*second)))
        });
        self.used += PAIR_BYTES;
        Ok(pair)
    }

    /// Reads the next part of the run; false at its end.
    fn refill(&mut self) -> Result<bool> {
        let left = self.run.end - self.run.start;
        let take =
            usize::try_from(left).map_or(self.buffer_bytes, |left| left.min(self.buffer_bytes));
        self.buffer.resize(take, 0);
        self.used = 0;
        self.run
            .file
            .read_exact_at(&mut self.buffer, self.run.start)
            .map_err(|error| Error::io(error, "read back pairs that were being sorted"))?;
        self.run.start += take as u64;
        Ok(take > 0)
    }
}

const WRITE: &str = "write a temporary file for sorting";

/// The size of a pair, in memory and in a file.
pub(crate) const PAIR_BYTES: usize = size_of::<Pair>();

/// The least memory that a sorter works with.
const MEMORY_BYTES_MIN: usize = 64 << 10;

/// The smallest buffer for a run while merging: it decides how many runs are merged at once.
pub(crate) const READ_BYTES_MIN: usize = 4 << 10;

/// The largest buffer for a run while merging: more would not make reading quicker.
const READ_BYTES_MAX: usize = 1 << 20;

/// The buffer for writing runs.
const WRITE_BYTES: usize = 64 << 10;

/// Pairs that pass between threads at once, and how many times these may wait: half a MiB.
const BLOCK_PAIRS: usize = 4 << 10;
const BLOCKS_AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use durum_testkit::seed;

    use super::*;
    use crate::ErrorKind;

    fn sorts(random: &mut fastrand::Rng, count: usize, bound: u64) {
        let mut sorter = PairSorter::new(None, 0);
        let mut model = Vec::new();
        for _ in 0..count {
            let pair = (random.u64(..=bound), random.u64(..=bound));
            sorter.push(pair.0, pair.1).unwrap();
            model.push(pair);
        }
        assert_eq!(sorter.len(), count as u64);
        model.sort_unstable();
        let sorted = sorter.finish().unwrap();
        let sorted: Vec<_> = match random.bool() {
            true => sorted.map(Result::unwrap).collect(),
            false => std::thread::scope(|scope| sorted.ahead(scope).map(Result::unwrap).collect()),
        };
        assert!(sorted == model, "{count} pairs up to {bound}");
    }

    #[test]
    fn equals_a_sort_in_memory() {
        let mut random = fastrand::Rng::with_seed(seed());
        let in_memory = MEMORY_BYTES_MIN / PAIR_BYTES;
        for count in [0, 1, in_memory - 1, in_memory, in_memory + 1, 20_000] {
            for bound in [0, 3, 1000, u64::MAX] {
                sorts(&mut random, count, bound);
            }
        }
        let count = random.usize(..30_000);
        sorts(&mut random, count, 1 << 40);
    }

    #[test]
    fn many_runs_are_merged_in_several_passes() {
        let in_memory = MEMORY_BYTES_MIN / PAIR_BYTES;
        let runs = MEMORY_BYTES_MIN / READ_BYTES_MIN + 3;
        let mut random = fastrand::Rng::with_seed(seed());
        sorts(&mut random, in_memory * runs + 17, u64::MAX);
    }

    #[test]
    fn runs_of_one_file_are_read_at_their_own_places() {
        let mut writer = RunWriter::create(None).unwrap();
        for run in [&[1, 4, 9][..], &[], &[2, 4]] {
            for value in run {
                writer.push((*value, 0)).unwrap();
            }
            writer.end_run();
        }
        let merge = Merge::new(writer.finish().unwrap(), MEMORY_BYTES_MIN).unwrap();
        let firsts: Vec<_> = merge.map(|pair| pair.unwrap().0).collect();
        assert_eq!(firsts, [1, 2, 4, 4, 9]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_its_name() {
        let mut sorter = PairSorter::new(Some(Path::new("/nonexistent-durum")), 0);
        let failed = (0..10_000).try_for_each(|n| sorter.push(n, n)).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::NotFound);
        assert!(
            failed.to_string().contains("/nonexistent-durum"),
            "{failed}"
        );
    }

    /// `/dev/full` refuses every write as a full disk does.
    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = RunWriter {
            out: BufWriter::with_capacity(WRITE_BYTES, full),
            ends: Vec::new(),
            written: 0,
        };
        let failed = (0..10_000).try_for_each(|n| writer.push((n, n)));
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Full);
    }
}
