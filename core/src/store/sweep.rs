//! Maintenance that writes: deleting garbage, mending counters.

use std::sync::{MutexGuard, PoisonError};

use super::local::LocalStore;
use super::meta::State;
use super::scan::LocalScan;
use super::snapshot::LocalSnapshot;
use super::write_set::WriteSet;
use super::writer::Writer;
use super::{ScanStored, changes};
use crate::check::Counted;
use crate::collect::OidSet;
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{Error, Result};
use crate::id::Oid;
use crate::record::Codecs;

/// Takes an object's stored bytes, with what knows the dictionary that they may need.
type VisitStored<'a> = dyn FnMut(Oid, &[u8], &Codecs) -> Result<()> + 'a;

/// OIDs in one row of the table of condemned objects.
const CONDEMNED_PART: usize = 1024;
/// Objects are read to be deleted until they come to this many bytes.
const SLICE_BYTES_MAX: usize = 4 << 20;
/// Memory for the set of condemned objects.
const CONDEMNED_BYTES: usize = 4 << 20;

pub(super) fn condemned_set() -> OidSet {
    OidSet::new(CONDEMNED_BYTES)
}

/// Reads what an unfinished collection condemned.
pub(super) fn load_condemned(view: &dyn EngineSnapshot) -> Result<OidSet> {
    let mut condemned = condemned_set();
    let mut cursor = view.cursor(Table::Condemned, Key::MIN)?;
    while let Some((_, mut value)) = cursor.next()? {
        let oids = crate::collect::rows::take_oids(&mut value).ok_or_else(|| {
            Error::damaged("open the store", "a row of condemned objects is damaged")
                .hint("Restore the store from a backup.")
        })?;
        for oid in oids {
            condemned.insert(oid)?;
        }
    }
    Ok(condemned)
}

fn stage_part(rows: &mut WriteSet, part: &mut Vec<Oid>) {
    if let Some(first) = part.first() {
        let key = Key::pair(0, first.0);
        let mut value = Vec::new();
        crate::collect::rows::put_oids(&mut value, part);
        rows.put(Table::Condemned, key, value);
    }
    part.clear();
}

/// Holds commits back while it lives, so that nothing links to what is about to be deleted.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    store: &'a LocalStore,
    writer: MutexGuard<'a, Writer>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn begin(store: &'a LocalStore) -> Result<Sweep<'a>> {
        let writer = store
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        Ok(Sweep { store, writer })
    }

    /// Notes in one write that all objects which `dead` names are going to be deleted. From then on they
    /// are gone for commits, so that nothing can link to one of them while others that it refers to
    /// are deleted already; also after a crash, until another collection deletes the rest.
    ///
    /// Memory: one or two bytes for each of them.
    pub(crate) fn condemn(&mut self, dead: &mut dyn FnMut(Oid) -> Result<bool>) -> Result<u64> {
        let shared = &self.store.shared;
        let mut rows = WriteSet::new(shared.engine.snapshot()?);
        let mut part = Vec::new();
        let mut condemned = condemned_set();
        self.store.for_each_newest(&mut |oid, _, _| {
            if dead(oid)? {
                condemned.insert(oid)?;
                part.push(oid);
            }
            if part.len() == CONDEMNED_PART {
                stage_part(&mut rows, &mut part);
            }
            Ok(())
        })?;
        stage_part(&mut rows, &mut part);
        if condemned.is_empty() {
            return Ok(0);
        }
        let state = self.writer.state;
        let durability = shared.offered_durability(shared.durability)?;
        shared.write(&mut self.writer, rows, state, Vec::new(), durability)?;
        let count = condemned.len();
        self.writer.condemned = condemned;
        Ok(count)
    }

    /// Up to `count` condemned objects from `from` on that still exist, with their stored bytes.
    pub(crate) fn condemned(&mut self, from: Oid, count: usize) -> Result<Vec<(Oid, Vec<u8>)>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let view = self.store.shared.view()?;
        let mut cursor = view.engine()?.cursor(Table::Objects, Key::from(from.0))?;
        while let Some((key, stored)) = cursor.next()? {
            if self.writer.condemned.contains(Oid(key.first))? {
                found.push((Oid(key.first), stored.to_vec()));
                bytes += stored.len();
                if found.len() == count || bytes > SLICE_BYTES_MAX {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Forgets what was condemned: all of it is deleted.
    pub(crate) fn finish(mut self) -> Result<()> {
        let shared = &self.store.shared;
        let mut rows = WriteSet::new(shared.engine.snapshot()?);
        {
            let view = shared.view()?;
            let mut cursor = view.engine()?.cursor(Table::Condemned, Key::MIN)?;
            while let Some((key, _)) = cursor.next()? {
                rows.delete(Table::Condemned, key);
            }
        }
        let state = self.writer.state;
        let durability = shared.offered_durability(shared.durability)?;
        shared.write(&mut self.writer, rows, state, Vec::new(), durability)?;
        self.writer.condemned = condemned_set();
        Ok(())
    }

    /// Deletes objects, given with their stored bytes and by ascending OID, in a commit of its own.
    pub(crate) fn delete(&mut self, objects: Vec<(Oid, Vec<u8>)>) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let shared = &self.store.shared;
        let mut state = self.writer.state;
        state.tid = state.tid.next();
        let mut rows = WriteSet::new(shared.engine.snapshot()?);
        let mut oids = Vec::with_capacity(objects.len());
        for (oid, bytes) in &objects {
            state.objects = state.objects.saturating_sub(1);
            state.live_bytes = state.live_bytes.saturating_sub(bytes.len() as u64);
            rows.delete(Table::Objects, Key::from(oid.0));
            oids.push(*oid);
        }
        for (key, value) in changes::rows(state.tid, &[], &oids) {
            rows.put(Table::Changes, key, value);
        }
        let tid = state.tid;
        let superseded = objects
            .into_iter()
            .map(|(oid, bytes)| (oid, tid, bytes))
            .collect();
        let durability = shared.offered_durability(shared.durability)?;
        shared
            .write(&mut self.writer, rows, state, superseded, durability)
            .map(drop)
    }
}

impl LocalStore {
    /// What the store counts, for a check to compare with what is there.
    pub(crate) fn counters(&self) -> Counted {
        Counted::of(&self.shared.published())
    }

    /// Calls `visit` with every object's stored bytes as the engine has them now.
    pub(crate) fn for_each_newest(&self, visit: &mut VisitStored<'_>) -> Result<()> {
        let snapshot = LocalSnapshot::new(self.shared.clone());
        let mut scan = LocalScan::newest(&snapshot);
        while let Some((oid, bytes)) = ScanStored::next(&mut scan)? {
            visit(oid, bytes, &self.shared.codecs)?;
        }
        Ok(())
    }

    /// Sets the counters to what was found; the OID mark and the tid are only ever raised. Does nothing
    /// where they are no longer `kept`, since somebody has committed; says whether it did.
    pub(crate) fn repair_counters(&self, kept: Counted, counted: Counted) -> Result<bool> {
        let shared = &self.shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut state = writer.state;
        if Counted::of(&state) != kept {
            return Ok(false);
        }
        state.objects = counted.objects;
        state.live_bytes = counted.live_bytes;
        state.high_water = state.high_water.max(counted.oids_end);
        if counted.tid > state.tid {
            // The log of changes may lack what these commits did.
            state.tid = counted.tid;
            state.changes_from = counted.tid;
        }
        let rows = WriteSet::new(shared.engine.snapshot()?);
        let durability = shared.offered_durability(shared.durability)?;
        shared.write(&mut writer, rows, state, Vec::new(), durability)?;
        let mut oids = shared.oids.lock().unwrap_or_else(PoisonError::into_inner);
        oids.skip_to(counted.oids_end);
        Ok(true)
    }
}

impl Counted {
    fn of(state: &State) -> Counted {
        Counted {
            objects: state.objects,
            live_bytes: state.live_bytes,
            oids_end: state.high_water,
            tid: state.tid,
            orphans: state.orphans,
        }
    }
}
