//! Figures of servers, and what they are to be.

use serde::Serialize;

use super::load::{Done, ServerWorkload};
use crate::row::{median, range};

/// What one server does at one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerRow {
    /// Durum's engine, or `durus`, or `none` for a server that does nothing.
    pub server: String,
    /// The protocol that is spoken, by name and version.
    pub protocol: &'static str,
    /// What is done.
    pub workload: ServerWorkload,
    /// How many clients do it at once.
    pub clients: usize,
    /// How many others are connected and do nothing.
    pub idle: usize,
    /// How many `unit`s a second: the median of the rounds.
    pub per_second: f64,
    /// What is counted.
    pub unit: &'static str,
    /// How far the rounds lie apart: the fastest less the slowest, as a share of the median.
    pub spread: f64,
    /// Microseconds of the server's processor time for each, the median of the rounds; `None` where the
    /// system does not tell.
    pub processor_us: Option<f64>,
    /// Commits that were refused for a conflict, in all rounds.
    pub conflicts: u64,
    /// Bytes of the server's memory for each idle connection, the median of the rounds.
    pub idle_bytes: Option<f64>,
}

/// What of a server is measured at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) server: String,
    pub(super) workload: ServerWorkload,
    pub(super) clients: usize,
    pub(super) idle: usize,
    pub(super) idle_bytes: Option<f64>,
    pub(super) done: Done,
}

/// A figure that is to be no less, or no more, than another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFigure {
    /// Durum's engine.
    pub server: String,
    /// What it is.
    pub figure: &'static str,
    /// How much it is.
    pub value: f64,
    /// What it is to be at the least.
    pub at_least: Option<f64>,
    /// What it is to be at the most.
    pub at_most: Option<f64>,
    /// Whether it is so; `None` where nothing is asked of it, or not on this machine.
    pub reached: Option<bool>,
}

impl ServerRow {
    /// A row from the rounds, all of the same.
    pub(super) fn of(rounds: &[&Measured]) -> Option<ServerRow> {
        let first = rounds.first()?;
        let rates: Vec<f64> = rounds
            .iter()
            .map(|round| round.done.count as f64 / round.done.seconds.max(f64::MIN_POSITIVE))
            .collect();
        let processor = |done: &Done| {
            let seconds = done.processor?.as_secs_f64();
            Some(seconds * 1e6 / (done.count as f64).max(1.0))
        };
        let processors = rounds.iter().map(|round| processor(&round.done));
        let idle = rounds.iter().map(|round| round.idle_bytes);
        let per_second = median(&rates);
        Some(ServerRow {
            server: first.server.clone(),
            protocol: "durus 1",
            workload: first.workload,
            clients: first.clients,
            idle: first.idle,
            per_second,
            unit: first.workload.unit(),
            spread: range(&rates) / per_second.max(f64::MIN_POSITIVE),
            processor_us: processors
                .collect::<Option<Vec<f64>>>()
                .map(|all| median(&all)),
            conflicts: rounds.iter().map(|round| round.done.conflicts).sum(),
            idle_bytes: idle.collect::<Option<Vec<f64>>>().map(|all| median(&all)),
        })
    }
}

/// The figures that are asked of each of Durum's engines, as far as there are rows for them.
pub(super) fn figures(
    engines: &[String],
    rows: &[ServerRow],
    syncs_per_second: f64,
) -> Vec<ServerFigure> {
    /// Where a sync takes longer, commits of many clients are to gain by being written together.
    const SLOW_SYNCS_PER_SECOND: f64 = 1000.0;
    use ServerWorkload::{BesideIdle, Commit, Load, LoadMany, RoundTrip};

    let mut found = Vec::new();
    for engine in engines {
        let row = |server: &str, workload, clients, is_idle: bool| {
            rows.iter().find(|row| {
                (row.server.as_str(), row.workload, row.clients) == (server, workload, clients)
                    && (row.idle > 0) == is_idle
            })
        };
        let ours = |workload, clients| row(engine, workload, clients, false);
        let mut add = |figure, (value, by): (Option<f64>, Option<f64>), at_least, at_most| {
            if let (Some(value), Some(by)) = (value, by) {
                found.push(ServerFigure::new(
                    engine,
                    figure,
                    value / by,
                    at_least,
                    at_most,
                ));
            }
        };
        let rate = |row: Option<&ServerRow>| row.map(|row| row.per_second);
        let processor = |row: Option<&ServerRow>| row.and_then(|row| row.processor_us);
        let (one, durus) = (ours(LoadMany, 1), row("durus", LoadMany, 1, false));
        add(
            "bulk loads, over Durus's",
            (rate(one), rate(durus)),
            Some(3.0),
            None,
        );
        let figure = "processor time of bulk loads, over Durus's";
        add(figure, (processor(one), processor(durus)), None, Some(0.1));
        let bare = row("none", RoundTrip, 1, false);
        let figure = "time of a load, over that of a bare round trip";
        add(figure, (rate(bare), rate(ours(Load, 1))), None, Some(1.2));
        let figure = "loads, over Durus's";
        add(
            figure,
            (rate(ours(Load, 1)), rate(row("durus", Load, 1, false))),
            None,
            None,
        );
        let figure = "bulk loads of two clients, over those of one";
        add(figure, (rate(ours(LoadMany, 2)), rate(one)), None, None);
        let slow = syncs_per_second <= SLOW_SYNCS_PER_SECOND;
        let figure = "commits of 16 clients, over those of one";
        let commits = (rate(ours(Commit, 16)), rate(ours(Commit, 1)));
        add(figure, commits, slow.then_some(5.0), None);
        let beside = rate(row(engine, BesideIdle, 1, true));
        let alone = rate(row(engine, BesideIdle, 1, false));
        let figure = "loads beside idle connections, over those without";
        add(figure, (beside, alone), Some(0.9), None);
    }
    found
}

impl ServerFigure {
    fn new(
        server: &str,
        figure: &'static str,
        value: f64,
        at_least: Option<f64>,
        at_most: Option<f64>,
    ) -> ServerFigure {
        let enough = at_least.map(|bound| value >= bound);
        let little = at_most.map(|bound| value <= bound);
        ServerFigure {
            server: server.to_owned(),
            figure,
            value,
            at_least,
            at_most,
            reached: enough.or(little),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measured(server: &str, clients: usize, count: u64) -> Measured {
        Measured {
            server: server.to_owned(),
            workload: ServerWorkload::LoadMany,
            clients,
            idle: 0,
            idle_bytes: None,
            done: Done {
                count,
                conflicts: 0,
                seconds: 2.0,
                processor: Some(Duration::from_secs(1)),
            },
        }
    }

    #[test]
    fn rounds_become_rows_and_rows_figures() {
        let rounds = [400, 800, 600].map(|count| measured("lmdb", 1, count));
        let ours = ServerRow::of(&rounds.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((ours.per_second, ours.unit), (300.0, "objects"));
        assert!((ours.spread - 2.0 / 3.0).abs() < 1e-9);
        assert!(
            ours.processor_us
                .is_some_and(|us| (us - 1e6 / 600.0).abs() < 1e-9)
        );
        let durus = ServerRow::of(&[&measured("durus", 1, 60)]).unwrap();
        let two = ServerRow::of(&[&measured("lmdb", 2, 900)]).unwrap();
        let found = figures(&["lmdb".to_owned()], &[ours, durus, two], 100.0);
        let values: Vec<(f64, Option<bool>)> =
            found.iter().map(|it| (it.value, it.reached)).collect();
        assert_eq!(values, [(10.0, Some(true)), (0.1, Some(true)), (1.5, None)]);
        assert!(ServerRow::of(&[]).is_none());
    }
}
