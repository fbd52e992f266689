//! Where objects go. Nothing appears there before all of it is complete and verified.

use std::path::Path;

use durum_core::config::{DurusFormat, Location};
use durum_core::engine::Registry;
use durum_core::record::Codecs;
use durum_core::store::StagedStore;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::channel::Channel;
use crate::durus::{Dfs20Writer, DurusFile, DurusObject, ShelfWriter};
use crate::pipeline::{Copied, Progress};
use crate::source::{Item, no_server};
use crate::verify::{Seen, Verifier};

/// A destination that is being written.
#[derive(Debug)]
pub(crate) enum Destination {
    Store(StagedStore),
    Shelf(ShelfWriter),
    Dfs20(Dfs20Writer),
}

impl Destination {
    /// Begins the destination.
    pub(crate) fn create(registry: &Registry, location: &Location) -> Result<Destination> {
        let created = match location {
            Location::Store(settings) => registry.stage(settings).map(Destination::Store),
            Location::DurusFile {
                path,
                format: DurusFormat::Shelf,
            } => ShelfWriter::create(path).map(Destination::Shelf),
            Location::DurusFile {
                path,
                format: DurusFormat::Dfs20,
            } => Dfs20Writer::create(path).map(Destination::Dfs20),
            Location::Server { .. } => return Err(no_server(location)),
        };
        created.map_err(|error| match error.kind() {
            // Whatever keeps a destination from being made, it is the destination that is at fault.
            ErrorKind::InUse => error.with_kind(ErrorKind::Exists),
            ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
            _ => error,
        })
    }

    /// Writes everything that comes out of the channel.
    pub(crate) fn receive(
        &mut self,
        channel: &Channel<Vec<Item>>,
        codecs: &Codecs,
        seen: &mut Seen,
        progress: &dyn Progress,
        marks: impl FnOnce() -> Result<(Tid, Oid)>,
    ) -> Result<Copied> {
        let _closing = channel.closing();
        let mut copied = Copied::default();
        let mut importer = match self {
            Destination::Store(staged) => Some(staged.importer()?),
            _ => None,
        };
        let mut writer = match self {
            Destination::Store(_) => None,
            other => Some(other),
        };
        while let Some(items) = channel.receive() {
            let before = copied;
            for item in &items {
                item.parts(|oid, tid, refs, payload| {
                    copied.objects += 1;
                    copied.bytes += payload.data_length();
                    seen.add(oid)?;
                    match (&mut importer, &mut writer) {
                        (Some(importer), _) => importer.push(oid, tid, refs, payload, codecs),
                        (None, Some(writer)) => {
                            let mut data = Vec::new();
                            codecs
                                .decompress(payload, &mut data)
                                .map_err(|error| error.with_oid(oid))?;
                            writer.push(&DurusObject {
                                oid,
                                refs: refs.to_vec(),
                                data,
                            })
                        }
                        (None, None) => Ok(()),
                    }
                })?;
            }
            progress.advance(copied.objects - before.objects, copied.bytes - before.bytes);
        }
        if let Some(importer) = importer {
            let (tid, oids_from) = marks()?;
            importer.finish(tid, oids_from)?;
        }
        Ok(copied)
    }

    fn push(&mut self, object: &DurusObject) -> Result<()> {
        match self {
            Destination::Shelf(writer) => writer.push(object),
            Destination::Dfs20(writer) => writer.push(object),
            Destination::Store(_) => Err(Error::new(ErrorKind::Other, "migrate")
                .because("a store is written by its importer")),
        }
    }

    /// Has the complete destination verified and makes it appear.
    pub(crate) fn publish(self, verifier: &mut Verifier<'_>) -> Result<()> {
        match self {
            Destination::Store(staged) => {
                verifier.verify_store(staged.store())?;
                staged.publish().map(drop)
            }
            Destination::Shelf(writer) => writer
                .finish_verified(&mut |path| verify_file(path, verifier))
                .map(drop),
            Destination::Dfs20(writer) => writer
                .finish_verified(&mut |path| verify_file(path, verifier))
                .map(drop),
        }
    }
}

fn verify_file(path: &Path, verifier: &mut Verifier<'_>) -> Result<()> {
    if verifier.reads() {
        verifier.verify_durus(&DurusFile::open(path)?)
    } else {
        Ok(())
    }
}
