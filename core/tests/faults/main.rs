//! What a store does when its engine fails, asks for room, or is slow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod importing;
mod reclaiming;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use durum_core::engine::{
    Backend, Capabilities, Durability, Engine, EngineSnapshot, EngineStats, Op, OptionSpec,
    Options, Reclaimed,
};
use durum_core::store::{
    Batch, Collection, LocalStore, Pending, SnapshotExt as _, Store as _, StoreOptions,
};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId, Tid};
use durum_memory::MemoryBackend;

/// What the engine shall do at its next `apply`.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Fail with this kind and change nothing.
    Fail(ErrorKind),
    /// Apply the batch, and then report that the sync failed.
    FailAfter,
}

#[derive(Debug, Default)]
struct Control {
    fault: Mutex<Vec<Fault>>,
    applied: AtomicUsize,
    rooms: AtomicUsize,
    views: AtomicUsize,
    slow: Mutex<Duration>,
    /// How many more calls succeed before the faults begin.
    pass: Mutex<usize>,
    /// What giving space back fails with.
    reclaim_fault: Mutex<Option<ErrorKind>>,
    /// Whether there is always more to give back.
    reclaim_endless: AtomicBool,
    /// Whether that is the case only once.
    reclaim_fault_once: AtomicBool,
    reclaim_panics: AtomicBool,
    reclaims: AtomicUsize,
}

/// The in-memory engine with faults on request.
#[derive(Clone, Debug, Default)]
struct FaultyBackend(Arc<Control>);

impl Backend for FaultyBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::ALL.to_vec(),
            reclaim: true,
            ..MemoryBackend.capabilities()
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        let inner = MemoryBackend.open(dir, options)?;
        Ok(Box::new(FaultyEngine {
            inner,
            control: self.0.clone(),
        }))
    }
}

#[derive(Debug)]
struct FaultyEngine {
    inner: Box<dyn Engine>,
    control: Arc<Control>,
}

impl Engine for FaultyEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        self.control.views.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Counted {
            inner: self.inner.snapshot()?,
            control: self.control.clone(),
        }))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        let fault = {
            let mut pass = self.control.pass.lock().unwrap();
            let now = *pass == 0;
            *pass = pass.saturating_sub(1);
            if now {
                self.control.fault.lock().unwrap().pop()
            } else {
                None
            }
        };
        if let Some(Fault::Fail(kind)) = fault {
            return Err(Error::new(kind, "apply").because("on purpose"));
        }
        std::thread::sleep(*self.control.slow.lock().unwrap());
        self.inner.apply(ops, Durability::Relaxed)?;
        self.control.applied.fetch_add(1, Ordering::SeqCst);
        match fault {
            Some(Fault::FailAfter) => Err(Error::new(ErrorKind::Io, "sync").because("on purpose")),
            _ => Ok(durability),
        }
    }

    fn sync(&self) -> Result<Durability> {
        self.inner.sync().map(|_| Durability::Power)
    }

    fn make_room(&self, bytes: u64) -> Result<()> {
        assert_eq!(
            self.control.views.load(Ordering::SeqCst),
            0,
            "a snapshot is open"
        );
        assert!(bytes > 0);
        self.control.rooms.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn stats(&self) -> Result<EngineStats> {
        self.inner.stats()
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.control.reclaims.fetch_add(1, Ordering::SeqCst);
        assert!(
            !self.control.reclaim_panics.load(Ordering::SeqCst),
            "on purpose"
        );
        let mut fault = self.control.reclaim_fault.lock().unwrap();
        if let Some(kind) = *fault {
            if self.control.reclaim_fault_once.load(Ordering::SeqCst) {
                *fault = None;
            }
            return Err(Error::new(kind, "reclaim").because("on purpose"));
        }
        drop(fault);
        let done = self.inner.reclaim(bytes_max)?;
        Ok(Reclaimed {
            more: self.control.reclaim_endless.load(Ordering::SeqCst),
            ..done
        })
    }
}

/// A snapshot that is counted for as long as it is open.
struct Counted {
    inner: Box<dyn EngineSnapshot>,
    control: Arc<Control>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.control.views.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EngineSnapshot for Counted {
    fn get(
        &self,
        table: durum_core::engine::Table,
        key: durum_core::engine::Key,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        self.inner.get(table, key, visit)
    }

    fn cursor<'a>(
        &'a self,
        table: durum_core::engine::Table,
        from: durum_core::engine::Key,
    ) -> Result<Box<dyn durum_core::engine::Cursor + 'a>> {
        self.inner.cursor(table, from)
    }
}

/// So long may the background worker take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

fn store() -> (LocalStore, Arc<Control>) {
    store_with(Collection::OFF)
}

fn store_with(collection: Collection) -> (LocalStore, Arc<Control>) {
    let backend = FaultyBackend::default();
    let control = backend.0.clone();
    let options = StoreOptions {
        collection,
        ..StoreOptions::default()
    };
    let store = LocalStore::create(Arc::new(backend), &PathBuf::new(), &options).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, "zero", []);
    store.commit(batch, Durability::Power).unwrap();
    (store, control)
}

fn update(store: &LocalStore, data: &str) -> Result<Tid> {
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, data, []);
    store
        .commit(batch, Durability::Power)
        .map(|receipt| receipt.tid)
}

fn root(store: &LocalStore) -> Vec<u8> {
    store
        .snapshot()
        .unwrap()
        .load(Oid::ROOT)
        .unwrap()
        .unwrap()
        .data
}

#[test]
fn a_full_disk_changes_nothing_and_the_store_goes_on() {
    let (store, control) = store();
    let before = store.stats().unwrap();
    let old = store.snapshot().unwrap();
    for kind in [ErrorKind::Full, ErrorKind::TooLarge] {
        control.fault.lock().unwrap().push(Fault::Fail(kind));
        assert_eq!(update(&store, "lost").unwrap_err().kind(), kind);
        assert_eq!(root(&store), b"zero");
        assert_eq!(store.stats().unwrap(), before);
    }
    assert_eq!(update(&store, "one").unwrap(), Tid(2));
    assert_eq!(old.load(Oid::ROOT).unwrap().unwrap().data, b"zero");
    assert_eq!(root(&store), b"one");
    assert_eq!(store.changes_since(Tid(1)).unwrap().changes.len(), 1);
}

#[test]
fn after_a_failed_sync_writes_are_refused_and_reads_go_on() {
    let (store, control) = store();
    control.fault.lock().unwrap().push(Fault::FailAfter);
    assert_eq!(
        update(&store, "uncertain").unwrap_err().kind(),
        ErrorKind::Io
    );
    // Not acknowledged: snapshots do not show it, although the engine has it.
    assert_eq!(root(&store), b"zero");
    let applied = control.applied.load(Ordering::SeqCst);
    let refused = [
        update(&store, "refused").map(drop),
        store.sync().map(drop),
        store.collect().map(drop),
        store.new_oids(SessionId::EMBEDDED, 1_000_000).map(drop),
        store.while_quiet(|_| Ok(())),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("open it again"), "{error}");
    }
    assert_eq!(control.applied.load(Ordering::SeqCst), applied);
    assert_eq!(root(&store), b"zero");
}

#[test]
fn room_is_made_while_no_snapshot_is_open_and_readers_never_notice() {
    let (store, control) = store();
    let snapshots: Vec<_> = (0..10).map(|_| store.snapshot().unwrap()).collect();
    for snapshot in &snapshots {
        snapshot.load(Oid::ROOT).unwrap();
    }
    assert!(
        control.views.load(Ordering::SeqCst) > 0,
        "they keep their views"
    );
    let faults = [Fault::Fail(ErrorKind::NeedsRoom); 3];
    control.fault.lock().unwrap().extend(faults);
    assert_eq!(update(&store, "one").unwrap(), Tid(2));
    assert_eq!(control.rooms.load(Ordering::SeqCst), 3);
    for snapshot in &snapshots {
        assert_eq!(snapshot.load(Oid::ROOT).unwrap().unwrap().data, b"zero");
    }
    assert_eq!(root(&store), b"one");
}

#[test]
fn an_engine_that_always_asks_for_room_is_given_up_on() {
    let (store, control) = store();
    control
        .fault
        .lock()
        .unwrap()
        .extend([Fault::Fail(ErrorKind::NeedsRoom); 100]);
    assert!(update(&store, "never").unwrap_err().retry());
    control.fault.lock().unwrap().clear();
    update(&store, "one").unwrap();
}

#[test]
fn commits_that_wait_for_a_sync_share_the_next_one() {
    const THREADS: usize = 16;
    const ROUNDS: usize = 10;
    let (store, control) = store();
    let oids = store
        .new_oids(SessionId::EMBEDDED, (THREADS * ROUNDS) as u32)
        .unwrap();
    *control.slow.lock().unwrap() = Duration::from_millis(2);
    let before = control.applied.load(Ordering::SeqCst);
    let start = Barrier::new(THREADS);
    let tids = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for oids in oids.chunks(ROUNDS) {
            let (store, start, tids) = (&store, &start, &tids);
            scope.spawn(move || {
                start.wait();
                for oid in oids {
                    let mut batch = Batch::new();
                    batch.create(*oid, "new", [Oid::ROOT]);
                    let receipt = store.commit(batch, Durability::Power).unwrap();
                    tids.lock().unwrap().push(receipt.tid);
                }
            });
        }
    });
    let mut tids = tids.into_inner().unwrap();
    tids.sort_unstable();
    let expected: Vec<Tid> = (2..2 + (THREADS * ROUNDS) as u64).map(Tid).collect();
    assert_eq!(
        tids, expected,
        "every commit has a tid of its own, without gaps"
    );
    // How many share a write depends on the scheduler; that many do does not.
    let writes = control.applied.load(Ordering::SeqCst) - before;
    assert!(
        writes <= THREADS * ROUNDS / 4,
        "{writes} writes for {} commits",
        THREADS * ROUNDS
    );
}

#[test]
fn a_group_fails_together_where_the_engine_does_and_alone_where_a_commit_is_bad() {
    let (store, control) = store();
    *control.slow.lock().unwrap() = Duration::from_millis(5);
    let start = Barrier::new(8);
    let outcomes = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (store, start, outcomes) = (&store, &start, &outcomes);
            scope.spawn(move || {
                start.wait();
                for _ in 0..5 {
                    let mut batch = Batch::new();
                    // Half of them refer to something that does not exist.
                    let refs = (thread % 2 == 0).then_some(Oid(1 << 40));
                    batch.update(Oid::ROOT, "changed", refs);
                    let result = store.commit(batch, Durability::Power);
                    let mut outcomes = outcomes.lock().unwrap();
                    match result {
                        Ok(_) => outcomes.0 += 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Gone);
                            outcomes.1 += 1;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(outcomes.into_inner().unwrap(), (20, 20));
    assert_eq!(store.stats().unwrap().tid, Tid(21));
}

#[test]
fn a_group_that_failed_leaves_no_trace_in_later_snapshots() {
    let (store, control) = store();
    let other = store.new_oids(SessionId::EMBEDDED, 1).unwrap()[0];
    *control.slow.lock().unwrap() = Duration::from_millis(20);
    // Commits that wait for the first are written as a group, which fails as such and one by one.
    std::thread::scope(|scope| {
        scope.spawn(|| update(&store, "slow").unwrap());
        std::thread::sleep(Duration::from_millis(5));
        control
            .fault
            .lock()
            .unwrap()
            .extend([Fault::Fail(ErrorKind::Full); 4]);
        for number in 0..3 {
            let store = &store;
            scope.spawn(move || {
                let mut batch = Batch::new();
                match number {
                    0 => batch.create(other, "never", []),
                    _ => batch.update(Oid::ROOT, format!("never {number}"), []),
                };
                assert_eq!(
                    store.commit(batch, Durability::Power).unwrap_err().kind(),
                    ErrorKind::Full
                );
            });
        }
    });
    control.fault.lock().unwrap().clear();
    *control.slow.lock().unwrap() = Duration::ZERO;
    let mut snapshots = Vec::new();
    for round in 0..6 {
        let data = format!("after {round}");
        update(&store, &data).unwrap();
        snapshots.push((store.snapshot().unwrap(), data));
        for (snapshot, data) in &snapshots {
            assert_eq!(
                snapshot.load(Oid::ROOT).unwrap().unwrap().data,
                data.as_bytes()
            );
            assert_eq!(snapshot.load(other).unwrap(), None);
            let mut scan = snapshot.scan(Oid::ROOT).unwrap();
            let record = scan.next().unwrap().unwrap();
            assert_eq!(record.payload().as_plain(), Some(data.as_bytes()));
            assert!(scan.next().unwrap().is_none());
        }
    }
}

/// A large cycle is unlinked, and a write of its collection fails: each in turn.
#[test]
fn a_collection_that_is_cut_off_leaves_nothing_to_link_to() {
    const COUNT: u64 = 10_000;
    let mut refused = 0;
    for write in 0.. {
        let (store, control) = store();
        let oids = store.new_oids(SessionId::EMBEDDED, COUNT as u32).unwrap();
        let mut batch = Batch::new();
        for (index, oid) in oids.iter().enumerate() {
            batch.create(*oid, "garbage", [oids[(index + 1) % oids.len()]]);
        }
        batch.update(Oid::ROOT, "root", [oids[0]]);
        store.commit(batch, Durability::Power).unwrap();
        let mut unlink = Batch::new();
        unlink.update(Oid::ROOT, "root", []);
        store.commit(unlink, Durability::Power).unwrap();
        control
            .fault
            .lock()
            .unwrap()
            .push(Fault::Fail(ErrorKind::Full));
        *control.pass.lock().unwrap() = write;
        match store.collect() {
            Ok(collected) => {
                assert_eq!(collected.objects, COUNT);
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
        // It is still there for all, or gone for all.
        let last = *oids.last().unwrap();
        let there = store.snapshot().unwrap().load(last).unwrap().is_some();
        let mut link = Batch::new();
        link.update(Oid::ROOT, "root", [last]);
        match store.commit(link, Durability::Power) {
            Ok(_) => {
                assert!(there);
                assert_eq!(store.collect().unwrap().objects, 0);
                assert_eq!(store.stats().unwrap().objects, COUNT + 1);
            }
            Err(error) => {
                assert!(!there);
                assert_eq!((error.kind(), error.oids()), (ErrorKind::Gone, &[last][..]));
                refused += 1;
                assert_eq!(store.stats().unwrap().objects, 1);
                store.collect().unwrap();
            }
        }
        assert_eq!(durum_core::check::check(&store, false).unwrap().errors, []);
        assert_eq!(store.stats().unwrap().garbage_pending, 0);
    }
    assert!(refused > 0);
}

#[test]
fn a_collection_needs_no_room_for_what_it_deletes() {
    let backend = FaultyBackend::default();
    let options = StoreOptions {
        superseded_bytes_max: 10_000,
        collection: Collection::OFF,
        ..StoreOptions::default()
    };
    let store = LocalStore::create(Arc::new(backend), &PathBuf::new(), &options).unwrap();
    let oids = store.new_oids(SessionId::EMBEDDED, 10_000).unwrap();
    let mut batch = Batch::new();
    for oid in &oids {
        batch.create(*oid, [1; 50], []);
    }
    store.commit(batch, Durability::Power).unwrap();
    assert_eq!(store.collect().unwrap().objects, 9999);
}

#[test]
fn a_panic_in_maintenance_does_not_lock_readers_out() {
    let (store, _) = store();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = store.while_quiet(|_| -> Result<()> { panic!("on purpose") });
    }));
    assert!(panicked.is_err());
    assert_eq!(root(&store), b"zero");
}

#[test]
fn the_last_oid_is_followed_by_an_error() {
    use durum_core::record::{Codecs, Payload};
    let backend = Arc::new(FaultyBackend::default());
    let options = StoreOptions {
        collection: Collection::OFF,
        ..StoreOptions::default()
    };
    let staged =
        durum_core::store::StagedStore::create(backend, &PathBuf::new(), &options).unwrap();
    let mut importer = staged.importer().unwrap();
    let (plain, codecs) = (Payload::plain(b"x"), Codecs::default());
    importer
        .push(Oid::ROOT, Tid(1), &[], plain, &codecs)
        .unwrap();
    for (tid, refs) in [(Tid(1 << 62), vec![]), (Tid(1), vec![Oid(1 << 63)])] {
        let error = importer
            .push(Oid(5), tid, &refs, plain, &codecs)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    importer
        .push(Oid::MAX, Tid(1), &[], plain, &codecs)
        .unwrap();
    importer.finish(Tid(1), Oid::ROOT).unwrap();
    let store = staged.publish().unwrap();
    let error = store.new_oids(SessionId::EMBEDDED, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}
