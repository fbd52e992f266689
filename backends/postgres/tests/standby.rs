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
