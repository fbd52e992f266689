//! Collection between sessions, commits and readers: what happens in the gaps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod backend;
mod failures;
mod hubs;
mod imports;
mod log;
mod sessions;
mod together;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::KeptBackend;
use durum_core::check::check;
use durum_core::collect::Budget;
use durum_core::engine::{Durability, Key, Op, Table};
use durum_core::store::{
    Batch, Collection, LocalStore, Receipt, SessionKind, SnapshotExt as _, Store as _, StoreOptions,
};
use durum_core::{ErrorKind, Oid, Result, SessionId, Tid};

/// So long may the background worker take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    backend: KeptBackend,
    _home: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        Place::with(KeptBackend::new())
    }

    fn with(backend: KeptBackend) -> Place {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store");
        Place {
            backend,
            _home: home,
            path,
        }
    }

    fn create(&self, collection: Collection) -> LocalStore {
        let store = LocalStore::create(
            Arc::new(self.backend.clone()),
            &self.path,
            &with(collection),
        );
        let store = store.unwrap();
        let mut batch = Batch::new();
        batch.create(Oid::ROOT, "root", []);
        commit(&store, batch).unwrap();
        store
    }

    fn open(&self, collection: Collection) -> LocalStore {
        LocalStore::open(
            Arc::new(self.backend.clone()),
            &self.path,
            &with(collection),
        )
        .unwrap()
    }
}

fn with(collection: Collection) -> StoreOptions {
    StoreOptions {
        collection,
        ..StoreOptions::default()
    }
}

fn budget(deletes: u64, reads: u64) -> Budget {
    Budget {
        deletes,
        reads,
        time: None,
    }
}

/// Only commits collect, and so much each.
fn in_commits(deletes: u64, reads: u64) -> Collection {
    Collection {
        commit: budget(deletes, reads),
        worker: None,
        reclaim: false,
    }
}

fn commit(store: &LocalStore, batch: Batch) -> Result<Receipt> {
    store.commit(batch, Durability::Relaxed)
}

fn root(store: &LocalStore, refs: &[Oid]) -> Receipt {
    let mut batch = Batch::new();
    batch.update(Oid::ROOT, "root", refs.iter().copied());
    commit(store, batch).unwrap()
}

/// An object that nothing refers to.
fn lone(store: &LocalStore, session: SessionId) -> Oid {
    let oid = store.new_oids(session, 1).unwrap()[0];
    let mut batch = Batch::of(session);
    batch.create(oid, "linked later", []);
    commit(store, batch).unwrap();
    oid
}

/// A ring of objects that the root refers to.
fn ring(store: &LocalStore, count: u32) -> Vec<Oid> {
    let oids = store.new_oids(SessionId::EMBEDDED, count).unwrap();
    let mut batch = Batch::new();
    for (index, oid) in oids.iter().enumerate() {
        batch.create(*oid, "in a ring", [oids[(index + 1) % oids.len()]]);
    }
    let root = store.snapshot().unwrap().load(Oid::ROOT).unwrap().unwrap();
    batch.update(Oid::ROOT, "root", root.refs.into_iter().chain([oids[0]]));
    commit(store, batch).unwrap();
    oids
}

fn exists(store: &LocalStore, oid: Oid) -> bool {
    store.snapshot().unwrap().load(oid).unwrap().is_some()
}

fn assert_clean(store: &LocalStore) {
    let report = check(store, false).unwrap();
    assert_eq!(report.errors, []);
}

fn write_below(store: &LocalStore, table: Table, key: Key, value: Option<&[u8]>) {
    let op = match value {
        Some(value) => Op::Put { table, key, value },
        None => Op::Delete { table, key },
    };
    store
        .while_quiet(|engine| engine.apply(&[op], Durability::Relaxed))
        .unwrap();
}
