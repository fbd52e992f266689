//! Filling the store of a server, step by step.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;
use std::time::Duration;

use durum_core::config::ServerLocation;
use durum_core::engine::Durability;
use durum_core::record::Payload;
use durum_core::store::{Batch, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, Tid};
use durum_server::Home;
use durum_server::client::{RemoteImport, RemoteStore};
use support::{Running, error_of, home, on_loopback, soon};

const MEMORY: usize = 1 << 20;
const LAST: (&[u8], &[u8]) = (b"dangling = ", b" (that is all)");

fn at_path(directory: &Path) -> Home {
    home(&format!("file:{}", directory.join("store").display()))
}

fn push(import: &mut RemoteImport, oids: std::ops::Range<u64>) {
    for oid in oids.clone() {
        let refs: Vec<Oid> = match oid {
            0 => (1..10).chain([99]).map(Oid).collect(),
            _ => Vec::new(),
        };
        import.push(Oid(oid), Tid(7 + oid), &refs, Payload::plain(b"data"));
    }
    import
        .checkpoint(format!("until {}", oids.end).as_bytes())
        .unwrap();
}

fn assert_filled(location: &ServerLocation) {
    let store = soon(|| RemoteStore::connect(location));
    let snapshot = store.snapshot().unwrap();
    assert_eq!(store.stats().unwrap().objects, 10);
    let last = snapshot.load(Oid(9)).unwrap().unwrap();
    assert_eq!(
        (last.tid, last.data.as_slice()),
        (Tid(16), b"data".as_slice())
    );
    // Tids go on after the source's, OIDs too.
    let mut batch = Batch::new();
    batch.update(Oid(1), b"new".as_slice(), []);
    assert_eq!(
        store.commit(batch, Durability::Relaxed).unwrap().tid,
        Tid(51)
    );
    let session = durum_core::SessionId::EMBEDDED;
    assert!(store.new_oids(session, 1).unwrap()[0] >= Oid(200));
}

#[test]
fn a_store_is_filled_in_parts_and_appears() {
    let directory = tempfile::tempdir().unwrap();
    for home in [home("memory:"), at_path(directory.path())] {
        let running = Running::at_home(home, on_loopback());
        let before = RemoteStore::connect(&running.location).unwrap().id();
        let mut import = RemoteImport::begin(&running.location, false).unwrap();
        assert_eq!((import.note(), import.complete()), (None, None));
        assert_eq!(import.fill(b"begun", MEMORY).unwrap(), (0, Oid(0)));
        push(&mut import, 0..6);
        // Nobody sees anything of it yet, nor can fill it as well.
        let refused = error_of(RemoteStore::connect(&running.location));
        assert_eq!(refused.kind(), ErrorKind::InUse);
        assert!(
            refused.to_string().contains("a migration is filling it"),
            "{refused}"
        );
        push(&mut import, 6..10);
        let summary = import.finish(Tid(50), Oid(200), LAST).unwrap();
        assert_eq!((summary.objects, summary.dangling), (10, 1));
        let complete = import.store().unwrap();
        assert_eq!(complete.digest().unwrap().objects(), 10);
        assert_eq!(
            complete
                .snapshot()
                .unwrap()
                .load(Oid(1))
                .unwrap()
                .unwrap()
                .data,
            b"data"
        );
        drop(complete);
        import.publish().unwrap();
        assert_ne!(
            soon(|| RemoteStore::connect(&running.location)).id(),
            before
        );
        assert_filled(&running.location);
        let refused = error_of(RemoteImport::begin(&running.location, false));
        assert_eq!(refused.kind(), ErrorKind::Exists);
    }
}

#[test]
fn what_was_left_is_gone_on_with_whenever_that_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Some(Running::at_home(at_path(directory.path()), on_loopback()));
    let location = running.as_ref().unwrap().location.clone();
    let mut settings = on_loopback();
    settings.listen = vec![location.address.parse().unwrap()];
    let mut restart = || {
        drop(running.take());
        running = Some(Running::at_home(
            at_path(directory.path()),
            settings.clone(),
        ));
    };
    let mut import = RemoteImport::begin(&location, false).unwrap();
    import.fill(b"begun", MEMORY).unwrap();
    push(&mut import, 0..4);
    assert!(import.settle().unwrap());
    drop(import);
    // By another client of the same server.
    let mut import = soon(|| RemoteImport::begin(&location, true));
    assert_eq!(import.note(), Some(b"until 4".as_slice()));
    assert_eq!(import.fill(b"until 4", MEMORY).unwrap(), (4, Oid(4)));
    push(&mut import, 4..8);
    import.settle().unwrap();
    // The server ends while it is being filled.
    restart();
    drop(import);
    let refused = error_of(RemoteStore::connect(&location));
    assert!(refused.to_string().contains("was cut off"), "{refused}");
    let mut import = RemoteImport::begin(&location, true).unwrap();
    assert_eq!(import.note(), Some(b"until 8".as_slice()));
    assert_eq!(import.fill(b"until 8", MEMORY).unwrap(), (8, Oid(8)));
    push(&mut import, 8..10);
    import.finish(Tid(50), Oid(200), LAST).unwrap();
    drop(import);
    restart();
    // All is there, and it has not appeared.
    let import = RemoteImport::begin(&location, true).unwrap();
    assert_eq!(import.complete(), Some(10));
    assert_eq!(
        import.note(),
        Some(b"dangling = 1 (that is all)".as_slice())
    );
    assert_eq!(import.store().unwrap().digest().unwrap().objects(), 10);
    import.publish().unwrap();
    assert_filled(&location);
}

#[test]
fn what_was_left_can_be_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::at_home(at_path(directory.path()), on_loopback());
    let mut import = RemoteImport::begin(&running.location, false).unwrap();
    import.fill(b"begun", MEMORY).unwrap();
    push(&mut import, 0..4);
    import.settle().unwrap();
    drop(import);
    let mut import = soon(|| RemoteImport::begin(&running.location, false));
    assert_eq!(import.note(), None);
    import.fill(b"begun", MEMORY).unwrap();
    drop(import);
    // Nothing was written: the server serves an empty store again.
    let store = soon(|| RemoteStore::connect(&running.location));
    assert_eq!(store.stats().unwrap().objects, 0);
}

#[test]
fn steps_have_their_order_and_objects_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::at_home(at_path(directory.path()), on_loopback());
    let mut import = RemoteImport::begin(&running.location, false).unwrap();
    assert_eq!(
        error_of(import.finish(Tid(1), Oid(1), LAST)).kind(),
        ErrorKind::Usage
    );
    assert_eq!(error_of(import.settle()).kind(), ErrorKind::Usage);
    import.fill(b"begun", MEMORY).unwrap();
    assert_eq!(
        error_of(import.fill(b"begun", MEMORY)).kind(),
        ErrorKind::Usage
    );
    import.push(Oid(3), Tid(1), &[], Payload::plain(b"x"));
    import.push(Oid(2), Tid(1), &[], Payload::plain(b"x"));
    let refused = import
        .checkpoint(b"note")
        .and_then(|_| import.settle().map(drop));
    assert_eq!(error_of(refused).kind(), ErrorKind::Usage);
    assert_eq!(error_of(import.publish()).kind(), ErrorKind::Usage);
}

#[test]
fn who_uses_the_empty_store_is_told_to_let_go_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::at_home(at_path(directory.path()), on_loopback());
    let store = RemoteStore::connect(&running.location).unwrap();
    let snapshot = store.snapshot().unwrap();
    let waiting = {
        let (store, since) = (store.clone(), snapshot.tid());
        std::thread::spawn(move || store.wait_for_changes(since, Duration::from_secs(60)))
    };
    let mut import = RemoteImport::begin(&running.location, false).unwrap();
    assert_eq!(error_of(waiting.join().unwrap()).kind(), ErrorKind::InUse);
    assert_eq!(error_of(snapshot.load(Oid(0))).kind(), ErrorKind::InUse);
    import.fill(b"begun", MEMORY).unwrap();
    push(&mut import, 0..10);
    import.finish(Tid(50), Oid(200), LAST).unwrap();
    import.publish().unwrap();
    // It is another store than the one that the client had.
    assert!(
        soon(|| RemoteStore::connect(&running.location))
            .stats()
            .is_ok()
    );
    assert!(
        error_of(store.stats())
            .to_string()
            .contains("another store")
    );
}

#[test]
fn a_server_that_may_only_be_read_is_not_filled() {
    let directory = tempfile::tempdir().unwrap();
    drop(Running::at_home(at_path(directory.path()), on_loopback()));
    let mut settings = on_loopback();
    settings.read_only = true;
    let running = Running::at_home(at_path(directory.path()), settings);
    let refused = error_of(RemoteImport::begin(&running.location, false));
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
}

/// Who begins to fill a store and says nothing keeps it from all others only for some time.
#[test]
fn who_fills_a_store_has_to_be_heard_of() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = on_loopback();
    settings.limits.filling_silence_max = Duration::from_millis(50);
    let running = Running::at_home(at_path(directory.path()), settings);
    let silent = RemoteImport::begin(&running.location, false).unwrap();
    let store = soon(|| RemoteStore::connect(&running.location));
    assert_eq!(store.stats().unwrap().objects, 0);
    drop(store);
    // In the middle, too: then it can be gone on with.
    let mut other = soon(|| RemoteImport::begin(&running.location, false));
    other.fill(b"begun", MEMORY).unwrap();
    push(&mut other, 0..4);
    other.settle().unwrap();
    let resumed = soon(|| RemoteImport::begin(&running.location, true));
    assert_eq!(resumed.note(), Some(b"until 4".as_slice()));
    assert_eq!(error_of(other.settle()).kind(), ErrorKind::Unreachable);
    assert_eq!(error_of(silent.publish()).kind(), ErrorKind::Unreachable);
}
