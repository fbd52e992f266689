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
        let (mut low, mut high) = self.bounds(key);
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle) {
                Some(at) if at < key => low = middle + 1,
                Some(at) if at == key => return (middle, true),
                _ => high = middle,
            }
        }
        let found = low < self.count && self.key(low) == Some(key);
        (low, found)
    }

    /// Two places between which the first entry whose key is `key` or larger is, both included. They are
    /// close where keys are evenly spaced, as they are above leaves of dense keys.
    #[inline]
    fn bounds(&self, key: Key) -> (usize, usize) {
        let all = (0, self.count);
        let last = self.count.saturating_sub(1);
        let (Some(least), Some(most)) = (self.key(0), self.key(last)) else {
            return all;
        };
        if key.first < least.first || key.first >= most.first {
            return all;
        }
        let (part, whole) = (key.first - least.first, most.first - least.first);
        // What is shifted out makes the guess a little worse, and no result wrong.
        let shift = (64 - whole.leading_zeros()).saturating_sub(GUESS_BITS);
        let guess = (part >> shift) * last as u64 / (whole >> shift).max(1);
        let guess = (guess as usize).min(last);
        let (low, high) = (guess.saturating_sub(1), (guess + 2).min(last));
        let below = |at: usize| self.key(at).is_some_and(|at| at < key);
        match (low == 0 || below(low), below(high)) {
            (true, false) => (low, high),
            (true, true) => (high, self.count),
            (false, _) => (0, low),
        }
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

/// Differences of keys are cut to so many bits, so that they can be multiplied by a number of entries.
const GUESS_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_are_found() {
        let even = |stride| move |at: u64| 100 + at * stride;
        let spaces: [(bool, &dyn Fn(u64) -> u64); 6] = [
            (false, &even(1)),
            (false, &even(3)),
            (true, &even(2)),
            (true, &|at| 100 + at / 9),
            (false, &|at| 100 + at * at),
            (false, &|at| 100 + (at << (at / 8))),
        ];
        for (pair, first_of) in spaces {
            let entries: Vec<_> = (0..capacity(pair) as u64)
                .map(|at| (Key::pair(first_of(at), if pair { at } else { 0 }), at * 7))
                .collect();
            let page = Page::parse(encode(&entries, pair, 2).into(), pair, 2).unwrap();
            assert!(page.entries().eq(entries.iter().copied()));
            let around = |key: Key| {
                let firsts = key.first - 1..=key.first + 1;
                firsts.flat_map(move |first| {
                    [0, key.second, key.second + 1].map(|second| Key { first, second })
                })
            };
            let sought = entries.iter().flat_map(|(key, _)| around(*key));
            for key in sought.chain([Key::MIN, Key::pair(u64::MAX, u64::MAX)]) {
                let at = entries.partition_point(|entry| entry.0 < key);
                let found = entries.get(at).is_some_and(|entry| entry.0 == key);
                assert_eq!(page.locate(key), (at, found));
            }
        }
        assert!(Page::parse(encode(&[], false, 0).into(), false, 0).is_none());
    }
}
