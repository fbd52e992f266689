//! The figures of one workload.

use durum_core::engine::Durability;
use serde::Serialize;

/// The figures of one engine at one workload on a graph of one size. What does not apply is `None`.
///
/// Reads, bytes and counts come from commits under a budget without a clock, and are the same in every
/// run with the same seed; times are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GcRow {
    /// The engine's name.
    pub engine: String,
    /// The workload's name.
    pub workload: &'static str,
    /// Objects in the graph before the first commit.
    pub objects: u64,
    /// How durable the commits were: as little as the engine can.
    pub durability: Option<Durability>,
    /// Commits that were measured.
    pub commits: u64,
    /// Of these, those that had something to collect, or to anchor anew.
    pub collecting_commits: Option<u64>,
    /// Objects that became garbage, where that is known beforehand.
    pub garbage: Option<u64>,
    /// Objects that were collected.
    pub collected: Option<u64>,
    /// References of an object that became garbage, on average.
    pub degree: Option<f64>,
    /// Rows that a commit that collected read for that: the mean.
    pub reads_mean: Option<f64>,
    /// The median.
    pub reads_p50: Option<u64>,
    /// The 99th percentile.
    pub reads_p99: Option<u64>,
    /// The most.
    pub reads_max: Option<u64>,
    /// Rows that were read for collecting, for each object that was collected.
    pub reads_per_garbage: Option<f64>,
    /// Rows that the engine was asked for in a commit, for whatever reason: the mean.
    pub engine_reads_mean: Option<f64>,
    /// The same where nothing is collected.
    pub engine_reads_off_mean: Option<f64>,
    /// How much longer a commit took than on a store that does not collect: the median, in
    /// milliseconds.
    pub pause_ms_p50: Option<f64>,
    /// The 99th percentile.
    pub pause_ms_p99: Option<f64>,
    /// The most.
    pub pause_ms_max: Option<f64>,
    /// How long a commit took on a store that does not collect: the median.
    pub off_ms_p50: Option<f64>,
    /// The 99th percentile.
    pub off_ms_p99: Option<f64>,
    /// For how many commits after its own there was garbage at most; 0: all of it was gone in the
    /// commit that made it.
    pub age_commits_max: Option<u64>,
    /// Bytes that were written for a commit.
    pub bytes_per_commit: Option<f64>,
    /// Bytes that were written with collection, over those that the same commits write to the objects,
    /// the log of changes and the store's counters where nothing is collected: all keys and values that
    /// the engine was given. (The anchors within the records, a few bytes each, are on both sides.)
    pub bytes_ratio: Option<f64>,
    /// Orphans that received another anchor.
    pub anchored: Option<u64>,
    /// Searches that went on beyond the commit that began them.
    pub long_searches: Option<u64>,
    /// Parts of searches that were begun again.
    pub restarts: Option<u64>,
    /// Structures that were condemned, to be deleted in parts.
    pub condemned: Option<u64>,
    /// Steps of a climb: the mean.
    pub climb_mean: Option<f64>,
    /// The most.
    pub climb_max: Option<u64>,
    /// How long the commit took that cut the structure off, in milliseconds.
    pub cut_ms: Option<f64>,
    /// From then on until it was gone for everyone.
    pub condemned_ms: Option<f64>,
    /// Until the first object of it had been deleted.
    pub first_deletion_ms: Option<f64>,
    /// Until all of it had been deleted; `None` where that took too long to wait for.
    pub gone_ms: Option<f64>,
    /// How long collecting it takes where nobody else commits.
    pub alone_ms: Option<f64>,
    /// How long the engine takes to delete as many of its records in large batches.
    pub raw_delete_ms: Option<f64>,
    /// How long the commits of others took meanwhile: the median, in milliseconds.
    pub others_ms_p50: Option<f64>,
    /// The 99th percentile.
    pub others_ms_p99: Option<f64>,
    /// The longest.
    pub others_ms_max: Option<f64>,
    /// How long they took before: the median.
    pub others_before_ms_p50: Option<f64>,
    /// The 99th percentile.
    pub others_before_ms_p99: Option<f64>,
    /// The longest.
    pub others_before_ms_max: Option<f64>,
    /// How much memory was taken at most beyond what was taken before, in bytes, without mapped files.
    pub memory_bytes: Option<u64>,
    /// Bytes on the disk for each live byte.
    pub disk_ratio: Option<f64>,
    /// The most, looked at now and then while the background worker gave space back under the commits,
    /// where the engine can do that. [`GcRow::disk_ratio`] is without it.
    pub disk_ratio_worker_max: Option<f64>,
    /// The same when it was done.
    pub disk_ratio_worker: Option<f64>,
    /// The same after unused space was given back, where the engine can do that.
    pub disk_ratio_reclaimed: Option<f64>,
    /// The same after the files were rewritten, where the engine can do that.
    pub disk_ratio_compacted: Option<f64>,
}

/// Figures of which percentiles are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn append(&mut self, mut other: Sample) {
        self.0.append(&mut other.0);
    }

    /// Makes it ready for [`Sample::at`].
    pub(crate) fn sorted(mut self) -> Sample {
        self.0.sort_unstable_by(f64::total_cmp);
        self
    }

    /// The figure that so many per cent of all do not exceed.
    pub(crate) fn at(&self, percent: u64) -> Option<f64> {
        let count = self.0.len() as u64;
        let rank = (count * percent).div_ceil(100).max(1);
        self.0.get(rank as usize - 1).copied()
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        ratio(self.0.iter().sum(), self.0.len() as f64)
    }
}

/// A quotient, where there is one.
pub(crate) fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then_some(part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_occurred() {
        let mut sample = Sample::default();
        assert_eq!((sample.at(50), sample.mean()), (None, None));
        (1..=200)
            .rev()
            .for_each(|figure| sample.add(f64::from(figure)));
        let sample = sample.sorted();
        let found = [1, 50, 99, 100].map(|percent| sample.at(percent));
        assert_eq!(found, [2.0, 100.0, 198.0, 200.0].map(Some));
        assert_eq!(sample.mean(), Some(100.5));
    }
}
