//! The objects that all engines get.

use durum_core::Oid;
use fastrand::Rng;

/// The data of an object, in bytes, from here on up to half as much again: about 100.
const DATA_BYTES_MIN: usize = 80;

/// Object number `oid` of `objects`: its references, as records need them, and its data. `version`
/// gives the same object another state.
pub(crate) fn object(oid: u64, objects: u64, version: u64) -> (Vec<Oid>, Vec<u8>) {
    let mut draw = Rng::with_seed(oid);
    let length = draw.usize(DATA_BYTES_MIN..=DATA_BYTES_MIN * 3 / 2);
    // One leads to the next, so that the root reaches all, and one anywhere.
    let mut refs = vec![Oid((oid + 1) % objects), Oid(draw.u64(0..objects))];
    durum_core::record::normalize_refs(Oid(oid), &mut refs);
    let mut draw = Rng::with_seed(oid ^ version << 32);
    let data = std::iter::repeat_with(|| draw.alphanumeric() as u8)
        .take(length)
        .collect();
    (refs, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_the_same_in_every_store_and_change_with_their_version() {
        let mut bytes = 0;
        for oid in 0..1000 {
            let (refs, data) = object(oid, 1000, 0);
            assert_eq!(
                (&refs, &data),
                (&object(oid, 1000, 0).0, &object(oid, 1000, 0).1)
            );
            assert!(refs.is_sorted_by(|left, right| left < right) && !refs.contains(&Oid(oid)));
            let (same, other) = object(oid, 1000, 1);
            assert!(same == refs && other != data);
            bytes += data.len();
        }
        assert!((95_000..105_000).contains(&bytes), "{bytes}");
        assert_eq!(object(0, 1, 0).0, []);
    }
}
