//! Copying all objects from one place to another: a thread reads, others take records apart, verify,
//! hash and compress, and the caller's writes. Parcels go round the middle threads in turn, so that they
//! arrive in their order, and each is a batch of the destination.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durum_core::config::Location;
use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::{Codec, Codecs};
use durum_core::store::LocalStore;
use durum_core::{Error, ErrorKind, Oid, Result};

use crate::beside::{Beside, Found};
use crate::channel::Channel;
use crate::destination::{Destination, Remote, Writer};
use crate::durus_server::Rest;
use crate::ending::{End, Filled, nothing_copied, stopped};
use crate::follow::{self, Followed};
use crate::note::Note;
use crate::options::{MigrateOptions, OnError, StopWatch, Verify};
use crate::pace::Pace;
use crate::parcel::{Parcel, Prepared, Preparer};
use crate::phases::{Clock, Phases};
use crate::plan;
use crate::rate::Rate;
use crate::rejects::Rejects;
use crate::reuse::Spare;
use crate::room::tell_of_room;
use crate::source::Source;
use crate::sum::Shares;
use crate::verify::Seen;
use crate::zodb::LeftOut;

/// What a migration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Objects copied, those of earlier runs included.
    pub objects: u64,
    /// Bytes of their data, uncompressed.
    pub bytes: u64,
    /// The digest of both sides, where they were verified by it.
    pub digest: Option<Digest>,
    /// Bytes of a torn write at the end of a foreign file, which belong to no whole transaction and
    /// were left out.
    pub torn_bytes: u64,
    /// References to objects that do not exist, copied as they are; of a Durus file as the destination
    /// counted where the copy was verified by its digest.
    pub dangling: u64,
    /// Whether it went on with a migration that was cut off.
    pub resumed: bool,
    /// Objects that were left out since they could not be read.
    pub rejects: u64,
    /// What a ZODB file has that is not copied, as of the copy where it was followed afterwards.
    pub left_out: LeftOut,
    /// Rounds of following after the copy.
    pub rounds: u64,
    /// Objects that these brought over or deleted.
    pub followed: u64,
    /// How long its parts took.
    pub phases: Phases,
}

/// Is told how far a migration has come, on the thread that called [`migrate`].
pub trait Progress {
    /// A phase begins; the number of objects that it has to do, where it is known.
    fn begin(&self, phase: &'static str, objects_total: Option<u64>);
    /// So many more objects, with so many bytes of data, are done.
    fn advance(&self, objects: u64, bytes: u64);
    /// So many objects of this phase were done before, by a run that was cut off.
    fn skip(&self, objects: u64, bytes: u64) {
        self.advance(objects, bytes);
    }
    /// Following has caught up: the last round brought over so many objects in this time, and the next one can
    /// be waited for. Now is the time to stop what writes to the source.
    fn caught_up(&self, _objects: u64, _time: Duration) {}
    /// Nobody writes to the source any more, and nobody can until the migration has ended.
    fn taken_over(&self) {}
    /// The two sides differ in this object, as found by [`Verify::Full`](crate::Verify::Full).
    fn difference(&self, _difference: Difference, _oid: Oid) {}
    /// The two sides differ in the dictionary of this key.
    fn key_differs(&self, _difference: Difference, _class: &str, _key: &str) {}
}

/// How the sides of a migration can differ in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the source has it.
    Missing,
    /// Only the destination has it.
    Added,
    /// Its references or its data differ.
    Changed,
}

/// For callers that need no progress.
impl Progress for () {
    fn begin(&self, _phase: &'static str, _objects_total: Option<u64>) {}
    fn advance(&self, _objects: u64, _bytes: u64) {}
}

/// Copies everything from `source` to `destination`, which must not exist yet, in memory that does
/// not grow with the number of objects. The destination appears when it is complete and verified. A store
/// that was begun is left unfinished where the copying ends early, and [`MigrateOptions::resume`] goes on
/// with it; it does not open as a store until then.
///
/// OIDs, references and data are kept, as are tids between stores. Data that is compressed as the
/// destination would do it is copied as it is. The source is never written to.
///
/// # Errors
/// `NotFound`, `Unreadable`, `InUse`, `Damaged` of the source; `Exists` and `ReadOnly` of the
/// destination; `TooLarge`, `Full`; `Interrupted` where it was stopped; `Mismatch` where verification
/// fails, after which nothing is left of the destination; `Usage` where both are the same, or where
/// something has changed since the migration that is to be resumed, or the destination is of a kind that
/// is only read.
pub fn migrate(
    registry: &Registry,
    source: &Location,
    destination: &Location,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let open = |watch: &_| Source::open(registry, source, options.follow, watch);
    migrate_from(registry, &open, destination, options, progress)
        .map_err(|error| tell_of_room(error, destination))
}

/// As [`migrate`] with [`MigrateOptions::follow`], from a store that is open in this process and is
/// committed to meanwhile. `still` is to be set when nobody commits to it any more: what has been committed
/// by then is in the destination when this returns.
///
/// # Errors
/// As [`migrate`].
pub fn migrate_open(
    registry: &Registry,
    source: &Arc<LocalStore>,
    still: &Arc<AtomicBool>,
    destination: &Location,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let options = MigrateOptions {
        follow: true,
        ..options.clone()
    };
    let open = |_: &_| Source::of_store(source.clone(), still.clone(), true);
    migrate_from(registry, &open, destination, &options, progress)
        .map_err(|error| tell_of_room(error, destination))
}

fn migrate_from(
    registry: &Registry,
    open: &dyn Fn(&StopWatch) -> Result<Source>,
    destination: &Location,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Outcome> {
    Destination::check(destination)?;
    follow::check(destination, options)?;
    let (watch, clock) = (StopWatch::start(options), Clock::start());
    let mut source = open(&watch).map_err(nothing_copied)?;
    if source.needs_walk() && !matches!(destination, Location::Server(_)) {
        // What keeps a destination from being made is better known before. A server's may be made empty.
        plan::look(registry, destination, options)?;
    }
    clock.end(|phases| &mut phases.open);
    walk(&mut source, options, progress, &watch).map_err(nothing_copied)?;
    clock.end(|phases| &mut phases.walk);
    let rejects = Rejects::new(&options.on_error)?;
    let description = source.description()?;
    let (since, _) = source.marks()?;
    let (target, left) = Destination::open(registry, destination, options)?;
    let copy = Copy {
        source: &source,
        options,
        progress,
        watch: &watch,
        clock: &clock,
        rejects: &rejects,
    };
    let begun = copy.begin(description, &target);
    let mut filled = copy.fill((registry, destination), (target, left), begun)?;
    let end = End {
        options,
        clock: &clock,
        progress,
        watch: &watch,
    };
    let followed = match options.follow {
        true => end.follow(&mut source, &rejects, since, &mut filled),
        false => Ok(Followed::default()),
    };
    match followed {
        Ok(followed) => end.publish(&source, filled, followed),
        Err((error, destination_read)) => {
            let target = Some(filled.target);
            Err(stopped(error, target, destination_read, options))
        }
    }
}

/// Finds what is to be copied, where a source cannot tell or not everything is wanted.
pub(crate) fn walk(
    source: &mut Source,
    options: &MigrateOptions,
    progress: &dyn Progress,
    watch: &StopWatch,
) -> Result<()> {
    if !options.reachable_only && !source.needs_walk() {
        return Ok(());
    }
    progress.begin("walk", None);
    let (pace, mut rate) = (Pace::new(progress, watch), Rate::new(options.rate));
    let mut rest = |bytes| match rate.wait(bytes, &|| watch.reason().is_some()) {
        true => Ok(()),
        false => watch.check(),
    };
    let rest: Option<Rest<'_>> = match options.rate {
        Some(_) => Some(&mut rest),
        None => None,
    };
    let step = |bytes| pace.step(bytes);
    source.only_reachable(options.sort_bytes(), &step, rest)?;
    pace.tell()
}

/// What a copy has come to.
enum Copied {
    /// Everything is there, and may have been read back.
    All(Found),
    /// What an earlier run has left is not what its note says: the power was lost, and the engine does
    /// not keep to the order of its writes then.
    Unusable,
}

/// A copy on its way.
struct Copy<'a> {
    source: &'a Source,
    options: &'a MigrateOptions,
    progress: &'a dyn Progress,
    watch: &'a StopWatch,
    clock: &'a Clock,
    rejects: &'a Rejects,
}

impl Copy<'_> {
    /// The note to begin with.
    fn begin(&self, source: String, destination: &Destination) -> Note {
        Note {
            source,
            codec: destination.codec().name().to_owned(),
            digest: self.options.digests().then(Digest::default),
            ..Note::default()
        }
    }

    /// Fills the destination, from what is left in it or, where that is of no use, anew.
    fn fill(
        &self,
        (registry, destination): (&Registry, &Location),
        (mut target, left): (Destination, Option<Note>),
        begun: Note,
    ) -> Result<Filled> {
        let mut note = match left.as_ref().map(|left| left.check(&begun)) {
            None => begun.clone(),
            Some(Ok(())) => left.unwrap_or_default(),
            Some(Err(error)) => {
                target.leave(true);
                return Err(error);
            }
        };
        let mut seen = Seen::new(&target, self.options);
        let mut resumed = note.objects > 0;
        let mut copied = self.run(&mut target, &mut note, &mut seen);
        if let Ok(Copied::Unusable) = copied {
            tracing::warn!("what an earlier run has left is not whole: it begins anew");
            drop(target);
            let anew = MigrateOptions {
                resume: false,
                ..self.options.clone()
            };
            (target, _) = Destination::open(registry, destination, &anew)?;
            (note, resumed) = (begun, false);
            copied = self.run(&mut target, &mut note, &mut seen);
        }
        match copied {
            Ok(Copied::All(found)) => Ok(Filled {
                target,
                note,
                seen,
                found,
                resumed,
            }),
            Ok(Copied::Unusable) => Err(Error::new(ErrorKind::Other, "migrate")
                .because("the destination does not hold what was just written to it")),
            Err(error) if note.objects == 0 => Err(error),
            Err(error) => Err(stopped(error, Some(target), false, self.options)),
        }
    }

    /// Copies what is not there yet, and keeps the note of how far it is.
    fn run(
        &self,
        destination: &mut Destination,
        note: &mut Note,
        seen: &mut Seen,
    ) -> Result<Copied> {
        self.clock.end(|phases| &mut phases.open);
        if let Some(objects) = destination.complete()? {
            return Ok(match objects == note.objects && note.dangling.is_some() {
                true => Copied::All(None),
                false => Copied::Unusable,
            });
        }
        let none = Codecs::default();
        let preparer = Preparer {
            source: self.source.codecs(&none),
            destination: &none,
            codec: destination.codec(),
            digests: self.options.digests(),
            skips: self.options.on_error != OnError::Stop,
        };
        match destination {
            Destination::Store(staged) => {
                let memory = self.options.sort_bytes();
                if note.objects > 0 {
                    self.progress.begin("resume", Some(note.objects));
                }
                let watch = |objects| self.watch.advance(self.progress, objects);
                let importer = staged.resumable_importer(note.encode(), memory, &watch);
                let mut importer = match importer {
                    Err(error) if error.kind() == ErrorKind::Damaged => {
                        return Ok(Copied::Unusable);
                    }
                    importer => importer?,
                };
                // As many as there should be, and none beyond: then they are those that there should be.
                let beyond = importer.last().is_some_and(|last| last >= note.next);
                if importer.objects() != note.objects || beyond {
                    return Ok(Copied::Unusable);
                }
                if self.options.follow {
                    importer.leave_open();
                }
                let from = note.next;
                let preparer = Preparer {
                    destination: staged.store().codecs(),
                    ..preparer
                };
                let writer = Writer::Store {
                    kept: importer.last().is_some(),
                    importer: Box::new(importer),
                    staged,
                };
                self.pump(writer, preparer, from, note)
            }
            Destination::Durus(writer) => {
                let writer = Writer::Durus(writer, seen, &none);
                self.pump(writer, preparer, Oid::ROOT, note)
            }
            Destination::Server(remote) => self.run_remote(remote, preparer, note),
        }
    }

    /// As [`Copy::run`], into the store of a server.
    fn run_remote(
        &self,
        remote: &mut Remote,
        preparer: Preparer<'_>,
        note: &mut Note,
    ) -> Result<Copied> {
        if note.objects > 0 {
            self.progress.begin("resume", Some(note.objects));
        }
        let filled = remote
            .import
            .fill(&note.encode(), self.options.sort_bytes());
        let (objects, first) = match filled {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                return Ok(Copied::Unusable);
            }
            filled => filled?,
        };
        if objects != note.objects || first > note.next {
            return Ok(Copied::Unusable);
        }
        // A dictionary is its store's own: there it is compressed.
        let codec = match preparer.codec {
            Codec::ZstdDict => Codec::None,
            codec => codec,
        };
        let preparer = Preparer { codec, ..preparer };
        self.pump(Writer::Server(remote), preparer, note.next, note)
    }

    /// Moves everything from `from` on.
    fn pump(
        &self,
        mut writer: Writer<'_>,
        preparer: Preparer<'_>,
        from: Oid,
        note: &mut Note,
    ) -> Result<Copied> {
        self.progress.begin("copy", Some(self.source.objects()?));
        self.progress.skip(note.objects + note.rejects, note.bytes);
        let threads = self.options.threads();
        let share = self.options.in_flight_bytes() / threads / 2;
        let read: Vec<Channel<Parcel>> = (0..threads).map(|_| Channel::new(share)).collect();
        let ready: Vec<Channel<Result<Prepared>>> =
            (0..threads).map(|_| Channel::new(share)).collect();
        let (parcels, prepared) = (Spare::new(), Spare::new());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let _closing: Vec<_> = read.iter().map(Channel::closing).collect();
                let (mut rate, mut turn) = (Rate::new(self.options.rate), 0);
                self.source
                    .read(from, preparer.skips, &parcels, &mut |parcel| {
                        let bytes = parcel.bytes();
                        let sent = read
                            .get(turn)
                            .is_some_and(|channel| channel.send(parcel, bytes));
                        turn = (turn + 1) % threads;
                        sent && rate.wait(bytes, &|| {
                            self.watch.reason().is_some() || ended.load(Ordering::Relaxed)
                        })
                    })
            });
            let spare = (&parcels, &prepared);
            let pairs = read.iter().zip(&ready);
            let workers: Vec<_> = pairs
                .map(|ends| scope.spawn(move || work(ends, spare, preparer)))
                .collect();
            // Whatever ends the writing, a panic too, nobody waits for it any more.
            let all = (
                read.iter().map(Channel::closing),
                ready.iter().map(Channel::closing),
            );
            let closing: (Vec<_>, Vec<_>) = (all.0.collect(), all.1.collect());
            let written = self.write_all(&ready, &prepared, &mut writer, note);
            // Whatever has ended it: what was taken may be less than the destination writes at a time.
            let settled = writer.settle();
            ended.store(true, Ordering::Relaxed);
            drop(closing);
            let failed = || Error::new(ErrorKind::Other, "migrate").because("a thread failed");
            let read = reader.join().unwrap_or_else(|_| Err(failed()));
            for worker in workers {
                worker.join().map_err(|_| failed())?;
            }
            // Where the source fails the destination just ends early; where the destination fails the
            // source is told to stop, which is no error of its own.
            written?;
            settled?;
            match (read?, self.watch.reason()) {
                (true, _) => Ok(()),
                // It was held up by its rate when it was to stop.
                (false, Some(reason)) => Err(interrupted(reason)),
                (false, None) => Err(failed()),
            }
        })?;
        self.clock.end(|phases| &mut phases.copy);
        self.link(writer, note)
    }

    /// Ends the writing, and reads back what was written meanwhile.
    fn link(&self, writer: Writer<'_>, note: &mut Note) -> Result<Copied> {
        let marks = self.source.marks()?;
        let beside = Beside {
            brought: writer
                .brought()
                .filter(|_| self.options.verify == Verify::Digest),
            shares: Shares::of(self.options),
            objects: note.objects,
            progress: self.progress,
            watch: self.watch,
            clock: self.clock,
        };
        let (dangling, found) = beside
            .run(|readable| writer.finish(marks, note, readable, self.progress, self.watch))?;
        note.dangling = dangling;
        Ok(Copied::All(found))
    }

    fn write_all(
        &self,
        ready: &[Channel<Result<Prepared>>],
        spare: &Spare<Prepared>,
        writer: &mut Writer<'_>,
        note: &mut Note,
    ) -> Result<()> {
        for channel in ready.iter().cycle() {
            if !channel.wait(IDLE_MAX) {
                writer.settle()?;
            }
            let Some(prepared) = channel.receive() else {
                break;
            };
            let prepared = prepared?;
            self.rejects.write(&prepared.rejects)?;
            let mut next = note.clone();
            next.rejects += prepared.rejects.len() as u64;
            next.left_out += prepared.left_out;
            next.next = prepared.next;
            next.objects += prepared.objects();
            next.bytes += prepared.data_bytes;
            if let Some(digest) = &mut next.digest {
                *digest += prepared.digest;
            }
            writer.write(&prepared, &next)?;
            *note = next;
            let rejected = prepared.rejects.len() as u64;
            self.progress
                .advance(prepared.objects() + rejected, prepared.data_bytes);
            spare.give(prepared);
            self.watch.check()?;
        }
        Ok(())
    }
}

/// Where nothing comes for so long, what the destination has been given is written, however little: a
/// slow source must not keep a migration from being resumed where it is.
const IDLE_MAX: Duration = Duration::from_secs(1);

pub(crate) fn interrupted(reason: &str) -> Error {
    Error::new(ErrorKind::Interrupted, "finish the migration").because(reason)
}

fn work(
    (read, ready): (&Channel<Parcel>, &Channel<Result<Prepared>>),
    (parcels, spare): (&Spare<Parcel>, &Spare<Prepared>),
    preparer: Preparer<'_>,
) {
    let (_in, _out) = (read.closing(), ready.closing());
    while let Some(mut parcel) = read.receive() {
        let prepared = preparer.prepare(&mut parcel, spare.take());
        parcels.give(parcel);
        let bytes = prepared.as_ref().map_or(0, Prepared::bytes);
        let failed = prepared.is_err();
        if !ready.send(prepared, bytes) || failed {
            break;
        }
    }
}
