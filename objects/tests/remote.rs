//! Stores behind a server whose answers get lost, and that lose commits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durum_core::engine::{Capabilities, Durability};
use durum_core::store::{
    Batch, Change, Changes, CommitId, LocalStore, Pending, Receipt, SessionKind, Snapshot, Store,
    StoreStats,
};
use durum_core::{Error, SessionId, StoreId};
use durum_objects::{Counter, Database, ErrorKind, Oid, Persistent, Ref, Result, Tid};
use serde::{Deserialize, Serialize};
use support::Place;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Persistent)]
#[persistent(name = "test.Value")]
struct Value(i64);

/// What becomes of the next commits.
const PERFORMED: usize = 0;
/// It is performed, and the answer is lost.
const UNANSWERED: usize = 1;
/// It is lost before it is performed.
const LOST: usize = 2;

/// A store at the far end of a bad connection.
#[derive(Debug)]
struct Far {
    store: LocalStore,
    fate: AtomicUsize,
}

impl Far {
    fn new() -> Arc<Far> {
        let registry = durum_backends::registry();
        let settings = registry.parse_store("memory:").unwrap();
        Arc::new(Far {
            store: registry.create(&settings).unwrap(),
            fate: AtomicUsize::new(PERFORMED),
        })
    }
}

impl Store for Far {
    fn id(&self) -> StoreId {
        self.store.id()
    }

    fn engine(&self) -> &Capabilities {
        self.store.engine()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.store.snapshot()
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<Receipt> {
        let fate = self.fate.swap(PERFORMED, Ordering::Relaxed);
        if fate != LOST {
            let receipt = self.store.commit(batch, durability)?;
            if fate == PERFORMED {
                return Ok(receipt);
            }
        }
        Err(Error::new(ErrorKind::Unreachable, "commit").because("the server is silent"))
    }

    fn new_oids(&self, session: SessionId, count: u32) -> Result<Vec<Oid>> {
        self.store.new_oids(session, count)
    }

    fn session(&self, kind: SessionKind) -> Result<SessionId> {
        self.store.session(kind)
    }

    fn end_session(&self, session: SessionId) -> Result<()> {
        self.store.end_session(session)
    }

    fn outcome(&self, identity: CommitId) -> Result<Option<Tid>> {
        self.store.outcome(identity)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn changes_since(&self, tid: Tid) -> Result<Changes> {
        self.store.changes_since(tid)
    }

    fn visit_changes_since(
        &self,
        tid: Tid,
        show: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Tid> {
        self.store.visit_changes_since(tid, show)
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }

    fn pending(&self) -> Result<Pending> {
        self.store.pending()
    }

    fn collect(&self) -> Result<durum_core::collect::Collected> {
        self.store.collect()
    }

    fn stats(&self) -> Result<StoreStats> {
        self.store.stats()
    }

    fn sync(&self) -> Result<Durability> {
        self.store.sync()
    }
}

/// A counter, whose increments would be merged with those of others: that is why a second one is not refused.
#[test]
fn a_commit_whose_answer_is_lost_is_performed_once() {
    let far = Far::new();
    let db = Database::new(Arc::clone(&far) as Arc<dyn Store>).unwrap();
    let counter = db.transact(|tx| {
        let counter = Counter::new(tx, 0)?;
        counter.set_root(tx, "counter")?;
        Ok(counter)
    });
    let counter = counter.unwrap();
    let value = || counter.get(&db.view().unwrap()).unwrap();
    for (fate, in_between) in [(UNANSWERED, 1), (LOST, 0)] {
        let before = value();
        let mut tx = db.begin().unwrap();
        counter.increment(&tx, 1).unwrap();
        far.fate.store(fate, Ordering::Relaxed);
        let error = tx.commit().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("commit again"), "{error}");
        assert_eq!(value(), before + in_between);
        // Another one comes between.
        db.transact(|tx| counter.increment(tx, 10)).unwrap();
        let tid = tx.commit().unwrap().unwrap();
        assert_eq!(value(), before + 11);
        // The transaction has ended, and is of use again.
        assert!(tx.tid().unwrap() >= tid);
        assert_eq!(tx.commit().unwrap(), None);
        counter.increment(&tx, 100).unwrap();
        tx.commit().unwrap();
        assert_eq!(value(), before + 111);
    }
    // Who does not want to know: what was performed stays.
    let mut tx = db.begin().unwrap();
    let before = value();
    counter.increment(&tx, 1).unwrap();
    far.fate.store(UNANSWERED, Ordering::Relaxed);
    tx.commit().unwrap_err();
    tx.abort();
    assert_eq!(tx.commit().unwrap(), None);
    assert_eq!(value(), before + 1);
}

#[test]
fn what_a_server_has_lost_is_not_shown_nor_built_upon() {
    let mut place = Place::served_without_syncs("file");
    let db = place.database(1 << 20);
    let root = db.transact(|tx| {
        let root = tx.new(Value(1))?;
        tx.set_root("root", root)?;
        Ok(root)
    });
    let root = root.unwrap();
    let set = |db: &Database, root: Ref<Value>, value| db.transact(|tx| tx.set(root, Value(value)));
    let earlier = place.copy();
    set(&db, root, 2).unwrap();
    let mut tx = db.begin().unwrap();
    let seen = tx.get(root).unwrap().0;
    tx.set(root, Value(seen * 10)).unwrap();
    place.lose_what_came_after(&earlier);
    // Another client's commit has the number of the lost one.
    let other = place.database(0);
    let same = other
        .view()
        .unwrap()
        .root::<Value>("root")
        .unwrap()
        .unwrap();
    set(&other, same, 3).unwrap();
    assert_eq!(other.view().unwrap().tid().unwrap(), tx.tid().unwrap());
    let error = tx.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooOld, "{error}");
    assert_eq!(db.view().unwrap().get(root).unwrap().0, 3);
    tx.abort();
    let seen = tx.get(root).unwrap().0;
    tx.set(root, Value(seen * 10)).unwrap();
    tx.commit().unwrap();
    assert_eq!(other.view().unwrap().get(same).unwrap().0, 30);
}
