//! Filling a new store in bulk, with OIDs and tids as they are.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::PoisonError;

use super::dictionary::{self, Samples};
use super::local::Shared;
use super::meta::{State, import_row};
use super::oids::OidAllocator;
use super::row_batch::RowBatch;
use super::sealed::sealed;
use super::write_set::WriteSet;
use super::writer::Writer;
use crate::collect::bulk::Linker;
use crate::engine::{Durability, Key, Op, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::external_queue::PairQueue;
use crate::external_sort::PairSorter;
use crate::id::{Oid, Tid};
use crate::record::{self, Codec, Codecs, Payload};
use crate::watch::{UNWATCHED, Watch};

/// Memory for sorting references, where nobody asks for more or less.
pub(super) const MEMORY_BYTES: usize = 8 << 20;

/// Tids of imported objects lie below this, so that there is room for the store's own.
const TID_MAX: Tid = Tid((1 << 62) - 1);

/// Appends objects to a store that has none, in ascending order of their OIDs.
///
/// Nothing is synced before the end: the store that is being filled is not visible under its path
/// until it is published, which syncs it. References are not checked here, since a target may come
/// later: those that dangle are counted at the end, and the caller decides what that means.
///
/// The collector's tables are complete at the end, in bounded memory whatever the shape of the graph:
/// anchors go into the records as they are written, and the rest is computed from sorted references.
#[derive(Debug)]
pub struct Importer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: State,
    pub(super) last: Option<Oid>,
    batch: Vec<(Oid, Range<usize>)>,
    /// The records of the batch, one behind the other: to allocate each took a tenth of the time.
    records: Vec<u8>,
    batch_bytes: usize,
    batch_bytes_max: usize,
    /// Whether all in the batch is of parts that have ended: see [`Importer::checkpoint`].
    ended: bool,
    pub(super) durability: Durability,
    buffer: Vec<u8>,
    /// Objects that wait for the dictionary that is trained on them; `None` when there is one, or
    /// none is wanted.
    waiting: Option<Waiting>,
    /// References to objects that are still to come: target and source.
    pub(super) ahead: PairQueue,
    pub(super) linker: Linker,
    /// Where the import can be resumed: what is written with the next batch, and only when the caller
    /// says so.
    pub(super) note: Option<Vec<u8>>,
    /// Whether what is referred to and has not come may still come.
    left_open: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    samples: Samples,
    objects: Vec<(Oid, Tid, Vec<Oid>, Vec<u8>)>,
}

/// What an import brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Objects.
    pub objects: u64,
    /// Bytes of their stored records.
    pub bytes: u64,
    /// References to objects that did not come.
    pub dangling: u64,
}

impl<'a> Importer<'a> {
    pub(super) fn new(shared: &'a Shared, memory_bytes: usize) -> Result<Importer<'a>> {
        let state = shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .state;
        if state.objects > 0 {
            return Err(Error::new(ErrorKind::Exists, "import into the store")
                .because(format!("it has {} objects", state.objects)));
        }
        let wanted = shared.codec == Codec::ZstdDict && shared.codecs.newest_dictionary().is_none();
        Ok(Importer {
            shared,
            state,
            last: None,
            batch: Vec::new(),
            records: Vec::new(),
            batch_bytes: 0,
            batch_bytes_max: shared.engine.bulk_bytes(),
            ended: true,
            durability: shared.bulk_durability()?,
            buffer: Vec::new(),
            waiting: wanted.then(Waiting::default),
            ahead: PairQueue::new(None, memory_bytes / 4),
            linker: Linker::new(memory_bytes / 4 * 3)?,
            note: None,
            left_open: false,
        })
    }

    /// Keeps track of references to objects that do not come, so that [`CatchUp`](super::CatchUp) can
    /// bring them later. To be called before the end.
    pub fn leave_open(&mut self) {
        self.left_open = true;
    }

    /// Sorts references in about `memory_bytes` bytes of memory (half a MiB at the least), and what
    /// does not fit in temporary files. To be called before the first object.
    ///
    /// # Errors
    /// `Full` or `Io` when a temporary file cannot be created.
    pub fn with_memory(mut self, memory_bytes: usize) -> Result<Importer<'a>> {
        self.ahead = PairQueue::new(None, memory_bytes / 4);
        self.linker = Linker::new(memory_bytes / 4 * 3)?;
        Ok(self)
    }

    /// Appends an object. `refs` are ascending, each once, without `oid`; `payload` is copied as it is
    /// where it is compressed as this store does it or not at all by a codec without a dictionary, and
    /// recompressed otherwise; `source` knows the dictionary that it may need.
    ///
    /// # Errors
    /// `Usage` for an OID out of order or from 2^63 on, `TooLarge`, `Full`, `Damaged` for a payload
    /// that does not decompress.
    pub fn push(
        &mut self,
        oid: Oid,
        tid: Tid,
        refs: &[Oid],
        payload: Payload<'_>,
        source: &Codecs,
    ) -> Result<()> {
        self.check(oid, tid, refs)?;
        let same = payload.codec() == self.shared.codec && payload.codec() != Codec::ZstdDict;
        if same && self.waiting.is_none() {
            return self.stage(oid, tid, refs, payload);
        }
        let mut data = Vec::new();
        source
            .decompress(payload, &mut data)
            .map_err(|error| error.with_oid(oid))?;
        if let Some(waiting) = &mut self.waiting {
            let more = waiting.samples.add(data.clone());
            waiting.objects.push((oid, tid, refs.to_vec(), data));
            return if more {
                Ok(())
            } else {
                self.settle_dictionary()
            };
        }
        self.compress(oid, tid, refs, &data)
    }

    fn check(&mut self, oid: Oid, tid: Tid, refs: &[Oid]) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::new(ErrorKind::Usage, "import an object")
                .because(why)
                .with_oid(oid))
        };
        if self.last.is_some_and(|last| last >= oid) || !oid.is_valid() {
            return refuse("OIDs must ascend and lie below 2^63");
        }
        // Ascending, so that the last is the largest.
        let ascending = refs.is_sorted_by(|left, right| left < right);
        if !ascending || refs.last().is_some_and(|last| !last.is_valid()) {
            return refuse("references must ascend and lie below 2^63");
        }
        if tid > TID_MAX {
            return refuse("the tid is not below 2^62");
        }
        self.last = Some(oid);
        self.ended = false;
        Ok(())
    }

    /// Appends an object as [`Importer::push`] does; `payload` is plain or was compressed by this store's
    /// own codecs ([`LocalStore::codecs`](super::LocalStore::codecs)), and is stored as it is.
    ///
    /// # Errors
    /// As [`Importer::push`].
    pub fn push_own(
        &mut self,
        oid: Oid,
        tid: Tid,
        refs: &[Oid],
        payload: Payload<'_>,
    ) -> Result<()> {
        // What came before there was a dictionary is plain for want of it.
        let dictionary = self.shared.codec == Codec::ZstdDict;
        if self.waiting.is_some() || (dictionary && payload.as_plain().is_some()) {
            let shared = self.shared;
            return self.push(oid, tid, refs, payload, &shared.codecs);
        }
        self.check(oid, tid, refs)?;
        self.stage(oid, tid, refs, payload)
    }

    /// Ends a part, of which all or nothing is there when an import is resumed, see
    /// [`StagedStore::resume`](super::StagedStore::resume), which gives the note of the last one back. Only
    /// for imports that were begun as resumable; they write nothing in between. Parts are written together
    /// until they are as much as suits the engine; false where nothing was written.
    ///
    /// # Errors
    /// `Full` and the engine's others.
    pub fn checkpoint(&mut self, note: Vec<u8>) -> Result<bool> {
        self.note = Some(note);
        self.ended = true;
        match self.is_batch_full() {
            true => self.settle(),
            false => Ok(false),
        }
    }

    /// Writes all parts that have ended, though they are little. False where that has to wait for more
    /// objects, from which a compression dictionary is made, where a part was begun and has not ended, or
    /// where nothing is left to be written.
    ///
    /// # Errors
    /// As [`Importer::checkpoint`].
    pub fn settle(&mut self) -> Result<bool> {
        // What waits for the dictionary is not written yet, so that the note must wait too.
        if self.waiting.is_some() || !self.ended || self.batch.is_empty() {
            return Ok(false);
        }
        self.flush()?;
        Ok(true)
    }

    fn is_batch_full(&self) -> bool {
        self.batch_bytes >= self.batch_bytes_max
    }

    fn compress(&mut self, oid: Oid, tid: Tid, refs: &[Oid], data: &[u8]) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let payload = self
            .shared
            .codecs
            .compress(self.shared.codec, data, &mut buffer)?;
        let result = self.stage(oid, tid, refs, payload);
        self.buffer = buffer;
        result
    }

    /// Trains the dictionary and lets the objects pass that waited for it.
    fn settle_dictionary(&mut self) -> Result<()> {
        const NUMBER: u64 = 1;
        let Some(waiting) = self.waiting.take() else {
            return Ok(());
        };
        if let Some(bytes) = waiting.samples.train() {
            let (key, value) = dictionary::row(NUMBER, &bytes);
            let op = Op::Put {
                table: Table::Dictionaries,
                key,
                value: &value,
            };
            let mut writer = self
                .shared
                .writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let length = value.len() as u64;
            self.shared
                .apply_ops(&mut writer, &[op], length, self.durability)?;
            // Before any object that needs it, also on an engine that does not keep the order.
            sync(self.shared, &mut writer)?;
            drop(writer);
            self.shared.codecs.add_dictionary(NUMBER, &bytes);
        }
        for (oid, tid, refs, data) in waiting.objects {
            self.compress(oid, tid, &refs, &data)?;
        }
        Ok(())
    }

    fn stage(&mut self, oid: Oid, tid: Tid, refs: &[Oid], payload: Payload<'_>) -> Result<()> {
        let anchor = self.smallest_referrer(oid)?;
        let start = self.records.len();
        record::encode(oid, tid, anchor, refs, payload, &mut self.records);
        let stored_bytes = self.records.len() - start;
        let checked = self
            .shared
            .check_length("import an object", oid, stored_bytes);
        if checked.is_err() {
            self.records.truncate(start);
        }
        checked?;
        self.account(oid, tid, anchor, refs.iter().copied(), stored_bytes)?;
        self.batch_bytes += stored_bytes + 64;
        self.batch.push((oid, start..self.records.len()));
        // With a note, a batch ends where that says so.
        match self.is_batch_full() && self.note.is_none() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Notes what is to be known of an object that is being written, or was before.
    pub(super) fn account(
        &mut self,
        oid: Oid,
        tid: Tid,
        anchor: Option<Oid>,
        refs: impl Iterator<Item = Oid> + Clone,
        stored_bytes: usize,
    ) -> Result<()> {
        self.linker.add(oid, anchor, refs.clone())?;
        for target in refs.filter(|target| *target > oid) {
            self.ahead.push(target.0, oid.0)?;
        }
        self.state.objects += 1;
        self.state.live_bytes += stored_bytes as u64;
        self.state.tid = self.state.tid.max(tid);
        self.state.high_water = self.state.high_water.max(oid.0 + 1);
        Ok(())
    }

    /// The smallest of the objects before this one that refer to it: its anchor.
    pub(super) fn smallest_referrer(&mut self, oid: Oid) -> Result<Option<Oid>> {
        let mut smallest = None;
        // Those of smaller OIDs dangle: no such object has come.
        while self.ahead.peek().is_some_and(|pair| pair.0 <= oid.0) {
            if let Some((target, source)) = self.ahead.pop()?
                && target == oid.0
            {
                smallest.get_or_insert(Oid(source));
            }
        }
        Ok(smallest)
    }

    fn flush(&mut self) -> Result<()> {
        let mut writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // After a failed write nothing is tried again on top of it.
        writer.check()?;
        let note = self.note.as_deref().map(sealed);
        let (meta, note_key) = import_row();
        let mut rows: Vec<Op<'_>> = self
            .batch
            .iter()
            .map(|(oid, range)| Op::Put {
                table: Table::Objects,
                key: Key::from(oid.0),
                value: self.records.get(range.clone()).unwrap_or_default(),
            })
            .collect();
        if let Some(value) = &note {
            rows.push(Op::Put {
                table: meta,
                key: note_key,
                value,
            });
        }
        self.shared
            .apply_ops(&mut writer, &rows, self.batch_bytes as u64, self.durability)?;
        self.batch.clear();
        self.records.clear();
        // One large object shall not keep its memory.
        self.records.shrink_to(self.batch_bytes_max * 2);
        self.batch_bytes = 0;
        Ok(())
    }

    /// Writes what is left and the store's counters. `tid_min` is the least number that the last
    /// commit of the store shall have, such as the source's last commit; no OID below `oids_from` will
    /// be handed out, so that what the source has collected stays gone.
    ///
    /// # Errors
    /// As [`Importer::push`].
    pub fn finish(self, tid_min: Tid, oids_from: Oid) -> Result<ImportSummary> {
        self.finish_watched(tid_min, oids_from, &|_| None, UNWATCHED)
    }

    /// As [`Importer::finish`]. `note` makes the last note of an import that can be resumed, which is
    /// written with the store's state. `watch` is told of the objects as they are linked; where it ends
    /// that, or anything else does, an import that is resumed does all of it again.
    ///
    /// # Errors
    /// As [`Importer::push`], and those of `watch`.
    pub fn finish_watched(
        mut self,
        tid_min: Tid,
        oids_from: Oid,
        note: &dyn Fn(&ImportSummary) -> Option<Vec<u8>>,
        watch: &Watch<'_>,
    ) -> Result<ImportSummary> {
        self.settle_dictionary()?;
        self.flush()?;
        let mut state = self.state;
        state.tid = state.tid.max(tid_min.min(TID_MAX));
        state.high_water = state.high_water.max(oids_from.min(Oid::MAX).0);
        // The log of changes knows nothing of what was before the import.
        state.changes_from = state.tid;
        let mut writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let no_pins = PairSorter::new(None, 0).finish()?;
        let mut batch = RowBatch::new(self.shared, &mut writer, self.durability);
        let (left_open, missing) = (self.left_open, RefCell::new(PairSorter::new(None, 0)));
        let linked = self.linker.link(
            no_pins,
            state.tid,
            &|oid| {
                if left_open {
                    missing.borrow_mut().push(oid.0, 0)?;
                }
                Ok(left_open)
            },
            &mut |table, key, value| batch.push(table, key, value),
            watch,
        )?;
        for oid in missing.into_inner().finish()? {
            batch.push(Table::Missing, Key::from(oid?.0), Some(Vec::new()))?;
        }
        batch.flush()?;
        // The state says that all is there: it must not be, where something else is not.
        sync(self.shared, &mut writer)?;
        if let Some((target, source)) = linked.dangling_first.first() {
            let count = linked.dangling;
            tracing::warn!(%source, %target, count, "imported objects refer to some that do not exist");
        }
        state.orphans = linked.orphans;
        state.high_water = state.high_water.max(linked.dangling_end);
        {
            let view = self.shared.engine.snapshot()?;
            let root = view.get(Table::Objects, Key::MIN, &mut |_| {})?;
            let mut oids = self
                .shared
                .oids
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *oids = OidAllocator::new(state.high_water, root);
        }
        let summary = ImportSummary {
            objects: state.objects,
            bytes: state.live_bytes,
            dangling: linked.dangling,
        };
        let mut rows = WriteSet::new(self.shared.engine.snapshot()?);
        if let Some(note) = note(&summary) {
            let (meta, key) = import_row();
            rows.put(meta, key, sealed(&note));
        }
        self.shared
            .write(&mut writer, rows, state, Vec::new(), None, self.durability)?;
        Ok(summary)
    }
}

/// Makes what was written durable, so that nothing that comes later is there without it.
fn sync(shared: &Shared, writer: &mut Writer) -> Result<()> {
    let synced = shared.engine.sync();
    synced
        .map(drop)
        .map_err(|error| shared.poison_by(writer, error))
}
