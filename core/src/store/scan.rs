//! Walking over a snapshot, a chunk of rows at a time.
//!
//! Chunks are copied, so that no engine snapshot stays open while the caller works on a row, however
//! long that takes. Who promises to be quick is shown the rows where they lie; between chunks the engine's
//! snapshot can be closed then.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::snapshot::{LocalSnapshot, verify_row};
use super::{Scan, ScanStored, Snapshot as _};
use crate::engine::{Key, Table};
use crate::error::Result;
use crate::id::{Oid, Tid};
use crate::record::Record;

/// Rows in the first chunk, so that short walks are cheap; following chunks are larger.
const ROWS_FIRST: usize = 32;
const ROWS_MAX: usize = 4096;
/// So many records are lent between two looks at the clock,
const ROWS_TIMED: usize = 16;
/// and no more in one view after this time.
const LENT_MAX: Duration = Duration::from_millis(5);
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
        let LocalScan {
            snapshot,
            bytes,
            rows,
            rows_max,
            ..
        } = self;
        let (exact, last) = snapshot.with_view(|view| {
            let from = Key::from(from.0);
            let walked = view
                .engine()?
                .walk(Table::Objects, from, &mut |key, value| {
                    let start = bytes.len();
                    bytes.extend_from_slice(value);
                    rows.push((Oid(key.first), start..bytes.len()));
                    rows.len() < *rows_max && bytes.len() < BYTES_MAX
                });
            let ended = match walked {
                // What was read so far is handed out first; the next chunk begins with the error.
                Err(_) if !rows.is_empty() => false,
                walked => walked?,
            };
            let last = rows.last().filter(|_| !ended).map(|(oid, _)| *oid);
            Ok((view.exact, last))
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
        if self.newest && self.snapshot.shared.capabilities.snapshots {
            // It pins what others replace, and an import, which may be writing, closes none. Elsewhere it has read
            // ahead.
            self.snapshot.close_if_old();
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

/// Shows records as [`Snapshot::scan_with`](super::Snapshot::scan_with) does.
pub(super) fn lend(
    snapshot: &LocalSnapshot,
    from: Oid,
    visit: &mut dyn FnMut(Record<'_>) -> Result<bool>,
) -> Result<()> {
    let mut next = from.is_valid().then_some(from);
    // Asking whether an object is condemned may read from a file.
    while let Some(from) = next.filter(|_| snapshot.condemned.is_none()) {
        let lent = lend_chunk(snapshot, from, visit)?;
        // Nobody else would come by to close a view that is hardly ever idle.
        snapshot.close_if_old();
        match lent {
            Lent::Until(last) => next = Some(last.next()).filter(|oid| oid.is_valid()),
            Lent::Enough => return Ok(()),
            Lent::Inexact => break,
        }
    }
    let Some(from) = next else { return Ok(()) };
    let mut rest = VerifiedScan(LocalScan::new(snapshot, from));
    while let Some(record) = rest.next()? {
        if !visit(record)? {
            break;
        }
    }
    Ok(())
}

/// How far a chunk of rows was shown.
enum Lent {
    /// The next one begins behind this object.
    Until(Oid),
    /// To the end, or as far as was wanted.
    Enough,
    /// Not at all: the engine's rows are not those of the snapshot.
    Inexact,
}

fn lend_chunk(
    snapshot: &LocalSnapshot,
    from: Oid,
    visit: &mut dyn FnMut(Record<'_>) -> Result<bool>,
) -> Result<Lent> {
    snapshot.with_view(|view| {
        if !view.exact {
            return Ok(Lent::Inexact);
        }
        let (mut rows, mut bytes, begin) = (0, 0, Instant::now());
        let (mut outcome, mut damaged) = (Ok(Lent::Enough), None);
        let from = Key::from(from.0);
        view.engine()?
            .walk(Table::Objects, from, &mut |key, stored| {
                let oid = Oid(key.first);
                let record = Record::parse(oid, stored);
                damaged = record.is_err().then_some(oid);
                match record.and_then(&mut *visit) {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(error) => {
                        outcome = Err(error);
                        return false;
                    }
                }
                rows += 1;
                bytes += stored.len();
                // A commit may wait for the view to be closed, however long the caller takes for a record.
                let late = rows % ROWS_TIMED == 0 && begin.elapsed() > LENT_MAX;
                let more = rows < ROWS_MAX && bytes < BYTES_MAX && !late;
                if !more {
                    outcome = Ok(Lent::Until(oid));
                }
                more
            })?;
        if let Some(oid) = damaged {
            verify_row(view, oid)?;
        }
        outcome
    })
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
        let snapshot = self.0.snapshot;
        let Some((oid, bytes)) = self.0.next()? else {
            return Ok(None);
        };
        match Record::parse(oid, bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                snapshot.with_view(|view| verify_row(view, oid))?;
                Err(error)
            }
        }
    }
}
