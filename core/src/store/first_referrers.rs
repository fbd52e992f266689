//! The first referrer of each object that is still to come: its anchor, when it does.

use crate::error::Result;
use crate::external_queue::PairQueue;
use crate::id::Oid;

/// The least number of slots that is of use.
const SLOTS_MIN: usize = 64;

/// An object that is still to come, and the first of those that refer to it. An empty one has the root, to
/// which nothing is ahead.
type Slot = (Oid, Oid);

/// Takes references ahead as objects pass by in ascending order, and tells of each object, when its turn
/// has come, which was the first to refer to it.
///
/// The OIDs that come next have a slot each, a window that moves with the objects: what refers there costs
/// next to nothing. What refers beyond it waits in a queue that need not fit into memory.
#[derive(Debug)]
pub(super) struct FirstReferrers {
    /// That of an OID is its remainder by their number. Those of objects that have passed are free.
    slots: Vec<Slot>,
    queue: PairQueue,
}

impl FirstReferrers {
    /// Keeps about `memory_bytes` in memory.
    pub(super) fn new(memory_bytes: usize) -> FirstReferrers {
        let slots = (memory_bytes / 2 / size_of::<Slot>()).max(SLOTS_MIN);
        FirstReferrers {
            slots: vec![(Oid::ROOT, Oid::ROOT); slots],
            queue: PairQueue::new(None, memory_bytes / 2),
        }
    }

    /// Notes that `source`, whose own turn it is, refers to `target` behind it.
    pub(super) fn push(&mut self, target: Oid, source: Oid) -> Result<()> {
        if target.0.saturating_sub(source.0) >= self.slots.len() as u64 {
            return self.queue.push(target.0, source.0);
        }
        let number = self.slot(target);
        if let Some(slot) = self.slots.get_mut(number)
            && slot.0 != target
        {
            // All in the window have different slots, so that this one's object has passed. Otherwise it
            // has an earlier referrer.
            *slot = (target, source);
        }
        Ok(())
    }

    /// The first referrer of `oid`, of those before it. Each object is asked for once, in ascending order.
    pub(super) fn take(&mut self, oid: Oid) -> Result<Option<Oid>> {
        let slot = self.slots.get(self.slot(oid));
        let near = slot.filter(|slot| slot.0 == oid && oid != Oid::ROOT);
        let near = near.map(|slot| slot.1);
        let mut far = None;
        // Those of smaller OIDs dangle: no such object has come.
        while self.queue.peek().is_some_and(|pair| pair.0 <= oid.0) {
            if let Some((target, source)) = self.queue.pop()?
                && target == oid.0
            {
                far.get_or_insert(Oid(source));
            }
        }
        Ok(near.into_iter().chain(far).min())
    }

    fn slot(&self, oid: Oid) -> usize {
        (oid.0 % self.slots.len().max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use durum_testkit::seed;

    use super::*;

    /// Compares with a map, for objects with gaps of up to so much, and references over so many of them.
    fn equals_a_map(random: &mut fastrand::Rng, gap: u64, ahead: usize) {
        let mut referrers = FirstReferrers::new(0);
        referrers.slots.truncate(random.usize(1..=SLOTS_MIN));
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut oids = vec![random.u64(..2)];
        for at in 0..5000 {
            oids.push(oids[at] + 1 + random.u64(..=gap));
        }
        let mut found = 0;
        for (at, oid) in oids.iter().copied().enumerate() {
            let expected = model.remove(&oid).map(Oid);
            assert_eq!(referrers.take(Oid(oid)).unwrap(), expected);
            found += u64::from(expected.is_some());
            for _ in 0..random.u64(..4) {
                // Some lead to what never comes.
                let dangles = u64::from(random.u8(..8) == 0 && gap > 0);
                let Some(target) = oids.get(at + random.usize(1..=ahead)) else {
                    continue;
                };
                referrers.push(Oid(target + dangles), Oid(oid)).unwrap();
                model.entry(target + dangles).or_insert(oid);
            }
        }
        assert!(found > 1000);
    }

    #[test]
    fn equal_a_map_whatever_the_gaps_and_distances() {
        let mut random = fastrand::Rng::with_seed(seed());
        for gap in [0, 1, 3, 1 << 40] {
            for ahead in [1, 10, 1000] {
                equals_a_map(&mut random, gap, ahead);
            }
        }
    }
}
