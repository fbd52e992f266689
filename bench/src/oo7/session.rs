//! One transaction: reads in a snapshot, and changes that are committed together.

use std::collections::BTreeMap;

use durum_core::engine::Durability;
use durum_core::store::{Batch, LocalStore, Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId};

use super::DOING;
use super::object::Object;

/// A transaction on a store.
pub(super) struct Session<'a> {
    store: &'a LocalStore,
    snapshot: Box<dyn Snapshot>,
    changed: BTreeMap<Oid, Object>,
    created: BTreeMap<Oid, Object>,
}

impl<'a> Session<'a> {
    pub(super) fn begin(store: &'a LocalStore) -> Result<Session<'a>> {
        Ok(Session {
            store,
            snapshot: store.snapshot()?,
            changed: BTreeMap::new(),
            created: BTreeMap::new(),
        })
    }

    /// The object, as this transaction sees it.
    pub(super) fn get(&self, oid: Oid) -> Result<Object> {
        if let Some(object) = self.changed.get(&oid).or_else(|| self.created.get(&oid)) {
            return Ok(object.clone());
        }
        let mut found = None;
        self.snapshot.load_with(oid, &mut |record| {
            let data = record.payload().as_plain();
            found = data.map(Object::decode).transpose()?;
            Ok(())
        })?;
        found.ok_or_else(|| {
            Error::new(ErrorKind::Mismatch, DOING)
                .with_oid(oid)
                .because("an object is missing")
        })
    }

    /// Changes an object.
    pub(super) fn put(&mut self, oid: Oid, object: Object) {
        let objects = match self.created.contains_key(&oid) {
            true => &mut self.created,
            false => &mut self.changed,
        };
        objects.insert(oid, object);
    }

    /// Room for new objects, whose OIDs follow each other; returns the first.
    pub(super) fn room(&self, count: u64) -> Result<Oid> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let oids = self.store.new_oids(SessionId::EMBEDDED, count)?;
        let (first, last) = (oids.first().copied(), oids.last().copied());
        match first.zip(last) {
            Some((first, last)) if last.0 - first.0 + 1 == u64::from(count) => Ok(first),
            _ => Err(Error::new(ErrorKind::Other, DOING).because("OIDs do not follow each other")),
        }
    }

    /// Adds a new object.
    pub(super) fn create(&mut self, oid: Oid, object: Object) {
        self.created.insert(oid, object);
    }

    /// Commits what was changed, if anything was.
    pub(super) fn commit(self, durability: Durability) -> Result<()> {
        if self.changed.is_empty() && self.created.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (oid, object) in &self.changed {
            batch.update(*oid, object.encode(), object.links.iter().copied());
        }
        for (oid, object) in &self.created {
            batch.create(*oid, object.encode(), object.links.iter().copied());
        }
        self.store.commit(batch, durability).map(drop)
    }
}
