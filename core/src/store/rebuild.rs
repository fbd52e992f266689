//! Rebuilding the collector's tables from the objects.

use std::sync::PoisonError;

use super::graph::{is_pin, unknown_pin};
use super::local::LocalStore;
use super::meta::rebuilding_row;
use super::row_batch::RowBatch;
use super::table_rows::TableWalk;
use crate::collect::OidSet;
use crate::collect::bulk::{Linked, Linker};
use crate::collect::graph::Graph as _;
use crate::collect::rows::{self, JobState};
use crate::engine::{Key, Table};
use crate::error::{ErrorKind, Result};
use crate::external_sort::{PairSorter, SortedPairs};
use crate::record::Record;
use crate::watch::UNWATCHED;

/// The tables that hold nothing but what the objects and the pins say.
pub(super) const DERIVED: [Table; 4] = [
    Table::Referrers,
    Table::ReferrersMore,
    Table::Orphans,
    Table::Irregular,
];

/// Memory for rebuilding where nobody asks for more or less.
pub(crate) const REBUILD_BYTES: usize = 16 << 20;

impl LocalStore {
    /// Writes the collector's tables anew from the objects and the pins, while commits wait. No record
    /// is rewritten: where its anchor will not do, a row overrides it.
    ///
    /// All reading comes first, so that nothing is changed where an object cannot be read. While rows
    /// are being written, a mark says that they are incomplete: stopped there, the store opens only to
    /// be rebuilt again. Members of a condemned job stay so and are left out; drafts are deleted. Where
    /// it cannot be read which objects are condemned, none are: they become orphans.
    pub(crate) fn rebuild_links(&self, memory_bytes: usize) -> Result<Linked> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let read = self.job_state().and_then(|job| {
            let condemned = self.condemned_members(&job, memory_bytes / 8)?;
            Ok((job, condemned))
        });
        let (job, job_is_new, mut condemned) = match read {
            Ok((job, condemned)) => (job, false, condemned),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                (self.guess_job_state()?, true, OidSet::new(0))
            }
            Err(error) => return Err(error),
        };
        let mut linker = Linker::new(memory_bytes / 4 * 3)?;
        self.for_each_newest(&mut |oid, bytes, _, _| {
            if condemned.contains(oid)? {
                return Ok(());
            }
            let record = Record::parse(oid, bytes)?;
            linker.add(oid, record.anchor, record.refs())
        })
        .map_err(|error| error.hint("Nothing was rebuilt. Restore it from a backup."))?;
        let pins = self.sorted_pins(memory_bytes / 8)?;
        let damaged_pins = self.damaged_pins()?;

        let durability = shared.offered_durability(shared.durability)?;
        let (table, key) = rebuilding_row();
        let mut mark = RowBatch::new(shared, &mut writer, durability);
        mark.push(table, key, Some(&[1]))?;
        mark.flush()?;
        let level = shared.bulk_durability()?;
        let tid = writer.state.tid;
        let mut batch = RowBatch::new(shared, &mut writer, level);
        for table in DERIVED {
            batch.clear(table, UNWATCHED, |_| false)?;
        }
        batch.clear(Table::Condemned, UNWATCHED, |key| {
            key.first == job.condemned
        })?;
        for key in damaged_pins {
            batch.push(Table::Pins, key, Some(&unknown_pin()))?;
        }
        // Before pins of what does not exist are deleted: a batch names a row once.
        batch.flush()?;
        let expected = |oid| self.is_expected(oid);
        let mut push = |table, key, value: Option<&[u8]>| batch.push(table, key, value);
        let linked = linker.link(pins, tid, &expected, &mut push, UNWATCHED)?;
        batch.flush()?;

        writer.job = job;
        writer.collector.reset(job);
        writer.collection_failed = None;
        let mut graph = shared.graph(&writer)?;
        graph.rows.delete(table, key);
        if job_is_new {
            graph.put_job(&job)?;
            graph.condemned = None;
        }
        graph.state.orphans = linked.orphans;
        shared.write_graph(&mut writer, graph, durability)?;
        shared.wake_collector(&writer);
        Ok(linked)
    }

    /// The collector's own state.
    pub(crate) fn job_state(&self) -> Result<JobState> {
        JobState::load(self.shared.view()?.engine()?)
    }

    /// A state for one that cannot be read: nothing is condemned, and no number comes twice.
    fn guess_job_state(&self) -> Result<JobState> {
        let mut job = JobState::default();
        let mut walk = TableWalk::new(Table::Condemned);
        while let Some((key, _)) = walk.next(&self.shared)? {
            job.last_job = job.last_job.max(key.first);
        }
        for table in [Table::Pins, Table::Sessions] {
            let mut walk = TableWalk::new(table);
            while let Some((key, _)) = walk.next(&self.shared)? {
                job.last_session = job.last_session.max(key.first);
            }
        }
        // Job 0 is none: what the rows say is condemned no more, and they go as drafts do.
        job.last_job += 1;
        Ok(job)
    }

    /// The objects that are condemned, those that are deleted already included.
    pub(crate) fn condemned_members(&self, job: &JobState, memory_bytes: usize) -> Result<OidSet> {
        let mut members = OidSet::new(memory_bytes);
        if job.condemned == 0 {
            return Ok(members);
        }
        let mut walk = TableWalk::starting(Table::Condemned, Key::pair(job.condemned, 0));
        while let Some((key, value)) = walk.next(&self.shared)? {
            if key.first != job.condemned {
                break;
            }
            for oid in rows::condemned_oids(key, &value)? {
                members.insert(oid)?;
            }
        }
        Ok(members)
    }

    /// The pins whose rows cannot be read, as pairs of session and OID.
    pub(crate) fn damaged_pins(&self) -> Result<Vec<Key>> {
        let (mut damaged, mut walk) = (Vec::new(), TableWalk::new(Table::Pins));
        while let Some((key, value)) = walk.next(&self.shared)? {
            if !is_pin(&value) {
                damaged.push(key);
            }
        }
        Ok(damaged)
    }

    /// The pins as pairs of OID and session, ascending.
    pub(crate) fn sorted_pins(&self, memory_bytes: usize) -> Result<SortedPairs> {
        let mut sorter = PairSorter::new(None, memory_bytes);
        let mut walk = TableWalk::new(Table::Pins);
        while let Some((key, _)) = walk.next(&self.shared)? {
            sorter.push(key.second, key.first)?;
        }
        sorter.finish()
    }
}
