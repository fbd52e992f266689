//! What goes wrong between a client and its server, and what must not come of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use durum_core::config::ServerLocation;
use durum_core::engine::Durability;
use durum_core::record::Payload;
use durum_core::store::{Batch, SessionKind, Store as _};
use durum_core::{Error, ErrorKind, Oid, Tid};
use durum_server::client::{ClientOptions, RemoteImport, RemoteStore};
use support::{Running, at, error_of, home, on_loopback, soon};

const LEVEL: Durability = Durability::Relaxed;
const LAST: (&[u8], &[u8]) = (b"dangling ", b".");
const IMPATIENT: ClientOptions = ClientOptions {
    connect_time_max: Duration::from_secs(1),
    silence: Duration::from_millis(300),
    patience: Duration::from_millis(500),
};

fn in_directory(directory: &Path) -> (Running, PathBuf) {
    let path = directory.join("store");
    let running = Running::at_home(home(&format!("file:{}", path.display())), on_loopback());
    (running, path)
}

/// Brings one object, or all that there are to be.
fn bring(location: &ServerLocation, all: bool) -> RemoteImport {
    let mut import = soon(|| RemoteImport::begin(location, false));
    import.fill(b"begun", 1 << 20).unwrap();
    import.push(Oid(0), Tid(1), &[], Payload::plain(b"data"));
    import.checkpoint(b"one").unwrap();
    import.settle().unwrap();
    if all {
        import.finish(Tid(5), Oid(20), LAST).unwrap();
    }
    import
}

/// Between a client and a server; holds what a connection sends once it is told to, and gives it to the server
/// later. `cuts`: the client loses that connection meanwhile; else nothing more is taken from it.
fn holding_proxy(server: &ServerLocation, cuts: bool) -> (ServerLocation, Sender<()>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = at(listener.local_addr().unwrap().to_string());
    let (hold, holds) = channel();
    let (release, released) = channel::<()>();
    let server = server.address.clone();
    std::thread::spawn(move || {
        let mut first = Some((holds, released));
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let first = first.take();
            std::thread::spawn(move || forward(client, server, first, cuts));
        }
    });
    (location, hold, release)
}

type Held = (std::sync::mpsc::Receiver<()>, std::sync::mpsc::Receiver<()>);

fn forward(mut client: TcpStream, mut server: TcpStream, held: Option<Held>, cuts: bool) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = client.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            return;
        }
        if let Some((holds, released)) = &held
            && holds.try_recv().is_ok()
        {
            if cuts {
                client.shutdown(Shutdown::Both).unwrap();
            }
            let _ = released.recv();
            let _ = server.write_all(&buffer[..count]);
            // The server has taken it when it closes.
            let _ = server.shutdown(Shutdown::Write);
            return;
        }
        if server.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn a_commit_that_was_refused_does_not_happen_later() {
    let running = Running::at_home(home("memory:"), on_loopback());
    let (location, hold, release) = holding_proxy(&running.location, true);
    let store = RemoteStore::connect(&location).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, b"root".as_slice(), []);
    store.commit(batch, LEVEL).unwrap();
    let session = store.session(SessionKind::Client).unwrap();
    let oid = store.new_oids(session, 1).unwrap()[0];
    let mut batch = Batch::of(session);
    batch.identify([5; 16]);
    batch.create(oid, b"new".as_slice(), []);
    batch.update(Oid::ROOT, b"root".as_slice(), [oid]);
    hold.send(()).unwrap();
    // The connection that has the OID is still there for the server.
    let refused = error_of(store.commit(batch, LEVEL));
    assert_eq!(refused.kind(), ErrorKind::Gone);
    let before = store.stats().unwrap().tid;
    release.send(()).unwrap();
    // By when the server has taken what was held it has also ended that session.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(store.outcome([5; 16]).unwrap(), None);
    let after = store.stats().unwrap();
    assert_eq!((after.tid, after.objects), (before, 1));
}

#[test]
fn what_is_complete_stays_when_it_cannot_appear() {
    let directory = tempfile::tempdir().unwrap();
    let (running, path) = in_directory(directory.path());
    let import = bring(&running.location, true);
    // Something is in the way for a moment.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), b"file").unwrap();
    assert_eq!(error_of(import.publish()).kind(), ErrorKind::Exists);
    fs::remove_dir_all(&path).unwrap();
    let import = soon(|| RemoteImport::begin(&running.location, true));
    assert_eq!(import.complete(), Some(1));
    import.publish().unwrap();
    assert_eq!(
        RemoteStore::connect(&running.location)
            .unwrap()
            .stats()
            .unwrap()
            .objects,
        1
    );
}

#[test]
fn what_is_left_stays_when_it_cannot_be_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = in_directory(directory.path());
    drop(bring(&running.location, false));
    let left = || {
        let entries = fs::read_dir(directory.path()).unwrap();
        let staged = entries.map(|entry| entry.unwrap().path().join("staged"));
        let mut staged: Vec<PathBuf> = staged.filter(|path| path.exists()).collect();
        staged.sort();
        staged
    };
    soon(
        || match error_of(RemoteStore::connect(&running.location)).to_string() {
            said if said.contains("was cut off") => Ok(()),
            said => Err(Error::new(ErrorKind::Other, "wait").because(said)),
        },
    );
    let other = directory
        .path()
        .join(".store.new-00000000000000000000000000000007");
    fs::create_dir(&other).unwrap();
    fs::copy(&left()[0], other.join("staged")).unwrap();
    let both = left();
    assert_eq!(both.len(), 2);
    let refused = error_of(RemoteImport::begin(&running.location, true));
    assert_eq!(refused.kind(), ErrorKind::Usage);
    assert_eq!(left(), both);
    // The server may be looking at it.
    soon(|| fs::remove_dir_all(&other).map_err(|error| Error::io(error, "remove it")));
    let import = soon(|| RemoteImport::begin(&running.location, true));
    assert_eq!(import.note(), Some(b"one".as_slice()));
}

#[test]
fn a_part_of_a_store_does_not_appear() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = in_directory(directory.path());
    drop(bring(&running.location, false));
    let import = soon(|| RemoteImport::begin(&running.location, true));
    assert_eq!(error_of(import.publish()).kind(), ErrorKind::Usage);
}

#[test]
fn no_part_is_written_after_one_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = in_directory(directory.path());
    let mut import = bring(&running.location, false);
    // A tid that no store takes.
    import.push(Oid(2), Tid(1 << 62), &[], Payload::plain(b"data"));
    import.checkpoint(b"two").unwrap();
    import.push(Oid(3), Tid(1), &[], Payload::plain(b"data"));
    let _ = import.checkpoint(b"three");
    assert_eq!(error_of(import.settle()).kind(), ErrorKind::Usage);
    drop(import);
    let mut import = soon(|| RemoteImport::begin(&running.location, true));
    assert_eq!(import.note(), Some(b"one".as_slice()));
    assert_eq!(import.fill(b"one", 1 << 20).unwrap(), (1, Oid(1)));
}

#[test]
fn what_was_brought_can_be_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = in_directory(directory.path());
    bring(&running.location, true).discard().unwrap();
    let store = soon(|| RemoteStore::connect(&running.location));
    assert_eq!(store.stats().unwrap().objects, 0);
}

#[test]
fn who_says_nothing_keeps_nobody_from_filling() {
    let running = Running::at_home(home("memory:"), on_loopback());
    let _silent = TcpStream::connect(&running.location.address).unwrap();
    let import = bring(&running.location, true);
    import.publish().unwrap();
    let store = RemoteStore::connect(&running.location).unwrap();
    // Of the new store, too, changes are heard as they happen.
    let since = store.stats().unwrap().tid;
    let waiting = {
        let store = store.clone();
        std::thread::spawn(move || store.wait_for_changes(since, Duration::from_secs(60)))
    };
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, b"new".as_slice(), []);
    store.commit(batch, LEVEL).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap().changes.len(), 1);
}

#[test]
fn a_connection_on_which_nothing_is_taken_is_given_up() {
    let running = Running::at_home(home("memory:"), on_loopback());
    let (location, hold, _release) = holding_proxy(&running.location, false);
    let store = RemoteStore::connect_with(&location, IMPATIENT).unwrap();
    let other = store.clone();
    hold.send(()).unwrap();
    let large = std::thread::spawn(move || {
        let mut batch = Batch::new();
        batch.create(Oid::ROOT, vec![0; 64 << 20], []);
        other.commit(batch, LEVEL)
    });
    // Both go on over another connection.
    store.stats().unwrap();
    large.join().unwrap().unwrap();
    assert_eq!(store.stats().unwrap().objects, 1);
}

#[test]
fn too_much_for_one_request_is_an_error_and_no_loss() {
    let mut settings = on_loopback();
    settings.limits.request_objects_max = 10;
    let running = Running::at_home(home("memory:"), settings);
    let store = RemoteStore::connect_with(&running.location, IMPATIENT).unwrap();
    let snapshot = store.snapshot().unwrap();
    let session = durum_core::SessionId::EMBEDDED;
    let oids = store.new_oids(session, 25).unwrap();
    assert_eq!(oids.len(), 25);
    let mut batch = Batch::new();
    for oid in &oids {
        batch.create(*oid, b"new".as_slice(), []);
    }
    assert_eq!(
        error_of(store.commit(batch, LEVEL)).kind(),
        ErrorKind::TooLarge
    );
    // The connection is the same: a snapshot of another one could not be had for a while.
    let mut batch = Batch::new();
    batch.create(oids[0], b"new".as_slice(), []);
    store.commit(batch, LEVEL).unwrap();
    assert!(!snapshot.load_with(oids[0], &mut |_| Ok(())).unwrap());
}

/// A frame of the server's own protocol.
fn frame(number: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32 + 5).to_be_bytes().to_vec();
    frame.extend(number.to_be_bytes());
    frame.push(kind);
    frame.extend(body);
    frame
}

/// The number of the request that is answered next.
fn answered(stream: &mut TcpStream) -> u32 {
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    let [length, number] = [0, 4].map(|at| u32::from_be_bytes(*head[at..].first_chunk().unwrap()));
    let mut rest = vec![0; length as usize - 4];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!(rest[0], 0, "{number}");
    number
}

#[test]
fn answers_do_not_wait_for_the_rest_of_a_request() {
    const CHANGES: u8 = 7;
    const LOAD: u8 = 5;
    let running = Running::at_home(home("memory:"), on_loopback());
    let store = RemoteStore::connect(&running.location).unwrap();
    // One that is not read at once, and others of which a part fits.
    for objects in [1u64, 100, 100_000] {
        let mut stream = TcpStream::connect(&running.location.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(b"V\0\0\0\x02").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        let since = store.stats().unwrap().tid;
        let mut wait = since.0.to_be_bytes().to_vec();
        wait.extend(60_000u32.to_be_bytes());
        wait.extend(10u32.to_be_bytes());
        stream.write_all(&frame(1, CHANGES, &wait)).unwrap();
        let mut load = 0u32.to_be_bytes().to_vec();
        (0..objects).for_each(|oid| load.extend(oid.to_be_bytes()));
        let load = frame(2, LOAD, &load);
        let (first, rest) = load.split_at(load.len() / 2);
        stream.write_all(first).unwrap();
        let mut batch = Batch::new();
        match since.0 {
            0 => batch.create(Oid::ROOT, b"root".as_slice(), []),
            _ => batch.update(Oid::ROOT, b"root".as_slice(), []),
        };
        store.commit(batch, LEVEL).unwrap();
        assert_eq!(answered(&mut stream), 1, "{objects}");
        stream.write_all(rest).unwrap();
        assert_eq!(answered(&mut stream), 2, "{objects}");
    }
}
