//! OO7 (Carey, DeWitt and Naughton, "The OO7 Benchmark", SIGMOD 1993, with the counts of the technical report
//! of 1994), on typed objects: a module with a tree of assemblies, of which the lowest use composite parts,
//! graphs of atomic parts with a document each.
//!
//! Each operation is one transaction. It runs cold, on a store that was just opened and of which nothing is
//! in the page cache, and then hot, several times; what it changes is committed durably. Above the store is the
//! cache of typed objects, of its usual size, into which the small database fits and the medium one does not. What
//! an operation counts is known for many, and checked by the tests.

mod build;
mod object;
mod operation;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use durum_core::config::StoreSettings;
use durum_core::engine::{Capabilities, Registry};
use durum_core::store::{LocalStore, Store as _};
use durum_core::{Error, ErrorKind, Result};
use durum_objects::{Database, Options};
use fastrand::Rng;
use serde::Serialize;

use crate::files::{forget, remove, scratch};
use crate::machine::Machine;
use crate::row::median;
use crate::subject::best;
use operation::Runner;

pub use build::Size;
pub use operation::Operation;

const DOING: &str = "run OO7";

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oo7Settings {
    /// The engines' names; none for all.
    pub engines: Vec<String>,
    /// How large the databases are.
    pub sizes: Vec<Size>,
    /// What is done.
    pub operations: Vec<Operation>,
    /// How often each operation is run hot; the median counts.
    pub rounds: usize,
    /// What is drawn at random follows from it.
    pub seed: u64,
}

impl Oo7Settings {
    /// The seed where nobody asks for another.
    pub const SEED: u64 = 7;
}

/// One operation on one engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Oo7Row {
    /// The engine's name.
    pub engine: String,
    /// How large the database is.
    pub size: Size,
    /// What was done.
    pub operation: Operation,
    /// Milliseconds of the first run, commit included.
    pub cold_ms: f64,
    /// Milliseconds of the runs after it, commit included: their median.
    pub hot_ms: f64,
    /// What the operation counts, such as visits of atomic parts.
    pub visits: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Oo7Report {
    /// By engine, size and operation.
    pub rows: Vec<Oo7Row>,
    /// What was drawn at random follows from it.
    pub seed: u64,
    /// What it was measured on.
    pub machine: Machine,
}

/// Runs OO7 in a directory below `dir` that is removed afterwards. `progress` is told in a line what comes
/// next.
///
/// # Errors
/// `Usage` for an engine that does not exist; those of the engines and of the disk.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &Oo7Settings,
    progress: &dyn Fn(&str),
) -> Result<Oo7Report> {
    let engines = crate::engines(registry, &settings.engines)?;
    let directory = scratch(dir, DOING)?;
    let mut rows = Vec::new();
    for size in &settings.sizes {
        for capabilities in &engines {
            progress(&format!("OO7, {}: {}", size.name(), capabilities.name));
            let path = directory.path().join(capabilities.name);
            rows.extend(measure(registry, capabilities, &path, *size, settings)?);
            remove(&path)?;
        }
    }
    Ok(Oo7Report {
        rows,
        seed: settings.seed,
        machine: Machine::this(),
    })
}

fn measure(
    registry: &Registry,
    capabilities: &Capabilities,
    path: &Path,
    size: Size,
    settings: &Oo7Settings,
) -> Result<Vec<Oo7Row>> {
    let mut store_settings = StoreSettings::new(capabilities.name, path);
    store_settings.durability = Some(best(capabilities));
    let mut db = database(registry.create(&store_settings)?)?;
    build::build(&db, size, settings.seed)?;
    let mut draw = Rng::with_seed(settings.seed);
    let mut rows = Vec::new();
    for operation in &settings.operations {
        if capabilities.persistent {
            drop(db);
            forget(path)?;
            db = database(registry.open(&store_settings)?)?;
        }
        let (visits, cold_ms) = timed(&db, size, *operation, &mut draw)?;
        let mut hot = Vec::new();
        // What was inserted can be deleted once.
        let once = matches!(operation, Operation::Insert | Operation::Delete);
        for _ in 0..settings.rounds.max(1) {
            if once {
                let undo = match operation {
                    Operation::Insert => Operation::Delete,
                    _ => Operation::Insert,
                };
                timed(&db, size, undo, &mut draw)?;
            }
            hot.push(timed(&db, size, *operation, &mut draw)?.1);
        }
        rows.push(Oo7Row {
            engine: capabilities.name.to_owned(),
            size,
            operation: *operation,
            cold_ms,
            hot_ms: median(&hot),
            visits,
        });
    }
    Ok(rows)
}

fn database(store: LocalStore) -> Result<Database> {
    let options = Options {
        durability: Some(best(store.engine())),
        ..Options::default()
    };
    Database::with_options(Arc::new(store), options)
}

/// Runs an operation in a transaction of its own; what it counts, and milliseconds.
fn timed(db: &Database, size: Size, operation: Operation, draw: &mut Rng) -> Result<(u64, f64)> {
    let begin = Instant::now();
    let mut tx = db.begin()?;
    let mut runner = Runner {
        tx: &tx,
        size,
        draw,
    };
    let visits = runner.run(operation)?;
    tx.commit()?;
    Ok((visits, begin.elapsed().as_secs_f64() * 1e3))
}

/// The operations of these names, all where none is named.
///
/// # Errors
/// `Usage` for a name that is none.
pub fn operations(names: &[String]) -> Result<Vec<Operation>> {
    if names.is_empty() {
        return Ok(Operation::ALL.to_vec());
    }
    let operation = |name: &String| {
        let mut all = Operation::ALL.into_iter();
        let found = all.find(|operation| operation.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let all = Operation::ALL.map(Operation::name).join(", ");
            Error::new(ErrorKind::Usage, DOING)
                .because(format!("there is no operation `{name}`"))
                .hint(format!("There are {all}."))
        })
    };
    names.iter().map(operation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use durum_core::check::check;
    use durum_core::store::Store;

    /// What is known from the paper, or follows from the numbers of parts.
    #[test]
    fn operations_count_what_the_paper_counts() {
        let registry = durum_backends::registry();
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings::new("memory", dir.path());
        let store = Arc::new(registry.create(&settings).unwrap());
        let db = Database::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
        build::build(&db, Size::Small, 1).unwrap();
        // Those of OO7, the nodes of three indexes, and the root and the table of types.
        let objects = store.stats().unwrap().objects;
        assert!((42_100..43_500).contains(&objects), "{objects}");
        let mut draw = Rng::with_seed(1);
        let mut count = |operation| timed(&db, Size::Small, operation, &mut draw).unwrap().0;
        for (operation, expected) in [
            (Operation::T1, 43_740),
            (Operation::T2a, 2_187),
            (Operation::T2b, 43_740),
            (Operation::T2c, 174_960),
            (Operation::T3a, 2_187),
            (Operation::T3b, 43_740),
            (Operation::T3c, 174_960),
            (Operation::T4, 83_106),
            (Operation::T6, 2_187),
            (Operation::T8, 2_632),
            (Operation::T9, 0),
            (Operation::Q1, 10),
            (Operation::Q7, 10_000),
            (Operation::Q8, 10_000),
            (Operation::Insert, 5),
            (Operation::Q7, 10_100),
            (Operation::Q8, 10_100),
            (Operation::T6, 2_197),
            (Operation::Delete, 5),
            (Operation::Q7, 10_000),
            (Operation::Q8, 10_000),
            (Operation::T1, 43_740),
        ] {
            assert_eq!(count(operation), expected, "{operation:?}");
        }
        // Random, but near what is drawn on average.
        for (operation, expected) in [
            (Operation::Q2, 60..140),
            (Operation::Q3, 900..1100),
            (Operation::Q4, 350..530),
            (Operation::Q5, 140..260),
            (Operation::T7, 1..60),
        ] {
            let found = count(operation);
            assert!(expected.contains(&found), "{operation:?}: {found}");
        }
        // What was deleted is gone, and nothing else.
        let report = check(&store, false).unwrap();
        assert_eq!((report.errors.len(), report.unreachable), (0, 0));
    }

    #[test]
    fn names_are_looked_up() {
        assert_eq!(operations(&[]).unwrap().len(), 21);
        let names = ["t1".to_owned(), "Q8".to_owned()];
        assert_eq!(operations(&names).unwrap(), [Operation::T1, Operation::Q8]);
        assert!(operations(&["t5".to_owned()]).is_err());
    }
}
