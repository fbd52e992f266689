//! The objects that are migrated: made one after the other, the same for every engine.

use durum_core::external_queue::PairQueue;
use durum_core::record::{self, Payload};
use durum_core::{Oid, Result, Tid};
use durum_raw::Rows;
use fastrand::Rng;

/// The commit that all objects are of.
pub(crate) const TID: Tid = Tid(1);
/// Memory for references to objects that are still to come.
const AHEAD_BYTES: usize = 2 << 20;
/// Half of each object's data is taken from this: what compresses, as the names of classes and fields do.
const WORDS: &[u8] = b"persistent.mapping PersistentMapping data __class__ title creator created \
    modified children parent subject description language en contributors rights expires effective \
    workflow_history review_state published actor action comments time _owner admin _oid _p_serial \
    position size width height content_type text/plain encoding utf-8 filename blob annotations key ";

/// A graph of objects that can be made in any order.
///
/// Each refers to the next one, and the last to the root, so that the root reaches all, along a path as
/// long as there are objects; and to two anywhere, so that there are cycles of all lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects {
    /// How many there are.
    pub(crate) count: u64,
    /// Bytes of data, on average: from three quarters of it to five.
    pub(crate) size: usize,
    pub(crate) seed: u64,
}

impl Objects {
    /// Puts the references of object `oid`, as records need them, and its data where they belong.
    ///
    /// The first half of the data compresses well, the second not at all.
    pub(crate) fn make(&self, oid: u64, refs: &mut Vec<Oid>, data: &mut Vec<u8>) {
        let mut draw = Rng::with_seed(self.seed ^ (oid + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        refs.clear();
        refs.push(Oid((oid + 1) % self.count));
        refs.extend([(); 2].map(|()| Oid(draw.u64(0..self.count))));
        record::normalize_refs(Oid(oid), refs);
        let length = draw.usize(self.size * 3 / 4..=self.size * 5 / 4);
        data.clear();
        while data.len() < length / 2 {
            let words = WORDS.get(draw.usize(0..WORDS.len())..).unwrap_or_default();
            let wanted = length / 2 - data.len();
            data.extend_from_slice(words.get(..wanted).unwrap_or(words));
        }
        let words = data.len();
        data.resize(length, 0);
        draw.fill(data.get_mut(words..).unwrap_or_default());
    }
}

/// The records of the objects, as a store has them after an import: also with the anchors.
#[derive(Debug)]
pub(crate) struct Records {
    objects: Objects,
    next: u64,
    ahead: PairQueue,
    refs: Vec<Oid>,
    data: Vec<u8>,
}

impl Records {
    pub(crate) fn new(objects: Objects) -> Records {
        Records {
            objects,
            next: 0,
            ahead: PairQueue::new(None, AHEAD_BYTES),
            refs: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Replaces `rows` by the next ones, of about so many bytes; false where there are no more.
    pub(crate) fn fill(&mut self, rows: &mut Rows, bytes: usize) -> Result<bool> {
        rows.clear();
        while self.next < self.objects.count && rows.bytes() < bytes {
            let oid = self.next;
            self.objects.make(oid, &mut self.refs, &mut self.data);
            let anchor = self.anchor(oid)?;
            rows.push(oid, |out| {
                let payload = Payload::plain(&self.data);
                record::encode(Oid(oid), TID, anchor, &self.refs, payload, out);
            });
            self.next += 1;
        }
        Ok(!rows.is_empty())
    }

    /// The smallest of the objects before this one that refer to it.
    fn anchor(&mut self, oid: u64) -> Result<Option<Oid>> {
        let mut smallest = None;
        while self.ahead.peek().is_some_and(|pair| pair.0 <= oid) {
            if let Some((_, source)) = self.ahead.pop()? {
                smallest.get_or_insert(Oid(source));
            }
        }
        for target in self.refs.iter().filter(|target| target.0 > oid) {
            self.ahead.push(target.0, oid)?;
        }
        Ok(smallest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: Objects = Objects {
        count: 3000,
        size: 200,
        seed: 7,
    };

    #[test]
    fn objects_are_of_the_size_and_have_the_references_that_were_asked_for() {
        let (mut refs, mut data, mut bytes, mut back) = (Vec::new(), Vec::new(), 0, 0);
        for oid in 0..OBJECTS.count {
            OBJECTS.make(oid, &mut refs, &mut data);
            assert!((150..=250).contains(&data.len()), "{}", data.len());
            assert!(refs.is_sorted_by(|left, right| left < right) && (1..=3).contains(&refs.len()));
            assert!(refs.contains(&Oid((oid + 1) % OBJECTS.count)) && !refs.contains(&Oid(oid)));
            bytes += data.len();
            back += refs.iter().filter(|target| target.0 < oid).count();
            let same = (refs.clone(), data.clone());
            OBJECTS.make(oid, &mut refs, &mut data);
            assert_eq!(same, (refs.clone(), data.clone()));
        }
        assert!((590_000..610_000).contains(&bytes), "{bytes}");
        assert!((2700..3300).contains(&back), "{back} lead back");
    }

    #[test]
    fn records_are_those_of_an_import() {
        let registry = durum_backends::registry();
        let dir = tempfile::tempdir().unwrap();
        let settings = durum_core::config::StoreSettings::new("memory", dir.path().join("store"));
        let staged = registry.stage(&settings).unwrap();
        let mut importer = staged.importer().unwrap();
        let (mut refs, mut data) = (Vec::new(), Vec::new());
        for oid in 0..OBJECTS.count {
            OBJECTS.make(oid, &mut refs, &mut data);
            let payload = Payload::plain(&data);
            importer.push_own(Oid(oid), TID, &refs, payload).unwrap();
        }
        importer.finish(TID, Oid::ROOT).unwrap();
        let (mut expected, mut rows, mut found) = (Vec::new(), Rows::default(), Vec::new());
        let mut take = |oid: Oid, bytes: &[u8]| expected.push((oid.0, bytes.to_vec()));
        durum_core::store::Store::snapshot(staged.store())
            .unwrap()
            .scan_stored(Oid::ROOT)
            .map(|mut scan| {
                while let Some((oid, bytes)) = scan.next().unwrap() {
                    take(oid, bytes);
                }
            })
            .unwrap();
        let mut records = Records::new(OBJECTS);
        while records.fill(&mut rows, 10_000).unwrap() {
            found.extend(rows.iter().map(|(oid, bytes)| (oid, bytes.to_vec())));
        }
        assert!(found == expected);
    }
}
