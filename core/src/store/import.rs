//! Filling a new store in bulk, with OIDs and tids as they are.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use super::dictionary::{self, Samples};
use super::first_referrers::FirstReferrers;
use super::local::Shared;
use super::meta::{State, import_row};
use super::oids::OidAllocator;
use super::row_buffer::RowBuffer;
use super::sealed::sealed;
use super::write_behind::WriteBehind;
use super::write_set::WriteSet;
use super::writer::Writer;
use crate::collect::bulk::{Linked, Linker};
use crate::engine::{Durability, Key, Op, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::external_sort::PairSorter;
use crate::id::{Oid, Tid};
use crate::record::{self, Codec, Codecs, Payload};
use crate::watch::{UNWATCHED, Watch, beside};

/// Memory for sorting references, where nobody asks for more or less.
pub(super) const MEMORY_BYTES: usize = 8 << 20;

/// What is put only, and in bulk, until the collector's tables are there. The others are small, or read.
const BULK: [Table; 3] = [Table::Objects, Table::Referrers, Table::ReferrersMore];

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
    batch: RowBuffer,
    batch_bytes: usize,
    batch_bytes_max: usize,
    /// Whether all in the batch is of parts that have ended: see [`Importer::checkpoint`].
    ended: bool,
    pub(super) durability: Durability,
    behind: WriteBehind,
    buffer: Vec<u8>,
    /// Objects that wait for the dictionary that is trained on them; `None` when there is one, or
    /// none is wanted.
    waiting: Option<Waiting>,
    pub(super) first: FirstReferrers,
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
    pub(super) fn new(shared: &'a Arc<Shared>, memory_bytes: usize) -> Result<Importer<'a>> {
        let state = shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .state;
        if state.objects > 0 {
            return Err(Error::new(ErrorKind::Exists, "import into the store")
                .because(format!("it has {} objects", state.objects)));
        }
        let durability = shared.bulk_durability()?;
        shared.engine.begin_bulk(&BULK)?;
        let batch_bytes_max = shared.engine.bulk_bytes();
        let wanted = shared.codec == Codec::ZstdDict && shared.codecs.newest_dictionary().is_none();
        Ok(Importer {
            shared,
            state,
            last: None,
            batch: RowBuffer::default(),
            batch_bytes: 0,
            batch_bytes_max,
            ended: true,
            durability,
            behind: WriteBehind::new(shared, durability, batch_bytes_max * 2),
            buffer: Vec::new(),
            waiting: wanted.then(Waiting::default),
            first: FirstReferrers::new(memory_bytes / 4),
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
        self.first = FirstReferrers::new(memory_bytes / 4);
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
    /// when they are as much as suits the engine, by a thread of its own while the next ones come. Whether
    /// anything has been written so far, by this importer.
    ///
    /// # Errors
    /// `Full` and the engine's others, also those of parts that ended earlier.
    pub fn checkpoint(&mut self, note: Vec<u8>) -> Result<bool> {
        self.note = Some(note);
        self.ended = true;
        // What waits for the dictionary is not written yet, so that the note must wait too.
        if self.is_batch_full() && self.waiting.is_none() {
            self.flush()?;
        }
        self.behind.has_written()
    }

    /// Writes all parts that have ended, though they are little, and waits for that. What has to wait for
    /// more objects, from which a compression dictionary is made, is not written, nor a part that was begun
    /// and has not ended. Whether anything has been written so far, by this importer.
    ///
    /// # Errors
    /// As [`Importer::checkpoint`].
    pub fn settle(&mut self) -> Result<bool> {
        if self.waiting.is_none() && self.ended && !self.batch.is_empty() {
            self.flush()?;
        }
        self.behind.settle()?;
        self.behind.has_written()
    }

    /// The error that an error follows from: where the thread that writes has failed, others are only told that
    /// an earlier write has.
    pub fn explain(&mut self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Poisoned => self.behind.settle().err().unwrap_or(error),
            _ => error,
        }
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
        let Some(waiting) = self.waiting.take() else {
            return Ok(());
        };
        if let Some(bytes) = waiting.samples.train() {
            let (key, value) = dictionary::row(dictionary::NUMBER, &bytes);
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
            self.shared
                .codecs
                .add_dictionary(dictionary::NUMBER, &bytes);
        }
        for (oid, tid, refs, data) in waiting.objects {
            self.compress(oid, tid, &refs, &data)?;
        }
        Ok(())
    }

    fn stage(&mut self, oid: Oid, tid: Tid, refs: &[Oid], payload: Payload<'_>) -> Result<()> {
        let anchor = self.first.take(oid)?;
        let stored_bytes = self
            .batch
            .push_encoded(Table::Objects, Key::from(oid.0), |out| {
                record::encode(oid, tid, anchor, refs, payload, out);
            });
        let checked = self
            .shared
            .check_length("import an object", oid, stored_bytes);
        if checked.is_err() {
            self.batch.pop();
        }
        checked?;
        self.account(oid, tid, anchor, refs.iter().copied(), stored_bytes)?;
        self.batch_bytes += stored_bytes + 64;
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
            self.first.push(target, oid)?;
        }
        self.state.objects += 1;
        self.state.live_bytes += stored_bytes as u64;
        self.state.tid = self.state.tid.max(tid);
        self.state.high_water = self.state.high_water.max(oid.0 + 1);
        Ok(())
    }

    /// Begins to write the batch, when the one before has been written.
    fn flush(&mut self) -> Result<()> {
        if let Some(note) = &self.note {
            let (meta, key) = import_row();
            self.batch.push(meta, key, Some(&sealed(note)));
        }
        let (batch, bytes) = (std::mem::take(&mut self.batch), self.batch_bytes);
        self.batch = self.behind.submit(batch, bytes)?;
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
        self.finish_watched(tid_min, oids_from, &|_| None, &|| {}, UNWATCHED)
    }

    /// As [`Importer::finish`]. `note` makes the last note of an import that can be resumed, which is
    /// written with the store's state. `readable` is called by another thread when the objects can be read
    /// ([`StagedStore::brought`](super::StagedStore::brought)), while they are being linked. `watch` is told of
    /// the objects as they are linked; where it ends that, or anything else does, an import that is resumed does
    /// all of it again.
    ///
    /// # Errors
    /// As [`Importer::push`], and those of `watch`.
    pub fn finish_watched(
        mut self,
        tid_min: Tid,
        oids_from: Oid,
        note: &dyn Fn(&ImportSummary) -> Option<Vec<u8>>,
        readable: &(dyn Fn() + Sync),
        watch: &Watch<'_>,
    ) -> Result<ImportSummary> {
        self.settle_dictionary()?;
        self.flush()?;
        self.behind.settle()?;
        let mut state = self.state;
        state.tid = state.tid.max(tid_min.min(TID_MAX));
        state.high_water = state.high_water.max(oids_from.min(Oid::MAX).0);
        // The log of changes knows nothing of what was before the import.
        state.changes_from = state.tid;
        let shared = self.shared;
        let durability = self.durability;
        // What reads of the objects need is not needed to link them.
        let linked = beside(
            |check| {
                let ended = shared.engine.end_bulk(&[Table::Objects], check);
                ended.map(|()| readable())
            },
            || self.link(state.tid, watch),
            watch,
        )?;
        let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // The state says that all is there: it must not be, where something else is not.
        sync(shared, &mut writer)?;
        if let Some((target, source)) = linked.dangling_first.first() {
            let count = linked.dangling;
            tracing::warn!(%source, %target, count, "imported objects refer to some that do not exist");
        }
        state.orphans = linked.orphans;
        state.high_water = state.high_water.max(linked.dangling_end);
        {
            let view = shared.engine.snapshot()?;
            let root = view.get(Table::Objects, Key::MIN, &mut |_| {})?;
            let mut oids = shared.oids.lock().unwrap_or_else(PoisonError::into_inner);
            *oids = OidAllocator::new(state.high_water, root);
        }
        let summary = ImportSummary {
            objects: state.objects,
            bytes: state.live_bytes,
            dangling: linked.dangling,
        };
        let mut rows = WriteSet::new(shared.engine.snapshot()?);
        if let Some(note) = note(&summary) {
            let (meta, key) = import_row();
            rows.put(meta, key, sealed(&note));
        }
        shared.write(&mut writer, rows, state, Vec::new(), None, durability)?;
        Ok(summary)
    }

    /// Writes the collector's tables, after the last of the objects.
    fn link(self, tid: Tid, watch: &Watch<'_>) -> Result<Linked> {
        let (shared, left_open, bytes_max) = (self.shared, self.left_open, self.batch_bytes_max);
        let (mut rows, mut bytes, mut behind) = (self.batch, 0, self.behind);
        let mut push = |table, key, value: Option<&[u8]>| {
            rows.push(table, key, value);
            bytes += shared.row_bytes(value);
            if bytes >= bytes_max {
                rows.sort();
                rows = behind.submit(std::mem::take(&mut rows), std::mem::take(&mut bytes))?;
            }
            Ok(())
        };
        let no_pins = PairSorter::new(None, 0).finish()?;
        let missing = RefCell::new(PairSorter::new(None, 0));
        let expected = |oid: Oid| {
            if left_open {
                missing.borrow_mut().push(oid.0, 0)?;
            }
            Ok(left_open)
        };
        let linked = self
            .linker
            .link(no_pins, tid, &expected, &mut push, watch)?;
        for oid in missing.into_inner().finish()? {
            push(Table::Missing, Key::from(oid?.0), Some(&[]))?;
        }
        rows.sort();
        behind.submit(rows, bytes)?;
        behind.settle()?;
        shared
            .engine
            .end_bulk(&[Table::Referrers, Table::ReferrersMore], &|| watch(0))?;
        Ok(linked)
    }
}

/// Makes what was written durable, so that nothing that comes later is there without it.
fn sync(shared: &Shared, writer: &mut Writer) -> Result<()> {
    let synced = shared.engine.sync();
    synced
        .map(drop)
        .map_err(|error| shared.poison_by(writer, error))
}
