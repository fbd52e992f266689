//! What is measured: a store of Durum's in a database, or a client of PostgreSQL's alone. Both have the same rows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use durum_core::engine::Durability;
use durum_core::record::{self, Payload};
use durum_core::store::{Batch, LocalStore, Snapshot, Store as _};
use durum_core::{Oid, Result, SessionId, Tid};
use durum_raw::Rows;
use durum_raw::postgres::{Connection, Table};

use crate::clock::{Took, Whose};
use crate::objects::{CHILDREN, Objects};
use crate::subject::{best, look_at, missing};

/// What is measured.
pub(super) trait Subject: Sync {
    /// Somebody who does something, for one thread.
    fn worker(&self) -> Result<Box<dyn Worker + Send + '_>>;
}

/// Does something. What it reads it looks at, each byte of it.
pub(super) trait Worker {
    /// Reads an object.
    fn load(&mut self, oid: u64) -> Result<()>;

    /// Reads several at once.
    fn load_many(&mut self, oids: &[u64]) -> Result<()>;

    /// Reads all objects; returns how many there are.
    fn scan(&mut self) -> Result<u64>;

    /// Commits a change, and makes sure of it. What is made in memory before is not timed.
    fn commit(&mut self, change: &Change<'_>) -> Result<Took>;

    /// Brings to its end what deletions have begun.
    fn settle(&mut self) -> Result<()>;
}

/// A change of the objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// Gives these, in ascending order, the state of this version.
    Update(&'a [u64], u64),
    /// Adds so many, to which this one refers from then on, which has had no references.
    Create(u64, usize),
    /// Takes the references from these, whose children are deleted thereby.
    Cut(&'a [u64]),
}

/// The references of one of some objects that are added: they are a tree.
fn refs_among(oids: &[Oid], number: usize) -> Vec<Oid> {
    let first = number * CHILDREN as usize + 1;
    oids.iter()
        .skip(first)
        .take(CHILDREN as usize)
        .copied()
        .collect()
}

/// An open store.
pub(super) struct StoreSubject<'a> {
    pub(super) store: &'a LocalStore,
    pub(super) objects: Objects,
}

impl Subject for StoreSubject<'_> {
    fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
        Ok(Box::new(StoreWorker {
            store: self.store,
            level: best(self.store.engine()),
            snapshot: self.store.snapshot()?,
            objects: self.objects,
        }))
    }
}

struct StoreWorker<'a> {
    store: &'a LocalStore,
    level: Durability,
    /// That it reads; commits come after it.
    snapshot: Box<dyn Snapshot>,
    objects: Objects,
}

impl StoreWorker<'_> {
    fn creation(&self, leaf: u64, oids: &[Oid]) -> Batch {
        let (mut batch, mut data) = (Batch::new(), Vec::new());
        self.objects.data(leaf, 1, &mut data);
        batch.update(Oid(leaf), data.as_slice(), oids.first().copied());
        for (number, oid) in oids.iter().enumerate() {
            self.objects.data(oid.0, 0, &mut data);
            batch.create(*oid, data.as_slice(), refs_among(oids, number));
        }
        batch
    }
}

impl Worker for StoreWorker<'_> {
    fn load(&mut self, oid: u64) -> Result<()> {
        let found = self.snapshot.load_with(Oid(oid), &mut |record| {
            look_at(record.payload().bytes());
            Ok(())
        })?;
        if found { Ok(()) } else { Err(missing(oid)) }
    }

    fn load_many(&mut self, oids: &[u64]) -> Result<()> {
        let oids: Vec<Oid> = oids.iter().copied().map(Oid).collect();
        self.snapshot.load_many_with(&oids, &mut |oid, record| {
            look_at(record.ok_or_else(|| missing(oid.0))?.payload().bytes());
            Ok(())
        })
    }

    fn scan(&mut self) -> Result<u64> {
        let mut objects = 0;
        self.snapshot.scan_with(Oid::ROOT, &mut |record| {
            look_at(record.payload().bytes());
            objects += 1;
            Ok(true)
        })?;
        Ok(objects)
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<Took> {
        let (mut took, mut data) = (Took::default(), Vec::new());
        let mut batch = Batch::new();
        match change {
            Change::Update(oids, version) => {
                for oid in *oids {
                    self.objects.data(*oid, *version, &mut data);
                    batch.update(Oid(*oid), data.as_slice(), self.objects.refs(*oid));
                }
            }
            Change::Create(leaf, count) => {
                let new = || self.store.new_oids(SessionId::EMBEDDED, *count as u32);
                let oids = took.add(Whose::Thread, new)?;
                batch = self.creation(*leaf, &oids);
            }
            Change::Cut(oids) => {
                for oid in *oids {
                    self.objects.data(*oid, 1, &mut data);
                    batch.update(Oid(*oid), data.as_slice(), []);
                }
            }
        }
        took.add(Whose::Thread, || self.store.commit(batch, self.level))?;
        Ok(took)
    }

    fn settle(&mut self) -> Result<()> {
        self.store.collect().map(drop)
    }
}

/// A client alone.
pub(super) struct RawSubject {
    address: String,
    schema: String,
    objects: Objects,
    shared: Mutex<Shared>,
}

/// What all workers share.
struct Shared {
    /// Connections that nobody uses.
    idle: Vec<Table>,
    /// The next new row.
    next: u64,
}

impl RawSubject {
    /// On a schema with the objects, with rows from `next` on free.
    pub(super) fn new(address: &str, schema: &str, objects: Objects, next: u64) -> RawSubject {
        RawSubject {
            address: address.to_owned(),
            schema: schema.to_owned(),
            objects,
            shared: Mutex::new(Shared {
                idle: Vec::new(),
                next,
            }),
        }
    }

    /// The next row that is free.
    pub(super) fn next(&self) -> u64 {
        self.shared().next
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subject for RawSubject {
    fn worker(&self) -> Result<Box<dyn Worker + Send + '_>> {
        let idle = self.shared().idle.pop();
        let table = match idle {
            Some(table) => table,
            None => Connection::open(&self.address)?.table(&self.schema)?,
        };
        Ok(Box::new(RawWorker {
            subject: self,
            table: Some(table),
        }))
    }
}

struct RawWorker<'a> {
    subject: &'a RawSubject,
    /// `None` only while this is being dropped.
    table: Option<Table>,
}

impl RawWorker<'_> {
    fn table(&self) -> Result<&Table> {
        self.table.as_ref().ok_or_else(|| missing(0))
    }
}

impl Drop for RawWorker<'_> {
    fn drop(&mut self) {
        let table = self.table.take();
        self.subject.shared().idle.extend(table);
    }
}

impl Worker for RawWorker<'_> {
    fn load(&mut self, oid: u64) -> Result<()> {
        match self.table()?.get(oid, &mut look_at)? {
            true => Ok(()),
            false => Err(missing(oid)),
        }
    }

    fn load_many(&mut self, oids: &[u64]) -> Result<()> {
        let mut left: BTreeMap<u64, ()> = oids.iter().map(|oid| (*oid, ())).collect();
        self.table()?.get_many(oids, &mut |oid, bytes| {
            look_at(bytes);
            left.remove(&oid);
        })?;
        match left.first_key_value() {
            None => Ok(()),
            Some((oid, ())) => Err(missing(*oid)),
        }
    }

    fn scan(&mut self) -> Result<u64> {
        let mut objects = 0;
        self.table()?.scan(&mut |_, bytes| {
            look_at(bytes);
            objects += 1;
        })?;
        Ok(objects)
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<Took> {
        let objects = self.subject.objects;
        let (mut inserts, mut updates, mut deletes) = (Rows::default(), Rows::default(), vec![]);
        match change {
            Change::Update(oids, version) => {
                for oid in *oids {
                    objects.encode(*oid, *version, true, Tid(1 + version), &mut updates);
                }
            }
            Change::Create(leaf, count) => {
                let first = {
                    let mut shared = self.subject.shared();
                    shared.next += *count as u64;
                    shared.next - *count as u64
                };
                let oids: Vec<Oid> = (first..).take(*count).map(Oid).collect();
                let mut data = Vec::new();
                let mut push = |rows: &mut Rows, oid: Oid, version, anchor, refs: &[Oid]| {
                    objects.data(oid.0, version, &mut data);
                    let payload = Payload::plain(&data);
                    rows.push(oid.0, |out| {
                        record::encode(oid, Tid(2), Some(anchor), refs, payload, out);
                    });
                };
                let root = oids.get(..1).unwrap_or_default();
                push(
                    &mut updates,
                    Oid(*leaf),
                    1,
                    Oid(leaf.saturating_sub(1) / CHILDREN),
                    root,
                );
                for (number, oid) in oids.iter().enumerate() {
                    let parent = number
                        .checked_sub(1)
                        .map(|number| number / CHILDREN as usize);
                    let anchor = parent.and_then(|parent| oids.get(parent)).copied();
                    let refs = refs_among(&oids, number);
                    push(&mut inserts, *oid, 0, anchor.unwrap_or(Oid(*leaf)), &refs);
                }
            }
            Change::Cut(oids) => {
                for oid in *oids {
                    objects.encode(*oid, 1, false, Tid(2), &mut updates);
                    deletes.extend(objects.refs(*oid).map(|child| child.0));
                }
            }
        }
        let (mut took, table) = (Took::default(), self.table()?);
        took.add(Whose::Thread, || table.write(&inserts, &updates, &deletes))?;
        Ok(took)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}
