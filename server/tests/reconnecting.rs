//! A client whose connection is cut, at every byte that the server sends.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use durum_core::engine::{Durability, Registry};
use durum_core::store::{Batch, LocalStore, SessionKind, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, SessionId, Tid};
use durum_memory::MemoryBackend;
use durum_server::client::{ClientOptions, RemoteStore};
use support::{Proxy, Running, on_loopback};

const LEVEL: Durability = Durability::Relaxed;

fn new_store() -> Arc<LocalStore> {
    let registry = Registry::new().with(MemoryBackend);
    let settings = registry.parse_store("memory:").unwrap();
    let store = registry.create(&settings).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, b"root".as_slice(), []);
    store.commit(batch, LEVEL).unwrap();
    Arc::new(store)
}

fn root(data: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, data, []);
    batch
}

/// The number of times that the root was written after `since`.
fn writes(store: &LocalStore, since: Tid) -> usize {
    store.changes_since(since).unwrap().changes.len()
}

#[test]
fn a_commit_whose_answer_is_lost_is_performed_once() {
    let store = new_store();
    let running = Running::start(store.clone(), on_loopback());
    let proxy = Proxy::before(&running.location);
    let client = RemoteStore::connect(&proxy.location).unwrap();
    // The answer has 34 bytes.
    for bytes in 0..34 {
        let before = store.stats().unwrap().tid;
        proxy.cut_after(bytes);
        let receipt = client.commit(root(&[bytes as u8]), LEVEL).unwrap();
        assert_eq!(proxy.cuts(), bytes + 1, "cut after {bytes} bytes");
        assert_eq!(receipt.tid, before.next());
        assert_eq!(writes(&store, before), 1);
        let found = client.snapshot().unwrap().load(Oid::ROOT).unwrap().unwrap();
        assert_eq!(found.data, [bytes as u8]);
    }
}

#[test]
fn reads_are_repeated() {
    let store = new_store();
    let session = SessionId::EMBEDDED;
    let oids = store.new_oids(session, 2000).unwrap();
    let mut batch = root(b"root");
    oids.iter().for_each(|oid| {
        batch.create(*oid, vec![7; 300], []);
    });
    store.commit(batch, LEVEL).unwrap();
    let running = Running::start(store.clone(), on_loopback());
    let proxy = Proxy::before(&running.location);
    let client = RemoteStore::connect(&proxy.location).unwrap();
    let snapshot = client.snapshot().unwrap();
    let mut cuts = 0;
    for bytes in [0, 1, 9, 4_000, 100_000, 400_000] {
        proxy.cut_after(bytes);
        let loaded = snapshot.load_many(&oids).unwrap();
        assert!(
            loaded
                .iter()
                .zip(&oids)
                .all(|(object, oid)| object.as_ref().unwrap().oid == *oid)
        );
        proxy.cut_after(bytes);
        let mut seen = Vec::new();
        let mut note = |record: durum_core::record::Record<'_>| {
            seen.push(record.oid);
            Ok(true)
        };
        snapshot.scan_with(Oid(1), &mut note).unwrap();
        assert_eq!(seen, oids);
        cuts += 2;
        assert_eq!(proxy.cuts(), cuts);
    }
    // The snapshot cannot be had again once something was committed.
    store.commit(root(b"new"), LEVEL).unwrap();
    proxy.cut_after(0);
    let error = snapshot.load(Oid::ROOT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooOld);
    let found = client.snapshot().unwrap().load(Oid::ROOT).unwrap().unwrap();
    assert_eq!(found.data, b"new");
}

#[test]
fn a_session_begins_anew_with_the_connection() {
    let store = new_store();
    let running = Running::start(store.clone(), on_loopback());
    let proxy = Proxy::before(&running.location);
    let client = RemoteStore::connect(&proxy.location).unwrap();
    let session = client.session(SessionKind::Client).unwrap();
    let lost = client.new_oids(session, 1).unwrap();
    proxy.cut_after(0);
    client.stats().unwrap();
    let create = |oid: Oid| {
        let mut batch = Batch::of(session);
        batch.create(oid, b"new".as_slice(), []);
        batch.update(Oid::ROOT, b"root".as_slice(), [oid]);
        batch
    };
    let error = client.commit(create(lost[0]), LEVEL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    let oids = client.new_oids(session, 1).unwrap();
    assert!(oids[0] > lost[0]);
    client.commit(create(oids[0]), LEVEL).unwrap();
    client.end_session(session).unwrap();
    assert_eq!(store.stats().unwrap().objects, 2);
}

#[test]
fn a_server_that_is_gone_is_given_up_in_the_end() {
    let running = Running::start(new_store(), on_loopback());
    let options = ClientOptions {
        patience: Duration::from_millis(100),
        ..ClientOptions::default()
    };
    let client = RemoteStore::connect_with(&running.location, options).unwrap();
    drop(running);
    let error = client.stats().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let error = client.commit(root(b"x"), LEVEL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[test]
fn another_store_at_the_same_address_is_refused() {
    let running = Running::start(new_store(), on_loopback());
    let client = RemoteStore::connect(&running.location).unwrap();
    let mut settings = on_loopback();
    settings.listen = vec![running.location.address.parse().unwrap()];
    drop(running);
    let _other = Running::start(new_store(), settings);
    let error = client.stats().unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
}

#[test]
fn a_client_hears_of_changes_as_they_happen() {
    let store = new_store();
    let running = Running::start(store.clone(), on_loopback());
    let client = RemoteStore::connect(&running.location).unwrap();
    let since = client.stats().unwrap().tid;
    let nothing = client
        .wait_for_changes(since, Duration::from_millis(10))
        .unwrap();
    assert_eq!((nothing.tid, nothing.changes.len()), (since, 0));
    let other = client.clone();
    // Asks before there is anything, and does not keep others of the same connection from being answered.
    let waiting =
        std::thread::spawn(move || other.wait_for_changes(since, Duration::from_secs(60)));
    let tid = client.commit(root(b"new"), LEVEL).unwrap().tid;
    let heard = waiting.join().unwrap().unwrap();
    assert_eq!((heard.tid, heard.changes.len()), (tid, 1));
}
