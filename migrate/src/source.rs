//! Where objects come from.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use durum_core::collect::{OidSet, reach_with};
use durum_core::config::Location;
use durum_core::engine::Registry;
use durum_core::record::Codecs;
use durum_core::store::{Snapshot, Store};
use durum_core::{Error, ErrorKind, IoResultExt as _, Oid, Result, Tid};
use durum_server::client::RemoteStore;

use crate::durus::{DurusFile, DurusObject};
use crate::durus_server::{DurusServer, REST_BYTES, Rest};
use crate::input::{SORT_BYTES, Writers};
use crate::options::StopWatch;
use crate::parcel::Parcel;
use crate::rejects::is_of_an_object;
use crate::reuse::Spare;
use crate::takeover::Takeover;
use crate::walk::Walk;
use crate::zodb::{LeftOut, ZodbFile};

/// An opened source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) files: Files,
    /// What the root reaches, where nothing else is wanted.
    only: Option<Mutex<OidSet>>,
    /// Whether others may write to it meanwhile.
    pub(crate) followed: bool,
    /// That they are locked out.
    pub(crate) takeover: Option<Takeover>,
}

#[derive(Debug)]
pub(crate) enum Files {
    Store {
        store: Arc<dyn Store>,
        snapshot: Box<dyn Snapshot>,
        /// Set when nobody commits to it any more.
        still: Arc<AtomicBool>,
    },
    Durus(DurusFile),
    Zodb(ZodbFile),
    /// One that speaks only Durus's own protocol.
    DurusServer(Box<DurusServer>),
}

/// Takes a parcel; false where nobody wants more.
pub(crate) type Send<'a> = dyn FnMut(Parcel) -> bool + 'a;

impl Source {
    /// Opens a source, which nobody can write to from then on. One that is to be followed may be written to:
    /// see [`Source::take_over`].
    pub(crate) fn open(
        registry: &Registry,
        location: &Location,
        followed: bool,
        watch: &StopWatch,
    ) -> Result<Source> {
        let writers = match followed {
            true => Writers::Tolerated,
            false => Writers::Refused,
        };
        let how = (writers, watch);
        let files = match location {
            Location::Store(settings) => {
                let store = registry.open(&registry.sequential(settings))?;
                // It is open once, and that is here.
                return Source::of_store(
                    Arc::new(store),
                    Arc::new(AtomicBool::new(true)),
                    followed,
                );
            }
            Location::DurusFile { path, .. } => {
                Files::Durus(DurusFile::open_among(how, path, None, SORT_BYTES)?)
            }
            Location::ZodbFile { path } => {
                Files::Zodb(ZodbFile::open_among(how, path, None, SORT_BYTES)?)
            }
            Location::Server(_) if followed => {
                return Err(Error::new(ErrorKind::Unsupported, "follow the source")
                    .because(format!(
                        "{location} is a server, which does not say when nobody writes any more"
                    ))
                    .hint("Leave out `--follow`; or stop the server, and name its store."));
            }
            Location::Server(server) => {
                match RemoteStore::connect(server) {
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        Files::DurusServer(Box::new(DurusServer::connect(server, watch)?))
                    }
                    // What others commit meanwhile is not of its snapshot.
                    store => return Source::of_store(Arc::new(store?), Arc::default(), false),
                }
            }
        };
        Ok(Source {
            files,
            only: None,
            followed,
            takeover: None,
        })
    }

    /// A store that is open already; `still` is set when nobody commits to it any more.
    pub(crate) fn of_store(
        store: Arc<dyn Store>,
        still: Arc<AtomicBool>,
        followed: bool,
    ) -> Result<Source> {
        let snapshot = store.snapshot()?;
        Ok(Source {
            files: Files::Store {
                store,
                snapshot,
                still,
            },
            only: None,
            followed,
            takeover: None,
        })
    }

    /// Whether it has to be walked over before anything can be copied, since nothing else tells what there is.
    pub(crate) fn needs_walk(&self) -> bool {
        matches!(self.files, Files::DurusServer(_))
    }

    /// Leaves out what the root does not reach, by walking from it first. The sets of OIDs take up to
    /// `memory_bytes` each. `step` is called for each object, with its bytes where they are known, and `rest`
    /// now and then where others are kept from work by the walk.
    ///
    /// # Errors
    /// Those of reading and of `step` and `rest`; `Damaged` where an object on the way cannot be read, since what
    /// hangs on it is not known then.
    pub(crate) fn only_reachable(
        &mut self,
        memory_bytes: usize,
        step: &dyn Fn(usize) -> Result<()>,
        rest: Option<Rest<'_>>,
    ) -> Result<()> {
        if let Files::DurusServer(server) = &mut self.files {
            return server.walk(memory_bytes, step, rest);
        }
        let (mut rest, mut unrested) = (rest, 0);
        let (reached, mut missing) = reach_with(memory_bytes, &mut |oid, refs| {
            step(0)?;
            let bytes = self.read_refs(oid, refs)?;
            unrested += bytes.unwrap_or(0);
            if let Some(rest) = rest.as_mut().filter(|_| unrested >= REST_BYTES) {
                rest(std::mem::take(&mut unrested))?;
            }
            Ok(bytes.is_some())
        })?;
        if missing.contains(Oid::ROOT)? && self.objects()? > 0 {
            return Err(Error::new(ErrorKind::Usage, "find what the root reaches")
                .because("the source has no root, object 0")
                .hint("Copy everything, without `--reachable-only`."));
        }
        self.only = Some(Mutex::new(reached));
        Ok(())
    }

    /// Reads the references of an object; its bytes, or `None` where it is not there. Not for a server of Durus.
    fn read_refs(&self, oid: Oid, refs: &mut Vec<Oid>) -> Result<Option<usize>> {
        let object = match &self.files {
            Files::Store { snapshot, .. } => {
                let mut bytes = 0;
                let is_there = snapshot.load_with(oid, &mut |record| {
                    bytes = record.payload().stored_length();
                    refs.extend(record.refs());
                    Ok(())
                })?;
                return Ok(is_there.then_some(bytes));
            }
            Files::Durus(file) => file.load(oid)?,
            Files::Zodb(file) => file.load(oid)?,
            Files::DurusServer(_) => None,
        };
        Ok(object.map(|object| {
            refs.extend(object.refs);
            object.data.len()
        }))
    }

    /// Whether the object is one of those to be copied.
    pub(crate) fn wants(&self, oid: Oid) -> Result<bool> {
        match &self.only {
            None => Ok(true),
            Some(only) => only
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(oid),
        }
    }

    /// How many objects there are to be copied.
    pub(crate) fn objects(&self) -> Result<u64> {
        if let Some(only) = &self.only {
            return Ok(only.lock().unwrap_or_else(PoisonError::into_inner).len());
        }
        match &self.files {
            Files::Store { store, .. } => Ok(store.stats()?.objects),
            Files::Durus(file) => Ok(file.object_count()),
            Files::Zodb(file) => Ok(file.object_count()),
            Files::DurusServer(server) => Ok(server.object_count()),
        }
    }

    /// Bytes of all objects as they are stored, about.
    pub(crate) fn bytes(&self) -> Result<u64> {
        match &self.files {
            Files::Store { store, .. } => Ok(store.stats()?.live_bytes),
            Files::Durus(file) => Ok(file.data_bytes()),
            Files::Zodb(file) => Ok(file.file_bytes()),
            Files::DurusServer(server) => Ok(server.data_bytes()),
        }
    }

    /// The last commit, and the OID from which on none was handed out, as far as they are known.
    pub(crate) fn marks(&self) -> Result<(Tid, Oid)> {
        match &self.files {
            Files::Store {
                store, snapshot, ..
            } => Ok((snapshot.tid(), store.stats()?.high_water)),
            Files::Durus(_) | Files::Zodb(_) | Files::DurusServer(_) => Ok((Tid(1), Oid::ROOT)),
        }
    }

    /// The bytes of a torn write at the end that are left out.
    pub(crate) fn torn_bytes(&self) -> u64 {
        match &self.files {
            Files::Store { .. } | Files::DurusServer(_) => 0,
            Files::Durus(file) => file.torn_bytes(),
            Files::Zodb(file) => file.torn_bytes(),
        }
    }

    /// Knows the dictionaries that the records need; for foreign files there are none.
    pub(crate) fn codecs<'a>(&'a self, none: &'a Codecs) -> &'a Codecs {
        match &self.files {
            Files::Store { snapshot, .. } => snapshot.codecs(),
            Files::Durus(_) | Files::Zodb(_) | Files::DurusServer(_) => none,
        }
    }

    /// What it is and in which state, by which a migration that is resumed knows it again.
    pub(crate) fn description(&self) -> Result<String> {
        if self.followed {
            // In whichever state: what has changed is looked for.
            let file = |path: &Path| -> Result<String> {
                let path = std::fs::canonicalize(path).during("migrate", path)?;
                Ok(format!("file {path:?}, followed"))
            };
            return match &self.files {
                Files::Store { store, .. } => Ok(format!("store {}, followed", store.id())),
                Files::Durus(durus) => durus
                    .input()
                    .map_or_else(|| durus.description(), |input| file(input.path())),
                Files::Zodb(zodb) => file(zodb.input().path()),
                Files::DurusServer(server) => Ok(server.description()),
            };
        }
        let files = match &self.files {
            Files::Store {
                store, snapshot, ..
            } => {
                format!("store {} at commit {}", store.id(), snapshot.tid())
            }
            Files::Durus(file) => file.description()?,
            Files::Zodb(file) => file.description()?,
            Files::DurusServer(server) => server.description(),
        };
        Ok(match self.only {
            Some(_) => format!("what the root reaches in {files}"),
            None => files,
        })
    }

    /// Walks over all objects; with `skips`, past those that cannot be read.
    pub(crate) fn walk(&self, skips: bool) -> Result<Walk<'_>> {
        let walk = match &self.files {
            Files::Store { snapshot, .. } => Walk::of_snapshot(&**snapshot, skips)?,
            Files::Durus(file) => Walk::of_durus(file, skips)?,
            Files::Zodb(file) => Walk::of_zodb(file, skips)?,
            Files::DurusServer(server) => Walk::of_durus_server(server, skips)?,
        };
        Ok(walk.only(self))
    }

    /// Gives all objects from `from` on, in ascending order of their OIDs, to `send`, until that says
    /// that nobody wants more; true where these were all. With `skips`, an object that cannot be read is
    /// passed over.
    ///
    /// # Errors
    /// Those of reading; damage within a record is left to who takes it apart.
    pub(crate) fn read(
        &self,
        from: Oid,
        skips: bool,
        spare: &Spare<Parcel>,
        send: &mut Send<'_>,
    ) -> Result<bool> {
        let mut parcel = spare.take();
        let mut from = Some(from).filter(|oid| oid.is_valid());
        let mut newer = None;
        let mut failing = 0;
        while let Some(start) = from.take() {
            let mut reading = Reading {
                parcel: &mut parcel,
                spare,
                send: &mut *send,
                next: start,
                added: 0,
            };
            let result = self.read_some(start, newer.as_deref(), &mut reading);
            let (added, next) = (reading.added, reading.next);
            match result {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::TooOld && self.followed => {
                    // What has changed since the first snapshot is looked at again in any case.
                    from = Some(next).filter(|oid| oid.is_valid());
                    newer = self.newer_snapshot()?;
                }
                Err(error) => {
                    let oid = error.oids().first().copied();
                    let skipped = skips && is_of_an_object(&error);
                    // Where it is not known which object that is, it is not known where to go on.
                    let Some(oid) = oid.filter(|oid| skipped && *oid >= start) else {
                        return Err(error);
                    };
                    failing = match error.kind() {
                        ErrorKind::Io if added == 0 => failing + 1,
                        _ => 0,
                    };
                    if failing >= FAILING_MAX {
                        return Err(error.hint("The disk seems to be gone, not single objects."));
                    }
                    if self.wants(oid)? {
                        reading.parcel.add_reject(error);
                        if !reading.go_on() {
                            return Ok(false);
                        }
                    }
                    from = Some(oid.next()).filter(|oid| oid.is_valid());
                }
            }
        }
        Ok(parcel.is_empty() || send(parcel))
    }

    fn newer_snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        match &self.files {
            Files::Store { store, .. } => store.snapshot().map(Some),
            Files::Durus(_) | Files::Zodb(_) | Files::DurusServer(_) => Ok(None),
        }
    }

    /// Reads from `newer`, if that is a later snapshot.
    fn read_some(
        &self,
        from: Oid,
        newer: Option<&dyn Snapshot>,
        reading: &mut Reading<'_, '_>,
    ) -> Result<bool> {
        match &self.files {
            Files::Store { snapshot, .. } => {
                let snapshot = newer.unwrap_or(&**snapshot);
                let mut scan = snapshot.scan_stored(from)?;
                while let Some((oid, bytes)) = scan.next()? {
                    reading.next = oid.next();
                    if !self.wants(oid)? {
                        continue;
                    }
                    reading.parcel.add_stored(oid, bytes);
                    if !reading.go_on() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Files::Durus(file) => {
                for object in file.objects_from(from)? {
                    let object = object?;
                    if !self.wants(object.oid)? {
                        continue;
                    }
                    if !reading.add(object, LeftOut::default()) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Files::Zodb(file) => {
                let (mut objects, mut before) = (file.objects_from(from)?, LeftOut::default());
                while let Some(object) = objects.next() {
                    let object = object?;
                    let after = objects.left_out();
                    let left_out = after - before;
                    before = after;
                    if self.wants(object.oid)? && !reading.add(object, left_out) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Files::DurusServer(server) => {
                server.seek(from)?;
                while let Some(object) = server.next()? {
                    reading.parcel.add_object(object, LeftOut::default());
                    if reading.parcel.is_full() {
                        // Whoever takes it may take its time.
                        server.settle()?;
                    }
                    if !reading.go_on() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

/// After so many objects in a row that the disk does not give it is not the objects.
const FAILING_MAX: u32 = 200;

/// A parcel that is being filled.
struct Reading<'a, 's> {
    parcel: &'a mut Parcel,
    spare: &'a Spare<Parcel>,
    send: &'a mut Send<'s>,
    /// Everything before has been read; of stores only.
    next: Oid,
    /// Objects that were read.
    added: u64,
}

impl Reading<'_, '_> {
    fn add(&mut self, object: DurusObject, left_out: LeftOut) -> bool {
        self.parcel.add_object(object, left_out);
        self.go_on()
    }

    /// Sends the parcel when it is full; false where nobody wants more.
    fn go_on(&mut self) -> bool {
        self.added += 1;
        if !self.parcel.is_full() {
            return true;
        }
        let full = std::mem::replace(self.parcel, self.spare.take());
        (self.send)(full)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::durus::{DurusObject, DurusWriter, Format};
    use crate::options::MigrateOptions;

    const DATA_BYTES: usize = 40 << 10;

    /// A file of objects in a chain, and another one that nothing refers to.
    fn chain(path: &Path, length: u64) -> Source {
        let mut writer = DurusWriter::create(path, Format::Shelf).unwrap();
        for oid in 0..=length {
            let refs = (oid + 1 < length).then_some(Oid(oid + 1));
            let (oid, refs, data) = (Oid(oid), refs.into_iter().collect(), vec![1; DATA_BYTES]);
            writer.push(&DurusObject { oid, refs, data }).unwrap();
        }
        writer.finish().unwrap();
        let location = Location::parse(&format!("durus:{}", path.display()), &[]).unwrap();
        Source::open(
            &Registry::new(),
            &location,
            false,
            &StopWatch::start(&MigrateOptions::default()),
        )
        .unwrap()
    }

    #[test]
    fn a_walk_from_the_root_rests_after_what_it_reads() {
        let home = tempfile::tempdir().unwrap();
        let mut source = chain(&home.path().join("file"), 10);
        let (mut rests, mut bytes) = (0, 0);
        let mut rest = |read| {
            rests += 1;
            bytes += read;
            Ok(())
        };
        let step = |_| Ok(());
        source
            .only_reachable(1 << 20, &step, Some(&mut rest))
            .unwrap();
        assert_eq!((rests, bytes), (5, 10 * DATA_BYTES));
        assert_eq!(source.objects().unwrap(), 10);
        let mut refuse = |_| Err(Error::new(ErrorKind::Interrupted, "rest"));
        let refused = source.only_reachable(1 << 20, &step, Some(&mut refuse));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
