//! Figures of typed objects, and what they are to be.

use serde::Serialize;

use super::Subject;
use super::part::{Done, System};
use super::workload::TypedWorkload;
use crate::judged::{Judged, Wanted, median_ratio};
use crate::migrate::child::Taken;
use crate::row::{median, range};

/// What one subject does at one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypedRow {
    /// What is done.
    pub workload: TypedWorkload,
    /// Whose objects they are.
    pub system: System,
    /// The engine or the kind of file below them.
    pub engine: String,
    /// Whether a server is between.
    pub served: bool,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// How many a second in each round.
    pub rates: Vec<f64>,
    /// The most memory that the process had from first to last that belongs to no file, in bytes: the median of
    /// the rounds. A server's is not among it.
    pub memory: Option<u64>,
    /// As `memory`, of files that were mapped, which the system takes back when it likes.
    pub mapped: Option<u64>,
}

/// How a rate of Durum's relates to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypedFigure {
    /// What is done.
    pub workload: TypedWorkload,
    /// Durum's engine.
    pub engine: String,
    /// Whether a server is between, at both.
    pub served: bool,
    /// Whose rate Durum's is divided by.
    pub over: System,
    /// How much it is, and is to be.
    #[serde(flatten)]
    pub judged: Judged,
}

/// What of a subject is measured at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    subject: Subject,
    done: Done,
    taken: Taken,
}

impl Measured {
    pub(super) fn new(subject: &Subject, done: Done, taken: Taken) -> Measured {
        Measured {
            subject: subject.clone(),
            done,
            taken,
        }
    }

    fn rate(&self) -> f64 {
        let Done(_, count, seconds) = self.done;
        count as f64 / seconds.max(f64::MIN_POSITIVE)
    }
}

/// By workload; subjects stay in the order in which they came first.
pub(super) fn rows(measured: &[Measured]) -> Vec<TypedRow> {
    let mut keys: Vec<(TypedWorkload, &Subject)> = Vec::new();
    for one in measured {
        let key = (one.done.0, &one.subject);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|(workload, _)| *workload);
    let row = |(workload, subject): (TypedWorkload, &Subject)| {
        let same = |one: &&Measured| one.done.0 == workload && one.subject == *subject;
        let rounds: Vec<_> = measured.iter().filter(same).collect();
        let rates: Vec<f64> = rounds.iter().map(|round| round.rate()).collect();
        let bytes = |of: fn(&Taken) -> Option<u64>| {
            let all = rounds
                .iter()
                .map(|round| of(&round.taken).map(|it| it as f64));
            let all: Option<Vec<f64>> = all.collect();
            all.map(|all| median(&all) as u64)
        };
        let per_second = median(&rates);
        TypedRow {
            workload,
            system: subject.system,
            engine: subject.engine.clone(),
            served: subject.served,
            per_second,
            unit: workload.unit(),
            spread: range(&rates) / per_second.max(f64::MIN_POSITIVE),
            memory: bytes(|taken| taken.anonymous),
            mapped: bytes(|taken| taken.mapped),
            rates,
        }
    };
    keys.into_iter().map(row).collect()
}

/// Each of Durum's rows over those of the others.
pub(super) fn figures(rows: &[TypedRow]) -> Vec<TypedFigure> {
    let mut found = Vec::new();
    for ours in rows.iter().filter(|row| row.system == System::Durum) {
        for other in rows {
            let comparable = match other.system {
                System::Durum => false,
                System::Raw => other.engine == ours.engine && !ours.served,
                System::Durus | System::Zodb => other.served == ours.served,
            };
            if !comparable || other.workload != ours.workload {
                continue;
            }
            let value = median_ratio(&ours.rates, &other.rates);
            found.extend(value.map(|value| TypedFigure {
                workload: ours.workload,
                engine: ours.engine.clone(),
                served: ours.served,
                over: other.system,
                judged: Judged::new(value, wanted(ours, other.system)),
            }));
        }
    }
    found
}

/// How many times as fast as others Durum is to be.
fn wanted(ours: &TypedRow, over: System) -> Wanted {
    let is_quick = ["file", "lmdb"].contains(&ours.engine.as_str());
    match (ours.workload, over, ours.served) {
        (TypedWorkload::ReadCold, System::Durus, true) => Wanted::AtLeast(20.0),
        (_, _, true) | (_, System::Raw, _) => Wanted::Nothing,
        (TypedWorkload::Store | TypedWorkload::ReadCold, _, false) if !is_quick => {
            Wanted::AtLeast(5.0)
        }
        (TypedWorkload::Store, System::Durus, false) => Wanted::AtLeast(20.0),
        (TypedWorkload::Store | TypedWorkload::ReadCold, _, false) => Wanted::AtLeast(10.0),
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(system: System, served: bool, workload: TypedWorkload, seconds: f64) -> Measured {
        let engine = match system {
            System::Durum | System::Raw => "lmdb",
            System::Durus | System::Zodb => "FileStorage",
        };
        let subject = Subject::new(system, engine, served);
        let taken = Taken {
            anonymous: Some(seconds as u64),
            ..Taken::default()
        };
        Measured::new(&subject, Done(workload, 100, seconds), taken)
    }

    #[test]
    fn rounds_become_rows_and_rows_figures() {
        let (store, cold) = (TypedWorkload::Store, TypedWorkload::ReadCold);
        let mut all = Vec::new();
        for seconds in [1.0, 3.0, 2.0] {
            all.push(measured(System::Durum, false, cold, seconds));
            all.push(measured(System::Durum, false, store, seconds));
        }
        for seconds in [20.0, 30.0, 80.0] {
            all.push(measured(System::Zodb, false, store, seconds));
        }
        // None of the three below is compared with an unserved one of Durum's, but the raw one.
        all.push(measured(System::Durus, true, store, 1.0));
        all.push(measured(System::Raw, false, store, 0.5));
        all.push(measured(System::Raw, true, cold, 0.5));
        let rows = rows(&all);
        assert_eq!(rows.len(), 6);
        let ours = rows.first().unwrap();
        assert_eq!(
            (ours.workload, ours.per_second, ours.unit),
            (store, 50.0, "objects")
        );
        assert_eq!((ours.memory, ours.mapped), (Some(2), None));
        assert!((ours.spread - (100.0 - 100.0 / 3.0) / 50.0).abs() < 1e-9);
        let figures = figures(&rows);
        let found: Vec<_> = figures
            .iter()
            .map(|it| (it.workload, it.over, it.judged.clone()))
            .collect();
        let expected = [
            (
                store,
                System::Zodb,
                Judged::new(20.0, Wanted::AtLeast(10.0)),
            ),
            (store, System::Raw, Judged::new(0.5, Wanted::Nothing)),
            (cold, System::Raw, Judged::new(0.5, Wanted::Nothing)),
        ];
        assert_eq!(found.len(), expected.len());
        for ((workload, over, judged), wanted) in found.iter().zip(&expected) {
            assert_eq!((*workload, *over), (wanted.0, wanted.1));
            assert!((judged.value - wanted.2.value).abs() < 1e-9, "{judged:?}");
            assert_eq!(
                (judged.at_least, judged.reached),
                (wanted.2.at_least, wanted.2.reached)
            );
        }
    }
}
