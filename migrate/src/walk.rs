//! Walking over all objects of a side, in ascending order, to compare them.

use durum_core::record::Record;
use durum_core::store::{ScanStored, Snapshot};
use durum_core::{Error, Oid, Result};

use crate::durus::{self, DurusFile, DurusObject};
use crate::durus_server::DurusServer;
use crate::rejects::is_of_an_object;
use crate::source::Source;
use crate::zodb::{self, ZodbFile};

/// The objects of a store or a foreign file.
pub(crate) struct Walk<'a> {
    from: From<'a>,
    /// Whether objects that cannot be read are passed over.
    skips: bool,
    last: Option<Oid>,
    /// Objects that were passed over.
    passed: u64,
    /// Says which objects are wanted.
    only: Option<&'a Source>,
}

enum From<'a> {
    Store {
        snapshot: &'a dyn Snapshot,
        scan: Box<dyn ScanStored + 'a>,
    },
    Durus {
        file: &'a DurusFile,
        objects: durus::Objects<'a>,
    },
    Zodb {
        file: &'a ZodbFile,
        objects: zodb::Objects<'a>,
    },
    DurusServer(&'a DurusServer),
}

impl<'a> Walk<'a> {
    pub(crate) fn of_snapshot(snapshot: &'a dyn Snapshot, skips: bool) -> Result<Walk<'a>> {
        let scan = snapshot.scan_stored(Oid::ROOT)?;
        Ok(Walk::new(From::Store { snapshot, scan }, skips))
    }

    pub(crate) fn of_durus(file: &'a DurusFile, skips: bool) -> Result<Walk<'a>> {
        let objects = file.objects_from(Oid::ROOT)?;
        Ok(Walk::new(From::Durus { file, objects }, skips))
    }

    pub(crate) fn of_zodb(file: &'a ZodbFile, skips: bool) -> Result<Walk<'a>> {
        let objects = file.objects_from(Oid::ROOT)?;
        Ok(Walk::new(From::Zodb { file, objects }, skips))
    }

    pub(crate) fn of_durus_server(server: &'a DurusServer, skips: bool) -> Result<Walk<'a>> {
        server.seek(Oid::ROOT)?;
        Ok(Walk::new(From::DurusServer(server), skips))
    }

    fn new(from: From<'a>, skips: bool) -> Walk<'a> {
        Walk {
            from,
            skips,
            last: None,
            passed: 0,
            only: None,
        }
    }

    /// The same walk past objects that the source does not copy.
    pub(crate) fn only(self, source: &'a Source) -> Walk<'a> {
        Walk {
            only: Some(source),
            ..self
        }
    }

    /// How many objects were passed over so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Puts the next object into `object`; false at the end.
    pub(crate) fn next(&mut self, object: &mut DurusObject) -> Result<bool> {
        loop {
            match self.read(object) {
                Err(error) if self.skips && is_of_an_object(&error) => {
                    self.pass_over(error)?;
                    self.passed += 1;
                }
                Ok(true) => {
                    self.last = Some(object.oid);
                    let wanted = self.only.map(|source| source.wants(object.oid));
                    if wanted.unwrap_or(Ok(true))? {
                        return Ok(true);
                    }
                }
                other => return other,
            }
        }
    }

    fn read(&mut self, object: &mut DurusObject) -> Result<bool> {
        match &mut self.from {
            From::Store { snapshot, scan } => {
                let Some((oid, bytes)) = scan.next()? else {
                    return Ok(false);
                };
                self.last = Some(oid);
                let record = Record::parse(oid, bytes)?;
                object.oid = oid;
                object.refs.clear();
                object.refs.extend(record.refs());
                object.data.clear();
                record.read_data(snapshot.codecs(), &mut object.data)?;
                Ok(true)
            }
            From::Durus { objects, .. } => put(objects.next(), object),
            From::Zodb { objects, .. } => put(objects.next(), object),
            From::DurusServer(server) => put(server.next().transpose(), object),
        }
    }

    /// Goes on behind the object that cannot be read, where it is known which that is.
    fn pass_over(&mut self, error: Error) -> Result<()> {
        let bad = error.oids().first().copied();
        match bad {
            // The walk has gone past it: only what its record holds cannot be read.
            Some(oid) if self.last == Some(oid) => Ok(()),
            Some(oid) if self.last.is_none_or(|last| oid > last) => {
                let from = oid.next();
                match &mut self.from {
                    From::Store { snapshot, scan } => *scan = snapshot.scan_stored(from)?,
                    From::Durus { file, objects } => *objects = file.objects_from(from)?,
                    From::Zodb { file, objects } => *objects = file.objects_from(from)?,
                    From::DurusServer(server) => server.seek(from)?,
                }
                self.last = Some(oid);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

fn put(next: Option<Result<DurusObject>>, object: &mut DurusObject) -> Result<bool> {
    match next {
        Some(next) => {
            *object = next?;
            Ok(true)
        }
        None => Ok(false),
    }
}
