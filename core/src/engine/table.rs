//! The tables of a store, and their keys.

/// A table of a store. Engines treat all alike: sorted rows of a [`Key`] and bytes.
///
/// The collector's tables are described in `docs/FORMAT.md`; they have their place from the first
/// format version on, so that stores need no conversion when a table comes into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// OID: record.
    Objects,
    /// OID: the set of its referrers, where it is not just the anchor in its record.
    Referrers,
    /// (OID, referrer): the referrers of an object that has very many.
    ReferrersMore,
    /// OID: tid that cut its anchor.
    Orphans,
    /// OID: its anchor has a larger OID than itself.
    Irregular,
    /// (session, OID): objects that a session keeps alive.
    Pins,
    /// Session: its kind, lease and state.
    Sessions,
    /// OID: referred to by an import before it exists.
    Missing,
    /// (tid, part): the OIDs that a commit wrote and deleted.
    Changes,
    /// Hash of a commit's identity: its tid.
    Recent,
    /// (job, first OID): members of a large cycle that is being deleted.
    Condemned,
    /// (OID, tid): superseded records that live snapshots still need.
    Superseded,
    /// Number: a compression dictionary.
    Dictionaries,
    /// Number: the store's own state; see `store::meta`.
    Meta,
}

impl Table {
    /// Every table, in the order of [`Table::index`].
    pub const ALL: [Table; 14] = [
        Table::Objects,
        Table::Referrers,
        Table::ReferrersMore,
        Table::Orphans,
        Table::Irregular,
        Table::Pins,
        Table::Sessions,
        Table::Missing,
        Table::Changes,
        Table::Recent,
        Table::Condemned,
        Table::Superseded,
        Table::Dictionaries,
        Table::Meta,
    ];

    /// A small number that stands for this table in files; never changed once given.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The table with this number.
    pub fn from_index(index: usize) -> Option<Table> {
        Table::ALL.get(index).copied()
    }

    /// The name that an engine with named tables gives it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Objects => "objects",
            Table::Referrers => "referrers",
            Table::ReferrersMore => "referrers_more",
            Table::Orphans => "orphans",
            Table::Irregular => "irregular",
            Table::Pins => "pins",
            Table::Sessions => "sessions",
            Table::Missing => "missing",
            Table::Changes => "changes",
            Table::Recent => "recent",
            Table::Condemned => "condemned",
            Table::Superseded => "superseded",
            Table::Dictionaries => "dictionaries",
            Table::Meta => "meta",
        }
    }

    /// Whether rows are keyed by two numbers; elsewhere the second is always 0.
    pub fn is_pair(self) -> bool {
        use Table::{Changes, Condemned, Pins, ReferrersMore, Superseded};
        matches!(
            self,
            ReferrersMore | Pins | Changes | Condemned | Superseded
        )
    }
}

/// The key of a row: one number below 2^63, or two in a pair table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The only number, or the first of two.
    pub first: u64,
    /// The second number; 0 in a table with single keys.
    pub second: u64,
}

impl Key {
    /// The smallest key.
    pub const MIN: Key = Key {
        first: 0,
        second: 0,
    };

    /// The key of a row in a pair table.
    pub fn pair(first: u64, second: u64) -> Key {
        Key { first, second }
    }

    /// The smallest key above this one, in a table of either sort; `None` after the largest.
    pub fn successor(self, table: Table) -> Option<Key> {
        if table.is_pair() && self.second < u64::MAX {
            return Some(Key {
                second: self.second + 1,
                ..self
            });
        }
        self.first.checked_add(1).map(Key::from)
    }

    /// The key as bytes that sort as the keys do: 8 big-endian bytes, or 16 in a pair table.
    pub fn to_bytes(self, table: Table) -> KeyBytes {
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&self.first.to_be_bytes());
        second.copy_from_slice(&self.second.to_be_bytes());
        KeyBytes {
            bytes,
            length: if table.is_pair() { 16 } else { 8 },
        }
    }

    /// The key behind the table's number, as in an engine that keeps all tables in one: 9 or 17 bytes.
    pub fn to_row_bytes(self, table: Table) -> RowBytes {
        let mut bytes = [table.index() as u8; 17];
        let key = self.to_bytes(table);
        let places = bytes.iter_mut().skip(1);
        places.zip(key.as_ref()).for_each(|(to, from)| *to = *from);
        RowBytes {
            bytes,
            length: 1 + key.as_ref().len(),
        }
    }

    /// The key that [`Key::to_row_bytes`] wrote; `None` where it is none of that table's.
    pub fn from_row_bytes(table: Table, bytes: &[u8]) -> Option<Key> {
        let (number, key) = bytes.split_first()?;
        (usize::from(*number) == table.index())
            .then(|| Key::from_bytes(table, key))
            .flatten()
    }

    /// The key that [`Key::to_bytes`] wrote; `None` where the length is not that table's.
    pub fn from_bytes(table: Table, bytes: &[u8]) -> Option<Key> {
        if table.is_pair() {
            let (first, second) = bytes.split_first_chunk::<8>()?;
            let second = second.try_into().ok()?;
            return Some(Key::pair(
                u64::from_be_bytes(*first),
                u64::from_be_bytes(second),
            ));
        }
        Some(Key::from(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl From<u64> for Key {
    fn from(first: u64) -> Key {
        Key { first, second: 0 }
    }
}

/// A key's bytes, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct KeyBytes {
    bytes: [u8; 16],
    length: usize,
}

impl AsRef<[u8]> for KeyBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The bytes of a table's number and a key, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct RowBytes {
    bytes: [u8; 17],
    length: usize,
}

impl AsRef<[u8]> for RowBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_distinct_names_and_numbers() {
        for (index, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table.index(), index);
            assert_eq!(Table::from_index(index), Some(table));
            assert_eq!(
                Table::ALL
                    .iter()
                    .filter(|other| other.name() == table.name())
                    .count(),
                1
            );
        }
        assert_eq!(Table::from_index(Table::ALL.len()), None);
    }

    #[test]
    fn key_bytes_sort_and_return() {
        let numbers = [0, 1, 255, 256, u64::MAX >> 1];
        for table in [Table::Objects, Table::Changes] {
            let mut last: Option<Vec<u8>> = None;
            for first in numbers {
                for second in if table.is_pair() { &numbers[..] } else { &[0] } {
                    let key = Key::pair(first, *second);
                    let bytes = key.to_bytes(table).as_ref().to_vec();
                    assert_eq!(Key::from_bytes(table, &bytes), Some(key));
                    assert!(last.is_none_or(|last| last < bytes));
                    let row = key.to_row_bytes(table);
                    assert_eq!(Key::from_row_bytes(table, row.as_ref()), Some(key));
                    assert_eq!(Key::from_row_bytes(Table::Meta, row.as_ref()), None);
                    last = Some(bytes);
                }
            }
        }
        assert_eq!(Key::from_bytes(Table::Objects, &[1, 2]), None);
    }
}
