//! The objects that all engines get: a tree.

use durum_core::record::{self, Payload};
use durum_core::{Oid, Tid};
use durum_raw::Rows;
use fastrand::Rng;

/// To how many objects one refers that has children.
pub(crate) const CHILDREN: u64 = 16;

/// The commit that a bulk load is of.
pub(crate) const LOADED: Tid = Tid(1);

/// A tree whose root is the root, numbered level by level: each object has one referrer, and every
/// sixteenth refers to sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Objects {
    /// How many there are.
    pub(crate) count: u64,
    /// Bytes of data, on average: all lengths from four fifths of it to six are as likely.
    pub(crate) size: u32,
    pub(crate) seed: u64,
}

impl Objects {
    /// The shortest and the longest data.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        let fifth = self.size / 5;
        (self.size - fifth, self.size + fifth)
    }

    /// To which objects `oid` refers.
    pub(crate) fn refs(&self, oid: u64) -> impl Iterator<Item = Oid> + use<> {
        let first = oid.saturating_mul(CHILDREN).saturating_add(1);
        let count = self.count;
        (first..first.saturating_add(CHILDREN))
            .take_while(move |child| *child < count)
            .map(Oid)
    }

    /// Puts the object's data where it belongs. `version` gives the same object another state. Half of it
    /// are letters, which compress a little, half is noise.
    pub(crate) fn data(&self, oid: u64, version: u64, data: &mut Vec<u8>) {
        let mut draw = Rng::with_seed(self.seed ^ (oid + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (shortest, longest) = self.sizes();
        let length = draw.usize(shortest as usize..=longest as usize);
        let mut draw = Rng::with_seed(draw.u64(..) ^ version);
        data.clear();
        data.resize(length, 0);
        let (letters, noise) = data.split_at_mut(length / 2);
        letters
            .iter_mut()
            .for_each(|byte| *byte = draw.lowercase() as u8);
        draw.fill(noise);
    }

    /// Appends the object as a store would have it that had it from the commit `tid`.
    pub(crate) fn encode(&self, oid: u64, version: u64, refs: bool, tid: Tid, rows: &mut Rows) {
        let mut data = Vec::new();
        self.data(oid, version, &mut data);
        let refs: Vec<Oid> = match refs {
            true => self.refs(oid).collect(),
            false => Vec::new(),
        };
        let anchor = oid.checked_sub(1).map(|oid| Oid(oid / CHILDREN));
        rows.push(oid, |out| {
            record::encode(Oid(oid), tid, anchor, &refs, Payload::plain(&data), out);
        });
    }

    /// Objects all of whose children have none: every second of them.
    pub(crate) fn twigs(&self) -> impl Iterator<Item = u64> + use<> {
        self.all_twigs().step_by(2)
    }

    /// The others.
    pub(crate) fn other_twigs(&self) -> impl Iterator<Item = u64> + use<> {
        self.all_twigs().skip(1).step_by(2)
    }

    fn all_twigs(&self) -> impl Iterator<Item = u64> + use<> {
        let this = *self;
        let last = this.count.saturating_sub(2) / CHILDREN;
        let leaf = move |oid: Oid| this.refs(oid.0).next().is_none();
        (0..=last).filter(move |oid| this.refs(*oid).next().is_some() && this.refs(*oid).all(leaf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: Objects = Objects {
        count: 1000,
        size: 100,
        seed: 7,
    };

    #[test]
    fn all_but_the_root_have_one_referrer() {
        let mut referrers = vec![0; 1000];
        for oid in 0..OBJECTS.count {
            let refs: Vec<Oid> = OBJECTS.refs(oid).collect();
            assert!(refs.iter().all(|target| target.0 > oid));
            refs.iter()
                .for_each(|target| referrers[target.0 as usize] += 1);
        }
        assert_eq!(referrers[0], 0);
        assert!(referrers[1..].iter().all(|number| *number == 1));
    }

    #[test]
    fn data_is_of_the_size_and_changes_with_its_version() {
        let (mut data, mut other, mut bytes) = (Vec::new(), Vec::new(), 0);
        for oid in 0..OBJECTS.count {
            OBJECTS.data(oid, 0, &mut data);
            OBJECTS.data(oid, 0, &mut other);
            assert_eq!(data, other);
            OBJECTS.data(oid, 1, &mut other);
            assert!(data != other && data.len() == other.len());
            assert!((80..=120).contains(&data.len()));
            bytes += data.len();
        }
        assert!((98_000..102_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn twigs_have_leaves_only() {
        let twigs: Vec<u64> = OBJECTS.twigs().collect();
        assert!(twigs.len() > 20, "{twigs:?}");
        for twig in twigs {
            assert!(OBJECTS.refs(twig).count() > 0);
            assert!(
                OBJECTS
                    .refs(twig)
                    .all(|leaf| OBJECTS.refs(leaf.0).count() == 0)
            );
        }
        let one = Objects {
            count: 1,
            ..OBJECTS
        };
        assert_eq!(one.twigs().count(), 0);
    }

    /// What is loaded into an engine alone is what a store has.
    #[test]
    fn rows_are_those_of_a_store() {
        use durum_core::store::Store as _;
        let dir = tempfile::tempdir().unwrap();
        let registry = durum_backends::registry();
        let settings = durum_core::config::StoreSettings::new("memory", dir.path());
        let staged = registry.stage(&settings).unwrap();
        let mut importer = staged.importer().unwrap();
        let (mut data, mut rows) = (Vec::new(), Rows::default());
        for oid in 0..OBJECTS.count {
            OBJECTS.data(oid, 0, &mut data);
            let refs: Vec<Oid> = OBJECTS.refs(oid).collect();
            importer
                .push_own(Oid(oid), LOADED, &refs, Payload::plain(&data))
                .unwrap();
            OBJECTS.encode(oid, 0, true, LOADED, &mut rows);
        }
        importer.finish(LOADED, Oid::ROOT).unwrap();
        let snapshot = staged.store().snapshot().unwrap();
        let mut scan = snapshot.scan_stored(Oid::ROOT).unwrap();
        for (oid, value) in rows.iter() {
            assert_eq!(scan.next().unwrap(), Some((Oid(oid), value)));
        }
        assert_eq!(scan.next().unwrap(), None);
    }
}
