//! An engine in a store's directory, without the store: batches of rows in several tables.

use std::path::Path;

use durum_core::engine::{
    Backend, Compact, Durability, Engine, EngineSnapshot, Key, Op, Options, Table,
};
use durum_core::place::{Place, StagedPlace};
use durum_core::{Error, ErrorKind};

use super::plan::{Plan, Rows, value_of};
use super::subject::{Refused, Subject};

/// An open engine.
#[derive(Debug)]
pub(super) struct EngineSubject {
    // Closed before the directory is unlocked.
    engine: Box<dyn Engine>,
    levels: Vec<Durability>,
    _place: Place,
}

impl EngineSubject {
    /// Opens the engine in the place at `path`; creates the place if there is none.
    pub(super) fn open(
        backend: &dyn Backend,
        path: &Path,
        options: &Options,
    ) -> Result<EngineSubject, Refused> {
        let offered = backend.capabilities();
        let place = match Place::open(backend, path, options) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let staged = StagedPlace::create(backend, path, options).map_err(refused)?;
                drop(staged.open_engine(backend, options).map_err(refused)?);
                staged.publish()
            }
            other => other,
        };
        let place = place.map_err(refused)?;
        let engine = place.open_engine(backend, options).map_err(refused)?;
        Ok(EngineSubject {
            engine,
            levels: offered.durability,
            _place: place,
        })
    }

    /// What is asked for, or the next stronger level that the engine has, or its strongest.
    fn level(&self, wanted: Durability) -> Durability {
        let strong_enough = self.levels.iter().find(|level| **level >= wanted);
        *strong_enough
            .or(self.levels.last())
            .expect("an engine offers some durability")
    }

    fn rows(&self) -> Result<Rows, Error> {
        let snapshot = self.engine.snapshot()?;
        let mut rows = Rows::new();
        for table in Table::ALL {
            let mut cursor = snapshot.cursor(table, Key::MIN)?;
            while let Some((key, value)) = cursor.next()? {
                rows.insert((table, key), value.to_vec());
            }
        }
        Ok(rows)
    }
}

impl Subject for EngineSubject {
    fn commit(
        &mut self,
        plan: &Plan,
        commit: u64,
        durability: Durability,
    ) -> Result<Durability, Refused> {
        let batch = plan.batch(commit);
        let ops: Vec<Op<'_>> = batch
            .iter()
            .map(|(&(table, key), value)| match value {
                Some(value) => Op::Put { table, key, value },
                None => Op::Delete { table, key },
            })
            .collect();
        let level = self.level(durability);
        match self.engine.apply(&ops, level) {
            Err(error) if error.kind() == ErrorKind::NeedsRoom => {
                self.engine.make_room(1 << 20).map_err(refused)?;
                self.engine.apply(&ops, level).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    fn found(&self) -> Result<u64, String> {
        let snapshot = self.engine.snapshot().map_err(|error| error.to_string())?;
        number(&*snapshot)
    }

    fn check(&self, plan: &Plan, commits: u64) -> Result<(), String> {
        let (found, planned) = (
            self.rows().map_err(|error| error.to_string())?,
            plan.rows(commits),
        );
        if found == planned {
            return Ok(());
        }
        let wrong = |row: &&(Table, Key)| found.get(row) != planned.get(row);
        let rows: Vec<_> = found
            .keys()
            .chain(planned.keys())
            .filter(wrong)
            .take(5)
            .collect();
        Err(format!(
            "after {commits} commits these rows differ (first five): {rows:?}"
        ))
    }

    fn upkeep(&mut self, commit: u64) -> Result<(), Refused> {
        if commit % 6 == 5 {
            while self.engine.reclaim(1 << 20).map_err(refused)?.more {}
        }
        if commit % COMPACTION_STEP == COMPACTION_STEP - 1
            && let Some(compact) = self.engine.compact()
        {
            self.compact(compact, commit).or_else(|error| {
                compact.discard().map_err(refused)?;
                Err(refused(error))
            })?;
        }
        Ok(())
    }
}

impl EngineSubject {
    /// Compacts while a snapshot is open and read.
    fn compact(&self, compact: &dyn Compact, commit: u64) -> Result<(), Error> {
        let snapshot = self.engine.snapshot()?;
        let mut wrong = Ok(());
        compact.rewrite(&mut |_, _| {
            let found = number(&*snapshot);
            if found.as_ref().ok() != Some(&commit) {
                wrong = Err(format!(
                    "commit {commit} was compacted, and read was {found:?}"
                ));
            }
        })?;
        wrong.expect("a snapshot shows the same while the engine is compacted");
        drop(snapshot);
        compact.swap().map(drop)
    }
}

/// How many commits the view shows.
fn number(snapshot: &dyn EngineSnapshot) -> Result<u64, String> {
    let mut number = None;
    let read = snapshot.get(Table::Meta, Key::MIN, &mut |bytes| {
        number = Some(bytes.to_vec())
    });
    read.map_err(|error| error.to_string())?;
    value_of(number.as_deref())
}

/// Every so many commits, the engine is compacted.
pub(super) const COMPACTION_STEP: u64 = 6;

/// What the harness needs to know of an error.
pub(super) fn refused(error: Error) -> Refused {
    use ErrorKind::{Full, NeedsRoom, TooLarge};
    Refused {
        unchanged: matches!(error.kind(), Full | TooLarge | NeedsRoom),
        reason: format!("{error} ({:?})", error.kind()),
    }
}
