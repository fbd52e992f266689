//! Figures of a database.

use std::time::Duration;

use serde::Serialize;

use super::workload::DatabaseWorkload;
use crate::judged::{Judged, Wanted};
use crate::latency::{Histogram, Latency};
use crate::measure::Sample;
use crate::migrate::MigrateRow;
use crate::row::{median, range};
use crate::workload::Compared;

/// What a migration is to take at most, over what a `COPY` takes.
const MIGRATION_MAX: f64 = 1.5;

/// The figures of one workload with one delay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseRow {
    /// What was done.
    pub workload: DatabaseWorkload,
    /// Milliseconds by which each round trip takes longer than it does by itself.
    pub delay_ms: f64,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// How many a second in each round.
    pub rates: Vec<f64>,
    /// Microseconds of this process's processor time for each, the median of the rounds.
    pub processor_us: f64,
    /// How long single calls took, in all rounds; `None` where there is one only.
    pub latency: Option<Latency>,
    /// Round trips of a call, on all connections together; for what is done once those for each object, where there
    /// are few of these. `None` where they were not counted.
    pub round_trips: Option<f64>,
    /// The raw client, likewise.
    pub raw_per_second: Option<f64>,
    /// The raw client, likewise.
    pub raw_processor_us: Option<f64>,
    /// The raw client, likewise.
    pub raw_latency: Option<Latency>,
    /// The raw client, likewise.
    pub raw_round_trips: Option<f64>,
    /// The time that Durum takes for each, divided by what the raw client takes: the median of the rounds.
    pub ratio_to_raw: Option<f64>,
    /// How far the ratios of the rounds lie apart: the largest less the smallest.
    pub ratio_spread: Option<f64>,
}

/// What a round trip takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseLink {
    /// Milliseconds that are added to it.
    pub delay_ms: f64,
    /// Microseconds of a statement that does nothing, by the raw client: the median of the rounds.
    pub round_trip_us: f64,
}

/// A figure that is to be no more than another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatabaseFigure {
    /// What it is.
    pub figure: String,
    /// How much it is, and is to be.
    #[serde(flatten)]
    pub judged: Judged,
}

/// One round of one workload with one delay.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) workload: DatabaseWorkload,
    pub(super) delay: Duration,
    pub(super) store: Sample,
    pub(super) raw: Option<Sample>,
}

/// Round trips of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) workload: DatabaseWorkload,
    pub(super) store: f64,
    pub(super) raw: Option<f64>,
}

/// Milliseconds.
pub(super) fn milliseconds(delay: Duration) -> f64 {
    delay.as_secs_f64() * 1e3
}

/// By workload and delay.
pub(super) fn rows(measured: &[Measured], counted: &[Counted]) -> Vec<DatabaseRow> {
    let mut delays: Vec<Duration> = measured.iter().map(|one| one.delay).collect();
    delays.sort_unstable();
    delays.dedup();
    let mut rows = Vec::new();
    for workload in DatabaseWorkload::ALL {
        let counts = counted.iter().find(|one| one.workload == workload);
        for delay in &delays {
            let same = |one: &&Measured| one.workload == workload && one.delay == *delay;
            let rounds: Vec<&Measured> = measured.iter().filter(same).collect();
            if !rounds.is_empty() {
                rows.push(row(workload, *delay, &rounds, counts));
            }
        }
    }
    rows
}

fn row(
    workload: DatabaseWorkload,
    delay: Duration,
    rounds: &[&Measured],
    counted: Option<&Counted>,
) -> DatabaseRow {
    let stores: Vec<&Sample> = rounds.iter().map(|round| &round.store).collect();
    let raws: Vec<&Sample> = rounds
        .iter()
        .filter_map(|round| round.raw.as_ref())
        .collect();
    let processor = |sample: &Sample| sample.cost(Compared::ProcessorTime) * 1e6;
    let middle = |samples: &[&Sample], figure: &dyn Fn(&Sample) -> f64| {
        let figures: Vec<f64> = samples.iter().map(|sample| figure(sample)).collect();
        (!figures.is_empty()).then(|| median(&figures))
    };
    let rates: Vec<f64> = stores.iter().map(|sample| sample.per_second()).collect();
    let ratios: Vec<f64> = rounds
        .iter()
        .filter_map(|round| {
            let raw = round.raw.as_ref()?.cost(Compared::Time);
            (raw > 0.0).then(|| round.store.cost(Compared::Time) / raw)
        })
        .collect();
    let is_compared = !ratios.is_empty();
    DatabaseRow {
        workload,
        delay_ms: milliseconds(delay),
        per_second: median(&rates),
        unit: workload.unit(),
        spread: range(&rates) / median(&rates).max(f64::MIN_POSITIVE),
        rates,
        processor_us: middle(&stores, &processor).unwrap_or_default(),
        latency: latency(&stores),
        round_trips: counted.map(|counted| counted.store),
        raw_per_second: middle(&raws, &Sample::per_second),
        raw_processor_us: middle(&raws, &processor),
        raw_latency: latency(&raws),
        raw_round_trips: counted.and_then(|counted| counted.raw),
        ratio_to_raw: is_compared.then(|| median(&ratios)),
        ratio_spread: is_compared.then(|| range(&ratios)),
    }
}

fn latency(samples: &[&Sample]) -> Option<Latency> {
    let mut all = Histogram::default();
    samples
        .iter()
        .for_each(|sample| all.merge(&sample.latencies));
    all.latency()
}

/// What is asked of migrations.
pub(super) fn figures(migrations: &[MigrateRow]) -> Vec<DatabaseFigure> {
    let mut figures = Vec::new();
    for row in migrations {
        let (from, to) = (&row.source, &row.destination);
        let mut add = |what: &str, value: Option<f64>, wanted| {
            figures.extend(value.map(|value| DatabaseFigure {
                figure: format!("{from} to {to}, {what}, over a COPY"),
                judged: Judged::new(value, wanted),
            }));
        };
        add(
            "without verification",
            row.ratio_to_raw,
            Wanted::AtMost(MIGRATION_MAX),
        );
        add("verified", row.ratio_to_raw_verified, Wanted::Nothing);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Took;

    #[test]
    fn rounds_become_rows() {
        let sample = |milliseconds| {
            let time = Duration::from_millis(milliseconds);
            Sample::of(
                10,
                Took {
                    time,
                    processor: time / 2,
                },
            )
        };
        let round = |workload, delay, store, raw: Option<u64>| Measured {
            workload,
            delay: Duration::from_millis(delay),
            store: sample(store),
            raw: raw.map(sample),
        };
        let (load, commit) = (DatabaseWorkload::Load, DatabaseWorkload::Update1);
        let measured = [
            round(commit, 20, 400, None),
            round(load, 0, 100, Some(100)),
            round(load, 0, 300, Some(100)),
            round(load, 0, 200, Some(50)),
        ];
        let counted = [Counted {
            workload: commit,
            store: 3.0,
            raw: Some(1.0),
        }];
        let found = rows(&measured, &counted);
        let [load, commit] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (load.per_second, load.ratio_to_raw, load.ratio_spread),
            (50.0, Some(3.0), Some(3.0))
        );
        assert_eq!(
            (load.processor_us, load.raw_processor_us),
            (10_000.0, Some(5000.0))
        );
        assert_eq!((load.round_trips, load.raw_round_trips), (None, None));
        assert_eq!((commit.per_second, commit.delay_ms), (25.0, 20.0));
        assert_eq!(
            (commit.round_trips, commit.raw_round_trips),
            (Some(3.0), Some(1.0))
        );
        assert_eq!((commit.raw_per_second, commit.ratio_to_raw), (None, None));
    }
}
