//! What has changed in a source that is being written to while it is copied.

use std::sync::atomic::Ordering;
use std::time::Duration;

use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::record::Record;
use durum_core::store::{Snapshot, SnapshotExt as _};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::durus::{DurusFile, DurusObject};
use crate::input::{SORT_BYTES, Writers};
use crate::options::StopWatch;
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
    pub(crate) fn renew(
        &mut self,
        since: Option<Tid>,
        memory_bytes: usize,
        watch: &StopWatch,
    ) -> Result<Round> {
        let open = (Writers::Tolerated, watch);
        let mut sorter = PairSorter::new(None, memory_bytes);
        let mut add = |oid: Oid| sorter.push(oid.0, 0);
        // In this order: what was written before nobody writes any more is seen.
        let mut is_last = self.takeover.is_some();
        let known = match &mut self.files {
            Files::Store {
                store,
                snapshot,
                still,
            } => {
                is_last = still.load(Ordering::Acquire);
                *snapshot = store.snapshot()?;
                let visited =
                    since.map(|since| store.visit_changes_since(since, &mut |it| add(it.oid)));
                match visited {
                    Some(Err(error)) if error.kind() != ErrorKind::TooOld => return Err(error),
                    visited => matches!(visited, Some(Ok(_))),
                }
            }
            Files::Durus(file) => {
                let Some(path) = file.input().map(|input| input.path().to_path_buf()) else {
                    return Err(not_followed());
                };
                let now = again(is_last, &|| {
                    DurusFile::open_among(open, &path, None, SORT_BYTES)
                })?;
                let known = now.changes_since(file, &mut add)?;
                *file = now;
                known
            }
            Files::Zodb(file) => {
                let path = file.input().path().to_path_buf();
                let now = again(is_last, &|| {
                    ZodbFile::open_among(open, &path, None, SORT_BYTES)
                })?;
                let known = now.changes_since(file, &mut add)?;
                *file = now;
                known
            }
            Files::DurusServer(_) => return Err(not_followed()),
        };
        let changed = match known && since.is_some() {
            true => Some(sorter.finish()?),
            false => None,
        };
        Ok(Round { changed, is_last })
    }

    /// Takes a newer snapshot of a store, in a round that takes too long for the one that it began with: what
    /// has changed since then comes with the next round in any case.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        if let Files::Store {
            store, snapshot, ..
        } = &mut self.files
        {
            *snapshot = store.snapshot()?;
        }
        Ok(())
    }

    /// Shows the OIDs of all objects, ascending, with the tids of those that have one.
    pub(crate) fn tids(&self, show: &mut dyn FnMut(Oid, Option<Tid>) -> Result<()>) -> Result<()> {
        match &self.files {
            Files::Store {
                store, snapshot, ..
            } => {
                let (mut from, mut newer) = (Oid::ROOT, None);
                loop {
                    let shown = newer.as_deref().unwrap_or(&**snapshot);
                    match tids_from(shown, &mut from, show) {
                        // As in a copy.
                        Err(error) if error.kind() == ErrorKind::TooOld => {
                            newer = Some(store.snapshot()?);
                        }
                        result => return result,
                    }
                }
            }
            Files::Durus(file) => file.oids(&mut |oid| show(oid, None)),
            Files::Zodb(file) => file.oids(&mut |oid| show(oid, None)),
            Files::DurusServer(_) => Err(not_followed()),
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
            Files::DurusServer(_) => return Err(not_followed()),
        };
        Ok(foreign.map(|object| (None, object)))
    }
}

fn not_followed() -> Error {
    Error::new(ErrorKind::Unsupported, "follow the source")
}

/// Goes on from `from`, which keeps pace.
fn tids_from(
    snapshot: &dyn Snapshot,
    from: &mut Oid,
    show: &mut dyn FnMut(Oid, Option<Tid>) -> Result<()>,
) -> Result<()> {
    let mut scan = snapshot.scan_stored(*from)?;
    while let Some((oid, bytes)) = scan.next()? {
        // One that is damaged is looked at.
        let record = Record::parse(oid, bytes).ok();
        show(oid, record.map(|record| record.tid))?;
        *from = oid.next();
    }
    Ok(())
}

/// Opens a file that others write to, unless nobody does any more: for a moment it may not be there, since a
/// pack renames the old one before the new one; and what a program takes back that it has begun to write can
/// vanish while it is read.
fn again<T>(is_still: bool, open: &dyn Fn() -> Result<T>) -> Result<T> {
    const TRIES: u32 = 40;
    const DAMAGED_TRIES: u32 = 3;
    const NAP: Duration = Duration::from_millis(25);
    let mut tries = 0;
    loop {
        tries += 1;
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => {}
            Err(error)
                if error.kind() == ErrorKind::Damaged && !is_still && tries < DAMAGED_TRIES => {}
            opened => return opened,
        }
        std::thread::sleep(NAP);
    }
}
