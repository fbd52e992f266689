//! A set of OIDs in bounded memory: a bitmap in pages, of which those that do not fit lie in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::error::{Error, Result};
use crate::id::Oid;

/// Bytes of a page, which stands for eight times as many OIDs.
const PAGE_BYTES: usize = 4096;
const PAGE_BITS: u64 = PAGE_BYTES as u64 * 8;

type Page = [u8; PAGE_BYTES];

/// A set of OIDs. Dense ones cost a bit each; pages beyond the memory bound lie in a temporary file
/// that vanishes with the set.
pub struct OidSet {
    pages_max: usize,
    pages: BTreeMap<u64, Box<Page>>,
    /// Pages that were moved out, by their place in the file.
    places: BTreeMap<u64, u64>,
    file: Option<File>,
    len: u64,
}

impl fmt::Debug for OidSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OidSet")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl OidSet {
    /// An empty set that keeps about `memory_bytes` in memory.
    pub fn new(memory_bytes: usize) -> OidSet {
        OidSet {
            pages_max: (memory_bytes / PAGE_BYTES).max(1),
            pages: BTreeMap::new(),
            places: BTreeMap::new(),
            file: None,
            len: 0,
        }
    }

    /// The number of OIDs in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `oid`; true where it was not in the set.
    ///
    /// # Errors
    /// `Full` and others of the temporary file.
    pub fn insert(&mut self, oid: Oid) -> Result<bool> {
        let (byte, bit) = position(oid);
        let page = self.page(oid.0 / PAGE_BITS)?;
        let new = page.get_mut(byte).is_some_and(|byte| {
            let new = *byte & bit == 0;
            *byte |= bit;
            new
        });
        self.len += u64::from(new);
        Ok(new)
    }

    /// Removes `oid`; true where it was in the set.
    ///
    /// # Errors
    /// As [`OidSet::insert`].
    pub fn remove(&mut self, oid: Oid) -> Result<bool> {
        if !self.contains(oid)? {
            return Ok(false);
        }
        let (byte, bit) = position(oid);
        if let Some(byte) = self.page(oid.0 / PAGE_BITS)?.get_mut(byte) {
            *byte &= !bit;
        }
        self.len -= 1;
        Ok(true)
    }

    /// The least member from `from` on.
    ///
    /// # Errors
    /// As [`OidSet::insert`].
    pub fn next_from(&mut self, from: Oid) -> Result<Option<Oid>> {
        let mut number = from.0 / PAGE_BITS;
        let mut start = from.0 % PAGE_BITS;
        loop {
            if self.pages.contains_key(&number) || self.places.contains_key(&number) {
                let page = self.page(number)?;
                let first = start as usize / 8;
                for (offset, byte) in page.iter().enumerate().skip(first) {
                    let skipped = if offset == first { start % 8 } else { 0 };
                    let bits = *byte >> skipped << skipped;
                    if bits != 0 {
                        let bit = offset as u64 * 8 + u64::from(bits.trailing_zeros());
                        return Ok(Some(Oid(number * PAGE_BITS + bit)));
                    }
                }
            }
            let after = number + 1;
            let in_memory = self.pages.range(after..).next().map(|(number, _)| *number);
            let in_file = self.places.range(after..).next().map(|(number, _)| *number);
            let Some(next) = in_memory.into_iter().chain(in_file).min() else {
                return Ok(None);
            };
            (number, start) = (next, 0);
        }
    }

    /// Whether `oid` is in the set.
    ///
    /// # Errors
    /// As [`OidSet::insert`].
    pub fn contains(&mut self, oid: Oid) -> Result<bool> {
        let number = oid.0 / PAGE_BITS;
        let (byte, bit) = position(oid);
        let byte = match self.pages.get(&number) {
            Some(page) => page.get(byte),
            None if self.places.contains_key(&number) => self.page(number)?.get(byte),
            None => None,
        };
        Ok(byte.is_some_and(|byte| byte & bit != 0))
    }

    fn page(&mut self, number: u64) -> Result<&mut Page> {
        if !self.pages.contains_key(&number) {
            if self.pages.len() >= self.pages_max {
                self.move_out()?;
            }
            let mut page = Box::new([0; PAGE_BYTES]);
            if let (Some(place), Some(file)) = (self.places.get(&number), &self.file) {
                file.read_exact_at(&mut *page, *place)
                    .map_err(spill_error)?;
            }
            self.pages.insert(number, page);
        }
        self.pages
            .get_mut(&number)
            .map(|page| &mut **page)
            .ok_or_else(|| {
                Error::new(crate::ErrorKind::Other, "look up an object in a set").because("no page")
            })
    }

    /// Moves some page out to the file. Which one hardly matters: walks jump about.
    fn move_out(&mut self) -> Result<()> {
        let Some(number) = self.pages.keys().next().copied() else {
            return Ok(());
        };
        let Some(page) = self.pages.remove(&number) else {
            return Ok(());
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(spill_error)?),
        };
        let next = self.places.len() as u64 * PAGE_BYTES as u64;
        let place = *self.places.entry(number).or_insert(next);
        file.write_all_at(&*page, place).map_err(spill_error)
    }
}

fn position(oid: Oid) -> (usize, u8) {
    let bit = oid.0 % PAGE_BITS;
    ((bit / 8) as usize, 1 << (bit % 8))
}

pub(super) fn spill_error(error: std::io::Error) -> Error {
    Error::io(error, "use a temporary file")
        .with_path(std::env::temp_dir())
        .hint("Set TMPDIR to a directory with more room.")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_equals_a_plain_set_also_when_pages_are_moved_out() {
        let mut set = OidSet::new(2 * PAGE_BYTES);
        let mut model = BTreeSet::new();
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let oid = match random.u8(..3) {
                0 => random.u64(..1000),
                1 => random.u64(..20 * PAGE_BITS),
                _ => Oid::MAX.0 - random.u64(..3 * PAGE_BITS),
            };
            if random.bool() {
                assert_eq!(set.insert(Oid(oid)).unwrap(), model.insert(oid));
            } else if random.bool() {
                assert_eq!(set.remove(Oid(oid)).unwrap(), model.remove(&oid));
            }
            if random.u8(..20) == 0 {
                let next = model.range(oid..).next().copied().map(Oid);
                assert_eq!(set.next_from(Oid(oid)).unwrap(), next);
            }
            assert_eq!(set.contains(Oid(oid)).unwrap(), model.contains(&oid));
        }
        assert_eq!(set.len(), model.len() as u64);
        assert!(set.pages.len() <= 2 && set.places.len() > 10);
    }
}
