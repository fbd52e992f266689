//! The collector's tables of a store, with the rows that a group of commits is going to write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::changes;
use super::condemned::Condemned;
use super::meta::State;
use super::write_set::WriteSet;
use crate::collect::graph::{Graph, Node, Pin, inconsistent};
use crate::collect::rows::{JobState, Links, condemned_oids, condemned_row, encode_orphan};
use crate::collect::spill::SpillSet;
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};
use crate::record::{self, Record};

/// References of cached nodes, after which the cache is emptied.
const CACHED_REFS_MAX: usize = 1 << 18;
/// So many bytes of a deleted record cost a budget as much as reading a row, so that what a slice holds in
/// memory for snapshots is bounded too.
const BYTES_PER_READ: u64 = 512;
/// Nodes and rows in the caches, after which they are emptied.
const CACHED_MAX: usize = 32 << 10;

/// An object, the commit that replaces or deletes its record, and the bytes of that.
pub(super) type Replaced = (Oid, Tid, Vec<u8>);

/// What a group of commits does to one object.
enum Pending<'a> {
    Written {
        prepared: &'a [u8],
        tid: Tid,
        anchor: Option<Oid>,
        refs: &'a [Oid],
    },
    Deleted,
}

/// The tables as the group that is being prepared will leave them.
pub(super) struct RowGraph<'a> {
    pub(super) rows: WriteSet,
    pub(super) state: State,
    /// What snapshots will need.
    pub(super) superseded: Vec<Replaced>,
    /// What has been deleted since this was last emptied.
    pub(super) deleted: Vec<Oid>,
    /// What the group condemns, or that nothing is condemned any more.
    pub(super) condemned: Option<Arc<Condemned>>,
    /// OIDs from here on are not referred to by what an import has still to bring.
    pub(super) expected_end: u64,
    objects: BTreeMap<Oid, Pending<'a>>,
    nodes: HashMap<Oid, Option<Arc<Node>>>,
    links: HashMap<Oid, Option<Links>>,
    cached_refs: usize,
    /// No orphan lies below, so that finding the least does not step over all that have left the queue.
    orphans_from: Oid,
    /// Whether the engine holds orphans; else all that there are were put by this group.
    orphans_stored: bool,
    /// Whether there may be a snapshot that still shows what is condemned.
    condemned_shown: bool,
    reads: u64,
    /// Bytes of records that were deleted.
    bytes: u64,
}

impl<'a> RowGraph<'a> {
    pub(super) fn new(
        view: Box<dyn EngineSnapshot>,
        state: State,
        condemned: Option<Arc<Condemned>>,
    ) -> RowGraph<'a> {
        view.keep_rows();
        RowGraph {
            rows: WriteSet::new(view),
            state,
            superseded: Vec::new(),
            deleted: Vec::new(),
            condemned,
            expected_end: 0,
            objects: BTreeMap::new(),
            nodes: HashMap::new(),
            links: HashMap::new(),
            cached_refs: 0,
            orphans_from: Oid::ROOT,
            orphans_stored: state.orphans > 0,
            condemned_shown: true,
            reads: 0,
            bytes: 0,
        }
    }

    /// No snapshot shows what was condemned before this group.
    pub(super) fn forget_condemned(&mut self) {
        self.condemned_shown = false;
    }

    /// Calls `visit` with the record as the group leaves it; says whether there is one. Objects that
    /// are condemned count as there.
    pub(super) fn record(
        &self,
        oid: Oid,
        visit: &mut dyn FnMut(Record<'_>, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        match self.objects.get(&oid) {
            Some(Pending::Deleted) => Ok(false),
            Some(Pending::Written {
                prepared,
                tid,
                anchor,
                ..
            }) => {
                let stored = record::with_tid_and_anchor(oid, prepared, *tid, *anchor);
                visit(Record::parse(oid, &stored)?, &stored).map(|()| true)
            }
            None => {
                let mut result = Ok(());
                let key = Key::from(oid.0);
                let found = self.rows.get_record(key, &mut |bytes| {
                    result = Record::parse(oid, bytes).and_then(|record| visit(record, bytes));
                })?;
                result.map(|()| found)
            }
        }
    }

    /// Whether the object exists, for commits.
    pub(super) fn exists(&mut self, oid: Oid) -> Result<bool> {
        if self.is_condemned(oid)? {
            return Ok(false);
        }
        match self.objects.get(&oid) {
            Some(pending) => Ok(matches!(pending, Pending::Written { .. })),
            None => match self.node(oid) {
                // It can be unlinked and linked; whoever reads it gets the error.
                Err(error) if error.kind() == ErrorKind::Damaged => Ok(true),
                node => Ok(node?.is_some()),
            },
        }
    }

    /// Puts a valid write into the group, with the commit's number or, of an import, an earlier one; `old` is
    /// the record that it replaces, with its bytes.
    pub(super) fn write(
        &mut self,
        oid: Oid,
        tid: Tid,
        prepared: &'a [u8],
        refs: &'a [Oid],
        old: Option<(Option<Oid>, Vec<u8>)>,
    ) {
        let mut anchor = None;
        match old {
            Some((old_anchor, bytes)) => {
                anchor = old_anchor;
                if !self.objects.contains_key(&oid) {
                    self.state.live_bytes = self.state.live_bytes.wrapping_sub(bytes.len() as u64);
                }
                self.superseded.push((oid, self.state.tid, bytes));
            }
            None => self.state.objects += 1,
        }
        self.state.high_water = self.state.high_water.max(oid.0.saturating_add(1));
        let pending = Pending::Written {
            prepared,
            tid,
            anchor,
            refs,
        };
        self.objects.insert(oid, pending);
        if !self.nodes.is_empty() {
            self.nodes.remove(&oid);
        }
    }

    /// Turns the records of the group into rows; nothing can be read any more afterwards.
    ///
    /// Only now are the bytes of new records counted, so that the count may have wrapped below 0 where
    /// some of them were condemned.
    pub(super) fn finish(mut self) -> (WriteSet, State, Vec<Replaced>) {
        self.rows.close_view();
        let mut records = Vec::with_capacity(self.objects.len());
        for (oid, pending) in self.objects {
            let mut record = None;
            if let Pending::Written {
                prepared,
                tid,
                anchor,
                ..
            } = pending
            {
                let stored = record::with_tid_and_anchor(oid, prepared, tid, anchor);
                let bytes = stored.len() as u64;
                self.state.live_bytes = self.state.live_bytes.wrapping_add(bytes);
                record = Some(stored);
            }
            records.push((Key::from(oid.0), record));
        }
        self.rows.put_records(records);
        (self.rows, self.state, self.superseded)
    }

    /// Logs what the commit wrote, and what was deleted along with it.
    pub(super) fn log_changes(&mut self, written: &[Oid]) {
        self.deleted.sort_unstable();
        for (key, value) in changes::rows(self.state.tid, written, &self.deleted) {
            self.rows.put(Table::Changes, key, value);
        }
        self.deleted.clear();
    }

    /// Notes that an import has still to bring the object: its OID must not be handed out.
    pub(super) fn expect(&mut self, oid: Oid) {
        self.rows.put(Table::Missing, Key::from(oid.0), Vec::new());
        self.expected_end = self.expected_end.max(oid.reserves());
        self.state.high_water = self.state.high_water.max(self.expected_end);
    }

    /// Whether the group writes anything.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.rows.is_empty()
    }

    fn next_first(&mut self, table: Table, from: Oid) -> Result<Option<Oid>> {
        self.reads += 1;
        let found = self.rows.next(table, Key::from(from.0))?;
        Ok(found.map(|(key, _)| Oid(key.first)))
    }

    fn next_second(
        &mut self,
        table: Table,
        first: u64,
        from: Oid,
    ) -> Result<Option<(Oid, Vec<u8>)>> {
        self.reads += 1;
        let found = self.rows.next(table, Key::pair(first, from.0))?;
        let found = found.filter(|(key, _)| key.first == first);
        Ok(found.map(|(key, value)| (Oid(key.second), value)))
    }

    fn exists_row(&mut self, table: Table, key: Key) -> Result<bool> {
        self.reads += 1;
        self.rows.get(table, key, &mut |_| {})
    }

    fn read_node(&mut self, oid: Oid) -> Result<Option<Arc<Node>>> {
        if let Some(Pending::Written {
            prepared,
            anchor,
            refs,
            tid,
        }) = self.objects.get(&oid)
        {
            // The record's length with the numbers that it will hold.
            let bytes = record::with_tid_and_anchor(oid, prepared, *tid, *anchor).len() as u64;
            return Ok(Some(Arc::new(Node {
                anchor: *anchor,
                refs: refs.to_vec(),
                bytes,
            })));
        }
        self.reads += 1;
        let mut node = None;
        self.record(oid, &mut |record, bytes| {
            node = Some(Arc::new(Node {
                anchor: record.anchor,
                refs: record.refs().collect(),
                bytes: bytes.len() as u64,
            }));
            Ok(())
        })?;
        Ok(node)
    }

    fn make_room_in_cache(&mut self) {
        let count = self.nodes.len() + self.links.len();
        if count >= CACHED_MAX || self.cached_refs >= CACHED_REFS_MAX {
            self.nodes.clear();
            self.links.clear();
            self.cached_refs = 0;
        }
    }
}

impl Graph for RowGraph<'_> {
    fn reads(&self) -> u64 {
        self.reads
    }

    fn spent(&self) -> u64 {
        self.reads + self.bytes / BYTES_PER_READ
    }

    fn rows_to_write(&self) -> u64 {
        (self.rows.len() + self.objects.len()) as u64
    }

    fn node(&mut self, oid: Oid) -> Result<Option<Arc<Node>>> {
        if matches!(self.objects.get(&oid), Some(Pending::Deleted)) {
            return Ok(None);
        }
        if let Some(node) = self.nodes.get(&oid) {
            return Ok(node.clone());
        }
        let node = self.read_node(oid)?;
        self.make_room_in_cache();
        self.cached_refs += node.as_ref().map_or(0, |node| node.refs.len());
        self.nodes.insert(oid, node.clone());
        Ok(node)
    }

    fn set_record_anchor(&mut self, oid: Oid, new: Option<Oid>) -> Result<bool> {
        let Some(Pending::Written { anchor, .. }) = self.objects.get_mut(&oid) else {
            return Ok(false);
        };
        *anchor = new;
        self.nodes.remove(&oid);
        Ok(true)
    }

    fn delete_node(&mut self, oid: Oid) -> Result<()> {
        let condemned = match &self.condemned {
            Some(condemned) if condemned.contains(oid)? => Some(condemned.tid),
            _ => None,
        };
        let written = match self.objects.get(&oid) {
            Some(Pending::Deleted) => return Ok(()),
            Some(Pending::Written { .. }) => self.node(oid)?.map(|node| node.bytes),
            None => None,
        };
        match self.objects.insert(oid, Pending::Deleted) {
            // Its bytes were to be added at the end; where it was condemned they were subtracted already.
            Some(_) if condemned.is_some() => {
                let bytes = written.unwrap_or(0);
                self.state.live_bytes = self.state.live_bytes.wrapping_add(bytes);
            }
            // It was never seen by a snapshot in this form.
            Some(_) => {}
            // Gone for everyone already: nobody will ask for it.
            None if condemned.is_some() && !self.condemned_shown => {}
            None => {
                self.reads += 1;
                let mut bytes = Vec::new();
                let key = Key::from(oid.0);
                if !self.rows.get(Table::Objects, key, &mut |stored| {
                    bytes.extend_from_slice(stored)
                })? {
                    return Err(inconsistent(
                        oid,
                        "an object that is to be deleted is missing",
                    ));
                }
                if condemned.is_none() {
                    self.state.live_bytes = self.state.live_bytes.wrapping_sub(bytes.len() as u64);
                }
                self.bytes += bytes.len() as u64;
                // What is condemned is gone already for snapshots from its condemnation on.
                let tid = condemned.unwrap_or(self.state.tid);
                self.superseded.push((oid, tid, bytes));
            }
        }
        if condemned.is_none() {
            self.state.objects = self.state.objects.saturating_sub(1);
        }
        self.nodes.remove(&oid);
        if condemned.is_none() {
            // What is condemned is logged when a whole row of it is deleted.
            self.deleted.push(oid);
        }
        Ok(())
    }

    fn is_condemned(&mut self, oid: Oid) -> Result<bool> {
        match &self.condemned {
            Some(condemned) => condemned.contains(oid),
            None => Ok(false),
        }
    }

    fn row(&mut self, oid: Oid) -> Result<Option<Links>> {
        if let Some(links) = self.links.get(&oid) {
            return Ok(links.clone());
        }
        self.reads += 1;
        let mut links = None;
        let key = Key::from(oid.0);
        self.rows.get(Table::Referrers, key, &mut |bytes| {
            links = Some(Links::decode(oid, bytes));
        })?;
        let links = links.transpose()?;
        self.make_room_in_cache();
        self.links.insert(oid, links.clone());
        Ok(links)
    }

    fn put_row(&mut self, oid: Oid, links: Option<Links>) -> Result<()> {
        let key = Key::from(oid.0);
        if let Some(links) = &links {
            let value = links.encode(oid);
            match self.links.get(&oid) {
                Some(None) => self.rows.put_new(Table::Referrers, key, value),
                _ => self.rows.put(Table::Referrers, key, value),
            }
        } else if self.links.get(&oid).is_none_or(Option::is_some) {
            // Where there never was a row there is nothing to delete.
            let there = self.links.contains_key(&oid) || self.row(oid)?.is_some();
            if there {
                self.rows.delete(Table::Referrers, key);
            }
        }
        self.links.insert(oid, links);
        Ok(())
    }

    fn has_more(&mut self, oid: Oid, referrer: Oid) -> Result<bool> {
        self.exists_row(Table::ReferrersMore, Key::pair(oid.0, referrer.0))
    }

    fn next_more(&mut self, oid: Oid, from: Oid) -> Result<Option<Oid>> {
        self.reads += 1;
        let from = Key::pair(oid.0, from.0);
        let found = self.rows.next_key(Table::ReferrersMore, from)?;
        let found = found.filter(|key| key.first == oid.0);
        Ok(found.map(|key| Oid(key.second)))
    }

    fn put_more(&mut self, oid: Oid, referrer: Oid) -> Result<()> {
        let key = Key::pair(oid.0, referrer.0);
        self.rows.put(Table::ReferrersMore, key, Vec::new());
        Ok(())
    }

    fn delete_more(&mut self, oid: Oid, referrer: Oid) -> Result<()> {
        let key = Key::pair(oid.0, referrer.0);
        self.rows.delete(Table::ReferrersMore, key);
        Ok(())
    }

    fn is_orphan(&mut self, oid: Oid) -> Result<bool> {
        if self.state.orphans == 0 {
            return Ok(false);
        }
        let key = Key::from(oid.0);
        if !self.orphans_stored {
            return Ok(self.rows.is_pending(Table::Orphans, key));
        }
        self.exists_row(Table::Orphans, key)
    }

    fn next_orphan(&mut self, from: Oid) -> Result<Option<Oid>> {
        if self.state.orphans == 0 {
            return Ok(None);
        }
        let from_key = from.max(self.orphans_from);
        let found = if self.orphans_stored {
            self.next_first(Table::Orphans, from_key)?
        } else {
            let pending = self
                .rows
                .next_pending(Table::Orphans, Key::from(from_key.0));
            pending.map(|(key, _)| Oid(key.first))
        };
        if from <= self.orphans_from {
            self.orphans_from = found.unwrap_or(Oid::MAX);
        }
        Ok(found)
    }

    fn put_orphan(&mut self, oid: Oid) -> Result<()> {
        // One that is there already keeps the commit that it was cut off by.
        if !self.is_orphan(oid)? {
            let key = Key::from(oid.0);
            self.state.orphans += 1;
            self.orphans_from = self.orphans_from.min(oid);
            let value = encode_orphan(self.state.tid);
            self.rows.put_new(Table::Orphans, key, value);
        }
        Ok(())
    }

    fn delete_orphan(&mut self, oid: Oid) -> Result<()> {
        if self.is_orphan(oid)? {
            self.state.orphans -= 1;
            self.rows.delete(Table::Orphans, Key::from(oid.0));
        }
        Ok(())
    }

    fn least_irregular(&mut self) -> Result<Option<Oid>> {
        self.next_first(Table::Irregular, Oid::ROOT)
    }

    fn set_irregular(&mut self, oid: Oid, irregular: bool) -> Result<()> {
        let key = Key::from(oid.0);
        match irregular {
            true => self.rows.put(Table::Irregular, key, Vec::new()),
            false => self.rows.delete(Table::Irregular, key),
        }
        Ok(())
    }

    fn put_condemned(&mut self, job: u64, oids: &[Oid]) -> Result<()> {
        let (key, value) = condemned_row(job, oids);
        self.rows.put(Table::Condemned, key, value);
        Ok(())
    }

    fn next_condemned(&mut self, job: u64, from: Oid) -> Result<Option<(u64, Vec<Oid>)>> {
        self.reads += 1;
        let found = self.rows.next(Table::Condemned, Key::pair(job, from.0))?;
        let row = found.map(|(key, value)| Ok((key.first, condemned_oids(key, &value)?)));
        row.transpose()
    }

    fn delete_condemned(&mut self, job: u64, oids: &[Oid], left: u64) -> Result<()> {
        let first = oids.first().map_or(0, |oid| oid.0);
        self.rows.delete(Table::Condemned, Key::pair(job, first));
        if let Some(condemned) = self.condemned.as_ref().filter(|now| now.job == job) {
            let (key, value) = changes::condemned_part(condemned.tid, left, oids);
            self.rows.put(Table::Changes, key, value);
        }
        Ok(())
    }

    fn condemn(&mut self, job: u64, members: SpillSet, bytes: u64) -> Result<Tid> {
        self.state.objects = self.state.objects.saturating_sub(members.len());
        self.state.live_bytes = self.state.live_bytes.wrapping_sub(bytes);
        let tid = self.state.tid;
        self.condemned_shown = true;
        self.condemned = Some(Condemned::new(job, tid, members));
        Ok(tid)
    }

    fn acquit(&mut self) -> Result<()> {
        self.condemned = None;
        Ok(())
    }

    fn put_job(&mut self, job: &JobState) -> Result<()> {
        let (table, key) = JobState::row();
        self.rows.put(table, key, job.encode());
        Ok(())
    }

    fn pin(&mut self, session: SessionId, oid: Oid) -> Result<Option<Pin>> {
        self.reads += 1;
        let mut pin = None;
        let key = Key::pair(session.0, oid.0);
        self.rows.get(Table::Pins, key, &mut |bytes| {
            pin = Some(decode_pin(oid, bytes))
        })?;
        pin.transpose()
    }

    fn next_pin(&mut self, session: SessionId, from: Oid) -> Result<Option<(Oid, Pin)>> {
        let found = self.next_second(Table::Pins, session.0, from)?;
        let pin = found.map(|(oid, bytes)| Ok((oid, decode_pin(oid, &bytes)?)));
        pin.transpose()
    }

    fn put_pin(&mut self, session: SessionId, oid: Oid, pin: Pin) -> Result<()> {
        let value = match pin {
            Pin::Born => 0,
            Pin::Held => 1,
        };
        let key = Key::pair(session.0, oid.0);
        self.rows.put(Table::Pins, key, vec![value]);
        Ok(())
    }

    fn delete_pin(&mut self, session: SessionId, oid: Oid) -> Result<()> {
        self.rows.delete(Table::Pins, Key::pair(session.0, oid.0));
        Ok(())
    }
}

fn decode_pin(oid: Oid, bytes: &[u8]) -> Result<Pin> {
    match bytes {
        [0] => Ok(Pin::Born),
        [1] => Ok(Pin::Held),
        _ => Err(inconsistent(
            oid,
            "the note that a session keeps the object is damaged",
        )),
    }
}

/// Whether it is a row of pins that can be read.
pub(super) fn is_pin(bytes: &[u8]) -> bool {
    matches!(bytes, [0 | 1])
}

/// What a row of pins is taken for that cannot be read: it goes with its session, and no sooner.
pub(super) fn unknown_pin() -> Vec<u8> {
    vec![1]
}
