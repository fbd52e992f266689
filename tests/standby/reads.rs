//! Reads, at the addresses that both servers have for them, while the one that has the store is killed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use durum_core::engine::Durability;
use durum_core::store::{Batch, Store as _};
use durum_core::{ErrorKind, Oid, Result};
use durum_database::Server as Database;
use durum_server::client::RemoteStore;
use durum_testkit::wait_until;

use crate::clients::Clients;
use crate::durus_client::DurusProcess;
use crate::kit::Servers;
use crate::progress::Progress;
use crate::rust_client;

/// How often the server that has the store is killed.
const TAKEOVERS: usize = 4;
const GO_ON_MAX: Duration = Duration::from_secs(30);

/// Who reads again and again.
struct Reader {
    reads: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// A Rust client, which finds everything that was acknowledged before it has begun to look.
    fn start(port: u16, counted: Vec<(Oid, Arc<Progress>)>) -> Reader {
        let (reads, done) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (its_reads, is_done) = (reads.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let store = rust_client::connect(port);
            while !is_done.load(Ordering::Relaxed) {
                match read(&store, &counted) {
                    Ok(()) => drop(its_reads.fetch_add(1, Ordering::Relaxed)),
                    // The server was killed while it was read from a snapshot, and others have committed since.
                    Err(error) if error.kind() == ErrorKind::TooOld => {}
                    // It is there again, and has not found the store yet.
                    Err(error) if error.kind() == ErrorKind::InUse => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Reader {
            reads,
            done,
            thread,
        }
    }

    fn end(self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn read(store: &RemoteStore, counted: &[(Oid, Arc<Progress>)]) -> Result<()> {
    let acknowledged: Vec<u64> = counted
        .iter()
        .map(|(_, progress)| progress.counts().commits)
        .collect();
    let snapshot = store.snapshot()?;
    for ((oid, _), acknowledged) in counted.iter().zip(acknowledged) {
        let found = rust_client::try_count_of(&*snapshot, *oid)?;
        assert!(found >= acknowledged, "{found} of {acknowledged} of {oid}");
    }
    Ok(())
}

/// Durus, which prints what it reads.
struct DurusReader {
    reads: Arc<AtomicU64>,
    last: Arc<Mutex<String>>,
    process: DurusProcess,
}

impl DurusReader {
    fn start(python: &Path, home: &Path, port: u16) -> DurusReader {
        let arguments = ["watch".to_owned(), port.to_string()].into_iter();
        let names = Clients::durus_names().map(str::to_owned);
        let arguments: Vec<String> = arguments.chain(names).collect();
        let (reads, last) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::default()));
        let (counted, kept) = (reads.clone(), last.clone());
        let take = move |line: &str| {
            line.clone_into(&mut *kept.lock().unwrap());
            counted.fetch_add(1, Ordering::Relaxed);
        };
        DurusReader {
            reads,
            last,
            process: DurusProcess::start(python, home, &arguments, take),
        }
    }

    /// What it has read last.
    fn end(self) -> String {
        self.process.end();
        self.last.lock().unwrap().clone()
    }
}

fn counts(reads: &[Arc<AtomicU64>]) -> Vec<u64> {
    let loaded = reads.iter().map(|reads| reads.load(Ordering::Relaxed));
    loaded.collect()
}

#[test]
fn both_servers_serve_reads_whichever_has_the_store() {
    let Some(database) = Database::start() else {
        return;
    };
    let mut servers = Servers::on(&database);
    let Some(mut clients) = Clients::start(&servers) else {
        return;
    };
    let (ports, python) = (servers.read_ports(), clients.python());
    let rust: Vec<Reader> = ports.map(|port| Reader::start(port, clients.rust())).into();
    let durus = ports.map(|port| DurusReader::start(&python, servers.home(), port));
    let reads: Vec<_> = rust.iter().map(|it| it.reads.clone()).collect();
    let reads: Vec<_> = reads
        .into_iter()
        .chain(durus.iter().map(|it| it.reads.clone()))
        .collect();
    let go_on = |what: &str| {
        let before = counts(&reads);
        // What was begun before is among these: two more are after it.
        let is_so = || {
            counts(&reads)
                .iter()
                .zip(&before)
                .all(|(now, before)| *now >= before + 2)
        };
        wait_until(what, is_so);
    };
    go_on("reads");
    for _ in 0..TAKEOVERS {
        let active = servers.active().unwrap();
        servers.server(active).kill();
        clients.fault();
        clients.wait_until_they_go_on(GO_ON_MAX, || {});
        servers.stand_by(active);
        go_on("reads after a takeover");
    }
    assert_writes_are_refused(servers.read_ports());
    clients.end(&servers);
    // Nothing is committed any more: what they read next is what there is.
    go_on("reads in the end");
    let port = servers.active_port().to_string();
    let shown = [&["show", &port], &Clients::durus_names()[..]].concat();
    let shown = durum_testkit::run_python(&python, "durus_count.py", &shown);
    let total: u64 = counts(&reads).iter().sum();
    for reader in durus {
        assert_eq!(reader.end(), shown.trim());
    }
    rust.into_iter().for_each(Reader::end);
    println!("{total} reads");
    servers.stop_and_check();
}

fn assert_writes_are_refused(ports: [u16; 2]) {
    for port in ports {
        let store = rust_client::connect(port);
        let mut batch = Batch::new();
        batch.update(Oid::ROOT, b"not here", []);
        let error = store.commit(batch, Durability::Power).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
        assert!(error.to_string().contains("at this address"), "{error}");
        assert!(!store.may_write());
    }
}
