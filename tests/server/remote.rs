//! The Rust client and the commands, against the server as a process.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use durum::{Batch, Durability, Oid, SessionId, Store as _, Tid};
use durum_core::config::ServerLocation;
use durum_core::store::SnapshotExt as _;
use durum_core::{ErrorKind, store::SessionKind};
use durum_server::client::{ClientOptions, RemoteStore};
use rustix::process::Signal;
use serde_json::Value;

use crate::client::Loaded;
use crate::kit::{Server, durum, engines, wait_until};

const LEVEL: Durability = Durability::Process;

fn at(address: &str) -> ServerLocation {
    let address = address.to_owned();
    ServerLocation { address, tls: None }
}

fn connect(server: &Server) -> RemoteStore {
    let options = ClientOptions {
        patience: Duration::from_secs(120),
        ..ClientOptions::default()
    };
    RemoteStore::connect_with(&at(&server.address), options).unwrap()
}

fn url(server: &Server) -> String {
    format!("durus+tcp://{}", server.address)
}

/// A root that refers to `count` objects, in commits of a thousand.
fn fill(store: &RemoteStore, count: u64) {
    let oids = store.new_oids(SessionId::EMBEDDED, count as u32).unwrap();
    for (number, some) in oids.chunks(1000).enumerate() {
        let mut batch = Batch::new();
        for oid in some.iter().filter(|oid| **oid != Oid::ROOT) {
            let data = format!("{number} {oid} ").repeat(8);
            batch.create(*oid, data, [Oid::ROOT]);
        }
        let until = oids
            .iter()
            .copied()
            .take_while(|oid| oid <= some.last().unwrap());
        let root: Vec<Oid> = until.filter(|oid| *oid != Oid::ROOT).collect();
        match number {
            0 => batch.create(Oid::ROOT, b"root".as_slice(), root),
            _ => batch.update(Oid::ROOT, b"root".as_slice(), root),
        };
        store.commit(batch, LEVEL).unwrap();
    }
}

#[test]
fn typed_objects_are_shown_through_a_server() {
    let server = Server::new(&[]);
    let db = durum_objects::Database::new(std::sync::Arc::new(connect(&server))).unwrap();
    let list = db.transact(|tx| {
        let list = durum_objects::List::build(tx, 0..1000_u32)?;
        list.set_root(tx, "numbers")?;
        Ok(list)
    });
    let oid = list.unwrap().head().oid().to_string();
    let (url, stats) = (url(&server), db.store().stats().unwrap());
    let object = server.run(&["get", &url, &oid]);
    assert_eq!(object["type"], "durum.List", "{object}");
    assert_eq!(object["value"]["len"], 1000);
    let tree = server.run(&["tree", &url, &oid]);
    let shown = tree["objects"].as_array().unwrap().len() as u64;
    assert_eq!(
        shown,
        stats.objects - 2,
        "all but the root and the table of types"
    );
    let census = server.run(&["census", &url]);
    assert_eq!(census["objects"], stats.objects);
    assert_eq!(census["types"].as_array().unwrap().len(), 4, "{census}");
}

#[test]
fn commands_and_migrations_work_through_a_server() {
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let url = url(&server);
        fill(&connect(&server), 3000);
        let digest = server.run(&["digest", &url]);
        assert_eq!(digest["objects"], 3000);
        let stat = server.run(&["stat", &url]);
        assert_eq!(
            (&stat["objects"], &stat["engine"]),
            (&digest["objects"], &Value::from(engine.as_str()))
        );
        assert_eq!(
            server.run(&["get", &url, "7"])["refs"],
            serde_json::json!([0])
        );
        assert_eq!(
            server.run(&["check", &url])["errors"],
            serde_json::json!([])
        );
        assert_eq!(server.run(&["gc", &url])["collected"], 0);
        let backup = server.run(&["backup", &url, "backup"]);
        assert_eq!(backup["digest"], digest["digest"]);
        let copied = server.run(&["migrate", &url, "file:copy", "--verify", "full"]);
        assert_eq!(copied["digest"], digest["digest"]);
        // And into the store of another one, by a Unix-domain socket.
        let socket = server.home.path().join("socket");
        let address = format!("unix:{}", socket.display());
        let mut other = Server::start(&engine, &["--listen", &address]);
        let other_url = format!("durus+unix:{}", socket.display());
        for verify in ["count", "digest", "full"] {
            let tried = other.run(&["migrate", &url, &other_url, "--dry-run"]);
            assert_eq!(tried["objects"], 3000, "{tried}");
            let filled = other.run(&["migrate", &url, &other_url, "--verify", verify]);
            assert_eq!(filled["objects"], 3000);
            assert_eq!(other.run(&["digest", &other_url]), digest);
            if verify == "full" {
                break;
            }
            other.empty();
        }
        let full = other.fails(&["migrate", &url, &other_url]);
        assert_eq!(full.0, 4, "{}", full.1);
        let checked = other.stop_and_check();
        assert_eq!(checked["objects"], 3000);
        server.stop_and_check();
    }
}

#[test]
fn a_migration_into_a_server_goes_on_after_either_was_killed() {
    for engine in engines() {
        let source = Server::new(&[]);
        fill(&connect(&source), 20_000);
        let digest = source.run(&["digest", &url(&source)]);
        let mut server = Server::start(&engine, &[]);
        let begin = |server: &Server, arguments: &[&str]| -> Child {
            let (from, to) = (url(&source), url(server));
            let all = [
                &[
                    "migrate", &from, &to, "--rate", "100KiB", "--memory", "4MiB",
                ],
                arguments,
            ];
            let mut command = durum(server.home.path(), &all.concat());
            command.stderr(Stdio::null()).spawn().unwrap()
        };
        let left = |server: &Server| {
            let entries = std::fs::read_dir(server.home.path()).unwrap();
            let mut names = entries.map(|entry| entry.unwrap().path());
            names.any(|path| path.join("staged").exists())
        };
        // Killed with what was written, the client first.
        let mut client = begin(&server, &[]);
        wait_until("something to go on with", || left(&server));
        client.kill().unwrap();
        client.wait().unwrap();
        server.wait_for_log("an unfinished store is left");
        let refused = RemoteStore::connect(&at(&server.address)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InUse);
        let (code, said) = server.fails(&["stat", &url(&server)]);
        assert!(code == 5 && said.contains("--resume"), "{said}");
        // Then the server, in the middle of the next attempt.
        let mut client = begin(&server, &["--resume"]);
        std::thread::sleep(Duration::from_millis(300));
        server.signal(Signal::KILL);
        server.wait();
        let status = client.wait().unwrap();
        assert!(!status.success(), "{engine}: {}", server.log());
        server.restart();
        assert!(left(&server), "{engine}");
        let done = server.run(&["migrate", &url(&source), &url(&server), "--resume"]);
        assert_eq!(
            (&done["resumed"], &done["digest"]),
            (&Value::from(true), &digest["digest"])
        );
        assert!(!left(&server));
        assert_eq!(server.stop_and_check()["objects"], 20_000);
    }
}

/// What one client of eight has done.
#[derive(Debug, Default)]
struct Done {
    /// Commits that were acknowledged.
    commits: AtomicU64,
    /// The value of the last of them.
    value: AtomicU64,
}

/// Counts in an object of its own, and creates another one now and then.
fn count_on(store: &RemoteStore, counter: Oid, done: &Done, ends: &AtomicBool) {
    let session = store.session(SessionKind::Client).unwrap();
    let (mut value, mut child) = (0_u64, None);
    while !ends.load(Ordering::Relaxed) {
        value += 1;
        let mut batch = Batch::of(session);
        let new = value
            .is_multiple_of(3)
            .then(|| store.new_oids(session, 1).unwrap()[0]);
        if let Some(oid) = new {
            batch.create(oid, value.to_be_bytes(), []);
        }
        let refs = new.or(child);
        batch.update(counter, value.to_be_bytes(), refs);
        match store.commit(batch, LEVEL) {
            Ok(_) => {
                child = refs;
                done.commits.fetch_add(1, Ordering::Relaxed);
                done.value.store(value, Ordering::Relaxed);
            }
            // The OID was handed out by a server that is no more.
            Err(error) if error.kind() == ErrorKind::Gone && new.is_some() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn clients_go_on_after_the_server_was_killed_and_every_commit_counts_once() {
    const CLIENTS: usize = 8;
    let kills: u32 = std::env::var("DURUM_KILLS").map_or(4, |kills| kills.parse().unwrap());
    for engine in engines() {
        let mut server = Server::start(&engine, &[]);
        let first = connect(&server);
        let oids = first
            .new_oids(SessionId::EMBEDDED, 1 + CLIENTS as u32)
            .unwrap();
        let (root, counters) = oids.split_first().unwrap();
        let mut batch = Batch::new();
        batch.create(*root, b"root".as_slice(), counters.iter().copied());
        for counter in counters {
            batch.create(*counter, 0_u64.to_be_bytes(), []);
        }
        let begin = first.commit(batch, LEVEL).unwrap().tid;
        let ends = AtomicBool::new(false);
        let done: Vec<Done> = counters.iter().map(|_| Done::default()).collect();
        std::thread::scope(|scope| {
            // Four connections, two threads on each.
            let stores: Vec<_> = (0..CLIENTS / 2).map(|_| connect(&server)).collect();
            let working: Vec<_> = (counters.iter().zip(&done).enumerate())
                .map(|(number, (counter, done))| {
                    let (store, ends) = (stores[number / 2].clone(), &ends);
                    scope.spawn(move || count_on(&store, *counter, done, ends))
                })
                .collect();
            for _ in 0..kills {
                let before: u64 = done
                    .iter()
                    .map(|it| it.commits.load(Ordering::Relaxed))
                    .sum();
                wait_until("commits", || {
                    let now: u64 = done
                        .iter()
                        .map(|it| it.commits.load(Ordering::Relaxed))
                        .sum();
                    now > before + 40 || working.iter().any(|thread| thread.is_finished())
                });
                std::thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
                server.signal(Signal::KILL);
                server.wait();
                server.restart();
            }
            std::thread::sleep(Duration::from_millis(50));
            ends.store(true, Ordering::Relaxed);
        });
        let snapshot = first.snapshot().unwrap();
        let changes = first.changes_since(begin).unwrap().changes;
        for (counter, done) in counters.iter().zip(&done) {
            let object = snapshot.load(*counter).unwrap().unwrap();
            let value = done.value.load(Ordering::Relaxed);
            assert_eq!(object.data, value.to_be_bytes(), "{engine}");
            let written = changes.iter().filter(|change| change.oid == *counter);
            assert_eq!(
                written.count() as u64,
                done.commits.load(Ordering::Relaxed),
                "{engine}"
            );
        }
        assert!(snapshot.tid() > Tid::ZERO);
        drop(snapshot);
        server.stop_and_check();
    }
}

#[test]
fn a_migration_a_backup_a_pack_and_eight_clients_at_once() {
    const CLIENTS: u32 = 8;
    for engine in engines() {
        let server = Server::start(&engine, &[]);
        let first = connect(&server);
        fill(&first, 3000);
        let root = first.snapshot().unwrap().load(Oid::ROOT).unwrap().unwrap();
        let session = first.session(SessionKind::Client).unwrap();
        let counters = first.new_oids(session, CLIENTS).unwrap();
        let mut batch = Batch::of(session);
        for counter in &counters {
            batch.create(*counter, 0_u64.to_be_bytes(), []);
        }
        let linked = root.refs.iter().chain(&counters).copied();
        batch.update(Oid::ROOT, root.data.clone(), linked);
        first.commit(batch, LEVEL).unwrap();
        let ends = AtomicBool::new(false);
        let done: Vec<Done> = counters.iter().map(|_| Done::default()).collect();
        let url = url(&server);
        std::thread::scope(|scope| {
            for (counter, done) in counters.iter().zip(&done) {
                let (store, ends) = (connect(&server), &ends);
                scope.spawn(move || count_on(&store, *counter, done, ends));
            }
            let commands: Vec<_> = [
                vec!["migrate", &url, "file:copy", "--verify", "full"],
                vec!["backup", &url, "backup"],
                vec!["gc", &url],
                vec!["check", &url],
            ]
            .into_iter()
            .map(|arguments| {
                let server = &server;
                scope.spawn(move || server.run(&arguments))
            })
            .collect();
            // A client of Durus's packs, and loads what others do not change.
            let mut durus = server.client();
            for oid in 1..200 {
                if oid % 20 == 0 {
                    durus.send(b"P");
                    assert_eq!(durus.receive(), *b"O");
                }
                assert!(matches!(durus.load(oid), Loaded::Object { .. }), "{oid}");
            }
            let reports: Vec<Value> = commands.into_iter().map(|it| it.join().unwrap()).collect();
            // Each of its own moment, with all that was never changed.
            assert!(reports[0]["objects"].as_u64().unwrap() >= 3000 + u64::from(CLIENTS));
            assert!(reports[1]["objects"].as_u64().unwrap() >= 3000 + u64::from(CLIENTS));
            assert_eq!(reports[3]["errors"], serde_json::json!([]));
            ends.store(true, Ordering::Relaxed);
        });
        let snapshot = first.snapshot().unwrap();
        for (counter, done) in counters.iter().zip(&done) {
            let object = snapshot.load(*counter).unwrap().unwrap();
            assert_eq!(
                object.data,
                done.value.load(Ordering::Relaxed).to_be_bytes(),
                "{engine}"
            );
            assert!(done.commits.load(Ordering::Relaxed) > 0, "{engine}");
        }
        drop(snapshot);
        let copy = server.run(&["check", "file:copy"]);
        assert_eq!(copy["errors"], serde_json::json!([]));
        server.stop_and_check();
    }
}
