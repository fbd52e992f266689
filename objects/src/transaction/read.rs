//! Reading objects.

use std::any::Any;
use std::sync::Arc;

use durum_core::record::Record;
use durum_core::store::Snapshot;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use super::{Read, Transaction};
use crate::cache::Version;
use crate::format;
use crate::kind::{Kind, Value};
use crate::persistent::Persistent;
use crate::reference::{self, Ref, WeakRef};
use crate::root::{Anything, NamesSeen, Root};

/// Objects that are fetched at once.
const BATCH: usize = 256;

impl Transaction {
    /// The object that `target` refers to, as this transaction sees it now. What it changes of it later does
    /// not show in what was returned.
    ///
    /// # Errors
    /// `Gone` where there is none, which can only be where the reference was not kept in an object; `Mismatch`
    /// where it is of another type; `Usage` for a reference of another database, and for an object that is
    /// just being changed; `Damaged`, `TooOld`.
    pub fn get<T: Persistent>(&self, target: Ref<T>) -> Result<Arc<T>> {
        self.read(target, true)
    }

    /// As [`Transaction::get`], without noting that the object was read: who calls it notes what the transaction
    /// depends on.
    pub(crate) fn peek<T: Persistent>(&self, target: Ref<T>) -> Result<Arc<T>> {
        self.read(target, false)
    }

    fn read<T: Persistent>(&self, target: Ref<T>, depends: bool) -> Result<Arc<T>> {
        let oid = target.oid_in(self.mark())?;
        let kind = Kind::of::<T>();
        let found = match self.copy_of(oid, kind)? {
            Some(value) => value,
            None => {
                let version = self.watched(self.version(oid, kind))?;
                if depends {
                    self.note_read(oid, version.tid, kind);
                }
                version.value
            }
        };
        let wrong = || of_another_type(oid, kind.name, "another Rust type");
        found.downcast().map_err(|_| wrong())
    }

    /// The object that `target` refers to, if it is still there.
    ///
    /// # Errors
    /// As [`Transaction::get`], but for `Gone`.
    pub fn upgrade<T: Persistent>(&self, target: WeakRef<T>) -> Result<Option<Ref<T>>> {
        let oid = target.strong().oid_in(self.mark())?;
        let mut found = self.state.borrow().copies.contains_key(&oid);
        if !found {
            // The cache may have it still, though it is gone.
            let loaded = self.snapshot()?.load_with(oid, &mut |_| Ok(()));
            found = self.watched(loaded)?;
        }
        Ok(found.then(|| target.strong()))
    }

    /// The object with the name `name` at the root, from which all others are to be found.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn root<T: Persistent>(&self, name: &str) -> Result<Option<Ref<T>>> {
        let root = self.peek(self.root_ref()?)?;
        self.observe(self.root_ref()?, |seen: &mut NamesSeen| seen.note(name))?;
        Ok(root.names.get(name).map(|target| target.cast()))
    }

    /// The names at the root, in alphabetical order, with what they stand for.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn root_names(&self) -> Result<Vec<(String, Oid)>> {
        let root = self.peek(self.root_ref()?)?;
        self.observe(self.root_ref()?, NamesSeen::note_all)?;
        let names = root.names.iter();
        Ok(names
            .map(|(name, target)| (name.clone(), target.oid()))
            .collect())
    }

    pub(crate) fn root_ref(&self) -> Result<Ref<Root>> {
        Ref::to(self.mark(), Oid::ROOT)
    }

    /// Loads objects into the cache, all at once: through a server, this takes hardly longer than to load
    /// one. Those that are there already, and those that do not exist, are left out.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn prefetch<T: Persistent>(&self, targets: &[Ref<T>]) -> Result<()> {
        let snapshot = self.snapshot()?;
        let mut missing = Vec::new();
        for target in targets {
            let oid = target.oid_in(self.mark())?;
            let here = self.state.borrow().copies.contains_key(&oid);
            if !here && self.db.cache.get(oid, snapshot.tid()).is_none() {
                missing.push(oid);
            }
        }
        let kind = Kind::of::<T>();
        for some in missing.chunks(BATCH) {
            for (oid, loaded) in self.watched(self.fetch(some))? {
                self.accept(oid, loaded, kind)?;
            }
        }
        Ok(())
    }

    /// Loads `oids` at once.
    fn fetch(&self, oids: &[Oid]) -> Result<Vec<(Oid, Loaded)>> {
        let snapshot = self.snapshot()?;
        let mut found = Vec::with_capacity(oids.len());
        snapshot.load_many_with(oids, &mut |oid, record| {
            if let Some(record) = record {
                found.push((oid, Loaded::of(&record, snapshot)?));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Loads what can be reached from `start` into the cache, in few and large steps, nearest first, up to `most`
    /// objects; returns how many it has met. Objects of types that this database has not used yet are passed
    /// through and not kept.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn crawl<T: Persistent>(&self, start: Ref<T>, most: usize) -> Result<usize> {
        self.db.types.register(Kind::of::<T>());
        let mut met = rustc_hash::FxHashSet::default();
        let mut level = vec![start.oid_in(self.mark())?];
        met.insert(start.oid());
        let mut loaded = 0;
        while !level.is_empty() && loaded < most {
            let mut next = Vec::new();
            for some in level.chunks(BATCH) {
                let room = some.get(..some.len().min(most - loaded)).unwrap_or(some);
                for (oid, object) in self.watched(self.fetch(room))? {
                    loaded += 1;
                    next.extend(object.refs.iter().filter(|oid| met.insert(**oid)));
                    let (number, _) = format::take_header(oid, &object.state)?;
                    if let Some(kind) = self.db.types.registered(number) {
                        // Nodes of containers have one name for several Rust types. Who reads the object
                        // knows which it is, and is told what is wrong with it.
                        let _ = self.accept(oid, object, kind);
                    }
                }
            }
            level = next;
        }
        Ok(loaded)
    }

    /// The transaction's own copy of an object.
    pub(super) fn copy_of(&self, oid: Oid, kind: &'static Kind) -> Result<Option<Value>> {
        let state = self.state.borrow();
        let Some(copy) = state.copies.get(&oid) else {
            return Ok(None);
        };
        if !copy.kind.is(kind) {
            return Err(of_another_type(oid, kind.name, copy.kind.name));
        }
        match &copy.value {
            Some(value) => Ok(Some(Arc::clone(value))),
            None => Err(lent(oid)),
        }
    }

    /// The version of an object in the transaction's snapshot.
    pub(super) fn version(&self, oid: Oid, kind: &'static Kind) -> Result<Version> {
        let snapshot = self.snapshot()?;
        if let Some(version) = self.db.cache.get(oid, snapshot.tid()) {
            if version.kind.is(kind) {
                return Ok(version);
            }
            // A program may have two Rust types for the same objects.
            if version.kind.name != kind.name {
                return Err(of_another_type(oid, kind.name, version.kind.name));
            }
        }
        match Loaded::from(snapshot, oid)? {
            Some(loaded) => self.accept(oid, loaded, kind),
            None => Err(gone(oid, kind)),
        }
    }

    /// Decodes an object, and keeps it in the cache.
    fn accept(&self, oid: Oid, loaded: Loaded, kind: &'static Kind) -> Result<Version> {
        let snapshot = self.snapshot()?;
        let value = self.decode(oid, &loaded.state, kind, snapshot)?;
        let version = Version::new(loaded.tid, kind, value, loaded.state.len());
        self.db.cache.put(oid, snapshot.tid(), version.clone());
        Ok(version)
    }

    fn decode(
        &self,
        oid: Oid,
        state: &[u8],
        kind: &'static Kind,
        snapshot: &dyn Snapshot,
    ) -> Result<Value> {
        let (number, value) = format::take_header(oid, state)?;
        let version = self
            .db
            .types
            .version_of(number, kind, snapshot, self.mark())?;
        let version = version.map_err(|name| of_another_type(oid, kind.name, &name))?;
        reference::within(self.mark(), || (kind.take)(oid, version, value))
    }

    /// The object as `snapshot` has it.
    pub(super) fn read_at(
        &self,
        snapshot: &dyn Snapshot,
        oid: Oid,
        kind: &'static Kind,
    ) -> Result<Option<(Tid, Value)>> {
        let Some(loaded) = Loaded::from(snapshot, oid)? else {
            return Ok(None);
        };
        let value = self.decode(oid, &loaded.state, kind, snapshot)?;
        Ok(Some((loaded.tid, value)))
    }

    fn note_read(&self, oid: Oid, tid: Tid, kind: &'static Kind) {
        if self.tracking {
            let mut state = self.state.borrow_mut();
            state.reads.insert(oid, Read { tid, kind });
        }
    }

    /// Notes in `O` what a container has read of an object, in place of all of it. Who does that must do so whenever
    /// it reads an object of the type.
    pub(crate) fn observe<T: Persistent, O: Any + Send + Default>(
        &self,
        target: Ref<T>,
        note: impl FnOnce(&mut O),
    ) -> Result<()> {
        if !self.tracking {
            return Ok(());
        }
        let oid = target.oid_in(self.mark())?;
        let kind = Kind::of::<T>();
        let known = {
            let state = self.state.borrow();
            state.copies.contains_key(&oid) || state.reads.contains_key(&oid)
        };
        if !known {
            let tid = self.watched(self.version(oid, kind))?.tid;
            self.note_read(oid, tid, kind);
        }
        let mut state = self.state.borrow_mut();
        let observed = state
            .observed
            .entry(oid)
            .or_insert_with(|| Box::new(O::default()));
        if let Some(observed) = observed.downcast_mut() {
            note(observed);
        }
        Ok(())
    }

    /// The type of an object, as the application that wrote it named it.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn type_of<T>(&self, target: Ref<T>) -> Result<String> {
        let oid = target.oid_in(self.mark())?;
        if let Some(copy) = self.state.borrow().copies.get(&oid) {
            return Ok(copy.kind.name.to_owned());
        }
        let snapshot = self.snapshot()?;
        let loaded = self.watched(Loaded::from(snapshot, oid))?;
        let loaded = loaded.ok_or_else(|| gone_object(oid))?;
        let (number, _) = format::take_header(oid, &loaded.state)?;
        Ok(self
            .db
            .types
            .entry(number, snapshot, self.mark())?
            .name
            .clone())
    }

    /// A reference without a type, to be [cast](Ref::cast): to look at objects of which only the OID is known.
    ///
    /// # Errors
    /// `Unsupported` for OIDs from 2^52 on.
    pub(crate) fn anything(&self, oid: Oid) -> Result<Ref<Anything>> {
        Ref::to(self.mark(), oid)
    }
}

/// An object as it is stored.
struct Loaded {
    tid: Tid,
    state: Vec<u8>,
    refs: Vec<Oid>,
}

impl Loaded {
    fn of(record: &Record<'_>, snapshot: &dyn Snapshot) -> Result<Loaded> {
        let mut state = Vec::new();
        record.read_data(snapshot.codecs(), &mut state)?;
        Ok(Loaded {
            tid: record.tid,
            state,
            refs: record.refs().collect(),
        })
    }

    fn from(snapshot: &dyn Snapshot, oid: Oid) -> Result<Option<Loaded>> {
        let mut loaded = None;
        snapshot.load_with(oid, &mut |record| {
            loaded = Some(Loaded::of(&record, snapshot)?);
            Ok(())
        })?;
        Ok(loaded)
    }
}

fn gone(oid: Oid, kind: &Kind) -> Error {
    let error = gone_object(oid);
    let reason = format!("{} ({})", error.reason(), kind.name);
    error.because(reason)
}

fn gone_object(oid: Oid) -> Error {
    Error::new(ErrorKind::Gone, "load an object")
        .because("it does not exist, or no longer")
        .with_oid(oid)
}

fn of_another_type(oid: Oid, wanted: &str, found: &str) -> Error {
    Error::new(ErrorKind::Mismatch, "load an object")
        .because(format!("it is of type {found}, not {wanted}"))
        .with_oid(oid)
}

pub(super) fn lent(oid: Oid) -> Error {
    Error::new(ErrorKind::Usage, "use an object")
        .because("it is just being changed: what Transaction::get_mut has returned is still there")
        .hint("Let that go first, or use it.")
        .with_oid(oid)
}
