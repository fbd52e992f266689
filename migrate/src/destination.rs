//! Where objects go. Nothing appears there before all of it is complete and verified.

use std::path::Path;

use durum_core::config::{DurusFormat, Location};
use durum_core::engine::Registry;
use durum_core::record::{Codecs, Payload};
use durum_core::store::StagedStore;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::channel::Channel;
use crate::durus::{DurusFile, DurusObject, DurusWriter, Format};
use crate::pipeline::{Copied, Progress};
use crate::source::{Item, no_server};
use crate::verify::{Seen, Verifier};

/// A destination that is being written.
#[derive(Debug)]
pub(crate) enum Destination {
    Store(StagedStore),
    Durus(DurusWriter),
}

impl Destination {
    /// Refuses what is never written, which need not wait for the source.
    pub(crate) fn check(location: &Location) -> Result<()> {
        match location {
            Location::ZodbFile { .. } => Err(not_written(location)),
            _ => Ok(()),
        }
    }

    /// Begins the destination.
    pub(crate) fn create(registry: &Registry, location: &Location) -> Result<Destination> {
        let created = match location {
            Location::Store(settings) => registry
                .stage(&settings.clone().without_collection())
                .map(Destination::Store),
            Location::DurusFile { path, format } => {
                let format = match format {
                    DurusFormat::Shelf => Format::Shelf,
                    DurusFormat::Dfs20 => Format::Dfs20,
                    DurusFormat::Sqlite => Format::Sqlite,
                };
                DurusWriter::create(path, format).map(Destination::Durus)
            }
            Location::ZodbFile { .. } => return Err(not_written(location)),
            Location::Server { .. } => return Err(no_server(location)),
        };
        created.map_err(|error| match error.kind() {
            // Whatever keeps a destination from being made, it is the destination that is at fault.
            ErrorKind::InUse => error.with_kind(ErrorKind::Exists),
            ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
            _ => error,
        })
    }

    /// Writes everything that comes out of the channel. `marks` gives, once all has come, the source's
    /// last commit and the OID from which on none was handed out.
    pub(crate) fn receive(
        &mut self,
        channel: &Channel<Vec<Item>>,
        copy: &mut Copy<'_>,
        marks: impl FnOnce() -> Result<(Tid, Oid)>,
    ) -> Result<()> {
        let _closing = channel.closing();
        match self {
            Destination::Store(staged) => {
                let mut importer = staged.importer()?;
                copy.all(channel, &mut |oid, tid, refs, payload, codecs| {
                    importer.push(oid, tid, refs, payload, codecs)
                })?;
                let (tid, oids_from) = marks()?;
                importer.finish(tid, oids_from).map(drop)
            }
            Destination::Durus(writer) => {
                copy.all(channel, &mut |oid, _tid, refs, payload, codecs| {
                    let mut object = DurusObject {
                        oid,
                        refs: refs.to_vec(),
                        data: Vec::new(),
                    };
                    codecs
                        .decompress(payload, &mut object.data)
                        .map_err(|error| error.with_oid(oid))?;
                    writer.push(&object)
                })
            }
        }
    }

    /// Has the complete destination verified and makes it appear.
    pub(crate) fn publish(self, verifier: &mut Verifier<'_>) -> Result<()> {
        match self {
            Destination::Store(staged) => {
                verifier.verify_store(staged.store())?;
                staged.publish().map(drop)
            }
            Destination::Durus(writer) => writer
                .finish_verified(&mut |path| verify_file(path, verifier))
                .map(drop),
        }
    }
}

/// Takes an object's parts, with what knows the dictionary that the payload may need.
type Push<'a> = dyn FnMut(Oid, Tid, &[Oid], Payload<'_>, &Codecs) -> Result<()> + 'a;

/// A copy on its way, and what it has come to.
pub(crate) struct Copy<'a> {
    pub(crate) codecs: &'a Codecs,
    pub(crate) seen: &'a mut Seen,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) copied: Copied,
}

impl Copy<'_> {
    fn all(&mut self, channel: &Channel<Vec<Item>>, push: &mut Push<'_>) -> Result<()> {
        while let Some(items) = channel.receive() {
            let before = self.copied;
            for item in &items {
                item.parts(|oid, tid, refs, payload| {
                    self.copied.objects += 1;
                    self.copied.bytes += payload.data_length();
                    self.seen.add(oid)?;
                    push(oid, tid, refs, payload, self.codecs)
                })?;
            }
            let Copied { objects, bytes } = self.copied;
            self.progress
                .advance(objects - before.objects, bytes - before.bytes);
        }
        Ok(())
    }
}

fn not_written(location: &Location) -> Error {
    Error::new(ErrorKind::Usage, "migrate")
        .because(format!(
            "ZODB's files are read, and not written ({location})"
        ))
        .hint("Name a store or a Durus file as the destination.")
}

fn verify_file(path: &Path, verifier: &mut Verifier<'_>) -> Result<()> {
    if verifier.reads() {
        verifier.verify_durus(&DurusFile::open(path)?)
    } else {
        Ok(())
    }
}
