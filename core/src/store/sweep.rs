//! Deleting garbage: the writing side of a collection.

use std::sync::{MutexGuard, PoisonError};

use super::changes;
use super::local::LocalStore;
use super::write_set::WriteSet;
use super::writer::Writer;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::Oid;

/// Holds commits back while it lives, so that nothing links to what is about to be deleted.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    store: &'a LocalStore,
    writer: MutexGuard<'a, Writer>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn begin(store: &'a LocalStore) -> Result<Sweep<'a>> {
        let writer = store.shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
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
        let superseded = objects.into_iter().map(|(oid, bytes)| (oid, tid, bytes)).collect();
        let durability = shared.offered_durability(shared.durability)?;
        shared.write(&mut self.writer, rows, state, superseded, durability).map(drop)
    }
}
