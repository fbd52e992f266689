//! A Rust client that counts: its own object, and one that it shares with others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use durum_core::config::ServerLocation;
use durum_core::engine::Durability;
use durum_core::record::Object;
use durum_core::store::{Batch, SessionKind, Snapshot, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, Result, SessionId};
use durum_server::client::{ClientOptions, RemoteStore};

use crate::progress::{Outcome, Progress};

/// One commit of so many counts up what is shared; so do the clients of Durus.
pub(crate) const SHARED_EVERY: u64 = 4;

/// How long a client waits for a server: longer than any test.
const PATIENCE: Duration = Duration::from_secs(300);

/// A client of the server at a port of this machine.
pub(crate) fn connect(port: u16) -> RemoteStore {
    let location = ServerLocation {
        address: format!("127.0.0.1:{port}"),
        tls: None,
    };
    let options = ClientOptions {
        patience: PATIENCE,
        ..ClientOptions::default()
    };
    RemoteStore::connect_with(&location, options).unwrap()
}

/// The objects of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects {
    pub(crate) own: Oid,
    pub(crate) shared: Oid,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct RustClient {
    pub(crate) progress: Arc<Progress>,
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl RustClient {
    pub(crate) fn start(port: u16, objects: Objects) -> RustClient {
        let (progress, done) = (
            Arc::new(Progress::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let (its_progress, is_done) = (progress.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let store = connect(port);
            let session = store.session(SessionKind::Client).unwrap();
            let counting = Counting {
                objects,
                session,
                commits: 0,
                store,
            };
            counting.run(&its_progress, &is_done);
        });
        RustClient {
            progress,
            done,
            thread,
        }
    }

    /// Whether it works no more, which it is not to do by itself.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Has it end; how often it has counted.
    pub(crate) fn end(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.progress.counts().commits
    }
}

struct Counting {
    store: RemoteStore,
    session: SessionId,
    objects: Objects,
    commits: u64,
}

impl Counting {
    /// Counts until that is `done`. That a commit was not answered is the library's business: it asks the next server.
    fn run(mut self, progress: &Progress, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            let began = SystemTime::now();
            let counted = self.prepare().and_then(|batch| {
                let committed = self.store.commit(batch, Durability::Power).map(drop);
                if let Err(error) = &committed {
                    // A server that is no longer the one does not know what has become of it.
                    assert_ne!(error.kind(), ErrorKind::InUse, "{error}");
                }
                committed
            });
            match counted.map_err(|error| (error.kind(), error)) {
                Ok(()) => {
                    self.commits += 1;
                    progress.note(Outcome::Acknowledged, began);
                }
                // Who has just committed would be faster again and again.
                Err((ErrorKind::Conflict, _)) => {
                    std::thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
                }
                // What was prepared went with the last server.
                Err((ErrorKind::Gone | ErrorKind::TooOld, _)) => {}
                // A server that is no longer the one says so to who reads: there will be another.
                Err((ErrorKind::InUse, _)) => std::thread::sleep(Duration::from_millis(20)),
                Err((_, error)) => panic!("{error}"),
            }
        }
    }

    /// What counts up once. Its object says what was counted, no more and no less: nobody else changes it.
    fn prepare(&self) -> Result<Batch> {
        let snapshot = self.store.snapshot()?;
        let own = load(&*snapshot, self.objects.own)?;
        assert_eq!(number(&own.data), self.commits, "of {}", self.objects.own);
        let item = self.store.new_oids(self.session, 1)?[0];
        let count = self.commits + 1;
        let mut batch = Batch::of(self.session);
        batch.expect(self.objects.own, own.tid);
        batch.update(self.objects.own, count.to_be_bytes(), [item]);
        batch.create(item, count.to_be_bytes(), []);
        if count.is_multiple_of(SHARED_EVERY) {
            let shared = load(&*snapshot, self.objects.shared)?;
            batch.expect(self.objects.shared, shared.tid);
            let count = (number(&shared.data) + 1).to_be_bytes();
            batch.update(self.objects.shared, count, []);
        }
        Ok(batch)
    }
}

fn load(snapshot: &dyn Snapshot, oid: Oid) -> Result<Object> {
    Ok(snapshot.load(oid)?.unwrap())
}

fn number(data: &[u8]) -> u64 {
    u64::from_be_bytes(data.try_into().unwrap())
}

/// Has the objects begin at nothing.
pub(crate) fn set_up(store: &RemoteStore, oids: &[Oid]) {
    let mut batch = Batch::new();
    for oid in oids {
        batch.update(*oid, 0_u64.to_be_bytes(), []);
    }
    store.commit(batch, Durability::Power).unwrap();
}

/// The count of an object, which what it refers to has to confirm.
pub(crate) fn count_of(snapshot: &dyn Snapshot, oid: Oid) -> u64 {
    try_count_of(snapshot, oid).unwrap()
}

/// As [`count_of`], where the server may be gone.
pub(crate) fn try_count_of(snapshot: &dyn Snapshot, oid: Oid) -> Result<u64> {
    let object = load(snapshot, oid)?;
    let count = number(&object.data);
    for item in object.refs {
        assert_eq!(number(&load(snapshot, item)?.data), count, "of {oid}");
    }
    Ok(count)
}
