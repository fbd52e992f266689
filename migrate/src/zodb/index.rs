//! What the sequential pass finds, and the index that comes of it.
//!
//! The index holds the offset of the record that has each object's current data.

use std::path::Path;

use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::{ErrorKind, Oid, Result};

use super::record::{Broken, Record};
use crate::input::{Input, Window};
use crate::offsets::{BEYOND, OffsetIndex, OffsetsWriter};

/// Collects the records of a file while it is read.
#[derive(Debug)]
pub(super) struct Found {
    /// OID, and twice the offset of a record, plus one where its data is that of an earlier one.
    versions: PairSorter,
    /// Offset and OID of each record.
    records: PairSorter,
    /// Offset and OID of each earlier record that one refers to.
    pointers: PairSorter,
}

impl Found {
    pub(super) fn new(scratch: Option<&Path>, memory_bytes: usize) -> Found {
        let sorter = || PairSorter::new(scratch, memory_bytes / 3);
        Found {
            versions: sorter(),
            records: sorter(),
            pointers: sorter(),
        }
    }

    /// Notes a record of a whole transaction.
    pub(super) fn record(&mut self, record: &Record) -> Result<()> {
        let (oid, at) = (record.oid, record.at);
        self.versions
            .push(oid, at << 1 | u64::from(record.back.is_some()))?;
        self.records.push(at, oid)?;
        for target in [record.previous, record.back.unwrap_or_default()] {
            if target != 0 {
                self.pointers.push(target, oid)?;
            }
        }
        Ok(())
    }

    /// Builds the index of what was found.
    pub(super) fn index(self, input: &Input, scratch: Option<&Path>) -> Result<OffsetIndex> {
        check_pointers(input, self.records.finish()?, self.pointers.finish()?)?;
        let mut out = OffsetsWriter::create(scratch)?;
        let mut window = Window::new(input);
        let mut add = |(oid, version): (u64, u64)| {
            if !Oid(oid).is_valid() {
                let why = format!("it holds object {oid}, {BEYOND}");
                return Err(input.fail(ErrorKind::Unreadable, why));
            }
            let at = version >> 1;
            let at = match version & 1 {
                0 => Some(at),
                _ => resolve(&mut window, oid, at)?,
            };
            at.map_or(Ok(()), |at| out.push(oid, at))
        };
        let mut latest: Option<(u64, u64)> = None;
        for pair in self.versions.finish()? {
            let (oid, version) = pair?;
            if let Some(other) = latest.filter(|(latest, _)| *latest != oid) {
                add(other)?;
            }
            latest = Some((oid, version));
        }
        latest.map_or(Ok(()), add)?;
        out.finish()
    }
}

/// Checks that whatever refers to an earlier record means a record of the same object.
///
/// An OID that was damaged would otherwise let an object vanish, and another come back to an old state.
fn check_pointers(input: &Input, mut records: SortedPairs, pointers: SortedPairs) -> Result<()> {
    let mut record = records.next().transpose()?;
    for pointer in pointers {
        let pointer = pointer?;
        while record.is_some_and(|(at, _)| at < pointer.0) {
            record = records.next().transpose()?;
        }
        if record != Some(pointer) {
            let (at, oid) = pointer;
            let why = format!("there is no record of object {oid}, and a later one refers to it");
            return Err(Broken::of(at, oid, why).into_error(input));
        }
    }
    Ok(())
}

/// The record that has the data of the one at `at`; `None` where the object ceased to exist. Each step
/// leads backwards in the file, which was checked.
fn resolve(window: &mut Window<'_>, oid: u64, mut at: u64) -> Result<Option<u64>> {
    let input = window.input();
    loop {
        let record = Record::read(window, at)?.filter(|record| record.oid == oid);
        match record.map(|record| record.back) {
            Some(None) => return Ok(Some(at)),
            Some(Some(0)) => return Ok(None),
            Some(Some(back)) if back < at => at = back,
            _ => return Err(input.damaged(at, CHANGED).with_oid(Oid(oid))),
        }
    }
}

/// What else can be wrong with what was found to be right.
pub(super) const CHANGED: &str = "the file was changed while it was read";
