//! What hangs on an object that is being examined: its fate is the object's.
//!
//! A climb that meets the object it began for shows that all it went through hangs on that object. Should
//! that become suspect, so would they, one after the other and each read again. So they are remembered:
//! later climbs end where they meet one of them, and when the object becomes suspect all of them are taken
//! over at once, those of which nothing else need be known without another look.

use super::climb::Climb;
use super::spill::SpillSet;
use crate::error::Result;
use crate::id::Oid;

/// Objects that are moved from the smaller of two sets to the larger at a time; moving more would take
/// longer than a commit should wait.
const MOVED_MAX: u64 = 4096;

/// Objects whose anchors lead to one that is being examined.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Beneath {
    objects: SpillSet,
    /// Those that only their anchor refers to, and that refer to nothing but each other, the object and
    /// what the search has in hand.
    settled: SpillSet,
}

impl Beneath {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn contains(&mut self, oid: Oid) -> Result<bool> {
        self.objects.contains(oid)
    }

    pub(super) fn is_settled(&mut self, oid: Oid) -> Result<bool> {
        self.settled.contains(oid)
    }

    /// The least from `from` on.
    pub(super) fn next_from(&mut self, from: Oid) -> Result<Option<Oid>> {
        self.objects.next_from(from)
    }

    /// A commit has changed the object or its referrers.
    pub(super) fn unsettle(&mut self, oid: Oid) -> Result<()> {
        self.settled.remove(oid).map(drop)
    }

    /// Adds what a climb went through. False where a part had to be forgotten, since it is too much.
    pub(super) fn add(&mut self, climb: Climb) -> Result<bool> {
        let (mut objects, mut settled) = climb.into_passed();
        let longer = objects.len() > self.objects.len();
        if longer {
            std::mem::swap(&mut self.objects, &mut objects);
            std::mem::swap(&mut self.settled, &mut settled);
        }
        if objects.len() > MOVED_MAX {
            if longer {
                // What the climb went through may refer to what is forgotten.
                self.settled = SpillSet::default();
            }
            return Ok(false);
        }
        for (from, to) in [
            (&mut objects, &mut self.objects),
            (&mut settled, &mut self.settled),
        ] {
            let mut next = Oid::ROOT;
            while let Some(oid) = from.next_from(next)? {
                to.insert(oid)?;
                next = oid.next();
            }
        }
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn sorted(&self) -> [Vec<Oid>; 2] {
        [self.objects.sorted(), self.settled.sorted()]
    }

    #[cfg(test)]
    pub(super) fn of([objects, settled]: [SpillSet; 2]) -> Beneath {
        Beneath { objects, settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn climb(oids: std::ops::Range<u64>) -> Climb {
        let set = || {
            let mut set = SpillSet::default();
            oids.clone().for_each(|oid| {
                set.insert(Oid(oid)).unwrap();
            });
            set
        };
        Climb::of(Oid::MAX, Oid::MAX, [set(), set()])
    }

    #[test]
    fn the_smaller_part_is_added_to_the_larger_or_forgotten() {
        let mut beneath = Beneath::default();
        assert!(beneath.add(climb(0..10)).unwrap());
        assert!(beneath.add(climb(10..2 * MOVED_MAX)).unwrap());
        assert!(beneath.is_settled(Oid(3)).unwrap());
        let far = 1 << 30;
        assert!(!beneath.add(climb(far..far + MOVED_MAX + 1)).unwrap());
        assert!(beneath.contains(Oid(3)).unwrap() && !beneath.contains(Oid(far)).unwrap());
        assert!(beneath.is_settled(Oid(3)).unwrap());
        assert!(!beneath.add(climb(far..far + 3 * MOVED_MAX)).unwrap());
        assert!(beneath.contains(Oid(far)).unwrap() && !beneath.contains(Oid(3)).unwrap());
        assert!(!beneath.is_settled(Oid(far)).unwrap());
    }
}
