//! Handing out OIDs.
//!
//! OIDs are taken from blocks that end at a persisted high-water mark, so that none is handed out
//! twice, whatever happens: what a process did not use of a block is lost when it ends. Which OIDs a
//! session was given and has not used yet is kept in memory; only these can be created, so that a
//! stale client can never bring a collected object back.

use std::collections::{BTreeMap, HashMap};

use crate::id::{Oid, SessionId};

/// How far the mark is moved at least, and at most, beyond what is asked for.
const BLOCK_MIN: u64 = 1024;
const BLOCK_MAX: u64 = 1 << 20;

/// The OIDs of a store that can be handed out, and those that were and are not used yet.
#[derive(Debug, Default)]
pub(super) struct OidAllocator {
    next: u64,
    /// The persisted mark: OIDs from here on must not be handed out yet.
    limit: u64,
    /// The size of the next block; it grows with the demand.
    block: u64,
    /// The root's OID comes first while there is no root, however often the store is reopened: it
    /// cannot be stale, since the root is never collected.
    root_free: bool,
    unused: HashMap<SessionId, Ranges>,
}

impl OidAllocator {
    pub(super) fn new(high_water: u64, root_exists: bool) -> OidAllocator {
        OidAllocator {
            next: high_water.max(1),
            limit: high_water,
            block: BLOCK_MIN,
            root_free: !root_exists,
            unused: HashMap::from([(SessionId::EMBEDDED, Ranges::default())]),
        }
    }

    /// Takes `count` OIDs for `session`; `None` where the mark has to be moved first. The session
    /// exists.
    pub(super) fn take(&mut self, session: SessionId, count: u32) -> Option<Vec<Oid>> {
        let wanted = u64::from(count) - u64::from(self.root_free && count > 0);
        if self.next + wanted > self.limit {
            return None;
        }
        let mut oids = Vec::with_capacity(count as usize);
        if self.root_free && count > 0 {
            self.root_free = false;
            oids.push(Oid::ROOT);
        }
        oids.extend((self.next..self.next + wanted).map(Oid));
        let ranges = self.unused.entry(session).or_default();
        ranges.insert(self.next, self.next + wanted);
        self.next += wanted;
        Some(oids)
    }

    /// Whether `count` more OIDs are left at all.
    pub(super) fn has_left(&self, count: u32) -> bool {
        Oid::MAX.0 - self.next.min(Oid::MAX.0) >= u64::from(count)
    }

    /// OIDs below `end` are in use, whatever the mark said. None of those that were handed out is lost.
    pub(super) fn skip_to(&mut self, end: u64) {
        self.next = self.next.max(end);
        self.limit = self.limit.max(end);
    }

    /// Where to move the mark so that `count` more can be taken.
    pub(super) fn next_limit(&self, count: u32) -> u64 {
        (self.next + u64::from(count) + self.block).min(Oid::MAX.0)
    }

    /// Where a commit that is being written should move the mark along with it, so that it need not
    /// be written on its own soon.
    pub(super) fn limit_for_commit(&self) -> Option<u64> {
        let handing_out = self.unused.values().any(|ranges| !ranges.is_empty());
        let left = self.limit.saturating_sub(self.next);
        (handing_out && left < self.block / 2).then(|| self.next_limit(0))
    }

    /// The mark was persisted at `limit`.
    pub(super) fn set_limit(&mut self, limit: u64) {
        if limit > self.limit {
            self.limit = limit;
            self.block = (self.block * 2).min(BLOCK_MAX);
        }
    }

    /// Whether `session` may create `oid`; the root is free for all while there is none.
    pub(super) fn may_create(&self, session: SessionId, oid: Oid) -> bool {
        oid == Oid::ROOT
            || self
                .unused
                .get(&session)
                .is_some_and(|ranges| ranges.contains(oid.0))
    }

    /// Whether any session has the OID and has not used it yet.
    pub(super) fn is_handed_out(&self, oid: Oid) -> bool {
        let mut unused = self.unused.values();
        unused.any(|ranges| ranges.contains(oid.0))
    }

    /// The object was created.
    pub(super) fn created(&mut self, session: SessionId, oid: Oid) {
        if oid == Oid::ROOT {
            self.root_free = false;
        } else if let Some(ranges) = self.unused.get_mut(&session) {
            ranges.remove(oid.0);
        }
        // An import brings its own OIDs.
        self.skip_to(oid.0 + 1);
    }

    pub(super) fn begin(&mut self, session: SessionId) {
        self.unused.entry(session).or_default();
    }

    pub(super) fn knows(&self, session: SessionId) -> bool {
        self.unused.contains_key(&session)
    }

    /// Forgets the session; false where it is unknown.
    pub(super) fn end(&mut self, session: SessionId) -> bool {
        self.unused.remove(&session).is_some()
    }
}

/// A set of numbers as ranges, each by its start with its exclusive end.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `start..end`, which lies above everything in the set.
    fn insert(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        match self.0.last_entry() {
            Some(mut last) if *last.get() == start => {
                last.insert(end);
            }
            _ => {
                self.0.insert(start, end);
            }
        }
    }

    fn contains(&self, number: u64) -> bool {
        self.0
            .range(..=number)
            .next_back()
            .is_some_and(|(_, end)| number < *end)
    }

    fn remove(&mut self, number: u64) {
        let Some((&start, &end)) = self.0.range(..=number).next_back() else {
            return;
        };
        if number >= end {
            return;
        }
        if start == number {
            self.0.remove(&start);
        } else {
            self.0.insert(start, number);
        }
        if number + 1 < end {
            self.0.insert(number + 1, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: SessionId = SessionId::EMBEDDED;

    #[test]
    fn the_first_oid_is_the_root_and_none_comes_twice() {
        let mut oids = OidAllocator::new(0, false);
        assert_eq!(oids.take(ME, 3), None, "nothing is persisted yet");
        oids.set_limit(oids.next_limit(3));
        assert_eq!(oids.take(ME, 3).unwrap(), [0, 1, 2].map(Oid));
        assert_eq!(oids.take(ME, 2).unwrap(), [3, 4].map(Oid));
        let mut reopened = OidAllocator::new(oids.limit, false);
        reopened.set_limit(reopened.next_limit(2));
        assert_eq!(reopened.take(ME, 2).unwrap(), [Oid(0), Oid(oids.limit)]);
        let mut with_root = OidAllocator::new(oids.limit, true);
        with_root.set_limit(with_root.next_limit(1));
        assert_eq!(with_root.take(ME, 1).unwrap(), [Oid(oids.limit)]);
    }

    #[test]
    fn only_its_session_can_create_an_oid_and_only_once() {
        let mut oids = OidAllocator::new(0, true);
        let other = SessionId(2);
        oids.begin(other);
        oids.set_limit(100);
        let mine = oids.take(ME, 3).unwrap();
        assert!(oids.may_create(ME, mine[1]) && !oids.may_create(other, mine[1]));
        oids.created(ME, mine[1]);
        assert!(!oids.may_create(ME, mine[1]));
        assert!(oids.may_create(ME, mine[0]) && oids.may_create(ME, mine[2]));
        assert!(oids.end(ME) && !oids.end(ME));
        assert!(!oids.may_create(ME, mine[0]));
    }

    #[test]
    fn ranges_equal_a_set() {
        let mut ranges = Ranges::default();
        let mut model = std::collections::BTreeSet::new();
        let mut random = fastrand::Rng::with_seed(3);
        let mut next = 0;
        for _ in 0..2000 {
            if random.u8(..4) == 0 {
                let end = next + random.u64(0..5);
                ranges.insert(next, end);
                model.extend(next..end);
                next = end + random.u64(0..3);
            } else {
                let number = random.u64(0..next + 2);
                ranges.remove(number);
                model.remove(&number);
            }
            let number = random.u64(0..next + 2);
            assert_eq!(ranges.contains(number), model.contains(&number));
        }
        let total: u64 = ranges.0.iter().map(|(start, end)| end - start).sum();
        assert_eq!(total, model.len() as u64);
    }
}
