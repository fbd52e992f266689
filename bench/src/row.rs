//! The figures of one engine at one workload.

use durum_core::engine::Durability;
use serde::Serialize;

/// The name that takes an engine's place where the disk itself is measured.
pub const DISK: &str = "disk";

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// A bulk load of objects of about 100 bytes into a new store, until it is there durably.
    Import,
    /// Commits that change one object each, one after another, at the engine's best durability.
    Commit,
    /// Loads of single objects, drawn at random, in one snapshot.
    Load,
    /// A scan of all objects that verifies each.
    Scan,
    /// Appends of a few bytes to a file, each confirmed by the disk.
    Sync,
}

impl Workload {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Import => "import",
            Workload::Commit => "commit",
            Workload::Load => "load",
            Workload::Scan => "scan",
            Workload::Sync => "sync",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Workload::Import | Workload::Load | Workload::Scan => "objects",
            Workload::Commit => "commits",
            Workload::Sync => "syncs",
        }
    }
}

/// The figures of one engine at one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The engine's name, or [`DISK`].
    pub engine: String,
    /// What was done.
    pub workload: Workload,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// The durability of the writes; `None` where nothing is written.
    pub durability: Option<Durability>,
    /// What the store takes on the disk after an import, in bytes: the median of the rounds.
    pub disk_bytes: Option<u64>,
}

impl Row {
    /// A row from the rate of each round.
    pub(crate) fn new(
        engine: &str,
        workload: Workload,
        rates: &[f64],
        durability: Option<Durability>,
    ) -> Row {
        let per_second = median(rates);
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let fastest = rates.iter().copied().fold(0.0, f64::max);
        let spread = if per_second > 0.0 {
            (fastest - slowest) / per_second
        } else {
            0.0
        };
        Row {
            engine: engine.to_owned(),
            workload,
            per_second,
            unit: workload.unit(),
            spread,
            durability,
            disk_bytes: None,
        }
    }
}

/// The middle one of `figures`, or what lies between the two in the middle; 0 without figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or_default();
    match sorted.len() % 2 {
        0 => sorted
            .get(middle.wrapping_sub(1))
            .map_or(upper, |lower| f64::midpoint(*lower, upper)),
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        let row = Row::new("x", Workload::Scan, &[8.0, 10.0, 14.0], None);
        assert_eq!(
            (row.per_second, row.spread, row.unit),
            (10.0, 0.6, "objects")
        );
        assert_eq!(Row::new("x", Workload::Scan, &[], None).spread, 0.0);
    }
}
