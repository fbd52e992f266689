//! Where objects come from.

use std::sync::OnceLock;

use durum_core::config::Location;
use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::{Codecs, Payload, Record};
use durum_core::store::{LocalStore, Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::channel::Channel;
use crate::durus::{DurusFile, DurusObject};
use crate::zodb::{LeftOut, ZodbFile};

/// Objects travel in parcels of about this many bytes: few enough switches between threads.
const PARCEL_BYTES: usize = 256 << 10;
/// What an object costs beyond its bytes on its way.
const OBJECT_OVERHEAD: usize = 64;

/// An opened source.
#[derive(Debug)]
pub(crate) enum Source {
    Store {
        store: LocalStore,
        snapshot: Box<dyn Snapshot>,
    },
    Durus(DurusFile),
    Zodb {
        file: ZodbFile,
        /// Known once all objects were sent.
        left_out: OnceLock<LeftOut>,
    },
}

/// An object on its way.
#[derive(Debug)]
pub(crate) enum Item {
    /// A record as it is stored, verified already.
    Stored(Oid, Vec<u8>),
    /// An object of a foreign file.
    Durus(DurusObject),
}

impl Item {
    /// Calls `take` with the object's parts.
    pub(crate) fn parts<T>(
        &self,
        take: impl FnOnce(Oid, Tid, &[Oid], Payload<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Item::Stored(oid, bytes) => {
                let record = Record::parse_unverified(*oid, bytes)?;
                let refs: Vec<Oid> = record.refs().collect();
                take(*oid, record.tid, &refs, record.payload())
            }
            // Durus files have no commit numbers, and ZODB's are times: all is of the first.
            Item::Durus(object) => take(
                object.oid,
                Tid(1),
                &object.refs,
                Payload::plain(&object.data),
            ),
        }
    }
}

impl Source {
    pub(crate) fn open(registry: &Registry, location: &Location) -> Result<Source> {
        match location {
            Location::Store(settings) => {
                let store = registry.open(&settings.clone().without_collection())?;
                let snapshot = store.snapshot()?;
                Ok(Source::Store { store, snapshot })
            }
            Location::DurusFile { path, .. } => Ok(Source::Durus(DurusFile::open(path)?)),
            Location::ZodbFile { path } => Ok(Source::Zodb {
                file: ZodbFile::open(path)?,
                left_out: OnceLock::new(),
            }),
            Location::Server { .. } => Err(no_server(location)),
        }
    }

    /// How many objects there are.
    pub(crate) fn objects(&self) -> Result<u64> {
        match self {
            Source::Store { store, .. } => Ok(store.stats()?.objects),
            Source::Durus(file) => Ok(file.object_count()),
            Source::Zodb { file, .. } => Ok(file.object_count()),
        }
    }

    /// The last commit, and the OID from which on none was handed out, as far as they are known.
    pub(crate) fn marks(&self) -> Result<(Tid, Oid)> {
        match self {
            Source::Store { store, snapshot } => Ok((snapshot.tid(), store.stats()?.high_water)),
            Source::Durus(_) | Source::Zodb { .. } => Ok((Tid(1), Oid::ROOT)),
        }
    }

    /// The bytes of a torn write at the end that are left out.
    pub(crate) fn torn_bytes(&self) -> u64 {
        match self {
            Source::Store { .. } => 0,
            Source::Durus(file) => file.torn_bytes(),
            Source::Zodb { file, .. } => file.torn_bytes(),
        }
    }

    /// What a ZODB file has that is not copied, once all its objects were sent.
    pub(crate) fn left_out(&self) -> LeftOut {
        match self {
            Source::Zodb { left_out, .. } => left_out.get().copied().unwrap_or_default(),
            Source::Store { .. } | Source::Durus(_) => LeftOut::default(),
        }
    }

    /// Knows the dictionaries that the records need; for foreign files there are none.
    pub(crate) fn codecs<'a>(&'a self, none: &'a Codecs) -> &'a Codecs {
        match self {
            Source::Store { snapshot, .. } => snapshot.codecs(),
            Source::Durus(_) | Source::Zodb { .. } => none,
        }
    }

    /// Sends all objects in ascending order of their OIDs and returns their digest, if it is wanted.
    /// Ends early where the channel is closed.
    pub(crate) fn send(
        &self,
        channel: &Channel<Vec<Item>>,
        digest: bool,
    ) -> Result<Option<Digest>> {
        let _closing = channel.closing();
        let mut parcel = Parcel {
            channel,
            items: Vec::new(),
            bytes: 0,
        };
        let mut sum = Digest::default();
        match self {
            Source::Store { snapshot, .. } => {
                let mut data = Vec::new();
                let mut scan = snapshot.scan_stored(Oid::ROOT)?;
                while let Some((oid, bytes)) = scan.next()? {
                    let record = Record::parse(oid, bytes)?;
                    if digest {
                        data.clear();
                        record.read_data(snapshot.codecs(), &mut data)?;
                        sum.add(oid, record.refs(), &data);
                    }
                    if !parcel.add(Item::Stored(oid, bytes.to_vec()), bytes.len()) {
                        break;
                    }
                }
            }
            Source::Durus(file) => parcel.add_all(file.objects(), digest.then_some(&mut sum))?,
            Source::Zodb { file, left_out } => {
                let mut objects = file.objects();
                parcel.add_all(&mut objects, digest.then_some(&mut sum))?;
                // It is empty: all is sent once.
                let _ = left_out.set(objects.left_out());
            }
        }
        parcel.send();
        Ok(digest.then_some(sum))
    }
}

struct Parcel<'a> {
    channel: &'a Channel<Vec<Item>>,
    items: Vec<Item>,
    bytes: usize,
}

impl Parcel<'_> {
    /// Adds the objects of a foreign file, and to their digest if it is wanted.
    fn add_all(
        &mut self,
        objects: impl Iterator<Item = Result<DurusObject>>,
        mut sum: Option<&mut Digest>,
    ) -> Result<()> {
        for object in objects {
            let object = object?;
            if let Some(sum) = &mut sum {
                sum.add(object.oid, object.refs.iter().copied(), &object.data);
            }
            let bytes = object.data.len() + object.refs.len() * 8;
            if !self.add(Item::Durus(object), bytes) {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, item: Item, bytes: usize) -> bool {
        self.items.push(item);
        self.bytes += bytes + OBJECT_OVERHEAD;
        self.bytes < PARCEL_BYTES || self.send()
    }

    fn send(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.bytes);
        self.channel.send(std::mem::take(&mut self.items), bytes)
    }
}

pub(crate) fn no_server(location: &Location) -> Error {
    Error::new(ErrorKind::Unsupported, "migrate")
        .because(format!(
            "this version cannot reach a storage server ({location})"
        ))
        .hint("Stop the server and name its store or Durus file.")
}
