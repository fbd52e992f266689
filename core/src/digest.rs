//! The digest of a store's contents: equal for equal contents, whatever the engine, the order, the
//! codec and the tids.
//!
//! It is the sum modulo 2^256 of the SHA-256 of each object: its OID as 8 big-endian bytes, the number
//! of its references as 4, the references ascending with 8 bytes each, and its data. A sum needs no
//! order, and finding a different set of objects with the same sum is as hard as a generalised birthday
//! problem on 256 bits (Wagner, "A Generalized Birthday Problem", 2002): no concern where the contents
//! are compared against accidents.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::id::Oid;
use crate::store::Snapshot;
use crate::watch::{Steps, Watch};

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
        *self += Digest::from_bytes(1, hasher.finalize().into());
    }

    /// The digest of so many objects that [`Digest::to_bytes`] gave.
    pub fn from_bytes(objects: u64, bytes: [u8; 32]) -> Digest {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.rchunks_exact(8)) {
            *limb = u64::from_be_bytes(bytes.try_into().unwrap_or_default());
        }
        Digest { limbs, objects }
    }

    /// The sum, the most significant byte first: in the order in which it is printed.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (limb, bytes) in self.limbs.iter().zip(bytes.rchunks_exact_mut(8)) {
            bytes.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
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
        Digest::of_with(snapshot, &mut |_| {})
    }

    /// As [`Digest::of`]; `watch` can end it.
    ///
    /// # Errors
    /// As [`Digest::of`], and those of `watch`.
    pub fn of_watched(snapshot: &dyn Snapshot, watch: &Watch<'_>) -> Result<Digest> {
        let mut steps = Steps::new(watch);
        let digest = Digest::of_each(snapshot, &mut |_, bytes| steps.object(bytes))?;
        steps.tell()?;
        Ok(digest)
    }

    /// As [`Digest::of`]; `added` is told the number of objects after each of them.
    ///
    /// # Errors
    /// As [`Digest::of`].
    pub fn of_with(snapshot: &dyn Snapshot, added: &mut dyn FnMut(u64)) -> Result<Digest> {
        Digest::of_each(snapshot, &mut |objects, _| {
            added(objects);
            Ok(())
        })
    }

    /// `added` is told the number of objects after each of them, and how many bytes this one has.
    fn of_each(
        snapshot: &dyn Snapshot,
        added: &mut dyn FnMut(u64, usize) -> Result<()>,
    ) -> Result<Digest> {
        let mut digest = Digest::default();
        let mut data = Vec::new();
        let mut scan = snapshot.scan(Oid::ROOT)?;
        while let Some(record) = scan.next()? {
            data.clear();
            record.read_data(snapshot.codecs(), &mut data)?;
            digest.add(record.oid, record.refs(), &data);
            added(digest.objects, data.len())?;
        }
        Ok(digest)
    }
}

impl AddAssign for Digest {
    /// Adds all objects of another digest.
    fn add_assign(&mut self, other: Digest) {
        let mut carry = false;
        for (limb, part) in self.limbs.iter_mut().zip(other.limbs) {
            let (sum, first) = limb.overflowing_add(part);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
        self.objects = self.objects.wrapping_add(other.objects);
    }
}

impl SubAssign for Digest {
    /// Takes all objects of another digest out, each of which was added before.
    fn sub_assign(&mut self, other: Digest) {
        let mut borrow = false;
        for (limb, part) in self.limbs.iter_mut().zip(other.limbs) {
            let (rest, first) = limb.overflowing_sub(part);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            *limb = rest;
            borrow = first || second;
        }
        self.objects = self.objects.wrapping_sub(other.objects);
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
    fn a_digest_returns_from_its_text() {
        let mut digest = Digest::default();
        digest.add(Oid(7), [Oid(8)].into_iter(), b"data");
        let text = digest.to_string();
        assert_eq!(Digest::parse(&text, 1), Some(digest));
        assert_eq!(Digest::parse(&text[1..], 1), None);
        assert_eq!(Digest::parse(&text.replace(&text[..1], "x"), 1), None);
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

        let mut halves = sum(&mut objects.iter().take(31));
        halves += sum(&mut objects.iter().skip(31));
        assert_eq!(halves, forward);
        halves -= sum(&mut objects.iter().take(31));
        assert_eq!(halves, sum(&mut objects.iter().skip(31)));
        let bytes = forward.to_bytes();
        assert_eq!(Digest::from_bytes(100, bytes), forward);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, forward.to_string());
    }
}
