//! Cleaning: segments that are mostly dead are copied to the end of the log and unlinked.

use std::collections::BTreeMap;
use std::sync::Arc;

use durum_core::engine::{Key, Reclaimed, Table};
use durum_core::{Error, ErrorKind, IoResultExt, Result};

use crate::accounts::Account;
use crate::error::log_damage;
use crate::index::Shrunk;
use crate::log::{
    Content, Entry, ParsedOp, Placed, Position, SEGMENT_HEADER_BYTES, Scan, Segment, SegmentHeader,
    Visitor, scan_segment,
};
use crate::writer::Writer;

/// Collects what cleaning a segment has to keep, and copies it whenever there is enough of it.
struct Cleaning<'a> {
    writer: &'a mut Writer,
    /// The segment that is cleaned.
    segment: u32,
    /// The rows in the frame that is being built.
    rows: Vec<(Table, Key, Entry)>,
    /// Offsets of dead operations in older segments, by these.
    dead: BTreeMap<u32, Vec<u8>>,
    dead_bytes: usize,
}

impl Writer {
    /// Gives space of the log back to the system. Reads at most about `bytes_max` bytes, and so takes
    /// bounded time: a segment may take several calls, of which the last one gives it back.
    ///
    /// # Errors
    /// Those that leave the disk uncertain poison the log, and are of a kind that says so. All others are
    /// about what was to be read, which is left alone from then on, or about room.
    pub(crate) fn reclaim(&mut self, bytes_max: u64) -> Result<Reclaimed> {
        self.log.check()?;
        self.do_reclaim(bytes_max).map_err(|error| {
            let harmless = matches!(error.kind(), ErrorKind::Full | ErrorKind::Damaged);
            match (self.log.is_poisoned(), harmless) {
                (true, _) => error.with_kind(ErrorKind::Io),
                (false, true) => error,
                (false, false) => error.with_kind(ErrorKind::Unreadable),
            }
        })
    }

    fn do_reclaim(&mut self, bytes_max: u64) -> Result<Reclaimed> {
        // First, since what was replaced before this call is no longer shown to new snapshots.
        let shrunk = match self.shrink_index() {
            // Cleaning may make room.
            Err(error) if error.kind() == ErrorKind::Full => Err(error),
            result => Ok(result?),
        };
        let result = self.clean_some(bytes_max);
        // Also where there was no room to clean more, or something cannot be read.
        let unlinked = match self.log.is_poisoned() {
            true => Ok(0),
            false => self.unlink(),
        };
        result?;
        let (shrunk, unlinked) = (shrunk?, unlinked?);
        let bytes = unlinked + shrunk.bytes;
        let more_index = (bytes > 0 || shrunk.more) && self.index.is_mostly_free();
        Ok(Reclaimed {
            bytes,
            more: more_index || self.next_candidate().is_some() || self.head_is_dead(),
        })
    }

    fn shrink_index(&mut self) -> Result<Shrunk> {
        if self.unreadable.index {
            return Ok(Shrunk::default());
        }
        let shrunk = self.index.shrink();
        self.state.base = Arc::clone(self.index.base());
        if self.index.is_uncertain() {
            self.log.poison();
        }
        let full = |error: &Error| error.kind() == ErrorKind::Full;
        self.unreadable.index = shrunk.as_ref().is_err_and(|error| !full(error));
        shrunk
    }

    fn clean_some(&mut self, bytes_max: u64) -> Result<()> {
        self.roll_dead_head()?;
        let mut bytes_left = bytes_max;
        while bytes_left > 0
            && let Some(number) = self.next_candidate()
        {
            if self.state.delta_bytes() >= self.config.checkpoint_bytes {
                self.checkpoint()?;
            }
            let begun = self.cleaning;
            let cleaned = self.clean(number, bytes_left);
            let (read, done) = cleaned.inspect_err(|error| {
                if error.kind() == ErrorKind::Full {
                    // From the begin it would say once more what it has said of other segments.
                    self.cleaning = begun;
                } else {
                    self.unreadable.segments.insert(number);
                }
            })?;
            bytes_left = bytes_left.saturating_sub(read);
            if done {
                self.cleaned.push(number);
            }
        }
        Ok(())
    }

    /// Bytes that cleaning segment `number` would give back, of the `disk_bytes` that it occupies: also
    /// where it is above half live.
    pub(crate) fn dead_bytes(&self, number: u32, disk_bytes: u64) -> u64 {
        self.accounts.get(number).map_or(0, |account| {
            let used = account.used.min(disk_bytes);
            used.saturating_sub(account.needed() + SEGMENT_HEADER_BYTES)
        })
    }

    /// The segment that is best cleaned next: the oldest of those that are dead, else the one of which
    /// least is needed, if that is less than half. Old ones first saves copying what newer ones say
    /// about them.
    fn next_candidate(&self) -> Option<u32> {
        let begun = self.cleaning.map(|at| at.segment);
        if let Some(number) = begun.filter(|number| self.accounts.contains(*number)) {
            return Some(number);
        }
        let head = self.log.head().number;
        let candidates = self.accounts.iter().filter(|(number, account)| {
            let left_alone =
                self.cleaned.contains(number) || self.unreadable.segments.contains(number);
            *number != head && !left_alone && is_mostly_dead(account)
        });
        let best = candidates.min_by_key(|(number, account)| {
            (account.needed() * 1000 / account.used.max(1), *number)
        });
        best.map(|(number, _)| number)
    }

    /// Whether the head is mostly dead, and large enough to end it for that.
    fn head_is_dead(&self) -> bool {
        let worth = (self.config.segment_bytes / 8).min(HEAD_WORTH_BYTES);
        let account = self.accounts.get(self.log.head().number);
        account.is_some_and(|account| account.used >= worth && is_mostly_dead(account))
    }

    fn roll_dead_head(&mut self) -> Result<()> {
        if !self.head_is_dead() {
            return Ok(());
        }
        let head = Arc::clone(self.log.head());
        self.log.roll(0)?;
        self.note_roll(&head)
    }

    /// Cleans a segment, or goes on with it, for about `bytes_max` bytes; returns how many they were,
    /// and whether it is done.
    fn clean(&mut self, number: u32, bytes_max: u64) -> Result<(u64, bool)> {
        let Some(used) = self.accounts.get(number).map(|account| account.used) else {
            return Ok((0, true));
        };
        let path = self.segment_path(number)?;
        let file = self.fs.open(&path).during("clean a segment", &path)?;
        let damaged = |what: &str| log_damage("clean a segment", what).with_path(&path);
        let from = match self.cleaning.take() {
            Some(at) if at.segment == number => at,
            _ => {
                let mut front = [0; SEGMENT_HEADER_BYTES as usize];
                let read = file.read_at(&mut front, 0);
                read.during("clean a segment", &path)?;
                let header = SegmentHeader::parse(&front, number);
                Position::start_of(&header.ok_or_else(|| damaged("its header is not intact"))?)
            }
        };
        self.frame.clear();
        let mut cleaning = Cleaning {
            writer: self,
            segment: number,
            rows: Vec::new(),
            dead: BTreeMap::new(),
            dead_bytes: 0,
        };
        let scan = Scan {
            file: &file,
            from,
            end: used,
            stop: used.min(from.offset.saturating_add(bytes_max)),
            // It was whole when the next one was begun.
            proved: u64::MAX,
        };
        let (end, _) = scan_segment(&scan, &mut cleaning)?;
        if end.offset < scan.stop {
            return Err(damaged(&format!(
                "the frame at offset {} is not intact",
                end.offset
            )));
        }
        cleaning.flush()?;
        let done = end.offset >= used;
        self.cleaning = (!done).then_some(end);
        Ok((end.offset - from.offset, done))
    }

    fn segment_path(&self, number: u32) -> Result<std::path::PathBuf> {
        let entry = Entry::new(number, 0, 0);
        Ok(self.state.segment(entry)?.path().to_path_buf())
    }

    /// Forgets the segments that were cleaned and unlinks them, once no index on the disk needs them; returns
    /// their bytes. Where there is no room for that index they wait for the next call: others that were
    /// cleaned meanwhile say nothing of them any more, and need not be cleaned again for that.
    fn unlink(&mut self) -> Result<u64> {
        let cleaned = self.cleaned.clone();
        if cleaned.is_empty() {
            return Ok(0);
        }
        let mut bytes = 0;
        for number in &cleaned {
            let path = self.segment_path(*number)?;
            // Less than its length where values were given up before.
            let measured = self.fs.open(&path).and_then(|file| file.disk_bytes());
            bytes += measured.during("clean a segment", &path)?;
        }
        let before = self.accounts.clone();
        for number in &cleaned {
            self.accounts.remove(*number);
        }
        if let Err(error) = self.checkpoint() {
            self.accounts = before;
            return Err(error);
        }
        self.cleaned.clear();
        let gone = |segment: &Arc<Segment>| cleaned.contains(&segment.number);
        let segments = Arc::clone(&self.state.segments);
        let kept = segments.iter().filter(|segment| !gone(segment));
        self.state.segments = Arc::new(kept.cloned().collect());
        // Snapshots may hold segments that nobody has read yet: their files are opened while that is
        // possible, and then last as long as the snapshots.
        for segment in segments.iter().filter(|segment| gone(segment)) {
            segment.view().inspect_err(|_| self.log.poison())?;
        }
        // A segment goes after the older ones are gone for good: were one of them to come back without
        // it, a rebuild would meet dead operations, and no longer what declares them dead.
        let removed = segments
            .iter()
            .filter(|segment| gone(segment))
            .try_for_each(|segment| {
                self.fs.remove(segment.path())?;
                self.fs.sync_dir(self.log_dir())
            });
        removed.map(|()| bytes).map_err(|error| {
            self.log.poison();
            Error::io(error, "remove a segment").with_kind(ErrorKind::Io)
        })
    }
}

impl Cleaning<'_> {
    fn stays(&self, segment: u32) -> bool {
        !self.writer.cleaned.contains(&segment) && self.writer.accounts.contains(segment)
    }

    fn keep_dead(&mut self, place: Entry) -> Result<()> {
        let of = place.segment();
        if of == self.segment || !self.stays(of) {
            return Ok(());
        }
        let offsets = self.dead.entry(of).or_default();
        offsets.extend_from_slice(&(place.offset() as u32).to_le_bytes());
        self.dead_bytes += 4;
        self.flush_if_full()
    }

    fn keep_row(&mut self, table: Table, key: Key, op: &ParsedOp<'_>) -> Result<()> {
        let prior = op
            .prior
            .filter(|prior| prior.segment() != self.segment && self.stays(prior.segment()));
        self.writer.frame.push(op.content, prior)?;
        self.rows.push((table, key, Entry::GONE));
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.writer.frame.bytes() + (self.dead_bytes as u64) < COPY_BYTES {
            return Ok(());
        }
        self.flush()
    }

    /// Appends what was collected to the log, as any batch.
    ///
    /// # Errors
    /// Once it is appended every failure poisons the log: what is in memory would contradict it.
    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let dead = std::mem::take(&mut self.dead);
        self.dead_bytes = 0;
        for (of, offsets) in &dead {
            self.writer.frame.push(Content::Dead(*of, offsets), None)?;
        }
        if self.writer.frame.count() == 0 {
            return Ok(());
        }
        let placed = self.writer.append(false)?;
        let noted = self.note(placed, &rows, &dead);
        noted.inspect_err(|_| self.writer.log.poison())
    }

    /// Notes where everything came to lie.
    fn note(
        &mut self,
        placed: Placed,
        rows: &[(Table, Key, Entry)],
        dead: &BTreeMap<u32, Vec<u8>>,
    ) -> Result<()> {
        let writer = &mut *self.writer;
        let places = writer.frame.places().iter().map(|&(offset, bytes)| {
            Entry::new(placed.segment, placed.offset + offset, u64::from(bytes))
        });
        let places: Vec<Entry> = places.collect();
        for (&(table, key, _), &entry) in rows.iter().zip(&places) {
            if let Some(old) = writer.state.find(table, key)? {
                writer.accounts.subtract(old);
            }
            writer.accounts.add(entry);
            writer.state.set(table, key, entry);
        }
        for (of, &entry) in dead.keys().zip(places.iter().skip(rows.len())) {
            writer.accounts.add_dead(entry, *of);
        }
        writer.frame.clear();
        Ok(())
    }
}

impl Visitor for Cleaning<'_> {
    fn op(&mut self, entry: Entry, op: &ParsedOp<'_>) -> Result<()> {
        match op.content {
            Content::Put(table, key, _) => {
                let newest = self.writer.state.find(table, key)?;
                if newest.is_some_and(|newest| newest.same_place(entry)) {
                    if op.punched {
                        return Err(self.writer.state.segment(entry)?.damaged(entry));
                    }
                    return self.keep_row(table, key, op);
                }
            }
            Content::Delete(..) => {}
            Content::Dead(of, offsets) => {
                for at in (0..offsets.len()).step_by(4) {
                    let Some(offset) = crate::bytes::u32_at(offsets, at) else {
                        break;
                    };
                    self.keep_dead(Entry::new(of, offset, 0))?;
                }
            }
        }
        match op.prior {
            Some(prior) => self.keep_dead(prior),
            None => Ok(()),
        }
    }

    fn frame_end(&mut self, _: Position) -> Result<()> {
        Ok(())
    }
}

fn is_mostly_dead(account: &Account) -> bool {
    account.needed() * 2 < account.used
}

/// Bytes that are copied in one frame.
const COPY_BYTES: u64 = 256 << 10;

/// A smaller head is not ended for being dead.
const HEAD_WORTH_BYTES: u64 = 1 << 20;
