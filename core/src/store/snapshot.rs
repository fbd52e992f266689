//! Snapshots of a store on an engine; see [`super::superseded`] for how they stay fixed.

use std::fmt;
use std::sync::Arc;

use super::condemned::Condemned;
use super::follow::Followed;
use super::local::Shared;
use super::scan::{LocalScan, VerifiedScan};
use super::views::{Slot, View};
use super::{Scan, ScanStored, Snapshot};
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::{Oid, Tid};
use crate::record::{Codecs, Record};

pub(super) struct LocalSnapshot {
    pub(super) shared: Arc<Shared>,
    tid: Tid,
    /// What is gone at this commit, though it may still be stored.
    pub(super) condemned: Option<Arc<Condemned>>,
    /// Where another process writes the store: what is read from.
    followed: Option<Arc<Followed>>,
    slot: Arc<Slot>,
}

impl LocalSnapshot {
    /// One that shows all that was committed so far.
    ///
    /// # Errors
    /// Those of the engine's reading, where another process writes the store.
    pub(super) fn new(shared: Arc<Shared>) -> Result<LocalSnapshot> {
        if let Some(follow) = &shared.follow {
            let followed = shared.look(follow)?;
            return Ok(LocalSnapshot {
                tid: followed.state.tid,
                condemned: followed.condemned.clone(),
                followed: Some(followed),
                slot: Arc::default(),
                shared,
            });
        }
        Ok(LocalSnapshot::of_writer(shared))
    }

    /// One of a store that this process writes.
    pub(super) fn of_writer(shared: Arc<Shared>) -> LocalSnapshot {
        let tid = shared.superseded.begin_snapshot();
        // Asked for after the tid: what was condemned by that commit or before is there by now, or deleted.
        let condemned = shared.condemned().filter(|condemned| condemned.tid <= tid);
        let slot = shared.views.slot();
        LocalSnapshot {
            shared,
            tid,
            condemned,
            followed: None,
            slot,
        }
    }

    /// Runs `read` on an engine snapshot, and keeps that for the next time.
    pub(super) fn with_view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        if let Some(followed) = &self.followed {
            return followed.read(read);
        }
        // Another thread may be reading from the view that is kept: an engine's serves one at a time.
        let Some(mut held) = self.slot.try_hold() else {
            return read(&self.open_view()?);
        };
        let view = match &*held {
            Some(view) => view,
            None => held.insert(self.open_view()?),
        };
        let result = read(view);
        self.shared.views.release(held);
        result
    }

    /// Closes the view that is kept, where it is old.
    pub(super) fn close_if_old(&self) {
        drop(self.slot.take_if_old());
    }

    fn open_view(&self) -> Result<View> {
        let shared = &self.shared;
        let fixed = shared.capabilities.snapshots;
        shared
            .views
            .open(&*shared.engine, &shared.superseded, self.tid, fixed)
    }
}

/// Objects that are read at once where each read costs a wait.
const AHEAD_MAX: usize = 1000;

fn rows_of(oids: &[Oid]) -> Vec<(Table, Key)> {
    let row = |oid: &Oid| (Table::Objects, Key::from(oid.0));
    oids.iter().map(row).collect()
}

/// Fails where the engine knows itself that the record is damaged: it can tell in which file, and where.
pub(super) fn verify_row(view: &View, oid: Oid) -> Result<()> {
    let key = Key::from(oid.0);
    view.engine()?
        .get(Table::Objects, key, &mut |_| {})
        .map(drop)
}

impl Drop for LocalSnapshot {
    fn drop(&mut self) {
        if self.followed.is_some() {
            return;
        }
        drop(self.slot.take());
        self.shared.superseded.end_snapshot(self.tid);
    }
}

impl fmt::Debug for LocalSnapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LocalSnapshot")
            .field("tid", &self.tid)
            .finish_non_exhaustive()
    }
}

impl Snapshot for LocalSnapshot {
    fn tid(&self) -> Tid {
        self.tid
    }

    fn codecs(&self) -> &Codecs {
        &self.shared.codecs
    }

    fn load_with(&self, oid: Oid, visit: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<bool> {
        if let Some(condemned) = &self.condemned
            && condemned.contains(oid)?
        {
            return Ok(false);
        }
        // None: the engine's record, if there is one, is not that of this snapshot.
        let (mut outcome, mut damaged) = (None, false);
        let exact = self.with_view(|view| {
            view.engine()?
                .get_unverified(Table::Objects, Key::from(oid.0), &mut |bytes| {
                    outcome = match Record::parse(oid, bytes) {
                        Ok(record) if view.exact || record.tid <= self.tid => Some(visit(record)),
                        Ok(_) => None,
                        Err(error) => {
                            damaged = true;
                            Some(Err(error))
                        }
                    };
                })?;
            if damaged {
                verify_row(view, oid)?;
            }
            Ok(view.exact)
        })?;
        match outcome {
            Some(result) => return result.map(|()| true),
            None if exact => return Ok(false),
            None => {}
        }
        let Some(bytes) = self.shared.superseded.find(oid, self.tid)? else {
            return Ok(false);
        };
        let record = Record::parse(oid, &bytes)?;
        if record.tid > self.tid {
            return Ok(false);
        }
        visit(record).map(|()| true)
    }

    fn load_many_with(
        &self,
        oids: &[Oid],
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<()> {
        for part in oids.chunks(AHEAD_MAX) {
            let is_ahead = self.with_view(|view| {
                let view = view.engine()?;
                if view.has_latency() {
                    view.read_ahead(&rows_of(part))?;
                }
                Ok(view.has_latency())
            })?;
            let loaded = part.iter().try_for_each(|oid| {
                match self.load_with(*oid, &mut |record| visit(*oid, Some(record)))? {
                    true => Ok(()),
                    false => visit(*oid, None),
                }
            });
            if is_ahead {
                // What is loaded later is read then, see `EngineSnapshot::keep_rows`.
                self.with_view(|view| view.engine()?.read_ahead(&[]))?;
            }
            loaded?;
        }
        Ok(())
    }

    fn scan(&self, from: Oid) -> Result<Box<dyn Scan + '_>> {
        Ok(Box::new(VerifiedScan(LocalScan::new(self, from))))
    }

    fn scan_with(
        &self,
        from: Oid,
        visit: &mut dyn FnMut(Record<'_>) -> Result<bool>,
    ) -> Result<()> {
        super::scan::lend(self, from, visit)
    }

    fn scan_stored(&self, from: Oid) -> Result<Box<dyn ScanStored + '_>> {
        Ok(Box::new(LocalScan::new(self, from)))
    }
}
