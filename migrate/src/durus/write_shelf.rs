//! Writing Shelf files: one transaction with all objects, then the offset map.

use std::path::Path;

use durum_core::{Error, ErrorKind, Result};

use super::record::compose;
use super::staged::Staged;
use super::{DurusObject, Format, WRITE, Written};

/// Writes a Shelf file, in memory that does not grow with it.
///
/// The offset map has a slot for each OID up to the largest. Durus hands out the unused ones again:
/// it expects them in a ring, each slot holding the map's offset plus the number of the unused slot
/// before it, and the first that of the last, which is one beyond the largest OID.
///
/// ```
/// use durum_migrate::durus::{DurusFile, DurusObject, ShelfWriter};
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("example.durus");
/// let mut writer = ShelfWriter::create(&path)?;
/// writer.push(&DurusObject { data: b"state".to_vec(), ..DurusObject::default() })?;
/// writer.finish()?;
/// assert_eq!(DurusFile::open(&path)?.object_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ShelfWriter {
    staged: Staged,
    record: Vec<u8>,
}

impl ShelfWriter {
    /// Begins a file, under a temporary name in the same directory. Dropped before
    /// [`finish`](ShelfWriter::finish), it leaves nothing.
    ///
    /// # Errors
    /// `Exists` where there is something at `path`; `ReadOnly` where the directory is missing or not
    /// writable; `Full`, `Io`.
    pub fn create(path: impl AsRef<Path>) -> Result<ShelfWriter> {
        let mut staged = Staged::create(path.as_ref())?;
        staged.put(Format::Shelf.magic())?;
        staged.put(&[0; 8])?;
        let record = Vec::new();
        Ok(ShelfWriter { staged, record })
    }

    /// Adds an object; they have to come by ascending OID.
    ///
    /// # Errors
    /// `Usage` out of order and for OIDs from 2^63 on; `TooLarge` from 4 GiB of data on; `Full`, `Io`.
    pub fn push(&mut self, object: &DurusObject) -> Result<()> {
        compose(&mut self.record, object)?;
        self.staged.begin_object(object.oid)?;
        let length = 8 + self.record.len() as u64;
        self.staged.put(&length.to_be_bytes())?;
        self.staged.put(&object.oid.0.to_be_bytes())?;
        self.staged.put(&self.record)
    }

    /// Writes the map, makes the file durable and gives it its name.
    ///
    /// # Errors
    /// `Unsupported` when the OIDs are so sparse that the map would be mostly holes; `Exists` when a
    /// file of this name has appeared meanwhile; `Full`, `Io`.
    pub fn finish(self) -> Result<Written> {
        self.finish_verified(&mut |_| Ok(()))
    }

    /// As `finish`, but `verify` looks at the complete file before it gets its name; where it fails the
    /// file vanishes.
    ///
    /// # Errors
    /// As `finish`, and those of `verify`.
    pub fn finish_verified(
        mut self,
        verify: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Written> {
        let map_start = self.staged.position();
        let slots = self.staged.last().map_or(0, |largest| largest.0 + 2);
        let objects = self.staged.objects();
        if slots > SLOTS_MAX_BASE + objects.saturating_mul(SLOTS_MAX_PER_OBJECT) {
            let why = format!(
                "OIDs up to {} for {objects} objects: a Shelf has a slot for each",
                slots - 2
            );
            return Err(Error::new(ErrorKind::Unsupported, WRITE)
                .because(why)
                .hint("Write the other format: `?format=dfs20`."));
        }
        let word_bytes = word_bytes(map_start + slots + 1);
        self.staged.put(&(16 + word_bytes * slots).to_be_bytes())?;
        self.staged.put(&word_bytes.to_be_bytes())?;
        self.staged.put(&slots.to_be_bytes())?;

        let mut offsets = self.staged.take_offsets()?;
        let mut next = offsets.next()?;
        let mut hole_before = slots.saturating_sub(1);
        for slot in 0..slots {
            let word = match next {
                Some((oid, at)) if oid == slot => {
                    next = offsets.next()?;
                    at
                }
                _ => std::mem::replace(&mut hole_before, slot) + map_start,
            };
            let bytes = word.to_be_bytes();
            let low = bytes.get(8 - word_bytes as usize..).unwrap_or(&bytes);
            self.staged.put(low)?;
        }
        self.staged.patch(LENGTH_AT, map_start - LENGTH_AT - 8)?;
        self.staged.complete(verify)
    }
}

/// How many bytes words up to `largest` need, where all bits set stands for no word.
fn word_bytes(largest: u64) -> u64 {
    u64::from((largest + 1).ilog2() / 8 + 1)
}

/// Where the length of the first transaction lies.
const LENGTH_AT: u64 = 8;

/// How many slots of the offset map are accepted per object.
const SLOTS_MAX_PER_OBJECT: u64 = 64;

/// How many slots are accepted besides.
const SLOTS_MAX_BASE: u64 = 1 << 20;
