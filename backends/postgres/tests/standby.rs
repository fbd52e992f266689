//! Several servers of one store: one serves it, another stands by and takes over.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durum_core::config::ServerLocation;
use durum_core::engine::{Durability, Registry};
use durum_core::store::{Batch, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, Result, SessionId};
use durum_database::Server as Database;
use durum_postgres::PostgresBackend;
use durum_server::client::RemoteStore;
use durum_server::{Home, Passed, Server, Settings, Stopper};
use durum_testkit::wait_until;

/// A server on a thread of its own.
struct Running {
    location: ServerLocation,
    stopper: Stopper,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    fn of(server: Server) -> Running {
        let location = ServerLocation {
            address: server.addresses()[0].to_string(),
            tls: None,
        };
        Running {
            location,
            stopper: server.stopper(),
            thread: std::thread::spawn(|| server.run()),
        }
    }

    fn connect(&self) -> RemoteStore {
        RemoteStore::connect(&self.location).unwrap()
    }
}

fn home(database: &Database) -> Home {
    let registry = Registry::new().with(PostgresBackend);
    let url = format!("postgres:{}", database.address("test"));
    Home {
        settings: registry.parse_store(&url).unwrap(),
        registry,
    }
}

fn settings() -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Settings::default()
    }
}

fn write(store: &RemoteStore, create: bool, data: &'static [u8]) -> Result<()> {
    let mut batch = Batch::new();
    match create {
        true => batch.create(Oid::ROOT, data, []),
        false => batch.update(Oid::ROOT, data, []),
    };
    store.commit(batch, Durability::Power).map(drop)
}

fn root(store: &RemoteStore) -> Vec<u8> {
    let snapshot = store.snapshot().unwrap();
    snapshot.load(Oid::ROOT).unwrap().unwrap().data
}

/// A server that is stopped, and one whose lock is taken from it without its knowing.
#[test]
fn a_standby_takes_over() {
    let Some(database) = Database::start() else {
        return;
    };
    let first = Server::bind_home(home(&database), settings(), Passed::default()).unwrap();
    let refused = Server::bind_home(home(&database), settings(), Passed::default());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InUse);
    let mut active = Running::of(first);
    let client = active.connect();
    client.new_oids(SessionId::EMBEDDED, 1).unwrap();
    write(&client, true, b"0").unwrap();
    drop(client);
    for (number, data) in [&b"1"[..], b"2", b"3"].into_iter().enumerate() {
        let waiting = home(&database);
        let standby = std::thread::spawn(move || {
            Server::bind_home_when_free(waiting, settings(), Passed::default())
        });
        let client = active.connect();
        write(&client, false, data).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!standby.is_finished());
        let began = Instant::now();
        let lost = number % 2 == 1;
        // What stops a server keeps it in memory, and so its store open.
        let Running {
            stopper, thread, ..
        } = active;
        match lost {
            false => stopper.stop(),
            true => {
                // As a network that cuts the server off from the database, but not from its clients.
                database.sql(
                    "test",
                    "SELECT pg_terminate_backend(pid) FROM pg_locks \
                     WHERE locktype = 'advisory' AND granted",
                );
            }
        }
        drop((client, stopper));
        let next = Running::of(standby.join().unwrap().unwrap());
        println!("taken over after {:?}", began.elapsed());
        let ended = thread.join().unwrap();
        match lost {
            false => ended.unwrap(),
            true => assert_eq!(ended.unwrap_err().kind(), ErrorKind::InUse),
        }
        assert_eq!(root(&next.connect()), data);
        active = next;
    }
    active.stopper.stop();
    active.thread.join().unwrap().unwrap();
}

/// Where the database was away for longer than a write is tried, nobody knows what has become of that: the server ends
/// when the database is back, and the next one knows. Its client goes on there.
#[test]
fn a_server_whose_database_was_away_for_too_long_is_started_again() {
    let Some(mut database) = Database::start() else {
        return;
    };
    let impatient = |database: &Database| {
        let mut home = home(database);
        let url = format!("postgres:{}?reconnect=1", database.address("test"));
        home.settings = home.registry.parse_store(&url).unwrap();
        home
    };
    let first = Server::bind_home(impatient(&database), settings(), Passed::default()).unwrap();
    let first = Running::of(first);
    let address = first.location.address.clone();
    let client = first.connect();
    client.new_oids(SessionId::EMBEDDED, 1).unwrap();
    write(&client, true, b"0").unwrap();

    // The write has been sent when the database is killed.
    let mut holding = database.begin_sql(
        "test",
        "BEGIN; LOCK TABLE durum.objects IN EXCLUSIVE MODE; SELECT pg_sleep(60)",
    );
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'durum.objects'::regclass";
    wait_until("the lock", || database.sql("test", locked) == "1");
    let waiting = std::thread::spawn(move || (write(&client, false, b"1"), client));
    wait_until("a write that waits", || database.sql("test", waits) == "1");
    database.kill();
    holding.wait().unwrap();
    let Running {
        stopper, thread, ..
    } = first;
    // Long enough for the write to be given up.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!thread.is_finished());
    assert!(!waiting.is_finished(), "{:?}", waiting.join().unwrap().0);
    database.run();
    drop(stopper);
    let error = thread.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");

    let again = Settings {
        listen: vec![address.parse().unwrap()],
        ..Settings::default()
    };
    let next = Server::bind_home_when_free(impatient(&database), again, Passed::default());
    let next = Running::of(next.unwrap());
    let (written, client) = waiting.join().unwrap();
    written.unwrap();
    assert_eq!(root(&client), b"1");
    drop(client);
    next.stopper.stop();
    next.thread.join().unwrap().unwrap();
}
