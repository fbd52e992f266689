//! A page of a tree: sorted keys, and a number for each. In a leaf the number is an
//! [`Entry`](crate::log::Entry), above it is a [`PageRef`](super::PageRef).

use std::borrow::Cow;

use durum_core::engine::Key;

use super::PAGE_BYTES;
use crate::bytes::{put_at, u16_at, u64_at};

/// A page for reading.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    bytes: Cow<'a, [u8]>,
    count: usize,
    key_bytes: usize,
}

impl<'a> Page<'a> {
    /// Reads the page's front; `None` where it cannot be a page of this kind.
    #[inline]
    pub(crate) fn parse(bytes: Cow<'a, [u8]>, pair: bool, height: u8) -> Option<Page<'a>> {
        let count = usize::from(u16_at(&bytes, 2)?);
        let key_bytes = if pair { 16 } else { 8 };
        let good = bytes.len() == PAGE_BYTES
            && bytes.first() == Some(&height)
            && bytes.get(1) == Some(&(key_bytes as u8))
            && (1..=capacity(pair)).contains(&count);
        good.then_some(Page {
            bytes,
            count,
            key_bytes,
        })
    }

    /// The number of entries, at least 1.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The key of entry `at`.
    #[inline]
    pub(crate) fn key(&self, at: usize) -> Option<Key> {
        let offset = FRONT_BYTES + at * (self.key_bytes + 8);
        let first = u64_at(&self.bytes, offset)?;
        let second = if self.key_bytes == 16 {
            u64_at(&self.bytes, offset + 8)?
        } else {
            0
        };
        Some(Key { first, second })
    }

    /// The number of entry `at`.
    #[inline]
    pub(crate) fn value(&self, at: usize) -> Option<u64> {
        let offset = FRONT_BYTES + at * (self.key_bytes + 8);
        u64_at(&self.bytes, offset + self.key_bytes)
    }

    /// The first entry whose key is `key` or larger, and whether it is that key.
    #[inline]
    pub(crate) fn locate(&self, key: Key) -> (usize, bool) {
        // Where keys are dense, as OIDs are, the difference to the first key is the place.
        if let Some(first) = self.key(0) {
            let guess = key.first.wrapping_sub(first.first);
            if guess < self.count as u64 && self.key(guess as usize) == Some(key) {
                return (guess as usize, true);
            }
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle) {
                Some(at) if at < key => low = middle + 1,
                Some(at) if at == key => return (middle, true),
                _ => high = middle,
            }
        }
        (low, false)
    }

    /// The child in which `key` would be.
    #[inline]
    pub(crate) fn child(&self, key: Key) -> usize {
        match self.locate(key) {
            (at, true) => at,
            (at, false) => at.saturating_sub(1),
        }
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key, u64)> + '_ {
        (0..self.count).filter_map(|at| Some((self.key(at)?, self.value(at)?)))
    }
}

/// Writes a page of `entries`, of which there are at most [`capacity`].
pub(crate) fn encode(entries: &[(Key, u64)], pair: bool, height: u8) -> Vec<u8> {
    let key_bytes = if pair { 16 } else { 8 };
    let mut out = vec![0; PAGE_BYTES];
    put_at(&mut out, 0, &[height, key_bytes as u8]);
    put_at(&mut out, 2, &(entries.len() as u16).to_le_bytes());
    for (at, (key, value)) in entries.iter().enumerate() {
        let offset = FRONT_BYTES + at * (key_bytes + 8);
        put_at(&mut out, offset, &key.first.to_le_bytes());
        if pair {
            put_at(&mut out, offset + 8, &key.second.to_le_bytes());
        }
        put_at(&mut out, offset + key_bytes, &value.to_le_bytes());
    }
    out
}

/// The most entries of a page.
pub(crate) fn capacity(pair: bool) -> usize {
    (PAGE_BYTES - FRONT_BYTES) / if pair { 24 } else { 16 }
}

const FRONT_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_are_found() {
        for (pair, stride) in [(false, 1), (false, 3), (true, 2)] {
            let entries: Vec<_> = (0..capacity(pair) as u64)
                .map(|at| {
                    (
                        Key::pair(100 + at * stride, if pair { at } else { 0 }),
                        at * 7,
                    )
                })
                .collect();
            let page = Page::parse(encode(&entries, pair, 2).into(), pair, 2).unwrap();
            assert!(page.entries().eq(entries.iter().copied()));
            for first in 90..100 + entries.len() as u64 * stride + 5 {
                let key = Key::from(first);
                let at = entries.partition_point(|entry| entry.0 < key);
                let found = entries.get(at).is_some_and(|entry| entry.0 == key);
                assert_eq!(page.locate(key), (at, found));
            }
        }
        assert!(Page::parse(encode(&[], false, 0).into(), false, 0).is_none());
    }
}
