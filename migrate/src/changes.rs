//! What has changed in a source that is being written to while it is copied.

use std::sync::atomic::Ordering;
use std::time::Duration;

use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::record::Record;
use durum_core::store::{SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, Result, Tid};

use crate::durus::{DurusFile, DurusObject};
use crate::input::{SORT_BYTES, Writers};
use crate::source::{Files, Source};
use crate::zodb::ZodbFile;

/// The source as it is looked at once more.
#[derive(Debug)]
pub(crate) struct Round {
    /// The objects that may have changed since the last time, perhaps several times each; `None` where any
    /// may have.
    pub(crate) changed: Option<SortedPairs>,
    /// Whether nobody can have written to it since it was looked at.
    pub(crate) is_last: bool,
}

impl Source {
    /// Looks at the source anew, for what was committed after `since`, if it knows commits, or else since
    /// it was looked at last; where `since` is none, for what there is. Sorts in about `memory_bytes`.
    pub(crate) fn renew(&mut self, since: Option<Tid>, memory_bytes: usize) -> Result<Round> {
        let mut sorter = PairSorter::new(None, memory_bytes);
        let mut add = |oid: Oid| sorter.push(oid.0, 0);
        let (known, is_last) = match &mut self.files {
            Files::Store {
                store,
                snapshot,
                still,
            } => {
                // In this order: what was committed before it was set is seen.
                let is_last = still.load(Ordering::Acquire);
                *snapshot = store.snapshot()?;
                let visited =
                    since.map(|since| store.visit_changes_since(since, &mut |it| add(it.oid)));
                match visited {
                    Some(Err(error)) if error.kind() != ErrorKind::TooOld => return Err(error),
                    visited => (matches!(visited, Some(Ok(_))), is_last),
                }
            }
            Files::Durus(file) if file.is_still() => (true, true),
            Files::Zodb(file) if file.is_still() => (true, true),
            Files::Durus(file) => {
                let path = file.path().to_path_buf();
                let now =
                    again(&|| DurusFile::open_among(Writers::Tolerated, &path, None, SORT_BYTES))?;
                let known = now.changes_since(file, &mut add)?;
                *file = now;
                (known, file.is_still())
            }
            Files::Zodb(file) => {
                let path = file.path().to_path_buf();
                let now =
                    again(&|| ZodbFile::open_among(Writers::Tolerated, &path, None, SORT_BYTES))?;
                let known = now.changes_since(file, &mut add)?;
                *file = now;
                (known, file.is_still())
            }
        };
        let changed = match known && since.is_some() {
            true => Some(sorter.finish()?),
            false => None,
        };
        Ok(Round { changed, is_last })
    }

    /// Shows the OIDs of all objects, ascending, with the tids of those that have one.
    pub(crate) fn tids(&self, show: &mut dyn FnMut(Oid, Option<Tid>) -> Result<()>) -> Result<()> {
        match &self.files {
            Files::Store { snapshot, .. } => {
                let mut scan = snapshot.scan_stored(Oid::ROOT)?;
                while let Some((oid, bytes)) = scan.next()? {
                    // One that is damaged is looked at.
                    let record = Record::parse_unverified(oid, bytes).ok();
                    show(oid, record.map(|record| record.tid))?;
                }
                Ok(())
            }
            Files::Durus(file) => file.oids(&mut |oid| show(oid, None)),
            Files::Zodb(file) => file.oids(&mut |oid| show(oid, None)),
        }
    }

    /// One object, with its tid if it has one.
    pub(crate) fn load(&self, oid: Oid) -> Result<Option<(Option<Tid>, DurusObject)>> {
        let foreign = match &self.files {
            Files::Store { snapshot, .. } => {
                let found = snapshot.load(oid)?;
                return Ok(found.map(|object| {
                    let tid = Some(object.tid);
                    (tid, DurusObject::of(object))
                }));
            }
            Files::Durus(file) => file.load(oid)?,
            Files::Zodb(file) => file.load(oid)?,
        };
        Ok(foreign.map(|object| (None, object)))
    }
}

/// Opens a file that for a moment may not be there: a pack renames the old one before the new one.
fn again<T>(open: &dyn Fn() -> Result<T>) -> Result<T> {
    const TRIES: usize = 40;
    const NAP: Duration = Duration::from_millis(25);
    for _ in 1..TRIES {
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => std::thread::sleep(NAP),
            opened => return opened,
        }
    }
    open()
}
