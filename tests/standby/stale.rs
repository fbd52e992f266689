//! A server that was stopped for so long that another has taken over, and then continued: it does not know.

use std::time::{Duration, Instant};

use durum_core::engine::Durability;
use durum_core::store::{Batch, SessionKind, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, Result};
use durum_database::Server as Database;
use durum_server::client::{ClientOptions, RemoteStore};
use durum_testkit::wait_until;
use rustix::process::Signal;

use crate::clients::Clients;
use crate::kit::{REPLACED, Servers};

/// A server that was replaced asks for it once a second.
const END_TIME_MAX: Duration = Duration::from_secs(15);

/// A client that says at once that its server is gone.
fn connect(port: u16) -> RemoteStore {
    let location = durum_core::config::ServerLocation {
        address: format!("127.0.0.1:{port}"),
        tls: None,
    };
    let options = ClientOptions {
        patience: Duration::ZERO,
        ..ClientOptions::default()
    };
    RemoteStore::connect_with(&location, options).unwrap()
}

fn write(store: &RemoteStore, create: bool, data: &'static [u8]) -> Result<()> {
    let mut batch = Batch::new();
    match create {
        true => batch.create(Oid::ROOT, data, []),
        false => batch.update(Oid::ROOT, data, []),
    };
    store.commit(batch, Durability::Power).map(drop)
}

fn read(store: &RemoteStore) -> Result<Vec<u8>> {
    let root = store.snapshot()?.load(Oid::ROOT)?;
    Ok(root.unwrap().data)
}

/// It is refused, or there is nobody any more who could be asked.
fn assert_refused<T: std::fmt::Debug>(read: Result<T>) {
    let error = read.unwrap_err();
    let refused = [ErrorKind::InUse, ErrorKind::Unreachable];
    assert!(refused.contains(&error.kind()), "{error}");
}

/// A stale server does not know what has become of a commit, and must not say that it was not made: whoever serves now
/// can say that.
fn assert_not_answered(write: Result<()>) {
    let error = write.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

/// With requests that are already waiting for the server when it goes on, and with such that come then: a commit and a
/// read of each kind, on connections that it has had since before.
#[test]
fn a_stopped_server_that_is_continued_is_refused_by_the_fence() {
    let Some(database) = Database::start() else {
        return;
    };
    let mut servers = Servers::on(&database);
    let [old_port, new_port] = servers.ports();
    let clients: Vec<RemoteStore> = (0..3).map(|_| connect(old_port)).collect();
    clients[0]
        .new_oids(durum_core::SessionId::EMBEDDED, 1)
        .unwrap();
    write(&clients[0], true, b"before").unwrap();
    for client in &clients {
        assert_eq!(read(client).unwrap(), b"before");
    }
    servers.server(0).stop();
    let [committing, reading, later] = <[RemoteStore; 3]>::try_from(clients).unwrap();
    let write_waits =
        std::thread::spawn(move || write(&committing, false, b"asked of the stopped one"));
    let read_waits = std::thread::spawn(move || read(&reading));
    // As PostgreSQL's system does in the end where a machine no longer answers.
    assert_eq!(database.end_writers("test"), 1);
    wait_until("the standby", || servers.active() == Some(1));
    let newest = connect(new_port);
    assert_eq!(read(&newest).unwrap(), b"before");
    write(&newest, false, b"after").unwrap();
    assert!(!write_waits.is_finished() && !read_waits.is_finished());

    let continued = Instant::now();
    servers.server(0).signal(Signal::CONT);
    assert_not_answered(write(&later, false, b"asked of the stale one"));
    assert_refused(read(&later));
    assert_not_answered(write_waits.join().unwrap());
    assert_refused(read_waits.join().unwrap());
    assert_eq!(servers.server(0).wait(), Some(REPLACED));
    println!(
        "it has ended {:?} after it was continued",
        continued.elapsed()
    );
    assert!(continued.elapsed() < END_TIME_MAX);
    let log = servers.server(0).log();
    assert!(
        log.contains("another process has become the writer"),
        "{log}"
    );

    assert_eq!(read(&newest).unwrap(), b"after");
    write(&newest, false, b"in the end").unwrap();
    assert_eq!(read(&newest).unwrap(), b"in the end");
    drop((newest, later));
    servers.stand_by(0);
    assert_eq!(servers.stop_and_check()["objects"], 1);
}

/// Its clients hear nothing while it is stopped, and nothing that it was asked for takes effect when it is continued.
#[test]
fn clients_of_a_stopped_server_go_on_at_the_other() {
    let Some(database) = Database::start() else {
        return;
    };
    let mut servers = Servers::on(&database);
    let Some(mut clients) = Clients::start(&servers) else {
        return;
    };
    servers.server(0).stop();
    // As PostgreSQL's system does in the end where a machine no longer answers.
    assert_eq!(database.end_writers("test"), 1);
    wait_until("the standby", || servers.active() == Some(1));
    let newest = connect(servers.ports()[1]);
    let session = newest.session(SessionKind::Client).unwrap();
    let mut batch = Batch::of(session);
    let oids = newest.new_oids(session, 1).unwrap();
    batch.create(oids[0], b"meanwhile", []);
    newest.commit(batch, Durability::Power).unwrap();
    servers.server(0).signal(Signal::CONT);
    clients.fault();
    let (first, last) = clients.wait_until_they_go_on(END_TIME_MAX, || {});
    println!("continued: the first client goes on after {first:?}, all after {last:?}");
    assert_eq!(servers.server(0).wait(), Some(REPLACED));
    servers.stand_by(0);
    clients.end(&servers);
    drop(newest);
    servers.stop_and_check();
}
