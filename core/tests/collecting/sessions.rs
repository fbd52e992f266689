//! What sessions keep alive: pins across reopening and release.

use super::*;

/// What the process before left unlinked is released, and not what this one commits meanwhile.
#[test]
fn objects_of_a_reopened_store_live_until_they_are_linked() {
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let left = lone(&store, SessionId::EMBEDDED);
    drop(store);
    let store = place.open(in_commits(256, 4096));
    let new = lone(&store, SessionId::EMBEDDED);
    assert!(exists(&store, new));
    assert!(!exists(&store, left));
    root(&store, &[new]);
    assert_clean(&store);
    assert_eq!(store.stats().unwrap().objects, 2);
}

/// A client that packs goes on: what it commits afterwards is its own again.
#[test]
fn what_a_session_commits_after_its_release_is_kept() {
    for kind in [SessionKind::Client, SessionKind::DurusClient] {
        let place = Place::new();
        let store = place.create(in_commits(256, 4096));
        let session = store.session(kind).unwrap();
        let held = lone(&store, session);
        root(&store, &[held]);
        let before = lone(&store, session);
        store.release(session);
        let after = lone(&store, session);
        assert!(exists(&store, after) && !exists(&store, before));
        // What a client of Durus unlinks is kept until its next commit, also then.
        store.release(session);
        let mut unlink = Batch::of(session);
        unlink.update(Oid::ROOT, "root", []);
        commit(&store, unlink).unwrap();
        assert_eq!(exists(&store, held), kind == SessionKind::DurusClient);
        let next = lone(&store, session);
        assert!(!exists(&store, held) && exists(&store, next));
        store.end_session(session).unwrap();
        store.collect().unwrap();
        assert_eq!(store.stats().unwrap().objects, 1);
        assert_clean(&store);
    }
}
