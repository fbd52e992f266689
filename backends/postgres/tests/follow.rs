//! Stores that are read while another process writes them.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::digest::Digest;
use durum_core::engine::{Durability, Registry};
use durum_core::record::{Codec, Object};
use durum_core::store::{
    Batch, LocalStore, SessionKind, Snapshot, SnapshotExt as _, Store as _, StoreOptions,
};
use durum_core::{ErrorKind, Oid, Result, SessionId, Tid};
use durum_database::Server;
use durum_lmdb::LmdbBackend;
use durum_postgres::PostgresBackend;
use durum_testkit::seed;
use fastrand::Rng;

/// Commits of the random test.
const COMMITS: usize = 150;

/// A store, and what follows it, as two processes have them.
struct Pair {
    writer: LocalStore,
    reader: LocalStore,
}

impl Pair {
    fn create(server: &Server, options: &StoreOptions) -> Pair {
        let address = server.address("test");
        let writer = LocalStore::create(Arc::new(PostgresBackend), Path::new(&address), options);
        Pair {
            writer: writer.unwrap(),
            reader: follow(server).unwrap(),
        }
    }

    fn commit(&self, batch: Batch) -> Tid {
        self.writer.commit(batch, Durability::Power).unwrap().tid
    }
}

fn follow(server: &Server) -> Result<LocalStore> {
    let address = server.address("test");
    let options = StoreOptions::default();
    LocalStore::follow(Arc::new(PostgresBackend), Path::new(&address), &options)
}

fn create_root(data: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, data, []);
    batch
}

fn update_root(data: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, data, []);
    batch
}

fn all(snapshot: &dyn Snapshot) -> BTreeMap<Oid, Object> {
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    let mut found = BTreeMap::new();
    while let Some(record) = scan.next().unwrap() {
        found.insert(record.oid, record.to_object(snapshot.codecs()).unwrap());
    }
    found
}

/// Random commits, after which garbage is deleted bit by bit; what follows shows each of them, at once and for as long
/// as anybody looks, as the writer's own snapshots do.
#[test]
fn each_commit_is_shown_and_stays() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut random = Rng::with_seed(seed());
    let Pair { writer, reader } = Pair::create(&server, &StoreOptions::default());
    writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    writer
        .commit(create_root(b"root"), Durability::Power)
        .unwrap();
    let session = writer.session(SessionKind::Client).unwrap();
    let mut held = Vec::new();
    for number in 0..COMMITS {
        let before = writer.snapshot().unwrap();
        let known: Vec<Oid> = all(&*before).into_keys().collect();
        let mut batch = Batch::of(session);
        let new = writer.new_oids(session, random.u32(1..4)).unwrap();
        let some = |random: &mut Rng| known[random.usize(..known.len())];
        for oid in &new {
            let data = vec![random.u8(..); random.usize(..3000)];
            let target = some(&mut random);
            batch.create(*oid, data, [target]);
        }
        // What it referred to so far is garbage, unless another object refers to it as well.
        let changed = some(&mut random);
        batch.update(changed, number.to_be_bytes(), new);
        let committed = writer.commit(batch, Durability::Power);
        if let Err(error) = committed {
            // It was garbage, and is gone by now.
            assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
            continue;
        }
        let (theirs, ours) = (reader.snapshot().unwrap(), writer.snapshot().unwrap());
        // The collector goes on meanwhile, with commits of its own.
        assert!(theirs.tid() >= committed.unwrap().tid && theirs.tid() <= ours.tid());
        let expected = (theirs.tid() == ours.tid()).then(|| Digest::of(&*ours).unwrap());
        let shown = all(&*theirs);
        held.push((theirs, shown, expected));
        if held.len() > 20 {
            check(held.remove(random.usize(..held.len())));
        }
        if number % 50 == 49 {
            writer.collect().unwrap();
        }
    }
    assert!(held.iter().any(|(.., expected)| expected.is_some()));
    held.drain(..).for_each(check);
    let (ours, theirs) = (writer.snapshot().unwrap(), reader.snapshot().unwrap());
    assert_eq!(all(&*ours), all(&*theirs));
    let since = writer.changes_since(Tid(1)).unwrap();
    assert_eq!(reader.changes_since(Tid(1)).unwrap(), since);
    assert_eq!(
        reader.stats().unwrap().objects,
        writer.stats().unwrap().objects
    );
    assert_eq!(reader.pending().unwrap().condemned, 0);
}

fn check((snapshot, shown, expected): (Box<dyn Snapshot>, BTreeMap<Oid, Object>, Option<Digest>)) {
    assert_eq!(all(&*snapshot), shown);
    if let Some(expected) = expected {
        assert_eq!(Digest::of(&*snapshot).unwrap(), expected);
    }
    let oids: Vec<Oid> = shown.keys().copied().collect();
    let loaded = snapshot.load_many(&oids).unwrap();
    assert_eq!(
        loaded.into_iter().flatten().collect::<Vec<_>>(),
        shown.into_values().collect::<Vec<_>>()
    );
}

#[test]
fn what_follows_writes_nothing_and_keeps_nobody_from_writing() {
    let Some(server) = Server::start() else {
        return;
    };
    assert_eq!(follow(&server).unwrap_err().kind(), ErrorKind::NotFound);
    let pair = Pair::create(&server, &StoreOptions::default());
    assert!(pair.reader.follows() && !pair.writer.follows());
    assert_eq!(pair.reader.id(), pair.writer.id());
    let read_only =
        |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnly);
    let reader = &pair.reader;
    read_only(
        reader
            .commit(create_root(b"no"), Durability::Power)
            .map(drop),
    );
    read_only(reader.new_oids(SessionId::EMBEDDED, 2).map(drop));
    read_only(reader.collect().map(drop));
    read_only(reader.sync().map(drop));
    // Who only reads may have a session, and more of them than are written down at once.
    for _ in 0..2000 {
        let session = reader.session(SessionKind::DurusClient).unwrap();
        reader.end_session(session).unwrap();
    }
    reader.check_writer().unwrap();
    assert!(!reader.is_poisoned());

    let mut batch = create_root(b"yes");
    batch.identify([7; 16]);
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    let tid = pair.commit(batch);
    assert_eq!(reader.outcome([7; 16]).unwrap(), Some(tid));
    // It may still come.
    read_only(reader.outcome([8; 16]).map(drop));
    read_only(reader.settle([8; 16]).map(drop));
    assert_eq!(reader.settle([7; 16]).unwrap(), Some(tid));
    pair.writer.check_writer().unwrap();
}

/// It is told of commits when it looks, and of each once.
#[test]
fn commits_are_told() {
    let Some(server) = Server::start() else {
        return;
    };
    let pair = Pair::create(&server, &StoreOptions::default());
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = told.clone();
    pair.reader
        .tell_commits(move |tid| telling.lock().unwrap().push(tid));
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    let first = pair.commit(create_root(b"1"));
    pair.reader.refresh().unwrap();
    pair.reader.refresh().unwrap();
    let second = pair.commit(update_root(b"2"));
    assert_eq!(pair.reader.visible(), first);
    assert_eq!(pair.reader.snapshot().unwrap().tid(), second);
    assert_eq!(*told.lock().unwrap(), [first, second]);
}

/// The oldest snapshots are given up where there are too many commits that snapshots are of.
#[test]
fn not_all_old_commits_are_kept() {
    const SNAPSHOTS: usize = 40;
    let Some(server) = Server::start() else {
        return;
    };
    let pair = Pair::create(&server, &StoreOptions::default());
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    pair.commit(create_root(&[0]));
    let snapshots: Vec<_> = (1..=SNAPSHOTS)
        .map(|number| {
            let snapshot = pair.reader.snapshot().unwrap();
            pair.commit(update_root(&[number as u8]));
            snapshot
        })
        .collect();
    let read = |snapshot: &dyn Snapshot| {
        Ok::<_, durum_core::Error>(snapshot.load(Oid::ROOT)?.unwrap().data)
    };
    let found: Vec<_> = snapshots.iter().map(|snapshot| read(&**snapshot)).collect();
    let given_up = found.iter().filter(|found| found.is_err()).count();
    assert!((1..SNAPSHOTS / 2).contains(&given_up), "{given_up}");
    for (number, found) in found.into_iter().enumerate() {
        match found {
            Ok(data) => assert_eq!(data, [number as u8]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TooOld);
                assert!(number < given_up, "{number}: {error}");
            }
        }
    }
    let held = server.sql(
        "test",
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'",
    );
    assert!(held.trim().parse::<usize>().unwrap() <= SNAPSHOTS, "{held}");
    drop(snapshots);
    pair.reader.refresh().unwrap();
    // All but the last view have ended.
    let held = server.sql(
        "test",
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'",
    );
    assert_eq!(held.trim(), "1");
}

#[test]
fn what_is_lost_with_its_connection_is_taken_anew() {
    let Some(server) = Server::start() else {
        return;
    };
    let pair = Pair::create(&server, &StoreOptions::default());
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    pair.commit(create_root(b"there"));
    for _ in 0..3 {
        let snapshot = pair.reader.snapshot().unwrap();
        assert_eq!(snapshot.load(Oid::ROOT).unwrap().unwrap().data, b"there");
        server.sql(
            "test",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
        let error = snapshot.load(Oid::ROOT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooOld, "{error}");
        let snapshot = pair.reader.snapshot().unwrap();
        assert_eq!(snapshot.load(Oid::ROOT).unwrap().unwrap().data, b"there");
    }
}

/// A dictionary that the writer has trained meanwhile.
#[test]
fn what_is_compressed_with_a_new_dictionary_is_read() {
    let Some(server) = Server::start() else {
        return;
    };
    let options = StoreOptions {
        codec: Codec::ZstdDict,
        ..StoreOptions::default()
    };
    let pair = Pair::create(&server, &options);
    let session = pair.writer.session(SessionKind::Client).unwrap();
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    pair.commit(create_root(b""));
    let text = |number: usize| {
        format!("an object that says {number}, as all of them do, and little else").into_bytes()
    };
    let mut before = Vec::new();
    for part in 0..3 {
        let oids = pair.writer.new_oids(session, 1000).unwrap();
        let mut batch = Batch::of(session);
        for (index, oid) in oids.iter().enumerate() {
            batch.create(*oid, text(part * 1000 + index), []);
        }
        before.extend(oids);
        batch.update(Oid::ROOT, b"", before.clone());
        pair.commit(batch);
        let snapshot = pair.reader.snapshot().unwrap();
        for (index, oid) in before.iter().enumerate() {
            assert_eq!(snapshot.load(*oid).unwrap().unwrap().data, text(index));
        }
    }
    assert!(pair.writer.codecs().newest_dictionary().is_some());
    assert!(pair.reader.codecs().newest_dictionary().is_some());
}

/// As where a standby of PostgreSQL that was behind has become its primary.
#[test]
fn a_store_that_has_lost_commits_is_noticed() {
    let Some(server) = Server::start() else {
        return;
    };
    let pair = Pair::create(&server, &StoreOptions::default());
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    pair.commit(create_root(b"1"));
    server.sql("test", "CREATE TABLE kept AS SELECT * FROM durum.meta");
    pair.commit(update_root(b"2"));
    pair.reader.refresh().unwrap();
    server.sql(
        "test",
        "BEGIN; DELETE FROM durum.meta; INSERT INTO durum.meta SELECT * FROM kept; COMMIT",
    );
    for _ in 0..2 {
        let error = pair.reader.snapshot().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    }
    let anew = follow(&server).unwrap();
    anew.snapshot().unwrap();
}

/// Several threads take snapshots and read from the same ones while another commits.
#[test]
fn many_read_at_once() {
    const THREADS: usize = 6;
    const COMMITS: u64 = 300;
    let Some(server) = Server::start() else {
        return;
    };
    let pair = Pair::create(&server, &StoreOptions::default());
    pair.writer.new_oids(SessionId::EMBEDDED, 1).unwrap();
    pair.commit(create_root(&0_u64.to_be_bytes()));
    let (reader, done) = (&pair.reader, AtomicBool::new(false));
    let number = |snapshot: &dyn Snapshot| {
        let data = snapshot.load(Oid::ROOT).unwrap().unwrap().data;
        u64::from_be_bytes(data.try_into().unwrap())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut reads) = (0, 0);
                    while !done.load(Ordering::Relaxed) || reads < 10 {
                        let snapshot = reader.snapshot().unwrap();
                        let now = number(&*snapshot);
                        assert!(now >= last, "{now} after {last}");
                        assert_eq!(number(&*snapshot), now);
                        (last, reads) = (now, reads + 1);
                    }
                    last
                })
            })
            .collect();
        for count in 1..=COMMITS {
            pair.commit(update_root(&count.to_be_bytes()));
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() <= COMMITS);
        }
    });
    assert_eq!(number(&*reader.snapshot().unwrap()), COMMITS);
}

#[test]
fn stores_in_directories_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new().with(LmdbBackend);
    let url = format!("lmdb:{}", directory.path().join("store").display());
    let settings = registry.parse_store(&url).unwrap();
    drop(registry.create(&settings).unwrap());
    let error = registry.follow(&settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}
