//! What prompt collection costs.
//!
//! Every workload makes garbage in its own way, on graphs of several sizes, so that a cost in
//! proportion to the garbage, and not to the store, can be seen. [`run`] measures on every engine of a
//! registry. For each engine and graph a store is filled once, and each measurement gets a copy of it:
//! - The commits are done with a budget that has no clock, and reads, bytes and objects are counted.
//! - The same commits are done on two more copies in turns, one that collects as in daily use and one
//!   that does not, and the times compared.
//!
//! Stores are written as weakly as their engines can: what is measured is the collector, not the disk.

mod churn;
mod counting;
mod digraph;
mod driver;
mod graph;
mod hub;
mod large;
mod list;
mod memory;
mod oo7;
mod plan;
mod row;
mod suite;
mod template;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::Machine;
use crate::files::scratch;
use template::DOING;

pub use row::GcRow;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcSettings {
    /// Engines by name; none: all.
    pub engines: Vec<String>,
    /// Workloads by name; none: all.
    pub workloads: Vec<String>,
    /// Objects of the graphs, about.
    pub sizes: Vec<u64>,
    /// Commits of each workload.
    pub commits: u64,
    /// Milliseconds for which others commit before a large structure is cut off.
    pub before_ms: u64,
    /// Seconds to wait until a large structure is gone.
    pub wait_seconds: u64,
    /// From it everything is drawn that is drawn at random.
    pub seed: u64,
}

impl GcSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 1993;

    /// Graphs of up to a million objects.
    pub fn full() -> GcSettings {
        GcSettings {
            engines: Vec::new(),
            workloads: Vec::new(),
            sizes: vec![10_000, 100_000, 1_000_000],
            commits: 500,
            before_ms: 1000,
            wait_seconds: 120,
            seed: GcSettings::SEED,
        }
    }

    /// A few seconds for each engine.
    pub fn quick() -> GcSettings {
        GcSettings {
            sizes: vec![1000, 4000],
            commits: 20,
            before_ms: 50,
            wait_seconds: 10,
            ..GcSettings::full()
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct GcReport {
    /// By engine, size and workload.
    pub rows: Vec<GcRow>,
    /// From what was drawn; the same seed gives the same counts.
    pub seed: u64,
    /// What it was measured on.
    pub machine: Machine,
}

/// The names of all workloads.
pub fn workloads() -> Vec<&'static str> {
    suite::ALL.iter().map(|entry| entry.name).collect()
}

/// Measures what `settings` say in a directory below `dir` that is removed afterwards. `progress` is
/// told in a line what comes next.
///
/// # Errors
/// `Usage` for unknown engines and workloads; `Mismatch` where other objects are collected than
/// became garbage; those of the engines and of the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &GcSettings,
    progress: &dyn Fn(&str),
) -> Result<GcReport> {
    let engines = match settings.engines.as_slice() {
        [] => registry.iter().cloned().collect(),
        names => names
            .iter()
            .map(|name| registry.get(name))
            .collect::<Result<Vec<_>>>()?,
    };
    let names = workloads();
    for name in &settings.workloads {
        if !names.contains(&name.as_str()) {
            let hint = durum_core::config::suggest(name, &names, "workloads");
            return Err(Error::new(ErrorKind::Usage, DOING)
                .because(format!("there is no workload `{name}`"))
                .hint(hint));
        }
    }
    let directory = scratch(dir, DOING)?;
    let mut rows = Vec::new();
    for backend in &engines {
        for size in &settings.sizes {
            suite::run(
                backend,
                directory.path(),
                settings,
                *size,
                progress,
                &mut rows,
            )?;
        }
    }
    Ok(GcReport {
        rows,
        seed: settings.seed,
        machine: Machine::this(),
    })
}
