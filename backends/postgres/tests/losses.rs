//! Connections that are lost, servers that are killed, and writers that are no longer the writer.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod relay;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durum_core::engine::{Backend as _, Durability, Engine, Key, Op, Options, Table};
use durum_core::place::{RemotePlace, RemotePlaces};
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store, StoreOptions};
use durum_core::{ErrorKind, Oid};
use durum_database::Server;
use durum_postgres::PostgresBackend;
use durum_testkit::seed;
use relay::{Cut, Relay};

/// Who commits at once.
const CLIENTS: u64 = 4;
/// How often connections are cut or the server is killed, unless `DURUM_LOSSES` says more.
const LOSSES: usize = 25;

fn options(given: &[(&str, &str)]) -> Options {
    Options::check("postgres", PostgresBackend.options(), given.iter().copied()).unwrap()
}

fn create(address: &str, given: &[(&str, &str)]) -> Box<dyn RemotePlace> {
    let staged = PostgresBackend.create(Path::new(address), &options(given));
    staged.unwrap().publish().unwrap()
}

fn row(number: u64, value: &[u8]) -> Op<'_> {
    Op::Put {
        table: Table::Objects,
        key: Key::from(number),
        value,
    }
}

fn found(engine: &dyn Engine, number: u64) -> Option<Vec<u8>> {
    let mut found = None;
    let key = Key::from(number);
    engine
        .snapshot()
        .unwrap()
        .get(Table::Objects, key, &mut |value| {
            found = Some(value.to_vec())
        })
        .unwrap();
    found
}

#[test]
fn a_writer_whose_session_has_ended_goes_on() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[]);
    let engine = place.open_engine().unwrap();
    for number in 0..5 {
        engine
            .apply(&[row(number, b"value")], Durability::Power)
            .unwrap();
        server.end_writers("test");
        assert_eq!(found(&*engine, number).as_deref(), Some(&b"value"[..]));
    }
    engine.sync().unwrap();
}

/// A process that hangs takes connections all the same.
#[test]
fn a_server_that_says_nothing_does_not_hide_the_next() {
    let Some(server) = Server::start() else {
        return;
    };
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let both = server.address("test").replacen(
        "127.0.0.1",
        &format!("127.0.0.1:{silent_port},127.0.0.1"),
        1,
    );
    let alone = format!("//durum@127.0.0.1:{silent_port}/test");
    let probe = |address: String| PostgresBackend.probe(Path::new(&address), &options(&[]));
    // Each waits for as long as a connection may take.
    let alone = std::thread::spawn(move || probe(alone));
    probe(both).unwrap();
    let error = alone.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("says nothing"), "{error}");
}

#[test]
fn readers_go_on_where_their_connections_are_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[("connections", "3")]);
    let engine = place.open_engine().unwrap();
    let value = vec![7; 2000];
    for number in 0..2000 {
        if number % 500 == 0 {
            let rows: Vec<_> = (number..number + 500)
                .map(|number| row(number, &value))
                .collect();
            engine.apply(&rows, Durability::Relaxed).unwrap();
        }
    }
    let view = engine.snapshot().unwrap();
    let mut cursor = view.cursor(Table::Objects, Key::MIN).unwrap();
    let mut count = 0;
    while let Some((key, value)) = cursor.next().unwrap() {
        assert_eq!((key, value.len()), (Key::from(count), 2000));
        if count % 300 == 0 {
            server.sql(
                "test",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'durum'",
            );
        }
        count += 1;
    }
    assert_eq!(count, 2000);
}

/// One that is stopped for a while and continued does not know that another has taken over.
#[test]
fn a_writer_that_was_replaced_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address("test");
    let place = create(&address, &[]);
    let stale = place.open_engine().unwrap();
    stale.apply(&[row(1, b"first")], Durability::Power).unwrap();
    let again = RemotePlaces::open(&PostgresBackend, Path::new(&address), &options(&[]));
    let error = again.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    // One that has read the rows before, in all ways.
    let older = stale.snapshot().unwrap();
    for number in [1, 1, 1, 1, 2] {
        let key = Key::from(number);
        older.get(Table::Objects, key, &mut |_| {}).unwrap();
        let mut cursor = older.cursor(Table::Objects, key).unwrap();
        cursor.next().unwrap();
    }
    server.end_writers("test");
    let other = RemotePlaces::open(&PostgresBackend, Path::new(&address), &options(&[])).unwrap();
    let newest = other.open_engine().unwrap();
    newest
        .apply(&[row(1, b"second")], Durability::Power)
        .unwrap();
    // What it reads would be put together with what it remembers.
    for view in [older, stale.snapshot().unwrap()] {
        for number in [1, 2] {
            let read = view.get(Table::Objects, Key::from(number), &mut |_| {});
            assert_eq!(read.unwrap_err().kind(), ErrorKind::InUse);
        }
        let ahead = view.read_ahead(&[(Table::Objects, Key::from(1))]);
        assert_eq!(ahead.unwrap_err().kind(), ErrorKind::InUse);
        let mut cursor = view.cursor(Table::Objects, Key::MIN).unwrap();
        assert_eq!(cursor.next().unwrap_err().kind(), ErrorKind::InUse);
    }
    for _ in 0..2 {
        let error = stale
            .apply(&[row(1, b"third")], Durability::Power)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    }
    assert_eq!(found(&*newest, 1).as_deref(), Some(&b"second"[..]));
}

/// The fence alone: the session of the stale writer is as good as before.
#[test]
fn the_fence_refuses_a_writer_that_still_has_its_session() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[]);
    let stale = place.open_engine().unwrap();
    stale.apply(&[row(1, b"first")], Durability::Power).unwrap();
    server.sql(
        "test",
        "UPDATE durum.writer SET fence = fence + 1, claimed = fence + 1",
    );
    let error = stale
        .apply(&[row(1, b"second")], Durability::Power)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    let stored = server.sql("test", "SELECT encode(record, 'escape') FROM durum.objects");
    assert_eq!(stored, "first");
}

/// As a standby server is that was promoted without the last commits.
#[test]
fn a_server_that_has_lost_commits_is_told() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[]);
    let engine = place.open_engine().unwrap();
    for number in 0..3 {
        engine
            .apply(&[row(number, b"value")], Durability::Power)
            .unwrap();
    }
    server.sql("test", "UPDATE durum.writer SET batch = batch - 1");
    server.end_writers("test");
    let error = engine
        .apply(&[row(9, b"value")], Durability::Power)
        .unwrap_err();
    assert!(error.to_string().contains("has lost commits"), "{error}");
    assert_eq!(found(&*engine, 9), None);
}

/// Nobody goes on as if commits were there that were not waited for and were lost.
#[test]
fn a_server_that_was_killed_before_it_wrote_commits_is_told() {
    let Some(mut server) = Server::start() else {
        return;
    };
    server.sql("test", "ALTER SYSTEM SET wal_writer_delay = '10s'");
    server.sql("test", "SELECT pg_reload_conf()");
    let place = create(&server.address("test"), &[]);
    let engine = place.open_engine().unwrap();
    let apply = |number, durability| engine.apply(&[row(number, b"value")], durability);
    apply(1, Durability::Power).unwrap();
    apply(2, Durability::Relaxed).unwrap();
    server.kill();
    server.run();
    let count = "SELECT count(*) FROM durum.objects";
    let kept = server.number("test", count).unwrap();
    let next = apply(3, Durability::Power);
    match kept {
        // It may have been just in time.
        2 => assert!(next.is_ok()),
        _ => {
            let error = next.unwrap_err();
            assert!(error.to_string().contains("were not waited for"), "{error}");
            assert!(apply(4, Durability::Power).is_err());
        }
    }
    let all = kept + i64::from(kept == 2);
    assert_eq!(server.number("test", count), Some(all));
}

#[test]
fn a_commit_that_is_cut_off_is_applied_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let relay = Relay::start(server.port());
    let address = format!("//durum@127.0.0.1:{}/test", relay.port());
    let place = create(&address, &[("connections", "1")]);
    let engine = place.open_engine().unwrap();
    let batches = || -> u64 {
        let batch = server.sql("test", "SELECT batch FROM durum.writer");
        batch.parse().unwrap()
    };
    let mut expected = batches();
    for (number, cut) in [Cut::Request, Cut::Answer, Cut::Answer, Cut::Request]
        .into_iter()
        .enumerate()
    {
        relay.cut_next_commit(cut);
        let number = number as u64;
        engine
            .apply(&[row(number, b"value")], Durability::Power)
            .unwrap();
        assert_eq!(relay.cuts(), number + 1, "nothing was cut");
        assert_eq!(found(&*engine, number).as_deref(), Some(&b"value"[..]));
        expected += 1;
        // One that is found is confirmed by an empty one.
        expected += u64::from(cut == Cut::Answer);
        // One that was written twice would have taken two numbers.
        assert_eq!(batches(), expected);
    }
}

#[test]
fn a_server_that_stays_away_is_an_error_in_the_end() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[("reconnect", "1")]);
    let engine = place.open_engine().unwrap();
    engine
        .apply(&[row(1, b"value")], Durability::Power)
        .unwrap();
    server.kill();
    let read = engine
        .snapshot()
        .unwrap()
        .get(Table::Objects, Key::from(1), &mut |_| {});
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Unreachable);
    let error = engine
        .apply(&[row(2, b"value")], Durability::Power)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    server.run();
    // It is known now what has become of the batch: nothing.
    engine
        .apply(&[row(3, b"value")], Durability::Power)
        .unwrap();
    assert_eq!(
        (found(&*engine, 2), found(&*engine, 3)),
        (None, Some(b"value".to_vec()))
    );
}

/// Clients that count up, each an object of its own and all together one, while the server is killed and
/// connections are cut. What was acknowledged is there once, and nothing else.
#[test]
fn nothing_acknowledged_is_lost_or_applied_twice() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut random = fastrand::Rng::with_seed(seed());
    let path = PathBuf::from(server.address("test"));
    let store = LocalStore::create(Arc::new(PostgresBackend), &path, &StoreOptions::default());
    let store = Arc::new(store.unwrap());
    let mut batch = Batch::new();
    let oids = store
        .new_oids(durum_core::SessionId::EMBEDDED, 1 + CLIENTS as u32)
        .unwrap();
    batch.create(Oid::ROOT, 0_u64.to_be_bytes(), oids[1..].iter().copied());
    for oid in &oids[1..] {
        batch.create(*oid, 0_u64.to_be_bytes(), []);
    }
    store.commit(batch, Durability::Power).unwrap();
    let losses = std::env::var("DURUM_LOSSES").map_or(LOSSES, |text| text.parse().unwrap());
    let done = AtomicBool::new(false);
    let acknowledged: Vec<u64> = std::thread::scope(|scope| {
        let counters: Vec<_> = oids[1..]
            .iter()
            .map(|oid| scope.spawn(|| count_up(&store, *oid, &oids[1..], &done)))
            .collect();
        for number in 0..losses {
            std::thread::sleep(Duration::from_millis(random.u64(0..150)));
            if number % 5 == 4 {
                server.kill();
                server.run();
            } else {
                server.end_writers("test");
            }
        }
        done.store(true, Ordering::Relaxed);
        counters
            .into_iter()
            .map(|counter| counter.join().unwrap())
            .collect()
    });
    drop(store);
    let store =
        LocalStore::open(Arc::new(PostgresBackend), &path, &StoreOptions::default()).unwrap();
    let snapshot = store.snapshot().unwrap();
    let stored: Vec<u64> = oids[1..]
        .iter()
        .map(|oid| number(&*snapshot, *oid))
        .collect();
    assert_eq!(stored, acknowledged);
    assert_eq!(
        number(&*snapshot, Oid::ROOT),
        acknowledged.iter().sum::<u64>()
    );
    assert!(
        acknowledged.iter().all(|count| *count > 0),
        "{acknowledged:?}"
    );
    assert_eq!(durum_core::check::check(&store, false).unwrap().errors, []);
}

fn number(snapshot: &dyn durum_core::store::Snapshot, oid: Oid) -> u64 {
    let object = snapshot.load(oid).unwrap().unwrap();
    u64::from_be_bytes(object.data.as_slice().try_into().unwrap())
}

/// Counts up the client's own object and the root; how often that was acknowledged.
fn count_up(store: &LocalStore, own: Oid, all: &[Oid], done: &AtomicBool) -> u64 {
    let mut acknowledged = 0;
    while !done.load(Ordering::Relaxed) {
        let snapshot = store.snapshot().unwrap();
        let mut batch = Batch::new();
        for (oid, refs) in [(own, &[][..]), (Oid::ROOT, all)] {
            let object = snapshot.load(oid).unwrap().unwrap();
            let count = u64::from_be_bytes(object.data.as_slice().try_into().unwrap());
            batch.expect(oid, object.tid);
            batch.update(oid, (count + 1).to_be_bytes(), refs.iter().copied());
        }
        match store.commit(batch, Durability::Power) {
            Ok(_) => acknowledged += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
    acknowledged
}

/// As a server does that was started again, or whose session was ended, before its standbys had a commit: it shows
/// the commit already, and a failover would lose it.
#[test]
fn a_commit_that_no_standby_has_is_not_acknowledged() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = create(&server.address("test"), &[]);
    let engine = place.open_engine().unwrap();
    engine
        .apply(&[row(1, b"value")], Durability::Power)
        .unwrap();
    let replicate_to = |standby: &str| {
        server.sql(
            "test",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"),
        );
        server.sql("test", "SELECT pg_reload_conf()");
    };
    let waiting = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        server.sql("test", sql) == "1"
    };
    replicate_to("none");
    std::thread::scope(|scope| {
        // The server takes its new settings in its own time: until then commits wait for nobody.
        let commit = loop {
            let commit = scope.spawn(|| engine.apply(&[row(2, b"value")], Durability::Power));
            let seen = || waiting() || commit.is_finished();
            durum_testkit::wait_until("a commit that waits for a standby", seen);
            if !commit.is_finished() {
                break commit;
            }
            commit.join().unwrap().unwrap();
        };
        server.end_writers("test");
        durum_testkit::wait_until("the next one", || waiting() || commit.is_finished());
        assert!(!commit.is_finished(), "it was acknowledged");
        replicate_to("");
        commit.join().unwrap().unwrap();
    });
    assert_eq!(found(&*engine, 2), Some(b"value".to_vec()));
}
