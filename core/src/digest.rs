//! The digest of a store's contents: equal for equal contents, whatever the engine, the order, the
//! codec and the tids.
//!
//! It is the sum modulo 2^256 of the SHA-256 of each object: its OID as 8 big-endian bytes, the number
//! of its references as 4, the references ascending with 8 bytes each, and its data. A sum needs no
//! order, and finding a different set of objects with the same sum is as hard as a generalised birthday
//! problem on 256 bits (Wagner, "A Generalized Birthday Problem", 2002): no concern where the contents
//! are compared against accidents.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::id::Oid;
use crate::store::Snapshot;

/// A running digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The sum, in limbs of 64 bits, the least significant first.
    limbs: [u64; 4],
    objects: u64,
}

impl Digest {
    /// Adds an object. `refs` are ascending, each once, without `oid`.
    pub fn add(&mut self, oid: Oid, refs: impl ExactSizeIterator<Item = Oid>, data: &[u8]) {
        let mut hasher = Sha256::new();
        hasher.update(oid.0.to_be_bytes());
        hasher.update((refs.len() as u32).to_be_bytes());
        refs.for_each(|reference| hasher.update(reference.0.to_be_bytes()));
        hasher.update(data);
        let hash = hasher.finalize();
        let mut parts = [0; 4];
        for (part, bytes) in parts.iter_mut().zip(hash.rchunks_exact(8)) {
            *part = u64::from_be_bytes(bytes.try_into().unwrap_or_default());
        }
        self.add_sum(parts);
        self.objects += 1;
    }

    /// Adds all objects of another digest.
    pub fn merge(&mut self, other: &Digest) {
        self.add_sum(other.limbs);
        self.objects += other.objects;
    }

    fn add_sum(&mut self, parts: [u64; 4]) {
        let mut carry = false;
        for (limb, part) in self.limbs.iter_mut().zip(parts) {
            let (sum, first) = limb.overflowing_add(part);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    /// The digest that [`fmt::Display`] shows as `text`, of so many objects; `None` for anything else.
    pub fn parse(text: &str, objects: u64) -> Option<Digest> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut limbs = [0; 4];
        for (index, limb) in limbs.iter_mut().rev().enumerate() {
            let digits = text.get(index * 16..index * 16 + 16)?;
            *limb = u64::from_str_radix(digits, 16).ok()?;
        }
        Some(Digest { limbs, objects })
    }

    /// The number of objects that were added.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// The digest of everything in a snapshot; verifies every record on the way.
    ///
    /// # Errors
    /// Those of the snapshot's scan; `Damaged` names the object.
    pub fn of(snapshot: &dyn Snapshot) -> Result<Digest> {
        let mut digest = Digest::default();
        let mut data = Vec::new();
        let mut scan = snapshot.scan(Oid::ROOT)?;
        while let Some(record) = scan.next()? {
            data.clear();
            record.read_data(snapshot.codecs(), &mut data)?;
            digest.add(record.oid, record.refs(), &data);
        }
        Ok(digest)
    }
}

impl fmt::Display for Digest {
    /// 64 hexadecimal digits.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limbs
            .iter()
            .rev()
            .try_for_each(|limb| write!(out, "{limb:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_parts_add_up_and_return_from_text() {
        let add = |digest: &mut Digest, oid| digest.add(Oid(oid), [].into_iter(), &[oid as u8]);
        let (mut whole, mut left, mut right) = <(Digest, Digest, Digest)>::default();
        for oid in 0..100 {
            add(&mut whole, oid);
            add(if oid % 3 == 0 { &mut left } else { &mut right }, oid);
        }
        left.merge(&right);
        assert_eq!(left, whole);
        let text = whole.to_string();
        assert_eq!(Digest::parse(&text, 100), Some(whole));
        assert_eq!(Digest::parse(&text[1..], 100), None);
        assert_eq!(Digest::parse(&text.replace(&text[..1], "x"), 100), None);
    }

    #[test]
    fn one_object_gives_its_sha_256_and_order_does_not_matter() {
        let mut one = Digest::default();
        one.add(Oid(1), [Oid(2)].into_iter(), b"data");
        let mut hasher = Sha256::new();
        hasher.update([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        hasher.update(b"data");
        let hex: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(one.to_string(), hex);

        let objects: Vec<(Oid, Vec<Oid>)> =
            (0..100).map(|oid| (Oid(oid), vec![Oid(oid + 1)])).collect();
        let sum = |order: &mut dyn Iterator<Item = &(Oid, Vec<Oid>)>| {
            let mut digest = Digest::default();
            order.for_each(|(oid, refs)| digest.add(*oid, refs.iter().copied(), b"x"));
            digest
        };
        let forward = sum(&mut objects.iter());
        assert_eq!(forward, sum(&mut objects.iter().rev()));
        assert_eq!(forward.objects(), 100);
        assert_ne!(forward.limbs, sum(&mut objects.iter().skip(1)).limbs);
    }
}
