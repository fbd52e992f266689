//! Where objects go. Nothing appears there before all of it is complete and verified.

use std::path::Path;

use durum_core::config::{DurusFormat, Location, ServerLocation, StoreSettings};
use durum_core::engine::Registry;
use durum_core::place::Identity;
use durum_core::record::{Codec, Codecs};
use durum_core::store::{Brought, ImportSummary, Importer, StagedStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};
use durum_server::client::RemoteImport;

use crate::durus::{DurusFile, DurusObject, DurusWriter, Format};
use crate::note::Note;
use crate::options::{MigrateOptions, StopWatch};
use crate::parcel::Prepared;
use crate::pipeline::Progress;
use crate::verify::{Seen, Verifier};

/// A destination that is being written.
#[derive(Debug)]
pub(crate) enum Destination {
    Store(StagedStore),
    Durus(DurusWriter),
    Server(Box<Remote>),
}

/// The store of a server that is being filled.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) import: RemoteImport,
    /// Whether the server has something that can be gone on with.
    kept: bool,
}

impl Destination {
    /// Refuses what is never written, which need not wait for the source.
    pub(crate) fn check(location: &Location) -> Result<()> {
        match location {
            Location::ZodbFile { .. } => Err(not_written(location)),
            _ => Ok(()),
        }
    }

    /// Begins the destination, or takes up one that was left, with its last note.
    pub(crate) fn open(
        registry: &Registry,
        location: &Location,
        options: &MigrateOptions,
    ) -> Result<(Destination, Option<Note>)> {
        let opened = match location {
            Location::Store(settings) => {
                let settings = registry.sequential(settings);
                let left = match options.resume {
                    true => take_up(registry, &settings).map_err(at_fault)?,
                    false => None,
                };
                match left {
                    Some((staged, note)) => {
                        let mut note = match Note::decode(&note) {
                            Ok(note) => note,
                            Err(error) => {
                                staged.leave();
                                return Err(error);
                            }
                        };
                        if let Some(before) = note.before_end() {
                            // It was about to appear, and its source may have changed since.
                            if let Err(error) = staged.unseal(&before.encode()) {
                                staged.leave();
                                return Err(error.hint_also(KEPT));
                            }
                            note = before;
                        }
                        return Ok((Destination::Store(staged), Some(note)));
                    }
                    None => registry.stage(&settings).map(Destination::Store),
                }
            }
            Location::DurusFile { path, format } => {
                let format = match format {
                    DurusFormat::Shelf => Format::Shelf,
                    DurusFormat::Dfs20 => Format::Dfs20,
                    DurusFormat::Sqlite => Format::Sqlite,
                };
                DurusWriter::create(path, format).map(Destination::Durus)
            }
            Location::ZodbFile { .. } => return Err(not_written(location)),
            Location::Server(server) => return open_remote(server, options).map_err(at_fault),
        };
        Ok((opened.map_err(at_fault)?, None))
    }

    /// How it compresses.
    pub(crate) fn codec(&self) -> Codec {
        match self {
            Destination::Store(staged) => staged.store().codec(),
            Destination::Durus(_) => Codec::None,
            Destination::Server(remote) => remote.import.codec(),
        }
    }

    /// How many objects there are, where they are all that there will be, and are only to be verified.
    pub(crate) fn complete(&self) -> Result<Option<u64>> {
        match self {
            Destination::Store(staged) => {
                let objects = staged.store().stats()?.objects;
                Ok(Some(objects).filter(|objects| *objects > 0))
            }
            Destination::Durus(_) => Ok(None),
            Destination::Server(remote) => Ok(remote.import.complete()),
        }
    }

    /// Has the complete destination verified and makes it appear.
    pub(crate) fn publish(self, verifier: &mut Verifier<'_>) -> Result<(), Failed> {
        match self {
            Destination::Store(staged) => match verifier.verify_store(staged.store()) {
                Ok(()) => {
                    let target = staged.target().map(Path::to_path_buf);
                    staged.publish_closed().map_err(|error| {
                        let appeared = target.is_some_and(|path| Identity::read(&path).is_ok());
                        Failed::at_end(match appeared {
                            true => error,
                            false => error.hint_also(KEPT),
                        })
                    })
                }
                Err(error) => Err(Failed {
                    error,
                    destination: Some(Box::new(Destination::Store(staged))),
                }),
            },
            Destination::Durus(writer) => writer
                .finish_verified(&mut |path| verify_file(path, verifier))
                .map(drop)
                .map_err(Failed::at_end),
            Destination::Server(remote) => {
                let verified = remote.import.store();
                match verified.and_then(|store| verifier.verify_remote(&store)) {
                    Ok(()) => remote.import.publish().map_err(Failed::at_end),
                    Err(error) => Err(Failed {
                        error,
                        destination: Some(Box::new(Destination::Server(remote))),
                    }),
                }
            }
        }
    }

    /// Removes what is there.
    pub(crate) fn discard(self) {
        // Elsewhere it goes when it is dropped.
        if let Destination::Server(remote) = self
            && let Err(error) = remote.import.discard()
        {
            tracing::warn!(reason = %error, "the server keeps what was copied");
        }
    }

    /// Leaves what is there for a migration that goes on with it; false where that is not possible, and
    /// nothing is left.
    ///
    /// After a failed write nobody knows what there is: then it is worth keeping only where the whole is
    /// to be read back in the end.
    pub(crate) fn leave(self, is_read_back: bool) -> bool {
        match self {
            Destination::Store(staged) if staged.store().is_poisoned() && !is_read_back => false,
            Destination::Store(staged) => staged.leave().is_some(),
            Destination::Durus(_) => false,
            // The server does that when it hears nothing more.
            Destination::Server(remote) => remote.kept,
        }
    }
}

/// Has a server take objects, or go on with taking them.
fn open_remote(
    server: &ServerLocation,
    options: &MigrateOptions,
) -> Result<(Destination, Option<Note>)> {
    let import = RemoteImport::begin(server, options.resume)?;
    let note = import.note().map(Note::decode).transpose()?;
    if note
        .as_ref()
        .is_some_and(|note| note.before_end().is_some())
    {
        return Err(Error::new(ErrorKind::Usage, "go on with a migration")
            .because("what was left there is of one that followed its source")
            .hint("Stop the server, and go on with it in the store that it serves."));
    }
    let kept = note.is_some();
    let remote = Remote { import, kept };
    Ok((Destination::Server(Box::new(remote)), note))
}

/// Whatever keeps a destination from being made, it is the destination that is at fault.
pub(crate) fn at_fault(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InUse => error.with_kind(ErrorKind::Exists),
        ErrorKind::NotFound | ErrorKind::Unreadable | ErrorKind::Unreachable => {
            error.with_kind(ErrorKind::ReadOnly)
        }
        _ => error,
    }
}

/// Takes up what an earlier migration left, if that can be used.
pub(crate) fn take_up(
    registry: &Registry,
    settings: &StoreSettings,
) -> Result<Option<(StagedStore, Vec<u8>)>> {
    match registry.resume(settings) {
        Err(error) if error.kind() == ErrorKind::Damaged => {
            tracing::warn!(%error, "what an earlier run has left is not intact: it begins anew");
            Ok(None)
        }
        other => other,
    }
}

/// What is said where there is something to go on with.
pub(crate) const KEPT: &str =
    "What was copied is kept: the same command with `--resume` goes on from there.";

/// Why a destination did not appear, and what there is of it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) destination: Option<Box<Destination>>,
}

impl Failed {
    fn at_end(error: Error) -> Failed {
        Failed {
            error,
            destination: None,
        }
    }
}

/// Writes objects to a destination.
#[derive(Debug)]
pub(crate) enum Writer<'a> {
    Store {
        importer: Box<Importer<'a>>,
        staged: &'a StagedStore,
        /// Whether it was seen to that what is written can be gone on with.
        kept: bool,
    },
    Durus(&'a mut DurusWriter, &'a mut Seen, &'a Codecs),
    Server(&'a mut Remote),
}

impl Writer<'_> {
    /// Writes a parcel, so that a migration that is resumed goes on after it, with `note`.
    pub(crate) fn write(&mut self, prepared: &Prepared, note: &Note) -> Result<()> {
        match self {
            Writer::Store {
                importer,
                staged,
                kept,
            } => {
                prepared.for_each(|oid, tid, refs, payload| {
                    importer.push_own(oid, tid, refs, payload)
                })?;
                let written = importer.checkpoint(note.encode())?;
                keep(staged, kept, written).map_err(|error| importer.explain(error))
            }
            Writer::Durus(writer, seen, codecs) => prepared.for_each(|oid, _, refs, payload| {
                let mut object = DurusObject {
                    oid,
                    refs: refs.to_vec(),
                    data: Vec::new(),
                };
                codecs
                    .decompress(payload, &mut object.data)
                    .map_err(|error| error.with_oid(oid))?;
                seen.add(oid)?;
                writer.push(&object)
            }),
            Writer::Server(remote) => {
                prepared.for_each(|oid, tid, refs, payload| {
                    remote.import.push(oid, tid, refs, payload);
                    Ok(())
                })?;
                remote.kept |= remote.import.checkpoint(&note.encode())?;
                Ok(())
            }
        }
    }

    /// Leaves what was written as far as it goes, so that a migration that is resumed goes on there.
    pub(crate) fn settle(&mut self) -> Result<()> {
        match self {
            Writer::Store {
                importer,
                staged,
                kept,
            } => {
                let written = importer.settle()?;
                keep(staged, kept, written).map_err(|error| importer.explain(error))
            }
            Writer::Durus(..) => Ok(()),
            Writer::Server(remote) => {
                remote.kept |= remote.import.settle()?;
                Ok(())
            }
        }
    }

    /// What was written, where it can be read before the end.
    pub(crate) fn brought(&self) -> Option<Brought> {
        match self {
            Writer::Store { staged, .. } => Some(staged.brought()),
            Writer::Durus(..) | Writer::Server(_) => None,
        }
    }

    /// Ends the writing, with the last note, and calls `readable` when what was written can be read. The source's last
    /// commit comes with the OID from which on none was handed out. Returns how many references lead nowhere, where that
    /// is known.
    pub(crate) fn finish(
        self,
        (tid, oids_from): (Tid, Oid),
        note: &Note,
        readable: &(dyn Fn() + Sync),
        progress: &dyn Progress,
        watch: &StopWatch,
    ) -> Result<Option<u64>> {
        let importer = match self {
            Writer::Store { importer, .. } => importer,
            Writer::Durus(..) => return Ok(None),
            Writer::Server(remote) => {
                progress.begin("link", None);
                let (head, tail) = note.around_dangling();
                let note = (head.as_slice(), tail.as_slice());
                let summary = remote.import.finish(tid, oids_from, note)?;
                remote.kept = true;
                return Ok(Some(summary.dangling));
            }
        };
        progress.begin("link", Some(note.objects));
        let last = |summary: &ImportSummary| {
            let last = Note {
                dangling: Some(summary.dangling),
                ..note.clone()
            };
            Some(last.encode())
        };
        let summary = importer.finish_watched(tid, oids_from, &last, readable, &|objects| {
            watch.advance(progress, objects)
        })?;
        Ok(Some(summary.dangling))
    }
}

/// Sees to it that the store is not removed that something was written to.
fn keep(staged: &StagedStore, kept: &mut bool, written: bool) -> Result<()> {
    if written && !*kept {
        // Once only: a sync that is tried again after a failure says nothing of what came before.
        *kept = true;
        staged.keep()?;
    }
    Ok(())
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
