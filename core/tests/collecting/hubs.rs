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
    let mut commits = 0;
    while store.stats().unwrap().objects > 1 || store.stats().unwrap().garbage_pending > 0 {
        root(&store, &[]);
        commits += 1;
        assert!(commits < 20_000);
    }
    let read = place.backend.bytes_read() - before;
    println!("{commits} commits read {read} bytes to delete {live}");
    assert!(read < live * 10);
}
