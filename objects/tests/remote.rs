//! Stores behind a server whose answers get lost, and that lose commits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durum_core::engine::{Capabilities, Durability};
use durum_core::record::{Codecs, Record};
use durum_core::store::{
    Batch, Change, Changes, CommitId, LocalStore, Pending, Receipt, Scan, ScanStored, SessionKind,
    Snapshot, Store, StoreStats,
};
use durum_core::{Error, SessionId, StoreId};
use durum_objects::{
    BTree, Counter, Database, ErrorKind, List, Oid, Options, Persistent, Ref, Result, Tid,
    Transaction,
};
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
    /// How often its snapshots were asked for objects.
    requests: Arc<AtomicUsize>,
}

impl Far {
    fn new() -> Arc<Far> {
        let registry = durum_backends::registry();
        let settings = registry.parse_store("memory:").unwrap();
        Arc::new(Far {
            store: registry.create(&settings).unwrap(),
            fate: AtomicUsize::new(PERFORMED),
            requests: Arc::default(),
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
        Ok(Box::new(FarSnapshot {
            snapshot: self.store.snapshot()?,
            requests: Arc::clone(&self.requests),
        }))
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

#[derive(Debug)]
struct FarSnapshot {
    snapshot: Box<dyn Snapshot>,
    requests: Arc<AtomicUsize>,
}

impl Snapshot for FarSnapshot {
    fn tid(&self) -> Tid {
        self.snapshot.tid()
    }

    fn codecs(&self) -> &Codecs {
        self.snapshot.codecs()
    }

    fn load_with(&self, oid: Oid, visit: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<bool> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.snapshot.load_with(oid, visit)
    }

    fn load_many_with(
        &self,
        oids: &[Oid],
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.snapshot.load_many_with(oids, visit)
    }

    fn scan(&self, from: Oid) -> Result<Box<dyn Scan + '_>> {
        self.snapshot.scan(from)
    }

    fn scan_with(
        &self,
        from: Oid,
        visit: &mut dyn FnMut(Record<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.snapshot.scan_with(from, visit)
    }

    fn scan_stored(&self, from: Oid) -> Result<Box<dyn ScanStored + '_>> {
        self.snapshot.scan_stored(from)
    }
}

/// Each walk is on a database of its own, with nothing in its cache.
#[test]
fn walks_ask_for_many_nodes_at_once() {
    const ENTRIES: u64 = 10_000;
    let far = Far::new();
    let db = Database::new(Arc::clone(&far) as Arc<dyn Store>).unwrap();
    let tree = BTree::build(&db, (0..ENTRIES).map(|n| (n, n))).unwrap();
    db.transact(|tx| tree.set_root(tx, "tree")).unwrap();
    db.transact(|tx| List::build(tx, 0..ENTRIES)?.set_root(tx, "list"))
        .unwrap();
    let requests = |cache, walk: &dyn Fn(&Transaction) -> u64, expected| {
        let options = Options {
            cache,
            ..Options::default()
        };
        let db = Database::with_options(Arc::clone(&far) as Arc<dyn Store>, options).unwrap();
        let tx = db.view().unwrap();
        let before = far.requests.load(Ordering::Relaxed);
        assert_eq!(walk(&tx), expected);
        far.requests.load(Ordering::Relaxed) - before
    };
    let of_tree = |tx: &Transaction| BTree::<u64, u64>::root(tx, "tree").unwrap().unwrap();
    let of_list = |tx: &Transaction| List::<u64>::root(tx, "list").unwrap().unwrap();
    let sum =
        |values: &mut dyn Iterator<Item = Result<u64>>| values.map(Result::unwrap).sum::<u64>();
    let all = ENTRIES * (ENTRIES - 1) / 2;
    let walks: [&dyn Fn(&Transaction) -> u64; 4] = [
        &|tx| sum(&mut of_tree(tx).values(tx).unwrap()),
        &|tx| sum(&mut of_tree(tx).iter(tx).unwrap().rev().map(|it| Ok(it?.0))),
        &|tx| sum(&mut of_list(tx).iter(tx).unwrap()),
        &|tx| sum(&mut of_list(tx).iter(tx).unwrap().rev()),
    ];
    for walk in walks {
        // There are 157 leaves or more.
        let (with, without) = (requests(1 << 24, walk, all), requests(0, walk, all));
        assert!(with < 25 && without > 157, "{with} and {without}");
    }
    // Who wants little fetches little.
    let first = |tx: &Transaction| sum(&mut of_list(tx).iter(tx).unwrap().take(3));
    let few = requests(1 << 24, &first, 3);
    assert!(few < 8, "{few}");
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

#[test]
fn a_view_whose_state_is_lost_is_repeated() {
    let mut place = Place::served("file");
    let (db, other) = (place.database(0), place.database(0));
    let root = db.transact(|tx| {
        let root = tx.new(Value(1))?;
        tx.set_root("root", root)?;
        Ok(root)
    });
    let root = root.unwrap();
    let mut seen = Vec::new();
    let read = db.read(|tx| {
        let before = tx.get(root)?.0;
        seen.push(before);
        if before < 3 {
            place.copy();
            other.transact(|tx| {
                let root = tx.root::<Value>("root")?.unwrap();
                tx.get_mut(root)?.0 += 1;
                Ok(())
            })?;
        }
        Ok((before, tx.get(root)?.0))
    });
    assert_eq!(read.unwrap(), (3, 3));
    assert_eq!(seen, [1, 2, 3]);
    // Other errors are those of the work, and nothing is repeated.
    let mut times = 0;
    let failed = db.read(|tx| {
        times += 1;
        tx.get(root)?;
        Err::<(), _>(Error::new(ErrorKind::TooOld, "do something else"))
    });
    assert_eq!((failed.unwrap_err().kind(), times), (ErrorKind::TooOld, 1));
}
