//! The figures of a migration.

use std::collections::BTreeMap;

use serde::Serialize;

use super::child::Taken;
use crate::row::median;

/// The figures of migrations from one engine to another. Where there were several rounds, times are
/// medians and memory and bytes are the most.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MigrateRow {
    /// The source's engine.
    pub source: String,
    /// The destination's engine.
    pub destination: String,
    /// Objects.
    pub objects: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Seconds from beginning to end, verification included.
    pub seconds: f64,
    /// Objects a second, verification included.
    pub per_second: f64,
    /// Seconds without verification.
    pub copy_seconds: f64,
    /// Seconds by part: `open`, `walk`, `copy`, `link`, `verify`, `publish`.
    pub phases: BTreeMap<String, f64>,
    /// Seconds of processor time of all threads, verification included: what else the machine does
    /// matters little to it.
    pub cpu_seconds: Option<f64>,
    /// The digest of both sides, where that was how they were verified.
    pub digest: Option<String>,
    /// The most memory that the migration had resident, mapped files included.
    pub peak_memory: Option<u64>,
    /// The same, of memory that belongs to no file.
    pub peak_anonymous: Option<u64>,
    /// The same, of mapped files.
    pub peak_mapped: Option<u64>,
    /// Bytes of the source on the disk.
    pub source_disk_bytes: u64,
    /// Bytes of the destination on the disk.
    pub disk_bytes: u64,
    /// Seconds that the destination's engine alone takes for the same records; `None` where there is no
    /// such load.
    pub raw_seconds: Option<f64>,
    /// Seconds of processor time of that load.
    pub raw_cpu_seconds: Option<f64>,
    /// The most memory of that load.
    pub raw_peak_memory: Option<u64>,
    /// The same, of memory that belongs to no file.
    pub raw_peak_anonymous: Option<u64>,
    /// Bytes on the disk after that load.
    pub raw_disk_bytes: Option<u64>,
    /// `copy_seconds` over `raw_seconds`.
    pub ratio_to_raw: Option<f64>,
    /// `seconds` over `raw_seconds`.
    pub ratio_to_raw_verified: Option<f64>,
}

/// The figures of a load of generated objects into a store, by which a source is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadRow {
    /// The engine's name.
    pub engine: String,
    /// Objects.
    pub objects: u64,
    /// Seconds, those for making the objects not counted.
    pub seconds: f64,
    /// The most memory that it had resident, mapped files included.
    pub peak_memory: Option<u64>,
    /// The same, of memory that belongs to no file.
    pub peak_anonymous: Option<u64>,
    /// Bytes on the disk.
    pub disk_bytes: u64,
}

/// One migration, and the raw load beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) phases: BTreeMap<String, f64>,
    pub(crate) digest: Option<String>,
    pub(crate) taken: Taken,
    pub(crate) disk_bytes: u64,
    pub(crate) raw: Option<Raw>,
}

/// A raw load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) seconds: f64,
    pub(crate) taken: Taken,
    pub(crate) disk_bytes: u64,
}

impl MigrateRow {
    /// Fills in what the rounds came to.
    pub(crate) fn take(&mut self, rounds: &[Measured]) {
        let middle = |figure: &dyn Fn(&Measured) -> f64| {
            median(&rounds.iter().map(figure).collect::<Vec<_>>())
        };
        self.seconds = middle(&|round| round.seconds);
        self.per_second = self.objects as f64 / self.seconds.max(f64::MIN_POSITIVE);
        let verify = |round: &Measured| round.phases.get("verify").copied().unwrap_or_default();
        self.copy_seconds = middle(&|round| round.seconds - verify(round));
        for name in rounds.iter().flat_map(|round| round.phases.keys()) {
            let part = |round: &Measured| round.phases.get(name).copied().unwrap_or_default();
            self.phases.insert(name.clone(), middle(&part));
        }
        let cpu = |taken: &Taken| taken.cpu_seconds.unwrap_or_default();
        if rounds.iter().all(|round| round.taken.cpu_seconds.is_some()) {
            self.cpu_seconds = Some(middle(&|round| cpu(&round.taken)));
        }
        for round in rounds {
            self.bytes = round.bytes;
            self.digest.clone_from(&round.digest);
            self.peak_memory = self.peak_memory.max(round.taken.peak);
            self.peak_anonymous = self.peak_anonymous.max(round.taken.anonymous);
            self.peak_mapped = self.peak_mapped.max(round.taken.mapped);
            self.disk_bytes = self.disk_bytes.max(round.disk_bytes);
        }
        let raws: Vec<Raw> = rounds.iter().filter_map(|round| round.raw).collect();
        for raw in &raws {
            self.raw_peak_memory = self.raw_peak_memory.max(raw.taken.peak);
            self.raw_peak_anonymous = self.raw_peak_anonymous.max(raw.taken.anonymous);
            self.raw_disk_bytes = self.raw_disk_bytes.max(Some(raw.disk_bytes));
        }
        if !raws.is_empty() {
            let seconds = median(&raws.iter().map(|raw| raw.seconds).collect::<Vec<_>>());
            let over = |figure: f64| Some(figure / seconds.max(f64::MIN_POSITIVE));
            if raws.iter().all(|raw| raw.taken.cpu_seconds.is_some()) {
                let figures: Vec<f64> = raws.iter().map(|raw| cpu(&raw.taken)).collect();
                self.raw_cpu_seconds = Some(median(&figures));
            }
            self.raw_seconds = Some(seconds);
            self.ratio_to_raw = over(self.copy_seconds);
            self.ratio_to_raw_verified = over(self.seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_a_row() {
        let round = |seconds: f64, verify: f64, anonymous| Measured {
            seconds,
            phases: BTreeMap::from([("verify".to_owned(), verify)]),
            taken: Taken {
                anonymous: Some(anonymous),
                ..Taken::default()
            },
            raw: Some(Raw {
                seconds: 2.0,
                taken: Taken::default(),
                disk_bytes: 5,
            }),
            ..Measured::default()
        };
        let mut row = MigrateRow {
            objects: 90,
            ..MigrateRow::default()
        };
        row.take(&[round(9.0, 1.0, 3), round(10.0, 4.0, 7), round(8.0, 1.0, 1)]);
        assert_eq!(
            (row.seconds, row.copy_seconds, row.per_second),
            (9.0, 7.0, 10.0)
        );
        assert_eq!(
            (row.phases.get("verify"), row.peak_anonymous),
            (Some(&1.0), Some(7))
        );
        assert_eq!(
            (row.ratio_to_raw, row.ratio_to_raw_verified),
            (Some(3.5), Some(4.5))
        );
        assert_eq!((row.peak_memory, row.raw_disk_bytes), (None, Some(5)));
    }
}
