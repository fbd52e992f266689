//! Maintenance that writes: mending counters.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::ScanStored;
use super::local::LocalStore;
use super::meta::State;
use super::scan::LocalScan;
use super::snapshot::LocalSnapshot;
use crate::check::Counted;
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::Oid;
use crate::record::Codecs;

/// Takes an object's stored bytes, with what knows the dictionary that they may need, and what the engine says
/// of the row beyond them.
type VisitStored<'a> = dyn FnMut(Oid, &[u8], &Codecs, Result<()>) -> Result<()> + 'a;

impl LocalStore {
    /// What the store counts, for a check to compare with what is there.
    pub(crate) fn counters(&self) -> Counted {
        let writes = self.shared.writes.load(Ordering::Acquire);
        Counted::of(&self.shared.published(), writes)
    }

    /// Whether there is a root.
    pub(crate) fn has_root(&self) -> Result<bool> {
        let view = self.shared.view()?;
        view.engine()?.get(Table::Objects, Key::MIN, &mut |_| {})
    }

    /// Calls `visit` with every object's stored bytes as the engine has them now.
    pub(crate) fn for_each_newest(&self, visit: &mut VisitStored<'_>) -> Result<()> {
        let snapshot = LocalSnapshot::of_writer(self.shared.clone());
        let mut scan = LocalScan::newest(&snapshot);
        while let Some((oid, bytes)) = ScanStored::next(&mut scan)? {
            let key = Key::from(oid.0);
            let verified = snapshot.with_view(|view| view.engine()?.verify(Table::Objects, key));
            visit(oid, bytes, &self.shared.codecs, verified)?;
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
        if Counted::of(&state, shared.writes.load(Ordering::Acquire)) != kept {
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
        let mut graph = shared.graph(&writer)?;
        graph.state = state;
        let durability = shared.offered_durability(shared.durability)?;
        shared.write_graph(&mut writer, graph, durability)?;
        let mut oids = shared.oids.lock().unwrap_or_else(PoisonError::into_inner);
        oids.skip_to(counted.oids_end);
        Ok(true)
    }
}

impl Counted {
    fn of(state: &State, writes: u64) -> Counted {
        Counted {
            objects: state.objects,
            live_bytes: state.live_bytes,
            oids_end: state.high_water,
            tid: state.tid,
            orphans: state.orphans,
            writes,
        }
    }
}
