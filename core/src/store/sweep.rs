//! Maintenance that writes: deleting garbage, mending counters.

use std::sync::{MutexGuard, PoisonError};

use super::local::LocalStore;
use super::scan::LocalScan;
use super::snapshot::LocalSnapshot;
use super::write_set::WriteSet;
use super::writer::Writer;
use super::{ScanStored, changes};
use crate::check::Counted;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::Oid;
use crate::record::Codecs;

/// Takes an object's stored bytes, with what knows the dictionary that they may need.
type VisitStored<'a> = dyn FnMut(Oid, &[u8], &Codecs) -> Result<()> + 'a;

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
        let state = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .state;
        Counted {
            objects: state.objects,
            live_bytes: state.live_bytes,
            oids_end: state.high_water,
            tid: state.tid,
        }
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

    /// Sets the counters to what was found; the OID mark and the tid are only ever raised.
    pub(crate) fn repair_counters(&self, counted: Counted) -> Result<()> {
        let shared = &self.shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut state = writer.state;
        state.objects = counted.objects;
        state.live_bytes = counted.live_bytes;
        state.high_water = state.high_water.max(counted.oids_end);
        state.tid = state.tid.max(counted.tid);
        let rows = WriteSet::new(shared.engine.snapshot()?);
        let durability = shared.offered_durability(shared.durability)?;
        shared
            .write(&mut writer, rows, state, Vec::new(), durability)
            .map(drop)
    }
}
