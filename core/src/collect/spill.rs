//! Sets and queues of OIDs for searches of any size: in memory as long as they are small.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use super::frontier::Frontier;
use super::oid_set::OidSet;
use crate::error::Result;
use crate::id::Oid;

/// OIDs that each of these keeps in a plain collection.
const SMALL_MAX: usize = 64 << 10;
/// Memory for the bitmap of a set that has become larger.
const BITMAP_BYTES: usize = 4 << 20;

/// A set of OIDs.
#[derive(Debug, Default)]
pub(crate) struct SpillSet {
    small: BTreeSet<Oid>,
    large: Option<Box<OidSet>>,
}

impl SpillSet {
    pub(crate) fn len(&self) -> u64 {
        match &self.large {
            Some(large) => large.len(),
            None => self.small.len() as u64,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&mut self, oid: Oid) -> Result<bool> {
        match &mut self.large {
            Some(large) => large.contains(oid),
            None => Ok(self.small.contains(&oid)),
        }
    }

    /// True where it was not in the set.
    pub(crate) fn insert(&mut self, oid: Oid) -> Result<bool> {
        if self.large.is_none() && self.small.len() >= SMALL_MAX {
            let mut large = OidSet::new(BITMAP_BYTES);
            for oid in std::mem::take(&mut self.small) {
                large.insert(oid)?;
            }
            self.large = Some(Box::new(large));
        }
        match &mut self.large {
            Some(large) => large.insert(oid),
            None => Ok(self.small.insert(oid)),
        }
    }

    /// True where it was in the set.
    pub(crate) fn remove(&mut self, oid: Oid) -> Result<bool> {
        match &mut self.large {
            Some(large) => large.remove(oid),
            None => Ok(self.small.remove(&oid)),
        }
    }

    /// The least member from `from` on.
    pub(crate) fn next_from(&mut self, from: Oid) -> Result<Option<Oid>> {
        match &mut self.large {
            Some(large) => large.next_from(from),
            None => Ok(self
                .small
                .range((Bound::Included(from), Bound::Unbounded))
                .next()
                .copied()),
        }
    }
}

/// For the model check, which keeps many searches at once: all of them are small.
#[cfg(test)]
mod copies {
    use super::*;

    impl Clone for SpillSet {
        fn clone(&self) -> SpillSet {
            assert!(self.large.is_none());
            SpillSet {
                small: self.small.clone(),
                large: None,
            }
        }
    }

    impl Clone for Work {
        fn clone(&self) -> Work {
            assert!(self.far_members.is_empty());
            Work {
                near: self.near.clone(),
                ..Work::default()
            }
        }
    }

    impl Clone for SpillQueue {
        fn clone(&self) -> SpillQueue {
            assert!(self.large.is_none());
            SpillQueue {
                small: self.small.clone(),
                large: None,
                len: self.len,
            }
        }
    }

    impl SpillSet {
        pub(crate) fn sorted(&self) -> Vec<Oid> {
            self.small.iter().copied().collect()
        }
    }

    impl Work {
        pub(crate) fn sorted(&self) -> Vec<Oid> {
            self.near.iter().copied().collect()
        }
    }

    impl SpillQueue {
        pub(crate) fn in_order(&self) -> Vec<Oid> {
            self.small.iter().copied().collect()
        }
    }
}

/// Objects to be examined, each once, the least first; of very many, roughly so.
#[derive(Debug, Default)]
pub(crate) struct Work {
    near: BTreeSet<Oid>,
    far: Frontier,
    far_members: SpillSet,
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.near.is_empty() && self.far_members.is_empty()
    }

    pub(crate) fn contains(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.near.contains(&oid) || self.far_members.contains(oid)?)
    }

    pub(crate) fn insert(&mut self, oid: Oid) -> Result<()> {
        if self.near.len() < SMALL_MAX {
            if !self.far_members.contains(oid)? {
                self.near.insert(oid);
            }
        } else if !self.near.contains(&oid) && self.far_members.insert(oid)? {
            self.far.push(oid)?;
        }
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Result<Option<Oid>> {
        if self.near.is_empty() {
            while self.near.len() < SMALL_MAX {
                let Some(oid) = self.far.pop()? else { break };
                if self.far_members.remove(oid)? {
                    self.near.insert(oid);
                }
            }
        }
        Ok(self.near.pop_first())
    }
}

/// A queue of OIDs, first in, first out.
#[derive(Debug, Default)]
pub(crate) struct SpillQueue {
    small: VecDeque<Oid>,
    large: Option<Box<Frontier>>,
    len: u64,
}

impl SpillQueue {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, oid: Oid) -> Result<()> {
        if self.large.is_none() && self.small.len() < SMALL_MAX {
            self.small.push_back(oid);
        } else {
            self.large.get_or_insert_default().push(oid)?;
        }
        self.len += 1;
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Result<Option<Oid>> {
        if let Some(oid) = self.small.pop_front() {
            self.len -= 1;
            return Ok(Some(oid));
        }
        let Some(large) = &mut self.large else {
            return Ok(None);
        };
        let oid = large.pop()?;
        match oid {
            Some(_) => self.len -= 1,
            None => self.large = None,
        }
        Ok(oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_ones_behave_alike() {
        let (mut set, mut work, mut queue) =
            (SpillSet::default(), Work::default(), SpillQueue::default());
        let count = SMALL_MAX as u64 * 3;
        for number in 0..count {
            let oid = Oid(number * 7 % count);
            assert!(set.insert(oid).unwrap());
            work.insert(oid).unwrap();
            work.insert(oid).unwrap();
            queue.push(oid).unwrap();
        }
        assert_eq!(set.len(), count);
        assert!(set.remove(Oid(0)).unwrap() && !set.contains(Oid(0)).unwrap());
        assert_eq!(set.next_from(Oid(0)).unwrap(), Some(Oid(1)));
        let mut popped = BTreeSet::new();
        for number in 0..count {
            assert_eq!(queue.pop().unwrap(), Some(Oid(number * 7 % count)));
            let oid = work.pop().unwrap().unwrap();
            assert!(popped.insert(oid) && !work.contains(oid).unwrap());
        }
        assert!(work.is_empty() && work.pop().unwrap().is_none());
        assert!(queue.is_empty() && queue.pop().unwrap().is_none());
    }
}
