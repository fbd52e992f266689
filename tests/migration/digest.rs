//! Any one byte, reference or OID that differs gives another digest.

use durum_core::digest::Digest;
use durum_core::record::Object;
use durum_core::store::{Batch, SnapshotExt as _, Store as _};
use durum_core::{Oid, Tid};
use durum_testkit::seed;
use fastrand::Rng;

use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{best, contents, digest, import, open, persistent, text};

/// Objects of a graph; references are among their OIDs, which have gaps.
const OBJECTS: u64 = 40;
const GAP: u64 = 3;

fn graph(draw: &mut Rng) -> Vec<Object> {
    let mut objects = Vec::new();
    for number in 0..OBJECTS {
        let oid = Oid(number * GAP);
        let mut refs: Vec<Oid> = (0..draw.usize(1..5))
            .map(|_| Oid(draw.u64(0..OBJECTS) * GAP))
            .collect();
        durum_core::record::normalize_refs(oid, &mut refs);
        let length = draw.usize(1..60);
        objects.push(Object {
            oid,
            tid: Tid(1),
            refs,
            data: text(draw, length),
        });
    }
    objects
}

fn sum(objects: &[Object]) -> Digest {
    let mut digest = Digest::default();
    for object in objects {
        digest.add(object.oid, object.refs.iter().copied(), &object.data);
    }
    digest
}

/// Every way to differ in one place of one object; all keep the references as records need them.
fn variants(object: &Object, draw: &mut Rng) -> Vec<(String, Object)> {
    let mut out = Vec::new();
    let mut push = |what: String, change: &dyn Fn(&mut Object)| {
        let mut other = object.clone();
        change(&mut other);
        durum_core::record::normalize_refs(other.oid, &mut other.refs);
        if other != *object {
            out.push((what, other));
        }
    };
    for at in 0..object.data.len() {
        let bits = draw.u8(1..=255);
        push(format!("byte {at} ^ {bits:#x}"), &|other| {
            other.data[at] ^= bits
        });
        push(format!("without byte {at}"), &|other| {
            other.data.remove(at);
        });
    }
    push("one byte more".into(), &|other| other.data.push(0));
    push("one byte before".into(), &|other| other.data.insert(0, 0));
    for at in 0..object.refs.len() {
        let to = Oid(draw.u64(0..OBJECTS) * GAP);
        push(format!("reference {at} to {to}"), &|other| {
            other.refs[at] = to
        });
        push(format!("without reference {at}"), &|other| {
            other.refs.remove(at);
        });
    }
    let to = Oid(draw.u64(0..OBJECTS) * GAP);
    push(format!("also to {to}"), &|other| other.refs.push(to));
    push("the OID after it".into(), &|other| {
        other.oid = other.oid.next()
    });
    // What moves from the references to the data stays in the same place of what is hashed.
    push("the last reference as data".into(), &|other| {
        let last = other.refs.pop().map_or(0, |oid| oid.0);
        other.data.splice(0..0, last.to_be_bytes());
    });
    out
}

#[test]
fn one_difference_in_one_object_changes_the_sum() {
    let mut draw = Rng::with_seed(seed());
    let mut objects = graph(&mut draw);
    let good = sum(&objects);
    let mut tried = 0;
    for at in 0..objects.len() {
        let original = objects[at].clone();
        for (what, other) in variants(&original, &mut draw) {
            objects[at] = other;
            assert_ne!(
                sum(&objects).to_string(),
                good.to_string(),
                "{}: {what}",
                original.oid
            );
            tried += 1;
        }
        objects[at] = original;
    }
    assert_eq!(sum(&objects), good);
    assert!(tried > 1000, "{tried}");
}

/// Which object has which contents counts, not only that all are there.
#[test]
fn exchanged_contents_and_missing_objects_change_the_sum() {
    let mut draw = Rng::with_seed(seed());
    let objects = graph(&mut draw);
    let good = sum(&objects);
    for at in 1..objects.len() {
        let mut other = objects.clone();
        let (left, right) = other.split_at_mut(at);
        std::mem::swap(&mut left[at - 1].data, &mut right[0].data);
        let same = objects[at - 1].data == objects[at].data;
        assert_eq!(
            sum(&other) == good,
            same,
            "contents of {} and the one before",
            objects[at].oid
        );
        other = objects.clone();
        other.remove(at);
        assert_ne!(sum(&other).to_string(), good.to_string());
    }
}

/// The same through stores: a commit that changes one place changes the digest, and one that changes
/// it back gives the old one again, whatever the commits in between were.
#[test]
fn one_difference_in_a_store_changes_its_digest() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let objects = graph(&mut draw);
    for engine in persistent(&registry) {
        let url = format!("{engine}:{}", directory.path().join(engine).display());
        import(&registry, &url, &objects);
        let store = open(&registry, &url);
        let good = digest(&store);
        assert_eq!(good, sum(&objects), "{engine}");
        let original = &objects[draw.usize(0..objects.len())];
        let mut others = variants(original, &mut draw);
        others.retain(|(_, other)| other.oid == original.oid);
        draw.shuffle(&mut others);
        // Real disks sync slowly; the engine in memory tries all.
        others.truncate(if engine == NAME { usize::MAX } else { 5 });
        for (what, other) in others {
            for (object, equal) in [(&other, false), (original, true)] {
                let mut batch = Batch::new();
                batch.update(object.oid, &*object.data, object.refs.iter().copied());
                store.commit(batch, best(&store)).unwrap();
                let found = digest(&store);
                assert_eq!(found == good, equal, "{engine}, {}: {what}", original.oid);
            }
        }
        let loaded = store
            .snapshot()
            .unwrap()
            .load(original.oid)
            .unwrap()
            .unwrap();
        assert!(loaded.tid > original.tid, "tids do not count");
        assert_eq!(digest(&store), good);
    }
}

#[test]
fn another_oid_for_one_object_changes_the_digest_of_a_store() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let mut objects = graph(&mut draw);
    let good = sum(&objects);
    for number in 0..10 {
        let at = draw.usize(0..objects.len());
        objects[at].oid = objects[at].oid.next();
        let url = format!(
            "{NAME}:{}",
            directory.path().join(number.to_string()).display()
        );
        import(&registry, &url, &objects);
        let store = open(&registry, &url);
        assert_eq!(contents(&store), objects);
        assert_ne!(digest(&store).to_string(), good.to_string());
        objects[at].oid = Oid(at as u64 * GAP);
    }
}
