//! What moving everything from one engine to another costs.
//!
//! For each engine that keeps data, a store of generated objects is made, and migrated to each of the
//! engines, its own included. Every migration is a process of its own, `durum migrate`, so that the
//! memory that is reported is that migration's.
//!
//! It is compared with a *raw load*: the same records, byte for byte as the destination stores them, are
//! written in ascending order into one table of an empty database of the same engine by its own crate
//! alone ([`durum_raw`]), and synced once, at the end. That is done just before each migration, in a
//! process of its own, too. Records are made in memory, 8 MiB at a time, while the clock stands: the
//! time is the engine's alone. A migration does more than that: it reads a source, verifies each record,
//! writes the collector's tables, leaves at every batch what it takes to go on after a crash, and reads
//! everything back.

pub(crate) mod child;
pub(crate) mod load;
pub(crate) mod objects;
pub(crate) mod row;
pub(crate) mod suite;

use std::path::{Path, PathBuf};

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::Machine;
use crate::files::scratch;

pub use load::{LoadSettings, Loaded, load};
pub use row::{LoadRow, MigrateRow};

const DOING: &str = "measure migrations";

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateSettings {
    /// Engines by name; none: all that keep data.
    pub engines: Vec<String>,
    /// Only migrations from or to these engines; none: all.
    pub with: Vec<String>,
    /// Objects in the stores.
    pub objects: Vec<u64>,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// How copies are verified, as `durum migrate --verify` takes it.
    pub verify: String,
    /// How often everything is measured.
    pub rounds: usize,
    /// From it the objects are drawn.
    pub seed: u64,
    /// The program `durum`.
    pub program: PathBuf,
}

impl MigrateSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 2005;
    /// Objects where nobody asks for more or fewer.
    pub const OBJECTS: u64 = 1_000_000;
    /// The same for a few seconds.
    pub const OBJECTS_QUICK: u64 = 20_000;
    /// Bytes of an object's data where nobody asks for more or fewer.
    pub const SIZE: u32 = 200;
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct MigrateReport {
    /// By number of objects, source and destination.
    pub rows: Vec<MigrateRow>,
    /// How the sources were made, by number of objects and engine.
    pub loads: Vec<LoadRow>,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// How the copies were verified.
    pub verify: String,
    /// From what the objects were drawn.
    pub seed: u64,
    /// What it was measured on.
    pub machine: Machine,
}

/// Measures what `settings` say in a directory below `dir` that is removed afterwards, temporary files
/// included. At any time it holds one source, one destination, and what the latter takes to sort the
/// references: together about 6 times the objects' data where sled is among the engines, 4 times
/// elsewhere. `progress` is told in a line what comes next.
///
/// # Errors
/// `Usage` for engines that do not exist or keep nothing; `Mismatch` where a migration reports other
/// objects than there are, or the raw load wrote other bytes; `Other` where the program fails; those of
/// the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &MigrateSettings,
    progress: &dyn Fn(&str),
) -> Result<MigrateReport> {
    let with = engines(registry, &settings.with)?;
    let engines = engines(registry, &settings.engines)?;
    let directory = scratch(dir, DOING)?;
    let (mut rows, mut loads) = (Vec::new(), Vec::new());
    for objects in &settings.objects {
        for source in &engines {
            let wanted = |one: &&&str| with.contains(one) || with.contains(source);
            let destinations: Vec<&str> = engines.iter().filter(wanted).copied().collect();
            if destinations.is_empty() {
                continue;
            }
            let suite = suite::Suite {
                dir: directory.path(),
                settings,
                engines: &destinations,
                source,
                objects: *objects,
                progress,
            };
            let (load, measured) = suite.run()?;
            loads.push(load);
            rows.extend(measured);
        }
    }
    Ok(MigrateReport {
        rows,
        loads,
        size: settings.size,
        verify: settings.verify.clone(),
        seed: settings.seed,
        machine: Machine::this(),
    })
}

/// The names of the engines, all that keep data where none is named.
pub(crate) fn engines(registry: &Registry, names: &[String]) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for name in names {
        let capabilities = registry.get(name)?.capabilities();
        if !capabilities.persistent {
            return Err(
                Error::new(ErrorKind::Usage, DOING).because(format!("`{name}` keeps nothing"))
            );
        }
        found.push(capabilities.name);
    }
    if names.is_empty() {
        let all = registry.iter().map(|backend| backend.capabilities());
        found.extend(all.filter(|it| it.persistent).map(|it| it.name));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_keep_nothing_are_no_sources() {
        let registry = durum_backends::registry();
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            engines(&registry, &names)
        };
        assert_eq!(names(&["lmdb", "file"]).unwrap(), ["lmdb", "file"]);
        let all = names(&[]).unwrap();
        assert!(
            all.contains(&"sqlite") && !all.contains(&"memory"),
            "{all:?}"
        );
        for wrong in ["memory", "lmdp"] {
            assert_eq!(names(&[wrong]).unwrap_err().kind(), ErrorKind::Usage);
        }
    }
}
