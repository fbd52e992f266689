//! A store of Durum's.

use durum_core::config::StoreSettings;
use durum_core::engine::{Capabilities, Durability, Registry};
use durum_core::record::Payload;
use durum_core::store::{Batch, LocalStore, Snapshot, SnapshotExt as _, Store as _};
use durum_core::{Oid, Result};

use super::{BLOCK_BYTES, Change, Prepared, Reading, Subject, look_at, missing, mistaken};
use crate::clock::{Took, Whose};
use crate::objects::{LOADED, Objects};

/// An open store.
pub(crate) struct StoreSubject {
    pub(crate) store: LocalStore,
    objects: Objects,
    level: Durability,
}

impl StoreSubject {
    /// Loads the objects into a new store; says what that took until all was there durably.
    pub(crate) fn load(
        registry: &Registry,
        settings: &StoreSettings,
        objects: Objects,
    ) -> Result<(StoreSubject, Took)> {
        let mut took = Took::default();
        let staged = took.add(Whose::Process, || registry.stage(settings))?;
        let mut importer = took.add(Whose::Process, || staged.importer())?;
        let mut next = 0;
        while next < objects.count {
            let (mut block, mut bytes) = (Vec::new(), 0);
            while next < objects.count && bytes < BLOCK_BYTES {
                let mut data = Vec::new();
                objects.data(next, 0, &mut data);
                bytes += data.len();
                block.push((Oid(next), objects.refs(next).collect::<Vec<_>>(), data));
                next += 1;
            }
            took.add(Whose::Process, || {
                block.iter().try_for_each(|(oid, refs, data)| {
                    importer.push_own(*oid, LOADED, refs, Payload::plain(data))
                })
            })?;
        }
        took.add(Whose::Process, || importer.finish(LOADED, Oid::ROOT))?;
        let store = took.add(Whose::Process, || staged.publish())?;
        Ok((StoreSubject::new(store, objects), took))
    }

    /// Opens a store that was loaded.
    pub(crate) fn open(
        registry: &Registry,
        settings: &StoreSettings,
        objects: Objects,
    ) -> Result<StoreSubject> {
        Ok(StoreSubject::new(registry.open(settings)?, objects))
    }

    fn new(store: LocalStore, objects: Objects) -> StoreSubject {
        StoreSubject {
            level: best(store.engine()),
            store,
            objects,
        }
    }
}

/// The most that an engine can do for what was committed.
pub(crate) fn best(capabilities: &Capabilities) -> Durability {
    let levels = capabilities.durability.iter();
    levels.max().copied().unwrap_or(Durability::Relaxed)
}

impl Subject for StoreSubject {
    fn reader(&self) -> Result<Box<dyn Reading + '_>> {
        Ok(Box::new(StoreReading(self.store.snapshot()?)))
    }

    fn load_alone(&self, oid: u64) -> Result<()> {
        StoreReading(self.store.snapshot()?).load(oid)
    }

    fn prepare(&self, change: &Change<'_>) -> Prepared {
        let mut batch = Batch::new();
        let mut data = Vec::new();
        match change {
            Change::Update(oids, version) => {
                for oid in *oids {
                    self.objects.data(*oid, *version, &mut data);
                    batch.update(Oid(*oid), data.as_slice(), self.objects.refs(*oid));
                }
            }
            Change::Cut(oids) => {
                for oid in *oids {
                    self.objects.data(*oid, 1, &mut data);
                    batch.update(Oid(*oid), data.as_slice(), []);
                }
            }
        }
        Prepared::Batch(batch)
    }

    fn commit(&self, change: Prepared, durable: bool) -> Result<()> {
        let Prepared::Batch(batch) = change else {
            return Err(mistaken());
        };
        let level = if durable {
            self.level
        } else {
            Durability::Relaxed
        };
        self.store.commit(batch, level).map(drop)
    }

    fn settle(&self) -> Result<()> {
        self.store.collect().map(drop)
    }
}

struct StoreReading(Box<dyn Snapshot>);

impl Reading for StoreReading {
    fn load(&mut self, oid: u64) -> Result<()> {
        let found = self.0.load_with(Oid(oid), &mut |record| {
            look_at(record.payload().bytes());
            Ok(())
        })?;
        if found { Ok(()) } else { Err(missing(oid)) }
    }

    fn load_owned(&mut self, oid: u64) -> Result<()> {
        let object = self.0.load(Oid(oid))?.ok_or_else(|| missing(oid))?;
        look_at(&object.data);
        Ok(())
    }

    fn scan(&mut self) -> Result<u64> {
        let mut objects = 0;
        self.0.scan_with(Oid::ROOT, &mut |record| {
            look_at(record.payload().bytes());
            objects += 1;
            Ok(true)
        })?;
        Ok(objects)
    }
}
