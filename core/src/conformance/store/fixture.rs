//! What the cases run on: a store with a model beside it.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::check::check;
use crate::conformance::home::engine_options;
use crate::conformance::{Home, TemporaryDirectory};
use crate::digest::Digest;
use crate::engine::{Backend, Capabilities, Durability, Options};
use crate::error::{ErrorKind, Result};
use crate::id::{Oid, SessionId};
use crate::place::Place;
use crate::store::{Batch, LocalStore, Receipt, Snapshot, SnapshotExt as _, StagedStore};
use crate::store::{Collection, Store, StoreOptions};

/// The objects that a store should hold: references and data.
pub type Model = BTreeMap<Oid, (Vec<Oid>, Vec<u8>)>;

/// Puts something before a store, such as a server: what the cases work with in its place, and what is to be
/// kept until they are done with it.
pub type Front = fn(Arc<LocalStore>) -> (Box<dyn Store>, Box<dyn Any + Send + Sync>);

/// A backend, its options and a place for one case.
#[derive(Debug)]
pub struct Fixture {
    backend: Arc<dyn Backend>,
    given: Vec<(&'static str, &'static str)>,
    home: Box<dyn Home>,
    front: Option<Front>,
}

impl Fixture {
    /// A fixture with a new directory.
    pub fn new(
        backend: impl Backend + 'static,
        options: &[(&'static str, &'static str)],
    ) -> Fixture {
        Fixture {
            given: options.to_vec(),
            backend: Arc::new(backend),
            home: Box::new(TemporaryDirectory::new()),
            front: None,
        }
    }

    /// Has the store lie somewhere else.
    #[must_use]
    pub fn at(mut self, home: impl Home + 'static) -> Fixture {
        self.home = Box::new(home);
        self
    }

    /// Has the cases reach the store by way of something else.
    #[must_use]
    pub fn through(self, front: Front) -> Fixture {
        Fixture {
            front: Some(front),
            ..self
        }
    }

    /// What the backend declares.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// The backend.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    /// Where the store lies.
    pub fn path(&self) -> PathBuf {
        self.home.path()
    }

    /// How many stores there are where it lies, unfinished ones included.
    pub fn stores(&self) -> usize {
        self.home.stores()
    }

    /// Whether there is a store under its path.
    pub fn exists(&self) -> bool {
        let place = Place::open(&*self.backend, &self.path(), &self.engine_options());
        !matches!(place, Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// Removes the store, which is closed.
    pub fn remove(&self) {
        let place = Place::open(&*self.backend, &self.path(), &self.engine_options());
        place.and_then(Place::remove).expect("the store is removed");
    }

    fn engine_options(&self) -> Options {
        engine_options(&*self.backend, &self.given, &*self.home)
            .expect("the backend takes these options")
    }

    /// The options of a store that commits at the engine's weakest level, for cases that are about
    /// something else.
    pub fn options(&self) -> StoreOptions {
        let weakest = self.capabilities().durability.first().copied();
        StoreOptions {
            engine: self.engine_options(),
            durability: weakest.unwrap_or(Durability::Relaxed),
            // Most tests look at garbage; those of collection ask for it.
            collection: Collection::OFF,
            ..StoreOptions::default()
        }
    }

    /// A new store, with an empty model beside it.
    pub fn create(&self) -> Subject<'_> {
        self.create_with(self.options())
    }

    /// A new store with these options.
    pub fn create_with(&self, options: StoreOptions) -> Subject<'_> {
        let store = LocalStore::create(self.backend(), &self.path(), &options);
        Subject {
            fixture: self,
            options,
            open: Some(Open::new(store.expect("the store is created"), self.front)),
            model: Model::new(),
        }
    }

    /// A store that is to be filled by an import.
    pub fn stage(&self) -> StagedStore {
        StagedStore::create(self.backend(), &self.path(), &self.options())
            .expect("the store is begun")
    }
}

/// An open store and the objects that it should hold.
#[derive(Debug)]
pub struct Subject<'a> {
    fixture: &'a Fixture,
    options: StoreOptions,
    open: Option<Open>,
    /// The objects that the store should hold.
    pub model: Model,
}

/// An open store, and how it is reached. Fields are dropped in this order.
struct Open {
    reached: Option<Box<dyn Store>>,
    kept: Option<Box<dyn Any + Send + Sync>>,
    local: Arc<LocalStore>,
}

impl Open {
    fn new(store: LocalStore, front: Option<Front>) -> Open {
        let local = Arc::new(store);
        let (reached, kept) = front.map(|front| front(local.clone())).unzip();
        Open {
            reached,
            kept,
            local,
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Open")
            .field("store", &self.local)
            .field("through", &self.kept.as_ref().and(self.reached.as_ref()))
            .finish()
    }
}

impl Subject<'_> {
    /// The store, as the cases reach it.
    pub fn store(&self) -> &dyn Store {
        match self.open.as_ref().expect("the store is open") {
            Open {
                reached: Some(store),
                ..
            } => &**store,
            open => &*open.local,
        }
    }

    /// The store in this process.
    pub fn local(&self) -> &LocalStore {
        &self.open.as_ref().expect("the store is open").local
    }

    /// The durability that the store commits at.
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    /// New OIDs of the process's own session.
    pub fn oids(&self, count: u32) -> Vec<Oid> {
        self.store()
            .new_oids(SessionId::EMBEDDED, count)
            .expect("new OIDs")
    }

    /// Commits the objects, those that exist as updates, and notes them in the model.
    pub fn put(&mut self, objects: &[(Oid, &[u8], &[Oid])]) -> Receipt {
        let mut batch = Batch::new();
        for (oid, data, refs) in objects {
            match self.model.contains_key(oid) {
                true => batch.update(*oid, *data, refs.iter().copied()),
                false => batch.create(*oid, *data, refs.iter().copied()),
            };
        }
        let receipt = self.commit(batch).expect("the commit is valid");
        for (oid, data, refs) in objects {
            let mut refs = refs.to_vec();
            crate::record::normalize_refs(*oid, &mut refs);
            self.model.insert(*oid, (refs, data.to_vec()));
        }
        receipt
    }

    /// Commits a batch; the model is the caller's.
    pub fn commit(&self, batch: Batch) -> Result<Receipt> {
        self.store().commit(batch, self.durability())
    }

    /// Compares all objects with the model.
    pub fn compare(&self) {
        let snapshot = self.store().snapshot().expect("a snapshot");
        assert_snapshot(&*snapshot, &self.model);
    }

    /// Closes the store, until it is reopened.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Closes the store and opens it again, where it outlives that at all.
    pub fn reopen(&mut self) {
        if !self.fixture.capabilities().persistent {
            return;
        }
        self.open = None;
        let store = LocalStore::open(self.fixture.backend(), &self.fixture.path(), &self.options);
        self.open = Some(Open::new(
            store.expect("the store opens"),
            self.fixture.front,
        ));
    }

    /// As [`Subject::reopen`], with other options from then on.
    pub fn reopen_with(&mut self, options: StoreOptions) {
        self.options = options;
        self.reopen();
    }

    /// Compares with the model, has the store checked, reopens it, and does both again.
    pub fn finish(mut self) {
        for _ in 0..2 {
            self.compare();
            let report = check(self.local(), false).expect("a check");
            assert_eq!(
                (report.errors, report.objects),
                (vec![], self.model.len() as u64)
            );
            self.reopen();
        }
    }
}

/// Compares all objects of a snapshot with a model, by scan, by loads and by digest.
pub fn assert_snapshot(snapshot: &dyn Snapshot, model: &Model) {
    let mut expected = Digest::default();
    let mut objects = model.iter();
    let mut scan = snapshot.scan(Oid::ROOT).expect("a scan");
    while let Some(record) = scan.next().expect("the next record") {
        let object = record.to_object(snapshot.codecs()).expect("its data");
        let (oid, (refs, data)) = objects.next().expect("no more objects than the model has");
        assert_eq!((object.oid, &object.refs), (*oid, refs));
        assert!(object.data == *data, "the data of object {oid}");
        expected.add(*oid, refs.iter().copied(), data);
    }
    assert_eq!(objects.next(), None, "the scan ends too early");
    for (oid, (refs, data)) in model {
        let object = snapshot
            .load(*oid)
            .expect("a load")
            .expect("the object is there");
        assert!((&object.refs, &object.data) == (refs, data), "object {oid}");
    }
    let absent = model
        .last_key_value()
        .map_or(Oid(7), |(oid, _)| Oid(oid.0 + 1));
    assert_eq!(snapshot.load(absent).expect("a load"), None);
    assert_eq!(Digest::of(snapshot).expect("a digest"), expected);
}
