//! Figures of dictionaries.

use serde::Serialize;

use super::nodes::NodeMemory;
use super::part::DictDone;
use super::workload::DictWorkload;
use crate::latency::{Histogram, Latency};
use crate::migrate::child::Taken;
use crate::row::{median, range};

/// What one home does at one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DictRow {
    /// What is done.
    pub workload: DictWorkload,
    /// Where: an engine, or nodes.
    pub home: String,
    /// How many `unit`s were written or found, in each round.
    pub count: u64,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// How many a second in each round.
    pub rates: Vec<f64>,
    /// What is timed: each `call`, each `batch`, or the time until the `first` result is there.
    pub timed: &'static str,
    /// How long that took, in all rounds.
    pub latency: Option<Latency>,
    /// The most memory that the process had resident, in bytes: the median of the rounds. Mapped files and the program are counted.
    pub peak_memory: Option<u64>,
    /// The same of what belongs to no file.
    pub memory: Option<u64>,
    /// The same of mapped files, which the system takes back when it likes.
    pub mapped: Option<u64>,
}

/// What a home takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DictStore {
    /// Where: an engine, or nodes.
    pub home: String,
    /// How many dictionaries are put.
    pub dicts: u64,
    /// Bytes on the disk when all are put: the median of the rounds. That of all nodes together; `None` where they are elsewhere.
    pub disk_put: Option<u64>,
    /// The same after updates and deletions, of which nothing is forgotten.
    pub disk_end: Option<u64>,
    /// For each node that was started for it, the most memory that it had in any round.
    pub nodes: Vec<NodeMemory>,
}

/// One workload in one round.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) workload: DictWorkload,
    pub(super) home: String,
    pub(super) done: DictDone,
    pub(super) taken: Taken,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.done.count as f64 / self.done.seconds.max(f64::MIN_POSITIVE)
    }
}

/// By workload; homes stay in the order in which they came first.
pub(super) fn rows(measured: &[Measured]) -> Vec<DictRow> {
    let mut keys: Vec<(DictWorkload, &str)> = Vec::new();
    for one in measured {
        let key = (one.workload, one.home.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(workload, _)| *workload);
    let row = |(workload, home): (DictWorkload, &str)| {
        let same = |one: &&Measured| one.workload == workload && one.home == home;
        let rounds: Vec<&Measured> = measured.iter().filter(same).collect();
        let rates: Vec<f64> = rounds.iter().map(|round| round.rate()).collect();
        let mut latencies = Histogram::default();
        for round in &rounds {
            latencies.merge(&round.done.latencies);
        }
        let bytes = |of: fn(&Taken) -> Option<u64>| {
            middle(
                &rounds
                    .iter()
                    .map(|round| of(&round.taken))
                    .collect::<Vec<_>>(),
            )
        };
        let per_second = median(&rates);
        DictRow {
            workload,
            home: home.to_owned(),
            count: rounds.first().map_or(0, |round| round.done.count),
            per_second,
            unit: workload.unit(),
            spread: range(&rates) / per_second.max(f64::MIN_POSITIVE),
            timed: workload.timed(),
            latency: latencies.latency(),
            peak_memory: bytes(|taken| taken.peak),
            memory: bytes(|taken| taken.anonymous),
            mapped: bytes(|taken| taken.mapped),
            rates,
        }
    };
    keys.into_iter().map(row).collect()
}

/// What the rounds came to for each home, in the order in which they came first.
pub(super) fn stores(rounds: &[DictStore]) -> Vec<DictStore> {
    let mut stores: Vec<DictStore> = Vec::new();
    for first in rounds {
        if stores.iter().any(|store| store.home == first.home) {
            continue;
        }
        let same: Vec<&DictStore> = rounds.iter().filter(|it| it.home == first.home).collect();
        let bytes = |of: fn(&DictStore) -> Option<u64>| {
            middle(&same.iter().map(|round| of(round)).collect::<Vec<_>>())
        };
        let mut nodes = first.nodes.clone();
        for round in &same {
            for (most, node) in nodes.iter_mut().zip(&round.nodes) {
                most.garage = most.garage.max(node.garage);
                most.front = most.front.max(node.front);
            }
        }
        stores.push(DictStore {
            home: first.home.clone(),
            dicts: first.dicts,
            disk_put: bytes(|store| store.disk_put),
            disk_end: bytes(|store| store.disk_end),
            nodes,
        });
    }
    stores
}

fn middle(bytes: &[Option<u64>]) -> Option<u64> {
    let all: Option<Vec<f64>> = bytes.iter().map(|it| it.map(|it| it as f64)).collect();
    all.map(|all| median(&all) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_rows() {
        let measured = |workload, home: &str, seconds: f64| Measured {
            workload,
            home: home.to_owned(),
            done: DictDone {
                count: 100,
                seconds,
                ..DictDone::default()
            },
            taken: Taken {
                peak: Some(seconds as u64),
                ..Taken::default()
            },
        };
        let (get, all) = (DictWorkload::Get, DictWorkload::All);
        let mut rounds = Vec::new();
        for seconds in [1.0, 4.0, 2.0] {
            rounds.push(measured(all, "lmdb", seconds));
            rounds.push(measured(get, "lmdb", seconds));
            rounds.push(measured(get, "file", 1.0));
        }
        let rows = rows(&rounds);
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.workload, row.home.as_str(), row.per_second))
            .collect();
        let expected = [
            (get, "lmdb", 50.0),
            (get, "file", 100.0),
            (all, "lmdb", 50.0),
        ];
        assert_eq!(found, expected);
        let first = rows.first().unwrap();
        assert_eq!((first.spread, first.peak_memory), (1.5, Some(2)));
        assert_eq!((first.memory, first.latency.clone()), (None, None));
    }

    #[test]
    fn stores_have_the_middle_of_the_rounds_and_the_most_of_nodes() {
        let round = |home: &str, disk, garage| DictStore {
            home: home.to_owned(),
            dicts: 7,
            disk_put: Some(disk),
            nodes: vec![NodeMemory {
                garage,
                front: None,
            }],
            ..DictStore::default()
        };
        let rounds = [
            round("3 nodes", 30, Some(5)),
            round("lmdb", 10, None),
            round("3 nodes", 50, Some(9)),
            round("3 nodes", 40, Some(8)),
        ];
        let stores = stores(&rounds);
        assert_eq!(stores.len(), 2);
        assert_eq!(stores[0].disk_put, Some(40));
        assert_eq!(
            (stores[0].nodes[0].garage, stores[0].disk_end),
            (Some(9), None)
        );
    }
}
