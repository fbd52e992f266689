//! Counting objects by their types.

use durum_core::{Oid, Result};
use rustc_hash::FxHashMap;

use super::{Inspector, Table, TypeName};

/// Progress is told after so many objects.
const STEP: u64 = 256;

/// What there is of each type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Typed objects, the type with the most bytes first.
    pub types: Vec<(TypeName, Count)>,
    /// Typed objects whose type is not in the table: it, or they, are damaged.
    pub unknown: Count,
    /// Other objects.
    pub untyped: Count,
}

/// Objects, and bytes of their states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub objects: u64,
    /// How large, before compression.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.objects += 1;
        self.bytes += bytes as u64;
    }

    fn add_all(&mut self, other: Count) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

impl Census {
    /// All objects.
    pub fn total(&self) -> Count {
        let mut total = self.unknown;
        total.add_all(self.untyped);
        self.types
            .iter()
            .for_each(|(_, count)| total.add_all(*count));
        total
    }
}

impl Inspector<'_> {
    /// Counts all objects of the snapshot by their types, in one pass. `passed` is told of objects and bytes
    /// that were counted since it was told last.
    ///
    /// # Errors
    /// Those of the snapshot; `Damaged` names the object.
    pub fn census(&self, passed: &mut dyn FnMut(u64, u64)) -> Result<Census> {
        let mut census = Census::default();
        // Only numbers that the table has: hostile objects do not make it larger.
        let mut counts: FxHashMap<u32, Count> = FxHashMap::default();
        let mut state = Vec::new();
        let mut step = Count::default();
        self.snapshot.scan_with(Oid::ROOT, &mut |record| {
            state.clear();
            record.read_data(self.snapshot.codecs(), &mut state)?;
            let count = match self.split(record.oid, &state) {
                None => &mut census.untyped,
                Some((number, _)) if self.entry(number).is_none() => &mut census.unknown,
                Some((number, _)) => counts.entry(number).or_default(),
            };
            count.add(state.len());
            step.add(state.len());
            if step.objects == STEP {
                passed(step.objects, step.bytes);
                step = Count::default();
            }
            Ok(true)
        })?;
        passed(step.objects, step.bytes);
        if let Table::Entries(entries) = &self.table {
            for (number, entry) in entries.iter().enumerate() {
                if let Some(count) = counts.get(&(number as u32)) {
                    census.types.push((TypeName::of(entry), *count));
                }
            }
        }
        let order =
            |(kind, count): &(TypeName, Count)| (std::cmp::Reverse(count.bytes), kind.clone());
        census.types.sort_by_cached_key(order);
        Ok(census)
    }
}
