//! Comparison of Durum's engines on one machine.
//!
//! [`quick`] takes a few seconds; [`compare`] does what the caller's [`Settings`] say. Every engine of a
//! registry gets the same objects through the same store, round by round, in alternating order, so that
//! what else the machine does meets all of them; and where it is asked for, the engine alone does the same
//! in the same round. A figure is the median of the rounds with its spread. How fast the disk itself syncs
//! is measured in the same run: no engine can commit durably much faster than that, one commit at a time.
//!
//! What prompt collection costs is measured by [`gc`], what migrations cost by [`migrate`], what the storage
//! server does for its clients by [`server`], what typed objects do beside those of others by [`typed`], what
//! dictionaries do in a store and on nodes by [`dict`], what stores in PostgreSQL do near and far by [`database`].
//!
//! What the engines can be told apart by finely is in this crate's Criterion benchmarks.
//!
//! ```
//! # use durum_core::engine::Registry;
//! let directory = tempfile::tempdir()?;
//! let rows = durum_bench::quick(&Registry::new(), directory.path(), &|line| println!("{line}"))?;
//! assert_eq!(rows.len(), 1, "without engines, only the disk is measured");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod clock;
pub mod database;
pub mod dict;
mod files;
pub mod gc;
mod judged;
mod latency;
mod machine;
mod measure;
pub mod migrate;
mod objects;
pub mod oo7;
mod page;
mod process;
mod recommend;
mod round;
mod row;
pub mod server;
mod subject;
mod sync_rate;
pub mod typed;
mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durum_core::Result;
use durum_core::engine::{Backend, Capabilities, Durability, Registry};

use files::scratch;
use objects::Objects;
use round::Round;
use row::Measured;

pub use judged::Judged;
pub use latency::Latency;
pub use machine::Machine;
pub use migrate::LoadSettings;
pub use page::page;
pub use process::commit_until_killed;
pub use recommend::Recommendation;
pub use row::{DISK, Row, StoreRow};
pub use workload::{Compared, Workload};

const DOING: &str = "compare the engines";

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The engines' names; none for all.
    pub engines: Vec<String>,
    /// What is measured. A bulk load always is.
    pub workloads: Vec<Workload>,
    /// Objects in each store; all is measured with each of these.
    pub objects: Vec<u64>,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long each round commits, and how long the disk is synced.
    pub commit_time: Duration,
    /// How long each round loads single objects, or updates them.
    pub load_time: Duration,
    /// Whether the engines alone do the same.
    pub raw: bool,
    /// Whether the memory of a bulk load is measured, which the program does.
    pub memory: bool,
    /// The `durum` program, which other processes run; without it nothing is killed or migrated.
    pub program: Option<PathBuf>,
    /// The objects, and what is drawn of them, follow from it.
    pub seed: u64,
}

impl Settings {
    /// Bytes of an object's data where nobody asks for more or fewer.
    pub const SIZE: u32 = 100;
    /// The seed where nobody asks for another.
    pub const SEED: u64 = 1;

    /// A few seconds for a handful of engines, and few workloads.
    pub fn quick() -> Settings {
        Settings {
            engines: Vec::new(),
            workloads: Workload::FEW.to_vec(),
            objects: vec![20_000],
            size: Settings::SIZE,
            rounds: 3,
            commit_time: Duration::from_millis(160),
            load_time: Duration::from_millis(60),
            raw: false,
            memory: false,
            program: None,
            seed: Settings::SEED,
        }
    }

    /// All workloads: some minutes.
    pub fn full() -> Settings {
        Settings {
            workloads: Workload::ALL.to_vec(),
            objects: vec![10_000, 100_000],
            commit_time: Duration::from_millis(500),
            load_time: Duration::from_millis(300),
            memory: true,
            ..Settings::quick()
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Comparison {
    /// By number of objects, engine, in the registry's order, and workload.
    pub rows: Vec<Row>,
    /// What stores take, by number of objects and engine.
    pub stores: Vec<StoreRow>,
    /// How often in a second the disk can append a little to a file and confirm it.
    pub sync_per_second: f64,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// The shortest and the longest data; all lengths in between are as likely.
    pub sizes: (u32, u32),
    /// From what the objects were drawn.
    pub seed: u64,
    /// How often everything was measured.
    pub rounds: usize,
    /// What it was measured on.
    pub machine: Machine,
    /// Which engine to take by these figures.
    pub recommendation: Option<Recommendation>,
}

/// Compares the engines of `registry` in a few seconds, in a directory below `dir` that is removed
/// afterwards. The last row is the [`DISK`]'s own rate of syncs. `progress` is told in a line what
/// comes next.
///
/// # Errors
/// Those of the engines and of the disk below `dir`, which should have some 100 MiB to spare.
pub fn quick(registry: &Registry, dir: &Path, progress: &dyn Fn(&str)) -> Result<Vec<Row>> {
    Ok(compare(registry, dir, &Settings::quick(), progress)?.rows)
}

/// Compares the engines of `registry` as [`quick`] does, by what `settings` say.
///
/// # Errors
/// `Usage` for an engine that does not exist; otherwise as [`quick`].
pub fn compare(
    registry: &Registry,
    dir: &Path,
    settings: &Settings,
    progress: &dyn Fn(&str),
) -> Result<Comparison> {
    let engines = engines(registry, &settings.engines)?;
    let directory = scratch(dir, DOING)?;
    let (mut rows, mut stores, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for count in &settings.objects {
        let objects = Objects {
            count: (*count).max(1),
            size: settings.size,
            seed: settings.seed,
        };
        let mut found: Vec<Vec<Findings>> = engines.iter().map(|_| Vec::new()).collect();
        for number in 0..settings.rounds.max(1) {
            let mut order: Vec<_> = engines.iter().zip(&mut found).collect();
            if number % 2 == 1 {
                order.reverse();
            }
            for (capabilities, found) in order {
                let (of, name) = (settings.rounds.max(1), capabilities.name);
                progress(&format!(
                    "{count} objects, round {} of {of}: {name}",
                    number + 1
                ));
                let mut round = Round::new(
                    (registry, settings, capabilities),
                    (objects, directory.path(), number as u64),
                );
                round.run()?;
                found.push((round.found, round.sizes));
            }
            let took = sync_rate::measure(directory.path(), settings.commit_time)?;
            syncs.push(Measured {
                store: took,
                raw: None,
            });
        }
        for (capabilities, rounds) in engines.iter().zip(&found) {
            rows.extend(rows_of(capabilities, objects.count, rounds));
            let sizes: Vec<StoreRow> = rounds.iter().map(|(_, sizes)| sizes.clone()).collect();
            stores.push(StoreRow::median(&sizes));
        }
    }
    let syncs: Vec<&Measured> = syncs.iter().collect();
    let disk = Row::new(
        (DISK, DISK),
        Workload::Sync,
        0,
        &syncs,
        Some(Durability::Power),
    );
    let sync_per_second = disk.per_second;
    let recommendation = recommend::recommend(&rows, &stores);
    rows.push(disk);
    let drawn = Objects {
        count: 1,
        size: settings.size,
        seed: settings.seed,
    };
    Ok(Comparison {
        rows,
        stores,
        sync_per_second,
        size: settings.size,
        sizes: drawn.sizes(),
        seed: settings.seed,
        rounds: settings.rounds.max(1),
        machine: Machine::this(),
        recommendation,
    })
}

/// What one round came to.
type Findings = (std::collections::BTreeMap<Workload, Measured>, StoreRow);

fn rows_of(capabilities: &Capabilities, objects: u64, rounds: &[Findings]) -> Vec<Row> {
    let level = subject::best(capabilities);
    let mut rows = Vec::new();
    for workload in Workload::ALL {
        let measured: Vec<&Measured> = rounds
            .iter()
            .filter_map(|(found, _)| found.get(&workload))
            .collect();
        if measured.is_empty() {
            continue;
        }
        let engine = (capabilities.name, capabilities.version.as_str());
        let durability = workload.is_durable().then_some(level);
        let mut row = Row::new(engine, workload, objects, &measured, durability);
        if workload == Workload::Import {
            let sizes: Vec<StoreRow> = rounds.iter().map(|(_, sizes)| sizes.clone()).collect();
            row.disk_bytes = StoreRow::median(&sizes).disk_loaded;
        }
        rows.push(row);
    }
    rows
}

/// The engines of these names, all where none is named.
fn engines(registry: &Registry, names: &[String]) -> Result<Vec<Capabilities>> {
    let of = |backend: &Arc<dyn Backend>| backend.capabilities();
    match names.is_empty() {
        true => Ok(registry.iter().map(of).collect()),
        false => names
            .iter()
            .map(|name| registry.get(name).map(|it| of(&it)))
            .collect(),
    }
}
