//! Imports that refer to what is still missing.

use super::*;

/// An import ends when nothing refers to what is missing, however that came about.
#[test]
fn an_import_ends_when_nothing_missing_is_referred_to() {
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let session = store.session(SessionKind::Import).unwrap();
    let mut batch = Batch::of(session);
    batch.create(Oid(5000), "imported", [Oid(6000), Oid(7000)]);
    commit(&store, batch).unwrap();
    let mut batch = Batch::of(session);
    batch.update(Oid(5000), "without it", [Oid(7000)]);
    commit(&store, batch).unwrap();
    let error = store.end_session(session).unwrap_err();
    assert_eq!(
        (error.kind(), error.oids()),
        (ErrorKind::Gone, &[Oid(7000)][..])
    );
    drop(store);
    // The next process: what the import brought is not linked, and goes.
    let store = place.open(in_commits(256, 4096));
    store.collect().unwrap();
    assert_eq!(store.stats().unwrap().objects, 1);
    let session = store.session(SessionKind::Import).unwrap();
    store.end_session(session).unwrap();
}

/// What an import is still going to bring is not somebody else's new object.
#[test]
fn an_oid_that_an_import_refers_to_is_not_handed_out() {
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let early = store.new_oids(SessionId::EMBEDDED, 2).unwrap();
    let session = store.session(SessionKind::Import).unwrap();
    let target = Oid(early[1].0 + 3);
    let mut batch = Batch::of(session);
    batch.update(Oid::ROOT, "root", [early[1], target]);
    commit(&store, batch).unwrap();
    let later = store.new_oids(SessionId::EMBEDDED, 10).unwrap();
    assert!(!later.contains(&target), "{later:?}");
    // One that was handed out before can be created, and is referred to then.
    let mut batch = Batch::new();
    batch.create(early[0], "", [early[1]]);
    batch.create(early[1], "", []);
    commit(&store, batch).unwrap();
    store.collect().unwrap();
    assert!(exists(&store, early[1]));
    let mut batch = Batch::of(session);
    batch.create(target, "", []);
    commit(&store, batch).unwrap();
    store.end_session(session).unwrap();
    store.collect().unwrap();
    assert!(exists(&store, early[1]));
    assert_clean(&store);
}

/// Neither a check nor a repair takes what an import still waits for for damage.
#[test]
fn a_repair_during_an_import_keeps_what_is_known_of_missing_objects() {
    let place = Place::new();
    let store = place.create(in_commits(256, 4096));
    let session = store.session(SessionKind::Import).unwrap();
    let mut batch = Batch::of(session);
    batch.update(Oid::ROOT, "root", [Oid(6000)]);
    commit(&store, batch).unwrap();
    assert_clean(&store);
    let rubbish = Key::from(99);
    write_below(&store, Table::Irregular, rubbish, Some(b""));
    let report = check(&store, true).unwrap();
    assert_eq!(report.errors, []);
    let mut batch = Batch::of(session);
    batch.create(Oid(6000), "at last", []);
    commit(&store, batch).unwrap();
    store.end_session(session).unwrap();
    store.collect().unwrap();
    assert!(exists(&store, Oid(6000)));
    assert_clean(&store);
}
