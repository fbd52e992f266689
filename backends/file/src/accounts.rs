//! How much of each segment is still needed.

use std::collections::BTreeMap;

use durum_core::engine::Key;

use crate::index::{TREE_DEAD, TREE_SEGMENTS, TREES};
use crate::log::Entry;

/// The accounts of all segments. They are kept in the index, and brought up to date with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    segments: BTreeMap<u32, Account>,
    /// Rows of the index that are out of date, by tree and key; absent ones are to be removed.
    stale: Vec<(usize, Key)>,
}

/// The account of a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Bytes of operations that are rows' newest, rounded as [`Entry::bytes_max`] is.
    pub(crate) live: u64,
    /// Where its frames end.
    pub(crate) used: u64,
    /// Bytes of [`crate::log::Content::Dead`] about other segments, by those.
    dead: BTreeMap<u32, u64>,
}

impl Account {
    /// Bytes that cleaning would have to copy.
    pub(crate) fn needed(&self) -> u64 {
        self.live + self.dead.values().sum::<u64>()
    }
}

impl Accounts {
    /// The segments that there are, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Account)> {
        self.segments
            .iter()
            .map(|(number, account)| (*number, account))
    }

    /// The account of a segment.
    pub(crate) fn get(&self, segment: u32) -> Option<&Account> {
        self.segments.get(&segment)
    }

    /// Whether there is this segment.
    pub(crate) fn contains(&self, segment: u32) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Notes that an operation became a row's newest.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.change(entry.segment()).live += entry.bytes_max();
    }

    /// Notes that an operation is a row's newest no more.
    pub(crate) fn subtract(&mut self, entry: Entry) {
        if self.contains(entry.segment()) {
            let account = self.change(entry.segment());
            account.live = account.live.saturating_sub(entry.bytes_max());
        }
    }

    /// Notes that the operation at `entry` declares places in segment `of` dead.
    pub(crate) fn add_dead(&mut self, entry: Entry, of: u32) {
        if !self.contains(of) {
            return;
        }
        let dead = &mut self.change(entry.segment()).dead;
        *dead.entry(of).or_default() += entry.bytes_max();
        self.stale.push((TREE_DEAD, dead_key(entry.segment(), of)));
    }

    /// Notes where a segment's frames end.
    pub(crate) fn set_used(&mut self, segment: u32, used: u64) {
        self.change(segment).used = used;
    }

    /// Forgets a segment, and what others say about it.
    pub(crate) fn remove(&mut self, segment: u32) {
        let Some(account) = self.segments.remove(&segment) else {
            return;
        };
        for of in account.dead.keys() {
            self.stale.push((TREE_DEAD, dead_key(segment, *of)));
        }
        for (number, other) in &mut self.segments {
            if other.dead.remove(&segment).is_some() {
                self.stale.push((TREE_DEAD, dead_key(*number, segment)));
            }
        }
        self.note(segment);
    }

    /// Takes in a row of the index.
    pub(crate) fn load(&mut self, tree: usize, key: Key, value: u64) {
        if tree == TREE_DEAD {
            let account = self.segments.entry(key.first as u32).or_default();
            account.dead.insert(key.second as u32, value);
            return;
        }
        let account = self.segments.entry((key.first / 2) as u32).or_default();
        if key.first.is_multiple_of(2) {
            account.live = value;
        } else {
            account.used = value;
        }
    }

    /// Adds to `changes` what brings the index up to date; [`Accounts::saved`] says that it is.
    pub(crate) fn changes(&mut self, changes: &mut [Vec<(Key, u64)>; TREES]) {
        self.stale.sort_unstable();
        self.stale.dedup();
        for &(tree, key) in &self.stale {
            let value = self.value(tree, key).unwrap_or(Entry::GONE.0);
            if let Some(changes) = changes.get_mut(tree) {
                changes.push((key, value));
            }
        }
    }

    /// Notes that the index has everything.
    pub(crate) fn saved(&mut self) {
        self.stale.clear();
    }

    fn value(&self, tree: usize, key: Key) -> Option<u64> {
        if tree == TREE_DEAD {
            let account = self.segments.get(&(key.first as u32))?;
            return account.dead.get(&(key.second as u32)).copied();
        }
        let account = self.segments.get(&((key.first / 2) as u32))?;
        Some(if key.first.is_multiple_of(2) {
            account.live
        } else {
            account.used
        })
    }

    fn change(&mut self, segment: u32) -> &mut Account {
        if self.stale.last() != Some(&(TREE_SEGMENTS, used_key(segment))) {
            self.note(segment);
        }
        self.segments.entry(segment).or_default()
    }

    fn note(&mut self, segment: u32) {
        self.stale
            .push((TREE_SEGMENTS, Key::from(u64::from(segment) * 2)));
        self.stale.push((TREE_SEGMENTS, used_key(segment)));
        if self.stale.len() > STALE_LENGTH_MAX {
            self.stale.sort_unstable();
            self.stale.dedup();
        }
    }
}

fn used_key(segment: u32) -> Key {
    Key::from(u64::from(segment) * 2 + 1)
}

fn dead_key(segment: u32, of: u32) -> Key {
    Key::pair(u64::from(segment), u64::from(of))
}

/// The list is cleared of duplicates when it is longer, and at checkpoints.
const STALE_LENGTH_MAX: usize = 1 << 16;
