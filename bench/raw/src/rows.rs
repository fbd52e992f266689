//! Rows on their way to an engine.

use std::ops::Range;

/// Rows in ascending order of their keys, their values one behind the other in memory.
#[derive(Debug, Default)]
pub struct Rows {
    arena: Vec<u8>,
    rows: Vec<(u64, Range<usize>)>,
}

impl Rows {
    /// Appends a row, whose value `encode` appends to what it is given.
    pub fn push(&mut self, key: u64, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        encode(&mut self.arena);
        self.rows.push((key, start..self.arena.len()));
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let value = |range: &Range<usize>| self.arena.get(range.clone()).unwrap_or_default();
        self.rows
            .iter()
            .map(move |(key, range)| (*key, value(range)))
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes all, and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.rows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let mut rows = Rows::default();
        for _ in 0..2 {
            rows.clear();
            assert!(rows.is_empty());
            rows.push(1, |out| out.extend_from_slice(b"one"));
            rows.push(9, |_| {});
            assert_eq!((rows.len(), rows.bytes()), (2, 3));
            let all: Vec<_> = rows.iter().collect();
            assert_eq!(all, [(1, &b"one"[..]), (9, b"")]);
        }
    }
}
