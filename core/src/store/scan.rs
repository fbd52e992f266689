//! Walking over a snapshot, a chunk of rows at a time.
//!
//! Chunks are copied, so that no engine snapshot stays open while the caller works on a row, however
//! long that takes.

use std::ops::Range;

use super::snapshot::LocalSnapshot;
use super::{Scan, ScanStored, Snapshot as _};
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::{Oid, Tid};
use crate::record::Record;

/// Rows in the first chunk, so that short walks are cheap; following chunks are larger.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4096;
/// A chunk ends where it has gathered this many bytes.
const BYTES_MAX: usize = 256 << 10;

pub(super) struct LocalScan<'a> {
    snapshot: &'a LocalSnapshot,
    /// Where the next chunk begins; `None` at the end.
    from: Option<Oid>,
    rows_max: usize,
    bytes: Vec<u8>,
    rows: Vec<(Oid, Range<usize>)>,
    position: usize,
    /// Whether rows are shown as the engine has them now, and not as the snapshot does.
    newest: bool,
}

impl<'a> LocalScan<'a> {
    pub(super) fn new(snapshot: &'a LocalSnapshot, from: Oid) -> LocalScan<'a> {
        LocalScan {
            snapshot,
            newest: false,
            from: from.is_valid().then_some(from),
            rows_max: ROWS_FIRST,
            bytes: Vec::new(),
            rows: Vec::new(),
            position: 0,
        }
    }

    /// A walk over all rows as the engine has them, which needs a snapshot only to read through.
    pub(super) fn newest(snapshot: &'a LocalSnapshot) -> LocalScan<'a> {
        LocalScan {
            newest: true,
            ..LocalScan::new(snapshot, Oid::ROOT)
        }
    }

    /// Reads the chunk that begins at `from`.
    fn fill(&mut self, from: Oid) -> Result<()> {
        self.bytes.clear();
        self.rows.clear();
        self.position = 0;
        let (exact, last) = self.snapshot.with_view(|view| {
            let mut cursor = view.engine()?.cursor(Table::Objects, Key::from(from.0))?;
            loop {
                let next = match cursor.next() {
                    // What was read so far is handed out first; the next chunk begins with the error.
                    Err(_) if !self.rows.is_empty() => {
                        let last = self.rows.last().map(|(oid, _)| *oid);
                        return Ok((view.exact, last));
                    }
                    next => next?,
                };
                let Some((key, value)) = next else { break };
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                self.rows.push((Oid(key.first), start..self.bytes.len()));
                if self.rows.len() >= self.rows_max || self.bytes.len() >= BYTES_MAX {
                    return Ok((view.exact, Some(Oid(key.first))));
                }
            }
            Ok((view.exact, None))
        })?;
        if !exact && !self.newest {
            self.restore(from, last.unwrap_or(Oid::MAX))?;
        }
        if let Some(condemned) = self.snapshot.condemned.as_ref().filter(|_| !self.newest) {
            let mut kept = Vec::with_capacity(self.rows.len());
            for row in self.rows.drain(..) {
                if !condemned.contains(row.0)? {
                    kept.push(row);
                }
            }
            self.rows = kept;
        }
        self.rows_max = (self.rows_max * 4).min(ROWS_MAX);
        self.from = last.map(Oid::next).filter(|oid| oid.is_valid());
        Ok(())
    }

    /// Brings the rows from `first` to `last` to the state that the snapshot shows.
    fn restore(&mut self, first: Oid, last: Oid) -> Result<()> {
        let tid = self.snapshot.tid();
        let older = self
            .snapshot
            .shared
            .superseded
            .find_range(first, last, tid)?;
        let bytes = &self.bytes;
        self.rows.retain(|(oid, range)| {
            let stored = bytes.get(range.clone()).unwrap_or_default();
            let replaced = older.binary_search_by_key(oid, |(oid, _)| *oid).is_ok();
            !replaced && !written_after(tid, *oid, stored)
        });
        for (oid, stored) in older {
            if written_after(tid, oid, &stored) {
                continue;
            }
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&stored);
            self.rows.push((oid, start..self.bytes.len()));
        }
        self.rows.sort_unstable_by_key(|(oid, _)| *oid);
        Ok(())
    }
}

/// Whether a record is of a later commit than `tid`. One that cannot be read is not, so that it is
/// reported and not left out.
fn written_after(tid: Tid, oid: Oid, stored: &[u8]) -> bool {
    Record::parse(oid, stored).is_ok_and(|record| record.tid > tid)
}

impl ScanStored for LocalScan<'_> {
    fn next(&mut self) -> Result<Option<(Oid, &[u8])>> {
        while self.position == self.rows.len() {
            match self.from {
                Some(from) => self.fill(from)?,
                None => return Ok(None),
            }
        }
        let row = self.rows.get(self.position);
        self.position += 1;
        Ok(row.and_then(|(oid, range)| Some((*oid, self.bytes.get(range.clone())?))))
    }
}

pub(super) struct VerifiedScan<'a>(pub(super) LocalScan<'a>);

impl Scan for VerifiedScan<'_> {
    fn next(&mut self) -> Result<Option<Record<'_>>> {
        self.0
            .next()?
            .map(|(oid, bytes)| Record::parse(oid, bytes))
            .transpose()
    }
}
