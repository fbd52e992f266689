//! Figures of servers, and what they are to be.

use serde::Serialize;

use super::client::DURUS;
use super::load::{Done, ServerWorkload};
use crate::judged::{Judged, Wanted, median_ratio};
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
    /// How many a second in each round.
    pub rates: Vec<f64>,
    /// As `processor_us`, in each round; none where the system does not tell.
    #[serde(skip)]
    processors: Vec<f64>,
    /// Bytes of the server's memory for each idle connection, the median of the rounds.
    pub idle_bytes: Option<f64>,
}

/// What of a server is measured at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) server: String,
    pub(super) protocol: &'static str,
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
    /// How much it is, and is to be.
    #[serde(flatten)]
    pub judged: Judged,
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
        let processors: Option<Vec<f64>> = processors.collect();
        let idle = rounds.iter().map(|round| round.idle_bytes);
        let per_second = median(&rates);
        Some(ServerRow {
            server: first.server.clone(),
            protocol: first.protocol,
            workload: first.workload,
            clients: first.clients,
            idle: first.idle,
            per_second,
            unit: first.workload.unit(),
            spread: range(&rates) / per_second.max(f64::MIN_POSITIVE),
            processor_us: processors.as_deref().map(median),
            processors: processors.unwrap_or_default(),
            rates,
            conflicts: rounds.iter().map(|round| round.done.conflicts).sum(),
            idle_bytes: idle.collect::<Option<Vec<f64>>>().map(|all| median(&all)),
        })
    }
}

/// The figures that are asked of each of Durum's engines, as far as there are rows for them. Each is the median
/// of what it is in the rounds: what else the machine does meets both sides of a round.
pub(super) fn figures(
    engines: &[String],
    rows: &[ServerRow],
    syncs_per_second: f64,
) -> Vec<ServerFigure> {
    /// Where a sync takes longer, commits of many clients are to gain by being written together.
    const SLOW_SYNCS_PER_SECOND: f64 = 1000.0;
    use ServerWorkload::{BesideIdle, Commit, Load, LoadMany, Pipelined, RoundTrip};

    let mut found = Vec::new();
    for engine in engines {
        let row = |server: &str, workload, clients, is_idle: bool| {
            rows.iter().find(|row| {
                (row.server.as_str(), row.workload, row.clients) == (server, workload, clients)
                    && (row.idle > 0) == is_idle
                    && [DURUS.name, "none"].contains(&row.protocol)
            })
        };
        let ours = |workload, clients| row(engine, workload, clients, false);
        let durus = |workload| row("durus", workload, 1, false);
        let mut add = |figure, value: Option<f64>, wanted: Wanted| {
            let figure = value.map(|value| ServerFigure::new(engine, figure, value, wanted));
            found.extend(figure);
        };
        let one = ours(LoadMany, 1);
        let figure = "bulk loads, over Durus's";
        add(
            figure,
            ratio(one, durus(LoadMany), rates),
            Wanted::AtLeast(3.0),
        );
        let figure = "processor time of bulk loads, over Durus's";
        let processor = ratio(one, durus(LoadMany), processors);
        add(figure, processor, Wanted::AtMost(0.1));
        let figure = "time of a load, over that of a bare round trip";
        let bare = row("none", RoundTrip, 1, false);
        add(
            figure,
            ratio(bare, ours(Load, 1), rates),
            Wanted::AtMost(1.2),
        );
        let figure = "loads, over Durus's";
        add(
            figure,
            ratio(ours(Load, 1), durus(Load), rates),
            Wanted::Nothing,
        );
        let ours_alone = |row: &&ServerRow| row.server == *engine && row.workload == Pipelined;
        let pipelined = ratio(rows.iter().find(ours_alone), durus(Load), rates);
        let figure = "pipelined loads of the Rust client, over Durus's loads";
        add(figure, pipelined, Wanted::AtLeast(20.0));
        let figure = "bulk loads of two clients, over those of one";
        add(
            figure,
            ratio(ours(LoadMany, 2), one, rates),
            Wanted::Nothing,
        );
        let figure = "commits of 16 clients, over those of one";
        let wanted = match syncs_per_second <= SLOW_SYNCS_PER_SECOND {
            true => Wanted::AtLeast(5.0),
            false => Wanted::Nothing,
        };
        add(
            figure,
            ratio(ours(Commit, 16), ours(Commit, 1), rates),
            wanted,
        );
        let figure = "loads beside idle connections, over those without";
        let beside = row(engine, BesideIdle, 1, true);
        let alone = row(engine, BesideIdle, 1, false);
        add(figure, ratio(beside, alone, rates), Wanted::AtLeast(0.9));
    }
    found
}

fn rates(row: &ServerRow) -> &[f64] {
    &row.rates
}

fn processors(row: &ServerRow) -> &[f64] {
    &row.processors
}

fn ratio(
    value: Option<&ServerRow>,
    by: Option<&ServerRow>,
    of: impl Fn(&ServerRow) -> &[f64],
) -> Option<f64> {
    median_ratio(of(value?), of(by?))
}

impl ServerFigure {
    fn new(server: &str, figure: &'static str, value: f64, wanted: Wanted) -> ServerFigure {
        ServerFigure {
            server: server.to_owned(),
            figure,
            judged: Judged::new(value, wanted),
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
            protocol: DURUS.name,
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
        // As fast in the first round, and thrice as fast in the second, and twice in the third.
        let slow = [400, 266, 300].map(|count| measured("durus", 1, count));
        let durus = ServerRow::of(&slow.iter().collect::<Vec<_>>()).unwrap();
        let two = ServerRow::of(&[&measured("lmdb", 2, 600)]).unwrap();
        let found = figures(&["lmdb".to_owned()], &[ours, durus, two], 100.0);
        let values: Vec<(f64, Option<bool>)> = found
            .iter()
            .map(|it| (it.judged.value, it.judged.reached))
            .collect();
        let expected = [(2.0, Some(false)), (0.5, Some(false)), (1.5, None)];
        assert_eq!(values, expected);
        assert!(ServerRow::of(&[]).is_none());
    }
}
