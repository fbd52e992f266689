//! What the sequential pass finds, and the index that comes of it.
//!
//! The index holds the latest offset of each object.

use std::path::Path;

use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::{Error, ErrorKind, Oid, Result};

use super::record::{Entry, Layout, read_entry};
use crate::input::{Input, Window};
use crate::offsets::{BEYOND, OffsetIndex, OffsetsWriter};

/// Collects the entries of a file while it is read.
#[derive(Debug)]
pub(super) struct Found {
    offsets: PairSorter,
    /// Bytes of data in whole transactions, superseded versions included.
    data_bytes: u64,
    /// The same, of the transaction being read.
    pending_bytes: u64,
}

impl Found {
    pub(super) fn new(scratch: Option<&Path>, memory_bytes: usize) -> Found {
        Found {
            offsets: PairSorter::new(scratch, memory_bytes),
            data_bytes: 0,
            pending_bytes: 0,
        }
    }

    /// Notes the entry at `at`. If its transaction turns out to be torn, the index leaves it out.
    pub(super) fn entry(&mut self, at: u64, entry: &Entry) -> Result<()> {
        self.pending_bytes += u64::from(entry.data_bytes);
        self.offsets.push(entry.oid, at)
    }

    /// Notes that the entries so far belong to whole transactions.
    pub(super) fn whole_transaction(&mut self) {
        self.data_bytes += std::mem::take(&mut self.pending_bytes);
    }
}

/// Where the offset map of a Shelf lies; its extent is known to be inside the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetMap {
    pub(super) start: u64,
    pub(super) words: u64,
    pub(super) word_bytes: u64,
}

impl OffsetMap {
    /// The offset after the map.
    pub(super) fn end(&self) -> u64 {
        self.word(self.words)
    }

    fn word(&self, slot: u64) -> u64 {
        self.start + 24 + slot * self.word_bytes
    }
}

/// Compares an offset map with the entries that were found, slot by slot.
///
/// Durus finds objects by the map, this crate by the entries: where the two differ, something is
/// damaged, and nobody can say which is right.
#[derive(Debug)]
struct MapCheck<'i> {
    map: OffsetMap,
    window: Window<'i>,
    slot: u64,
}

impl MapCheck<'_> {
    /// Checks that there is nothing before slot `oid`, and `expected` in it.
    fn object(&mut self, oid: u64, expected: u64) -> Result<()> {
        self.empty_until(oid)?;
        if oid >= self.map.words || self.next()? != Some(expected) {
            return Err(self.wrong(oid));
        }
        Ok(())
    }

    /// Checks that the slots before `oid` are unused, as far as there are any.
    fn empty_until(&mut self, oid: u64) -> Result<()> {
        while self.slot < oid.min(self.map.words) {
            let slot = self.slot;
            if self.next()?.is_none_or(|word| word < self.map.start) {
                return Err(self.wrong(slot));
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<u64>> {
        let at = self.map.word(self.slot);
        self.slot += 1;
        self.window.number(at, self.map.word_bytes as usize)
    }

    fn wrong(&self, oid: u64) -> Error {
        let why = format!("the offset map is wrong about object {oid}");
        let at = self.map.word(oid.min(self.map.words));
        self.window.input().damaged(at, why)
    }
}

/// The offsets of the latest versions, on disk.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) offsets: OffsetIndex,
    /// The size of the objects' data.
    pub(super) data_bytes: u64,
}

impl Index {
    /// Builds the index of what was found before `whole_end`.
    pub(super) fn build(
        input: &Input,
        layout: Layout,
        found: Found,
        map: Option<OffsetMap>,
        whole_end: u64,
        scratch: Option<&Path>,
    ) -> Result<Index> {
        let mut builder = Builder {
            out: OffsetsWriter::create(scratch)?,
            data_bytes: found.data_bytes,
            layout,
            window: Window::new(input),
            check: map.map(|map| MapCheck {
                map,
                window: Window::new(input),
                slot: 0,
            }),
        };
        builder.add_all(found.offsets.finish()?, whole_end)?;
        Ok(Index {
            offsets: builder.out.finish()?,
            data_bytes: builder.data_bytes,
        })
    }
}

#[derive(Debug)]
struct Builder<'i> {
    out: OffsetsWriter,
    data_bytes: u64,
    layout: Layout,
    window: Window<'i>,
    check: Option<MapCheck<'i>>,
}

impl Builder<'_> {
    /// Adds the last version of each object; `offsets` ascend by OID, then by place in the file.
    fn add_all(&mut self, offsets: SortedPairs, whole_end: u64) -> Result<()> {
        let map_start = self.check.as_ref().map(|check| check.map.start);
        let mut latest: Option<(u64, u64)> = None;
        let mut mapped: Option<u64> = None;
        for pair in offsets {
            let (oid, at) = pair?;
            if at >= whole_end {
                continue;
            }
            match latest {
                Some((previous, superseded)) if previous == oid => self.superseded(superseded)?,
                Some(previous) => self.add(previous, mapped.take())?,
                None => {}
            }
            latest = Some((oid, at));
            if map_start.is_some_and(|start| at < start) {
                mapped = Some(at);
            }
        }
        if let Some(last) = latest {
            self.add(last, mapped)?;
        }
        match &mut self.check {
            Some(check) => check.empty_until(u64::MAX),
            None => Ok(()),
        }
    }

    /// Adds an object; `mapped` is where its entry in the first transaction lies.
    fn add(&mut self, (oid, at): (u64, u64), mapped: Option<u64>) -> Result<()> {
        if !Oid(oid).is_valid() {
            let why = format!("it holds object {oid}, {BEYOND}");
            return Err(self.window.input().fail(ErrorKind::Unreadable, why));
        }
        if let (Some(check), Some(mapped)) = (&mut self.check, mapped) {
            check.object(oid, mapped)?;
        }
        self.out.push(oid, at)
    }

    /// Takes the superseded version at `at` out of the total.
    fn superseded(&mut self, at: u64) -> Result<()> {
        let input = self.window.input();
        match read_entry(&mut self.window, self.layout, at, input.len())? {
            Ok(entry) => {
                self.data_bytes = self.data_bytes.saturating_sub(entry.data_bytes.into());
                Ok(())
            }
            Err(broken) => Err(input.damaged(broken.at, broken.why)),
        }
    }
}
