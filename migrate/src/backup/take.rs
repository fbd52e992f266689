//! Taking a backup of an open store.

use std::io::Write;
use std::sync::mpsc::sync_channel;

use durum_core::digest::Digest;
use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::record::Codecs;
use durum_core::store::{Snapshot, Store};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use super::WRITE;
use super::entries::Encoder;
use super::format::{Header, Summary, Totals};
use super::writer::StreamWriter;
use crate::Progress;

/// Memory for sorting the OIDs of an increment; what does not fit goes to temporary files.
const SORT_BYTES: usize = 4 << 20;
/// Blocks that wait to be compressed and written.
const BLOCKS_WAITING: usize = 4;
/// Progress is told after this many objects.
const STEP: u64 = 256;

/// A backup that can be written: one state of a store, which others go on changing.
#[derive(Debug)]
pub struct Backup {
    snapshot: Box<dyn Snapshot>,
    header: Header,
    /// The objects that changed; `None` for a full backup.
    changed: Option<SortedPairs>,
    objects_expected: u64,
    objects_in_store: u64,
}

impl Backup {
    /// Takes a snapshot of the store, for a full backup or for what came after the commit `since`.
    ///
    /// # Errors
    /// `TooOld` where the store's log of changes does not reach back to `since`, or its last commit is
    /// before that: only a full backup can be made then. `Full` where a temporary file does not fit.
    pub fn begin(store: &dyn Store, since: Option<Tid>) -> Result<Backup> {
        let snapshot = store.snapshot()?;
        let stats = store.stats()?;
        let header = Header {
            store_id: store.id(),
            from: since,
            tid: snapshot.tid(),
            // Asked for after the snapshot was taken: no object of it lies beyond.
            high_water: stats.high_water,
        };
        let mut objects_expected = stats.objects;
        let changed = match since {
            None => None,
            Some(since) => {
                let sorter = changed(store, since, snapshot.tid())?;
                objects_expected = sorter.len();
                Some(sorter.finish()?)
            }
        };
        Ok(Backup {
            snapshot,
            header,
            changed,
            objects_expected,
            objects_in_store: stats.objects,
        })
    }

    /// What the backup will be.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the stream. An increment holds the digest of the whole store only where `verify` asks for
    /// it: the whole store has to be read for that.
    ///
    /// # Errors
    /// `Damaged`, naming the object; `TooOld` where the store could not keep the snapshot any longer;
    /// those of writing to `out`.
    pub fn write(
        self,
        verify: bool,
        out: &mut (dyn Write + Send),
        progress: &dyn Progress,
    ) -> Result<Summary> {
        progress.begin("backup", Some(self.objects_expected));
        let (snapshot, changed) = (&*self.snapshot, self.changed);
        let is_full = changed.is_none();
        let mut writer = StreamWriter::new(self.header, out)?;
        // One thread reads and hashes, another compresses and writes.
        let (sender, blocks) = sync_channel::<Vec<u8>>(BLOCKS_WAITING);
        let (read, written) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                // Owned here: where writing fails, the reader finds nobody to send to.
                let blocks = blocks;
                blocks.iter().try_for_each(|block| writer.block(&block))?;
                Ok(writer)
            });
            let send = move |block| sender.send(block).is_ok();
            let mut reader = Reader {
                snapshot,
                encoder: Encoder::new(send),
                done: 0,
                told_bytes: 0,
                progress,
            };
            let read = match changed {
                None => reader.all(),
                Some(changed) => reader.changed(changed),
            };
            let read = read.map(|()| reader.encoder.finish()).map_err(outlived);
            (read, writing.join())
        });
        let stopped = || Error::new(ErrorKind::Other, WRITE).because("the writing thread failed");
        let writer = written.unwrap_or_else(|_| Err(stopped()))?;
        let mut totals: Totals = read?.ok_or_else(stopped)?;
        if is_full {
            totals.store_digest = Some(totals.digest);
        } else if verify {
            progress.begin("digest", Some(self.objects_in_store));
            totals.store_digest = Some(digest(snapshot, progress).map_err(outlived)?);
        }
        writer.finish(totals)
    }
}

/// Says what to do where the snapshot did not last as long as the backup.
fn outlived(error: Error) -> Error {
    match error.kind() {
        ErrorKind::TooOld => error.hint(
            "More was changed meanwhile than the store keeps for snapshots. Try again when less is \
             committed, or open the store with a larger `superseded_bytes_max`.",
        ),
        _ => error,
    }
}

/// The OIDs of the objects that were changed after `since`, up to `until`.
fn changed(store: &dyn Store, since: Tid, until: Tid) -> Result<PairSorter> {
    let mut sorter = PairSorter::new(None, SORT_BYTES);
    store
        .visit_changes_since(since, &mut |change| match change.tid <= until {
            true => sorter.push(change.oid.0, 0),
            false => Ok(()),
        })
        .map_err(|error| match error.kind() {
            ErrorKind::TooOld => error.hint("Make a full backup."),
            _ => error,
        })?;
    Ok(sorter)
}

struct Reader<'a, F> {
    snapshot: &'a dyn Snapshot,
    encoder: Encoder<F>,
    /// What was read, repeated changes of an object included.
    done: u64,
    told_bytes: u64,
    progress: &'a dyn Progress,
}

impl<F: FnMut(Vec<u8>) -> bool> Reader<'_, F> {
    fn all(&mut self) -> Result<()> {
        let mut data = Vec::new();
        let mut scan = self.snapshot.scan(Oid::ROOT)?;
        while let Some(record) = scan.next()? {
            data.clear();
            record.read_data(self.snapshot.codecs(), &mut data)?;
            let more = self
                .encoder
                .put(record.oid, record.tid, record.refs(), &data);
            if !more {
                break;
            }
            self.tell();
        }
        Ok(())
    }

    fn changed(&mut self, changed: SortedPairs) -> Result<()> {
        let codecs: &Codecs = self.snapshot.codecs();
        let (mut data, mut refs, mut last) = (Vec::new(), Vec::new(), None);
        for pair in changed {
            self.tell();
            let oid = Oid(pair?.0);
            if last.replace(oid) == Some(oid) {
                continue;
            }
            // Copied out: whoever takes the stream may be slow, and the engine must not wait for that.
            let mut tid = Tid::ZERO;
            let found = self.snapshot.load_with(oid, &mut |record| {
                tid = record.tid;
                refs.clear();
                refs.extend(record.refs());
                data.clear();
                record.read_data(codecs, &mut data)
            })?;
            let more = match found {
                true => self.encoder.put(oid, tid, refs.iter().copied(), &data),
                false => self.encoder.delete(oid),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(STEP) {
            let bytes = self.encoder.totals().bytes;
            self.progress.advance(STEP, bytes - self.told_bytes);
            self.told_bytes = bytes;
        }
    }
}

/// As [`Digest::of`], with progress.
pub(super) fn digest(snapshot: &dyn Snapshot, progress: &dyn Progress) -> Result<Digest> {
    Digest::of_with(snapshot, &mut |objects| {
        if objects.is_multiple_of(STEP) {
            progress.advance(STEP, 0);
        }
    })
}
