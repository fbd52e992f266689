//! The table of types: which number stands for which type, in which version, with which fields.
//!
//! It is an object that the root refers to. Numbers are never given up nor change what they mean, so that every
//! process may keep what it has read of the table. A type that is new to the store is entered by a commit of its own before
//! the one that writes its first object, and stays where that fails.

use std::any::TypeId;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durum_core::engine::Durability;
use durum_core::store::{Batch, Snapshot, SnapshotExt as _, Store};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId, Tid};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::format;
use crate::kind::Kind;
use crate::persistent::{Persistent, Shape, unfit};
use crate::reference::{self, Mark, Ref};
use crate::root::Root;

/// The root's type number.
pub(crate) const ROOT: u32 = 0;
/// The number of the table's own type.
pub(crate) const TABLE: u32 = 1;

/// A type in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) fields: Fields,
}

/// The names that objects do not repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fields {
    Unknown,
    Struct(Vec<String>),
    Enum(Vec<(String, Vec<String>)>),
}

impl Entry {
    /// Whether a program's type can read what is stored as this. It may have more fields at its end: those have
    /// defaults, or decoding will tell.
    fn check(&self, kind: &Kind) -> Result<()> {
        let begins = |old: &[String], new: &[&str]| {
            old.len() <= new.len() && old.iter().zip(new).all(|(old, new)| old == new)
        };
        let fits = match (&self.fields, kind.shape) {
            (Fields::Struct(old), Shape::Struct(new)) => begins(old, new),
            (Fields::Enum(old), Shape::Enum(new)) => old.iter().all(|(name, old)| {
                let mut same = new.iter().filter(|(new, _)| new == name);
                same.all(|(_, new)| begins(old, new))
            }),
            (Fields::Unknown, _) | (_, Shape::Unknown) => true,
            _ => false,
        };
        if fits || self.version != kind.version {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Mismatch, "use a type")
            .because(format!(
                "version {} of {} is stored with other fields ({:?}) than this program has ({:?})",
                self.version, self.name, self.fields, kind.shape
            ))
            .hint("Give the type a new version and an upgrade from this one, or another name if it is another type."))
    }

    fn of(kind: &Kind) -> Entry {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Entry {
            name: kind.name.to_owned(),
            version: kind.version,
            fields: match kind.shape {
                Shape::Unknown => Fields::Unknown,
                Shape::Struct(fields) => Fields::Struct(owned(fields)),
                Shape::Enum(variants) => {
                    let variants = variants.iter();
                    let named = variants.map(|(name, fields)| ((*name).to_owned(), owned(fields)));
                    Fields::Enum(named.collect())
                }
            },
        }
    }
}

/// The stored table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TypeTable {
    pub(crate) entries: Vec<Entry>,
}

impl Persistent for TypeTable {
    const NAME: &'static str = "durum.TypeTable";
    const SHAPE: Shape = Shape::Struct(&["entries"]);
}

/// What this process has read of the table.
#[derive(Debug)]
pub(crate) struct Types {
    table: Oid,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: Vec<Arc<Entry>>,
    /// The numbers of Rust types in the version that this program writes.
    numbers: FxHashMap<TypeId, u32>,
    /// The version that stands behind a number, for each Rust type that was found to have its fields.
    fitting: FxHashMap<(u32, TypeId), u32>,
    /// The types that this program has used; none for a name that several of them have, such as the nodes of
    /// containers with different elements.
    kinds: FxHashMap<&'static str, Option<&'static Kind>>,
}

impl Known {
    fn learn(&mut self, table: TypeTable) {
        for entry in table.entries.into_iter().skip(self.entries.len()) {
            self.entries.push(Arc::new(entry));
        }
    }
}

impl Types {
    /// The types of the store; a store without objects gets its root and a table.
    pub(crate) fn open(
        store: &dyn Store,
        mark: Mark,
        durability: Durability,
        mut session: impl FnMut() -> Result<SessionId>,
    ) -> Result<Types> {
        loop {
            let snapshot = store.snapshot()?;
            if let Some(root) = read::<Root>(&*snapshot, mark, Oid::ROOT, ROOT)? {
                let types = Types {
                    table: root.0.types.oid_in(mark)?,
                    known: RwLock::default(),
                };
                types.read(&*snapshot, mark)?;
                return Ok(types);
            }
            match found(store, mark, session()?, durability) {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                other => other?,
            }
        }
    }

    fn read(&self, snapshot: &dyn Snapshot, mark: Mark) -> Result<(TypeTable, Tid)> {
        let read = read::<TypeTable>(snapshot, mark, self.table, TABLE)?;
        let (table, tid) = read.ok_or_else(|| {
            Error::damaged("open the database", "the table of types is missing")
                .with_oid(self.table)
        })?;
        self.write().learn(table.clone());
        Ok((table, tid))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that wrote objects with this number, if they are of type `kind`; else the type's name.
    pub(crate) fn version_of(
        &self,
        number: u32,
        kind: &'static Kind,
        snapshot: &dyn Snapshot,
        mark: Mark,
    ) -> Result<Result<u32, String>> {
        let key = (number, (kind.type_id)());
        if let Some(version) = self.known().fitting.get(&key) {
            return Ok(Ok(*version));
        }
        let entry = self.entry(number, snapshot, mark)?;
        if entry.name != kind.name {
            return Ok(Err(entry.name.clone()));
        }
        entry.check(kind)?;
        self.register(kind);
        self.write().fitting.insert(key, entry.version);
        Ok(Ok(entry.version))
    }

    /// Makes a type known by its name, so that objects can be read by what they say to be.
    pub(crate) fn register(&self, kind: &'static Kind) {
        let known = self.known().kinds.get(kind.name).copied();
        if matches!(known, Some(other) if other.is_none_or(|other| other.is(kind))) {
            return;
        }
        let mut known = self.write();
        let only = known.kinds.entry(kind.name).or_insert(Some(kind));
        *only = only.filter(|other| other.is(kind));
    }

    /// The Rust type for this number, if it was registered and is the only one.
    pub(crate) fn registered(&self, number: u32) -> Option<&'static Kind> {
        let known = self.known();
        let entry = known.entries.get(number as usize)?;
        known.kinds.get(entry.name.as_str()).copied().flatten()
    }

    /// The type with this number, read from `snapshot` if need be.
    pub(crate) fn entry(
        &self,
        number: u32,
        snapshot: &dyn Snapshot,
        mark: Mark,
    ) -> Result<Arc<Entry>> {
        let find = || self.known().entries.get(number as usize).cloned();
        if let Some(entry) = find() {
            return Ok(entry);
        }
        self.read(snapshot, mark)?;
        find().ok_or_else(|| {
            Error::damaged(
                "load an object",
                format!("the table of types has no number {number}"),
            )
        })
    }

    /// The number of `kind`, which is entered if it is new.
    pub(crate) fn number(
        &self,
        kind: &'static Kind,
        store: &dyn Store,
        mark: Mark,
        session: impl Fn() -> Result<SessionId>,
    ) -> Result<u32> {
        let type_id = (kind.type_id)();
        if let Some(number) = self.known().numbers.get(&type_id) {
            return Ok(*number);
        }
        let find = || {
            let known = self.known();
            let mut entries = known.entries.iter();
            let found =
                entries.position(|entry| entry.version == kind.version && entry.name == kind.name);
            found.map(|number| number as u32)
        };
        loop {
            if let Some(number) = find() {
                let entry = self.known().entries.get(number as usize).cloned();
                entry.map_or(Ok(()), |entry| entry.check(kind))?;
                self.write().numbers.insert(type_id, number);
                self.register(kind);
                return Ok(number);
            }
            let (mut table, tid) = self.read(&*store.snapshot()?, mark)?;
            if find().is_some() {
                continue;
            }
            table.entries.push(Entry::of(kind));
            let mut batch = Batch::of(session()?);
            batch.update(self.table, state(TABLE, &table)?, []);
            batch.expect(self.table, tid);
            // What this process remembers of the table must not get lost.
            let best = store.engine().durability.iter().max().copied();
            match store.commit(batch, best.unwrap_or_default()) {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
    }
}

fn state<T: Persistent>(number: u32, value: &T) -> Result<Vec<u8>> {
    let mut state = Vec::new();
    format::put_header(&mut state, number);
    format::put_value(&mut state, value).map_err(|error| {
        Error::new(ErrorKind::Other, "write the table of types").because(error.to_string())
    })?;
    Ok(state)
}

/// The object `oid`, which is of the type with this number whatever the table says.
pub(crate) fn read<T: Persistent>(
    snapshot: &dyn Snapshot,
    mark: Mark,
    oid: Oid,
    number: u32,
) -> Result<Option<(T, Tid)>> {
    let Some(object) = snapshot.load(oid)? else {
        return Ok(None);
    };
    let foreign = || {
        Error::new(ErrorKind::Unreadable, "open the database")
            .because("the store's objects are not typed ones: another program has made them")
            .hint("Typed objects need a store of their own.")
            .with_oid(oid)
    };
    let (found, value) = format::take_header(oid, &object.data).map_err(|_| foreign())?;
    if found != number {
        return Err(foreign());
    }
    let value = reference::within(mark, || format::take_value(value));
    let value = value.map_err(|error| unfit(T::NAME, &error).with_oid(oid))?;
    Ok(Some((value, object.tid)))
}

/// Gives a store without objects its root.
fn found(store: &dyn Store, mark: Mark, session: SessionId, durability: Durability) -> Result<()> {
    // The first OID that a store without objects hands out is the root's.
    let oids = store.new_oids(session, 2)?;
    let table = oids
        .into_iter()
        .find(|oid| *oid != Oid::ROOT)
        .unwrap_or(Oid(1));
    let root = Root {
        types: Ref::to(mark, table)?,
        names: Default::default(),
    };
    let entries = [Kind::of::<Root>(), Kind::of::<TypeTable>()];
    let entries = TypeTable {
        entries: entries.into_iter().map(Entry::of).collect(),
    };
    let mut batch = Batch::of(session);
    let root = reference::within(mark, || state(ROOT, &root))?;
    batch.create(Oid::ROOT, root, [table]);
    batch.create(table, state(TABLE, &entries)?, []);
    batch.expect(Oid::ROOT, Tid::ZERO);
    store.commit(batch, durability).map(drop)
}
