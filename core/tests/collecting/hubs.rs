//! Objects with very many references.

use super::*;

/// An object with very many references is read once to be deleted, and not for each slice.
#[test]
fn a_huge_object_is_deleted_in_time_proportional_to_its_references() {
    const COUNT: u32 = 100_000;
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let oids = store.new_oids(SessionId::EMBEDDED, COUNT).unwrap();
    let mut batch = Batch::new();
    batch.create(oids[0], "hub", oids[1..].iter().copied());
    for oid in &oids[1..] {
        batch.create(*oid, "spoke", []);
    }
    batch.update(Oid::ROOT, "root", [oids[0]]);
    commit(&store, batch).unwrap();
    let live = store.stats().unwrap().live_bytes;
    let before = place.backend.bytes_read();
    let (mut commits, mut half) = (0, false);
    while store.stats().unwrap().objects > 1 || store.stats().unwrap().garbage_pending > 0 {
        root(&store, &[]);
        commits += 1;
        assert!(commits < 20_000);
        // In the middle of the search, and while what is condemned is being deleted.
        let left = store.pending().unwrap().condemned;
        let now_half = !half && (1..u64::from(COUNT) / 2).contains(&left);
        half |= now_half;
        if commits == 10 || now_half {
            assert_clean(&store);
        }
    }
    let read = place.backend.bytes_read() - before;
    println!("{commits} commits read {read} bytes to delete {live}");
    assert!(half && read < live * 10);
}

/// An object with too many references to be deleted at once is met in the middle of a search: what hangs
/// on it refers to a suspect.
#[test]
fn a_huge_object_that_nobody_refers_to_does_not_confuse_a_search() {
    const COUNT: u32 = 5000;
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let low = store.new_oids(SessionId::EMBEDDED, 1).unwrap()[0];
    let oids = store.new_oids(SessionId::EMBEDDED, COUNT).unwrap();
    let mut batch = Batch::new();
    batch.create(low, "low", []);
    batch.create(oids[0], "hub", oids[1..].iter().copied());
    for oid in &oids[1..] {
        batch.create(*oid, "spoke", (*oid == oids[1]).then_some(low));
    }
    batch.update(Oid::ROOT, "root", [low, oids[0]]);
    commit(&store, batch).unwrap();
    root(&store, &[]);
    assert_eq!(store.pending().unwrap().failed, None);
    store.collect().unwrap();
    assert_eq!(store.stats().unwrap().objects, 1);
    assert_clean(&store);
}
