//! The figures of one engine at one workload.

use durum_core::engine::Durability;
use serde::Serialize;

use crate::latency::{Histogram, Latency};
use crate::measure::Sample;
use crate::workload::{Compared, Workload};

/// The name that takes an engine's place where the disk itself is measured.
pub const DISK: &str = "disk";

/// The figures of one engine at one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The engine's name, or [`DISK`].
    pub engine: String,
    /// The engine and its version.
    pub version: String,
    /// What was done.
    pub workload: Workload,
    /// Objects in the store.
    pub objects: u64,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// Microseconds of processor time for each, the median of the rounds; 0 where it was not taken.
    pub processor_us: f64,
    /// The durability of the writes; `None` where nothing is written, or not waited for.
    pub durability: Option<Durability>,
    /// How long single operations took, in all rounds.
    pub latency: Option<Latency>,
    /// What the store takes on the disk after an import, in bytes: the median of the rounds.
    pub disk_bytes: Option<u64>,
    /// The engine alone, likewise.
    pub raw_per_second: Option<f64>,
    /// The engine alone, likewise.
    pub raw_processor_us: Option<f64>,
    /// What Durum takes for each, divided by what the engine alone takes: the median of the rounds.
    pub ratio_to_raw: Option<f64>,
    /// How far the ratios of the rounds lie apart: the largest less the smallest.
    pub ratio_spread: Option<f64>,
    /// What is divided.
    pub compared: Compared,
}

/// One round of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) store: Sample,
    /// The engine alone.
    pub(crate) raw: Option<Sample>,
}

impl Row {
    /// A row from the rounds.
    pub(crate) fn new(
        engine: (&str, &str),
        workload: Workload,
        objects: u64,
        rounds: &[&Measured],
        durability: Option<Durability>,
    ) -> Row {
        let rates: Vec<f64> = rounds
            .iter()
            .map(|round| round.store.per_second())
            .collect();
        let mut latencies = Histogram::default();
        rounds
            .iter()
            .for_each(|round| latencies.merge(&round.store.latencies));
        let processor = |sample: &Sample| sample.cost(Compared::ProcessorTime) * 1e6;
        let stores: Vec<f64> = rounds.iter().map(|round| processor(&round.store)).collect();
        let raws: Vec<&Sample> = rounds
            .iter()
            .filter_map(|round| round.raw.as_ref())
            .collect();
        let of_raw = |figure: &dyn Fn(&Sample) -> f64| {
            let figures: Vec<f64> = raws.iter().map(|raw| figure(raw)).collect();
            (!figures.is_empty()).then(|| median(&figures))
        };
        let compared = workload.compared();
        let ratios: Vec<f64> = rounds
            .iter()
            .filter_map(|round| {
                let raw = round.raw.as_ref()?.cost(compared);
                (raw > 0.0).then(|| round.store.cost(compared) / raw)
            })
            .collect();
        let is_compared = !ratios.is_empty();
        Row {
            engine: engine.0.to_owned(),
            version: engine.1.to_owned(),
            workload,
            objects,
            per_second: median(&rates),
            unit: workload.unit(),
            spread: range(&rates) / median(&rates).max(f64::MIN_POSITIVE),
            processor_us: median(&stores),
            durability,
            latency: latencies.latency(),
            disk_bytes: None,
            raw_per_second: of_raw(&Sample::per_second),
            raw_processor_us: of_raw(&processor),
            ratio_to_raw: is_compared.then(|| median(&ratios)),
            ratio_spread: is_compared.then(|| range(&ratios)),
            compared,
        }
    }
}

/// What the stores of one engine take, in bytes: medians of the rounds. `None` where it was not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoreRow {
    /// The engine's name.
    pub engine: String,
    /// Objects in the store.
    pub objects: u64,
    /// The records of these.
    pub live_bytes: u64,
    /// On the disk, after the bulk load.
    pub disk_loaded: Option<u64>,
    /// After commits and updates.
    pub disk_changed: Option<u64>,
    /// After nearly half of the objects were deleted, and collected.
    pub disk_collected: Option<u64>,
    /// After the engine gave back what it gives back by itself.
    pub disk_reclaimed: Option<u64>,
    /// After it was compacted.
    pub disk_compacted: Option<u64>,
    /// Of what is left.
    pub live_bytes_left: u64,
    /// The engine alone, after the bulk load.
    pub raw_disk_loaded: Option<u64>,
    /// The most memory that a bulk load of so many objects had resident, mapped files included.
    pub peak_memory: Option<u64>,
    /// The same without mapped files, which the system takes back when it likes.
    pub peak_anonymous: Option<u64>,
    /// The engine alone.
    pub raw_peak_memory: Option<u64>,
    /// The engine alone.
    pub raw_peak_anonymous: Option<u64>,
}

impl StoreRow {
    /// The medians of the rounds' figures.
    pub(crate) fn median(rounds: &[StoreRow]) -> StoreRow {
        let of = |figure: fn(&StoreRow) -> Option<u64>| {
            let figures: Vec<f64> = rounds
                .iter()
                .filter_map(|round| figure(round).map(|bytes| bytes as f64))
                .collect();
            (!figures.is_empty()).then(|| median(&figures) as u64)
        };
        let Some(first) = rounds.first() else {
            return StoreRow::default();
        };
        StoreRow {
            engine: first.engine.clone(),
            objects: first.objects,
            live_bytes: of(|row| Some(row.live_bytes)).unwrap_or_default(),
            disk_loaded: of(|row| row.disk_loaded),
            disk_changed: of(|row| row.disk_changed),
            disk_collected: of(|row| row.disk_collected),
            disk_reclaimed: of(|row| row.disk_reclaimed),
            disk_compacted: of(|row| row.disk_compacted),
            live_bytes_left: of(|row| Some(row.live_bytes_left)).unwrap_or_default(),
            raw_disk_loaded: of(|row| row.raw_disk_loaded),
            peak_memory: of(|row| row.peak_memory),
            peak_anonymous: of(|row| row.peak_anonymous),
            raw_peak_memory: of(|row| row.raw_peak_memory),
            raw_peak_anonymous: of(|row| row.raw_peak_anonymous),
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

/// The largest less the smallest; 0 without figures.
pub(crate) fn range(figures: &[f64]) -> f64 {
    let smallest = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (largest - smallest).max(0.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Took;

    #[test]
    fn medians_and_ranges() {
        assert_eq!((median(&[]), range(&[])), (0.0, 0.0));
        assert_eq!(median(&[3.0, 1.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(range(&[9.0, 1.0, 2.0]), 8.0);
    }

    #[test]
    fn rows_compare_what_belongs_together() {
        let sample = |count, time, processor| {
            Sample::of(
                count,
                Took {
                    time: Duration::from_millis(time),
                    processor: Duration::from_millis(processor),
                },
            )
        };
        let round = |time, processor| Measured {
            store: sample(10, time, processor),
            raw: Some(sample(20, 1000, 500)),
        };
        let rounds = [round(1000, 500), round(2000, 400), round(500, 600)];
        let rounds: Vec<&Measured> = rounds.iter().collect();
        let row = |workload| Row::new(("x", "X 1"), workload, 7, &rounds, None);
        let scan = row(Workload::Scan);
        assert_eq!((scan.per_second, scan.spread), (10.0, 1.5));
        assert_eq!(scan.raw_per_second, Some(20.0));
        assert_eq!(scan.processor_us, 50_000.0);
        assert_eq!(scan.ratio_to_raw, Some(2.0));
        assert_eq!(row(Workload::Commit).ratio_to_raw, Some(2.0));
        assert_eq!(row(Workload::Commit).ratio_spread, Some(3.0));
        let alone = Measured {
            raw: None,
            ..rounds[0].clone()
        };
        let row = Row::new(("x", "X 1"), Workload::Scan, 7, &[&alone], None);
        assert_eq!((row.ratio_to_raw, row.raw_per_second), (None, None));
    }
}
