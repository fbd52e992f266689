//! An index of a file that is too large for memory: the offset of each object, ascending by OID.
//!
//! It is a file without a name, 16 bytes an object. It serves scans from any OID and single loads, in
//! constant memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use durum_core::{Error, Oid, Result};

/// Writes an index.
#[derive(Debug)]
pub(crate) struct OffsetsWriter {
    out: BufWriter<File>,
    objects: u64,
}

impl OffsetsWriter {
    /// Begins an index in `scratch`, or in the system's directory for temporary files.
    pub(crate) fn create(scratch: Option<&Path>) -> Result<OffsetsWriter> {
        let file = match scratch {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        };
        Ok(OffsetsWriter {
            out: BufWriter::new(file.map_err(|error| Error::io(error, SCRATCH))?),
            objects: 0,
        })
    }

    /// Adds an object; they have to come by ascending OID.
    pub(crate) fn push(&mut self, oid: u64, at: u64) -> Result<()> {
        self.objects += 1;
        let numbers = [oid.to_be_bytes(), at.to_be_bytes()];
        self.out
            .write_all(numbers.as_flattened())
            .map_err(|error| Error::io(error, SCRATCH))
    }

    pub(crate) fn finish(self) -> Result<OffsetIndex> {
        let file = self.out.into_inner();
        Ok(OffsetIndex {
            file: file.map_err(|error| Error::io(error.into_error(), SCRATCH))?,
            objects: self.objects,
        })
    }
}

/// The offsets of all objects, on disk.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    file: File,
    objects: u64,
}

impl OffsetIndex {
    /// The number of objects.
    pub(crate) fn objects(&self) -> u64 {
        self.objects
    }

    /// The place in the index of the first object whose OID is `oid` or larger.
    pub(crate) fn position(&self, oid: Oid) -> Result<u64> {
        let (mut low, mut high) = (0, self.objects);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.pairs(middle, 1)?.first() {
                Some((found, _)) if *found < oid.0 => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Where an object lies, or `None` where there is none of this OID.
    pub(crate) fn find(&self, oid: Oid) -> Result<Option<u64>> {
        let pairs = self.pairs(self.position(oid)?, 1)?;
        let found = pairs.first().filter(|(found, _)| *found == oid.0);
        Ok(found.map(|(_, at)| *at))
    }

    /// Goes through the index from a place on.
    pub(crate) fn cursor(&self, position: u64) -> OffsetCursor<'_> {
        OffsetCursor {
            index: self,
            pairs: Vec::new(),
            position,
        }
    }

    /// Shows the OIDs of objects that have another offset here than in `earlier`, or that are in one of the
    /// two only, ascending.
    pub(crate) fn differences(
        &self,
        earlier: &OffsetIndex,
        show: &mut dyn FnMut(Oid) -> Result<()>,
    ) -> Result<()> {
        let (mut new, mut old) = (self.cursor(0), earlier.cursor(0));
        let mut next = (new.next()?, old.next()?);
        loop {
            let oid = match next {
                (None, None) => return Ok(()),
                (Some((new, _)), Some((old, _))) => new.min(old),
                (Some((oid, _)), None) | (None, Some((oid, _))) => oid,
            };
            let at = |found: Option<(u64, u64)>| found.filter(|(found, _)| *found == oid);
            let (here, there) = (at(next.0), at(next.1));
            if here != there {
                show(Oid(oid))?;
            }
            if here.is_some() {
                next.0 = new.next()?;
            }
            if there.is_some() {
                next.1 = old.next()?;
            }
        }
    }

    /// Up to `count` pairs of OID and offset from a place on.
    fn pairs(&self, position: u64, count: u64) -> Result<Vec<(u64, u64)>> {
        let count = count.min(self.objects.saturating_sub(position));
        let mut bytes = vec![0; count as usize * PAIR_BYTES];
        self.file
            .read_exact_at(&mut bytes, position * PAIR_BYTES as u64)
            .map_err(|error| Error::io(error, SCRATCH))?;
        let numbers = bytes.as_chunks::<8>().0.as_chunks::<2>().0;
        let pairs = numbers.iter();
        Ok(pairs
            .map(|[oid, at]| (u64::from_be_bytes(*oid), u64::from_be_bytes(*at)))
            .collect())
    }
}

/// Pairs of OID and offset, ascending.
#[derive(Debug)]
pub(crate) struct OffsetCursor<'i> {
    index: &'i OffsetIndex,
    /// The next pairs, in reverse.
    pairs: Vec<(u64, u64)>,
    position: u64,
}

impl OffsetCursor<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<(u64, u64)>> {
        if self.pairs.is_empty() {
            self.pairs = self.index.pairs(self.position, PAIRS_AT_ONCE)?;
            self.position += self.pairs.len() as u64;
            self.pairs.reverse();
        }
        Ok(self.pairs.pop())
    }
}

/// The size of a pair of numbers.
const PAIR_BYTES: usize = 16;

/// How many pairs are read at once.
const PAIRS_AT_ONCE: u64 = 4096;

/// What is said of OIDs that no store can hold.
pub(crate) const BEYOND: &str = "which is 2^63 or more: more than a store's OIDs reach";

const SCRATCH: &str = "keep the index of the source in a temporary file";
