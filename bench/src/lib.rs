//! Comparison of Durum's engines on one machine.
//!
//! [`quick`] takes a few seconds; [`compare`] does the same with [`Settings`] of the caller's. Every
//! engine of a registry gets the same objects through the same store, round by round, in alternating
//! order, so that what else the machine does meets all of them. A figure is the median of the rounds
//! with its spread. How fast the disk itself syncs is measured in the same run: no engine can commit
//! durably much faster than that, one commit at a time.
//!
//! What prompt collection costs is measured by [`gc`], what migrations cost by [`migrate`].
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

pub mod gc;
mod machine;
pub mod migrate;
mod objects;
mod round;
mod row;
mod sync_rate;

use std::path::Path;
use std::time::Duration;

use durum_core::engine::{Durability, Registry};
use durum_core::{Error, Result};

pub use machine::Machine;
pub use row::{DISK, Row, Workload};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Objects in each store.
    pub objects: u64,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long each round commits, and how long the disk is synced.
    pub commit_time: Duration,
    /// How long each round loads single objects.
    pub load_time: Duration,
}

impl Settings {
    /// A few seconds for a handful of engines.
    pub const QUICK: Settings = Settings {
        objects: 20_000,
        rounds: 3,
        commit_time: Duration::from_millis(160),
        load_time: Duration::from_millis(60),
    };
}

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Comparison {
    /// By engine, in the registry's order, and workload.
    pub rows: Vec<Row>,
    /// How often in a second the disk can append a little to a file and confirm it.
    pub sync_per_second: f64,
    /// What it was measured on.
    pub machine: Machine,
}

/// Compares the engines of `registry` in a few seconds, in a directory below `dir` that is removed
/// afterwards. The last row is the [`DISK`]'s own rate of syncs. `progress` is told in a line what
/// comes next.
///
/// # Errors
/// Those of the engines and of the disk below `dir`, which should have some 100 MiB to spare.
pub fn quick(registry: &Registry, dir: &Path, progress: &dyn Fn(&str)) -> Result<Vec<Row>> {
    let (mut rows, disk) = measure(registry, dir, &Settings::QUICK, progress)?;
    rows.push(disk);
    Ok(rows)
}

/// Compares the engines of `registry` as [`quick`] does, as long as `settings` say.
///
/// # Errors
/// As [`quick`].
pub fn compare(
    registry: &Registry,
    dir: &Path,
    settings: &Settings,
    progress: &dyn Fn(&str),
) -> Result<Comparison> {
    let (rows, disk) = measure(registry, dir, settings, progress)?;
    Ok(Comparison {
        rows,
        sync_per_second: disk.per_second,
        machine: Machine::this(),
    })
}

fn measure(
    registry: &Registry,
    dir: &Path,
    settings: &Settings,
    progress: &dyn Fn(&str),
) -> Result<(Vec<Row>, Row)> {
    const DOING: &str = "compare the engines";
    let directory = tempfile::Builder::new()
        .prefix(".durum-bench-")
        .tempdir_in(dir)
        .map_err(|error| Error::io(error, DOING).with_path(dir))?;
    let backends: Vec<_> = registry.iter().collect();
    let mut measured: Vec<Vec<round::Round>> = backends.iter().map(|_| Vec::new()).collect();
    let mut syncs = Vec::new();
    for round in 0..settings.rounds.max(1) {
        let mut order: Vec<_> = backends.iter().zip(&mut measured).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (backend, rounds) in order {
            let name = backend.capabilities().name;
            progress(&format!(
                "round {} of {}: {name}",
                round + 1,
                settings.rounds.max(1)
            ));
            let path = directory.path().join(name);
            rounds.push(round::run(
                registry,
                backend,
                &path,
                settings,
                round as u64,
            )?);
        }
        syncs.push(sync_rate::measure(directory.path(), settings.commit_time)?);
    }
    let mut rows = Vec::new();
    for (backend, rounds) in backends.iter().zip(&measured) {
        rows.extend(round::rows(&backend.capabilities(), rounds));
    }
    Ok((
        rows,
        Row::new(DISK, Workload::Sync, &syncs, Some(Durability::Power)),
    ))
}
