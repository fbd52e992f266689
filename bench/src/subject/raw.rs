//! An engine alone.

use std::path::Path;

use durum_core::{Result, Tid};
use durum_raw::{Database, Load, Reader, Rows};

use super::{BLOCK_BYTES, Change, Prepared, Reading, Subject, look_at, missing, mistaken};
use crate::clock::{Took, Whose};
use crate::objects::{LOADED, Objects};

/// An open database, whose rows are the records that a store would have.
pub(crate) struct RawSubject {
    database: Box<dyn Database>,
    objects: Objects,
}

/// Writes the objects, and ends the load. What that takes is added to `took`, but for making them.
pub(crate) fn fill(mut load: Box<dyn Load>, objects: Objects, took: &mut Took) -> Result<()> {
    let (mut rows, mut next) = (Rows::default(), 0);
    while next < objects.count {
        rows.clear();
        while next < objects.count && rows.bytes() < BLOCK_BYTES {
            objects.encode(next, 0, true, LOADED, &mut rows);
            next += 1;
        }
        took.add(Whose::Process, || load.write(&rows))?;
    }
    took.add(Whose::Process, || load.finish())
}

impl RawSubject {
    /// Loads the objects into a new database in the directory `dir`; says what that took until all was
    /// there durably.
    pub(crate) fn load(engine: &str, dir: &Path, objects: Objects) -> Result<(RawSubject, Took)> {
        let mut took = Took::default();
        let load = took.add(Whose::Process, || durum_raw::create(engine, dir))?;
        fill(load, objects, &mut took)?;
        Ok((RawSubject::open(engine, dir, objects)?, took))
    }

    /// Opens a database that was loaded.
    pub(crate) fn open(engine: &str, dir: &Path, objects: Objects) -> Result<RawSubject> {
        Ok(RawSubject {
            database: durum_raw::open(engine, dir)?,
            objects,
        })
    }
}

impl Subject for RawSubject {
    fn reader(&self) -> Result<Box<dyn Reading + '_>> {
        Ok(Box::new(RawReading(self.database.reader()?)))
    }

    fn load_alone(&self, oid: u64) -> Result<()> {
        match self.database.get(oid, &mut look_at)? {
            true => Ok(()),
            false => Err(missing(oid)),
        }
    }

    fn prepare(&self, change: &Change<'_>) -> Prepared {
        let (mut rows, mut deletes) = (Rows::default(), Vec::new());
        match change {
            Change::Update(oids, version) => {
                for oid in *oids {
                    let tid = Tid(LOADED.0 + version);
                    self.objects.encode(*oid, *version, true, tid, &mut rows);
                }
            }
            Change::Cut(oids) => {
                for oid in *oids {
                    self.objects.encode(*oid, 1, false, Tid(2), &mut rows);
                    deletes.extend(self.objects.refs(*oid).map(|child| child.0));
                }
            }
        }
        Prepared::Rows(rows, deletes)
    }

    fn commit(&self, change: Prepared, durable: bool) -> Result<()> {
        match change {
            Prepared::Rows(rows, deletes) => self.database.write(&rows, &deletes, durable),
            Prepared::Batch(_) => Err(mistaken()),
        }
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

struct RawReading<'a>(Box<dyn Reader + 'a>);

impl Reading for RawReading<'_> {
    fn load(&mut self, oid: u64) -> Result<()> {
        match self.0.get(oid, &mut look_at)? {
            true => Ok(()),
            false => Err(missing(oid)),
        }
    }

    fn load_owned(&mut self, oid: u64) -> Result<()> {
        let mut copy = Vec::new();
        let found = self.0.get(oid, &mut |bytes| copy = bytes.to_vec())?;
        look_at(&copy);
        if found { Ok(()) } else { Err(missing(oid)) }
    }

    fn scan(&mut self) -> Result<u64> {
        let mut objects = 0;
        self.0.scan(&mut |_, bytes| {
            look_at(bytes);
            objects += 1;
        })?;
        Ok(objects)
    }
}
