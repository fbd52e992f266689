//! What a store does when the compaction of its engine fails, and what it lets go on meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use durum_core::engine::{
    Backend, Capabilities, Compact, Durability, Engine, EngineSnapshot, EngineStats, Op,
    OptionSpec, Options, Reclaimed,
};
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _, StoreOptions};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId};
use durum_memory::MemoryBackend;

#[derive(Debug, Default)]
struct Control {
    rewrite: Mutex<Option<ErrorKind>>,
    swap: Mutex<Option<ErrorKind>>,
    views: AtomicUsize,
    discarded: AtomicUsize,
}

/// The in-memory engine with a compaction that does nothing, or fails on request.
#[derive(Clone, Debug, Default)]
struct CompactingBackend(Arc<Control>);

impl Backend for CompactingBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compaction: true,
            ..MemoryBackend.capabilities()
        }
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>> {
        Ok(Box::new(CompactingEngine {
            inner: MemoryBackend.open(dir, options)?,
            control: self.0.clone(),
        }))
    }
}

#[derive(Debug)]
struct CompactingEngine {
    inner: Box<dyn Engine>,
    control: Arc<Control>,
}

impl Engine for CompactingEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        self.control.views.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Counted(
            self.inner.snapshot()?,
            self.control.clone(),
        )))
    }

    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability> {
        self.inner.apply(ops, durability)
    }

    fn sync(&self) -> Result<Durability> {
        self.inner.sync()
    }

    fn make_room(&self, bytes: u64) -> Result<()> {
        self.inner.make_room(bytes)
    }

    fn stats(&self) -> Result<EngineStats> {
        self.inner.stats()
    }

    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed> {
        self.inner.reclaim(bytes_max)
    }

    fn compact(&self) -> Option<&dyn Compact> {
        Some(self)
    }
}

impl Compact for CompactingEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        progress(1, 2);
        fail(&self.control.rewrite)?;
        progress(2, 2);
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let views = self.control.views.load(Ordering::SeqCst);
        assert_eq!(views, 0, "a snapshot is open");
        fail(&self.control.swap)?;
        Ok(7)
    }

    fn discard(&self) -> Result<()> {
        self.control.discarded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn fail(on_request: &Mutex<Option<ErrorKind>>) -> Result<()> {
    match on_request.lock().unwrap().take() {
        Some(kind) => Err(Error::new(kind, "compact").because("on purpose")),
        None => Ok(()),
    }
}

/// A snapshot that is counted for as long as it is open.
struct Counted(Box<dyn EngineSnapshot>, Arc<Control>);

impl EngineSnapshot for Counted {
    fn get(
        &self,
        table: durum_core::engine::Table,
        key: durum_core::engine::Key,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        self.0.get(table, key, visit)
    }

    fn cursor<'a>(
        &'a self,
        table: durum_core::engine::Table,
        from: durum_core::engine::Key,
    ) -> Result<Box<dyn durum_core::engine::Cursor + 'a>> {
        self.0.cursor(table, from)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.views.fetch_sub(1, Ordering::SeqCst);
    }
}

fn store() -> (LocalStore, Arc<Control>) {
    let backend = CompactingBackend::default();
    let control = backend.0.clone();
    let options = StoreOptions {
        durability: Durability::Relaxed,
        ..StoreOptions::default()
    };
    let store = LocalStore::create(Arc::new(backend), Path::new(""), &options).unwrap();
    store.new_oids(SessionId::EMBEDDED, 1).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, "zero", []);
    store.commit(batch, Durability::Relaxed).unwrap();
    (store, control)
}

fn update(store: &LocalStore, data: &str) -> Result<()> {
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, data, []);
    store.commit(batch, Durability::Relaxed).map(drop)
}

fn root(store: &LocalStore) -> Vec<u8> {
    let snapshot = store.snapshot().unwrap();
    snapshot.load(Oid::ROOT).unwrap().unwrap().data
}

#[test]
fn views_are_open_during_the_rewrite_and_closed_for_the_swap() {
    let (store, control) = store();
    let snapshot = store.snapshot().unwrap();
    snapshot.load(Oid::ROOT).unwrap();
    assert_eq!(control.views.load(Ordering::SeqCst), 1);
    let mut told = Vec::new();
    let given_back = store.compact(&mut |done, total| {
        assert_eq!(control.views.load(Ordering::SeqCst), 1);
        // Reading is not using the store: what is read here is what others read.
        assert_eq!(snapshot.load(Oid::ROOT).unwrap().unwrap().data, b"zero");
        told.push((done, total));
    });
    assert_eq!(given_back.unwrap(), 7);
    assert_eq!(told, [(1, 2), (2, 2)]);
    assert_eq!(control.discarded.load(Ordering::SeqCst), 0);
    assert_eq!(snapshot.load(Oid::ROOT).unwrap().unwrap().data, b"zero");
}

#[test]
fn after_a_rewrite_that_failed_the_store_goes_on() {
    for kind in [
        ErrorKind::Io,
        ErrorKind::Full,
        ErrorKind::Mismatch,
        ErrorKind::Damaged,
    ] {
        let (store, control) = store();
        *control.rewrite.lock().unwrap() = Some(kind);
        assert_eq!(store.compact(&mut |_, _| {}).unwrap_err().kind(), kind);
        assert_eq!(control.discarded.load(Ordering::SeqCst), 1);
        update(&store, "one").unwrap();
        assert_eq!(root(&store), b"one");
        assert_eq!(store.compact(&mut |_, _| {}).unwrap(), 7);
    }
}

#[test]
fn after_a_swap_that_failed_it_goes_on_only_where_nothing_was_changed() {
    for (kind, refused) in [
        (ErrorKind::InUse, false),
        (ErrorKind::Full, false),
        (ErrorKind::Io, true),
    ] {
        let (store, control) = store();
        *control.swap.lock().unwrap() = Some(kind);
        assert_eq!(store.compact(&mut |_, _| {}).unwrap_err().kind(), kind);
        assert_eq!(control.discarded.load(Ordering::SeqCst), 1);
        match update(&store, "one") {
            Ok(()) => assert!(!refused),
            Err(error) => assert!(refused && error.kind() == ErrorKind::Poisoned, "{error}"),
        }
        let again = store.compact(&mut |_, _| {});
        assert_eq!(again.is_err(), refused);
    }
}
