//! What each commit writes, and what the store holds after it.

use std::collections::BTreeMap;

use durum_core::engine::{Key, Table};

/// Rows of all tables.
pub type Rows = BTreeMap<(Table, Key), Vec<u8>>;

/// A series of commits, the same for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    seed: u64,
}

/// The row that says how many commits there are.
const NUMBER_ROW: (Table, Key) = (Table::Meta, Key::MIN);

impl Plan {
    /// The series that follows from `seed`.
    pub fn new(seed: u64) -> Plan {
        Plan { seed }
    }

    /// What the series follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The changes of a commit, sorted: new values, and `None` for rows that it deletes.
    ///
    /// Several tables, single and pair keys, values from nothing to more than a page, deletions; now
    /// and then many rows, and values that engines keep outside of their pages.
    pub fn batch(&self, commit: u64) -> BTreeMap<(Table, Key), Option<Vec<u8>>> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ commit.wrapping_mul(0x9E37_79B9));
        let rows = match commit % 5 {
            4 => 60,
            _ => random.u64(1..8),
        };
        let mut batch = BTreeMap::new();
        for _ in 0..rows {
            let oid = random.u64(..64);
            let row = match random.u32(..8) {
                0 => (Table::Referrers, Key::from(oid)),
                1 => (Table::ReferrersMore, Key::pair(oid % 4, random.u64(..16))),
                2 => (Table::Recent, Key::from(random.u64(..8))),
                _ => (Table::Objects, Key::from(oid)),
            };
            let value = (random.u32(..4) > 0).then(|| {
                let length = match random.u32(..16) {
                    0 => random.usize(2000..9000),
                    1 => 0,
                    _ => random.usize(10..400),
                };
                bytes(&mut random, length)
            });
            batch.insert(row, value);
        }
        if commit % 11 == 7 {
            let large = bytes(&mut random, 40_000);
            batch.insert((Table::Objects, Key::from(64)), Some(large));
        }
        if commit % 3 == 1 {
            // So large that the flat file gives its space back by itself once it is replaced.
            let largest = bytes(&mut random, 70_000);
            batch.insert((Table::Objects, Key::from(65)), Some(largest));
        }
        let note = bytes(&mut random, 24);
        batch.insert((Table::Changes, Key::pair(commit, 0)), Some(note));
        batch.insert(NUMBER_ROW, Some(commit.to_le_bytes().to_vec()));
        batch
    }

    /// What the tables hold after this many commits.
    pub fn rows(&self, commits: u64) -> Rows {
        let mut rows = Rows::new();
        for commit in 1..=commits {
            for (row, value) in self.batch(commit) {
                match value {
                    Some(value) => rows.insert(row, value),
                    None => rows.remove(&row),
                };
            }
        }
        rows
    }

    /// What a commit writes, as one piece of data, for subjects that have no tables.
    pub fn payload(&self, commit: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ commit.wrapping_mul(0x9E37_79B9));
        let length = random.usize(100..3000);
        bytes(&mut random, length)
    }
}

/// The row that holds the number of commits, and the number in its value.
pub fn value_of(number_row: Option<&[u8]>) -> Result<u64, String> {
    match number_row {
        None => Ok(0),
        Some(bytes) => bytes
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| format!("the number of commits is {} bytes long", bytes.len())),
    }
}

fn bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}
