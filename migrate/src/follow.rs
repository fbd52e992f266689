//! Following a source that is being written to: after the copy, rounds that bring over what has changed
//! since the one before, until nobody writes any more.
//!
//! The copy need not be of one state: whatever changed while it was made comes with the first round. What
//! is there then is verified, and each round reads back what it wrote, so that at the end only the last
//! round is to be waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use durum_core::collect::OidSet;
use durum_core::config::Location;
use durum_core::digest::Digest;
use durum_core::external_sort::{PairSorter, SortedPairs};
use durum_core::record::{Codecs, Payload, Record};
use durum_core::store::{CatchUp, Snapshot, SnapshotExt as _, StagedStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use crate::changes::Round;
use crate::destination::Destination;
use crate::durus::DurusObject;
use crate::note::Note;
use crate::options::{MigrateOptions, OnError, StopWatch};
use crate::pace::Pace;
use crate::parcel::Reject;
use crate::pipeline::Progress;
use crate::rejects::{Rejects, is_of_an_object};
use crate::source::Source;
use crate::verify::mismatch;

/// A round that takes no longer is one that can be waited for.
const SHORT: Duration = Duration::from_secs(2);
/// Between rounds there is a rest as long as the last round took, so that following takes no more than half
/// of what the source can give, but of this length at least, and at most.
const REST: Duration = Duration::from_millis(300);
const REST_MAX: Duration = Duration::from_secs(5);
/// How soon a request to stop is noticed in a rest.
const NAP: Duration = Duration::from_millis(50);
/// Bytes that are written at once, about.
const CHUNK_BYTES: usize = 512 << 10;
/// Memory for the set of objects that were left out.
pub(crate) const REJECTED_BYTES: usize = 1 << 20;

/// Refuses what cannot be followed, or not into this destination.
pub(crate) fn check(destination: &Location, options: &MigrateOptions) -> Result<()> {
    let usage = |why: &str, hint: &str| {
        Err(Error::new(ErrorKind::Usage, "migrate")
            .because(why)
            .hint(hint))
    };
    match destination {
        _ if !options.follow => Ok(()),
        _ if options.reachable_only => usage(
            "what the root reaches changes while a source is followed",
            "Leave out `--reachable-only`, and collect garbage in the destination.",
        ),
        Location::DurusFile { .. } => usage(
            "a Durus file cannot be brought up to date",
            "Name a store as the destination, or leave out `--follow`.",
        ),
        Location::Server(_) => usage(
            "the store of a server cannot be brought up to date",
            "Stop the server and name its store, or leave out `--follow`.",
        ),
        _ => Ok(()),
    }
}

/// The store that is to be brought up to date.
///
/// # Errors
/// `Usage` where the destination is of another kind.
pub(crate) fn staged(destination: &Destination) -> Result<&StagedStore> {
    match destination {
        Destination::Store(staged) => Ok(staged),
        Destination::Durus(_) | Destination::Server(_) => {
            Err(Error::new(ErrorKind::Usage, "migrate")
                .because("only a store in this process can be brought up to date"))
        }
    }
}

/// Brings a copy up to date.
pub(crate) struct Follower<'a> {
    pub(crate) source: &'a mut Source,
    pub(crate) staged: &'a StagedStore,
    pub(crate) note: &'a mut Note,
    pub(crate) rejects: &'a Rejects,
    pub(crate) options: &'a MigrateOptions,
    pub(crate) watch: &'a StopWatch,
    pub(crate) progress: &'a dyn Progress,
    /// Objects that could not be read, and have been counted.
    pub(crate) rejected: OidSet,
    /// Whether what failed was to be done in the destination.
    pub(crate) destination_failed: bool,
}

/// What following came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Followed {
    pub(crate) rounds: u64,
    /// Objects that were put or deleted.
    pub(crate) objects: u64,
    pub(crate) dangling: u64,
}

/// Objects that are to be written at once.
struct Chunk<'a> {
    catch_up: CatchUp<'a>,
    /// What the destination holds before.
    before: Box<dyn Snapshot>,
    /// What it is to hold afterwards of these objects: their digests, if any are computed, or nothing.
    expected: BTreeMap<Oid, Option<Digest>>,
    note: Note,
    /// Bytes of what is to be replaced or deleted.
    replaced_bytes: usize,
}

impl<'a> Follower<'a> {
    /// Goes on until nobody writes to the source. What was copied is as of the commit `since`, or later; of
    /// a copy that was cut off nobody knows, and `since` is none. With an error comes whether it was met in
    /// the destination.
    pub(crate) fn run(mut self, since: Option<Tid>) -> Result<Followed, (Error, bool)> {
        self.go_on(since)
            .map_err(|error| (error, self.destination_failed))
    }

    fn go_on(&mut self, since: Option<Tid>) -> Result<Followed> {
        let mut total = Followed::default();
        let (mut since, mut told, mut before) = (since, false, None);
        // Nothing is left to be copied, whichever OIDs are still to come.
        self.note.next = Oid::MAX.next();
        self.progress.begin("follow", None);
        loop {
            let begin = Instant::now();
            let round = self
                .source
                .renew(since, self.options.sort_bytes(), self.watch)?;
            let (marks, is_last) = (self.source.marks()?, round.is_last);
            let changed = self.follow(round, marks)?;
            since = Some(marks.0);
            total.rounds += 1;
            total.objects += changed;
            if is_last && self.source.check_unchanged().is_ok() {
                break;
            }
            if changed > 0 {
                let kept = self.staged.keep();
                self.in_destination(kept)?;
            }
            let time = begin.elapsed();
            // Shorter than that they will not become.
            let settled = before.is_some_and(|before: Duration| time >= before / 10 * 9);
            before = Some(time);
            if !told && (time <= SHORT || settled) {
                self.progress.caught_up(changed, time);
                told = true;
            }
            self.rest(time.clamp(REST, REST_MAX), told)?;
        }
        let end = self.note.at_end();
        let sealed = self.staged.catch_up().seal(&end.encode());
        total.dangling = self.in_destination(sealed)?;
        Ok(total)
    }

    /// Brings over what a round has found; how many objects that was.
    fn follow(&mut self, round: Round, marks: (Tid, Oid)) -> Result<u64> {
        let known = round.changed.is_some();
        if !known {
            // All that cannot be read is met again.
            self.note.rejects = 0;
            self.rejected = OidSet::new(REJECTED_BYTES);
        }
        let changed = round.changed.map_or_else(|| self.compare(), Ok)?;
        let (mut chunk, mut count, mut last) = (self.chunk()?, 0, None);
        for pair in changed {
            let oid = Oid(pair?.0);
            if last.replace(oid) == Some(oid) {
                continue;
            }
            self.watch.check()?;
            self.add(&mut chunk, oid, marks)?;
            if chunk.catch_up.bytes() + chunk.replaced_bytes >= CHUNK_BYTES {
                count += self.write(chunk, marks)?;
                chunk = self.chunk()?;
            }
        }
        match chunk.catch_up.is_empty() {
            // Something may have been left out.
            true => *self.note = chunk.note,
            false => count += self.write(chunk, marks)?,
        }
        Ok(count)
    }

    /// Remembers where it failed, if it did.
    fn in_destination<T>(&mut self, result: Result<T>) -> Result<T> {
        self.destination_failed |= result.is_err();
        result
    }

    fn chunk(&mut self) -> Result<Chunk<'a>> {
        let before = self.staged.store().snapshot();
        Ok(Chunk {
            catch_up: self.staged.catch_up(),
            before: self.in_destination(before)?,
            expected: BTreeMap::new(),
            note: self.note.clone(),
            replaced_bytes: 0,
        })
    }

    /// Adds an object to what is to be written, where it differs.
    fn add(&mut self, chunk: &mut Chunk<'a>, oid: Oid, (last, _): (Tid, Oid)) -> Result<()> {
        let before = self.in_destination(chunk.before.load(oid))?;
        let before = before.map(|object| (object.tid, DurusObject::of(object)));
        let now = match self.load(oid) {
            Err(error) if is_of_an_object(&error) && self.skips() => {
                if self.rejected.insert(oid)? {
                    chunk.note.rejects += 1;
                    let stored = None;
                    self.rejects.write(&[Reject { oid, error, stored }])?;
                }
                None
            }
            now => now?,
        };
        let same = match (&now, &before) {
            (Some((tid, now)), Some((was, before))) => {
                now == before && tid.is_none_or(|tid| tid == *was)
            }
            (now, before) => now.is_none() && before.is_none(),
        };
        if same {
            return Ok(());
        }
        if let Some((_, before)) = &before {
            chunk.note.remove(before);
            // It is held until it has been replaced.
            chunk.replaced_bytes += before.data.len() + before.refs.len() * 8;
        }
        let object = now.as_ref().map(|(_, object)| object);
        let digest = object.and_then(|object| chunk.note.add(object));
        chunk.expected.insert(oid, digest);
        match now {
            None => chunk.catch_up.delete(oid),
            Some((tid, object)) => {
                let (tid, data) = (tid.unwrap_or(last), Payload::plain(&object.data));
                let codecs = Codecs::default();
                chunk.catch_up.put(oid, tid, &object.refs, data, &codecs)?;
            }
        }
        Ok(())
    }

    /// The object as the source has it, from a newer snapshot where the round's does not show it any more.
    fn load(&mut self, oid: Oid) -> Result<Option<(Option<Tid>, DurusObject)>> {
        loop {
            match self.source.load(oid) {
                Err(error) if error.kind() == ErrorKind::TooOld => self.source.refresh()?,
                loaded => return loaded,
            }
        }
    }

    fn skips(&self) -> bool {
        self.options.on_error != OnError::Stop
    }

    /// Writes, and reads back what was written; how many objects that was.
    fn write(&mut self, chunk: Chunk<'a>, (last, oids_from): (Tid, Oid)) -> Result<u64> {
        let Chunk {
            mut catch_up,
            before,
            expected,
            note,
            ..
        } = chunk;
        drop(before);
        let written = catch_up.write(last, oids_from, &note.encode());
        self.in_destination(written)?;
        *self.note = note;
        if self.options.digests() {
            let read_back = self.read_back(&expected);
            self.in_destination(read_back)?;
        }
        let count = expected.len() as u64;
        self.progress.advance(count, 0);
        Ok(count)
    }

    fn read_back(&self, expected: &BTreeMap<Oid, Option<Digest>>) -> Result<()> {
        let after = self.staged.store().snapshot()?;
        for (oid, expected) in expected {
            let found = after.load(*oid)?;
            let found = found.map(|object| DurusObject::of(object).digest());
            if found != *expected {
                return Err(mismatch(format!("object {oid} is not what was written")));
            }
        }
        Ok(())
    }

    /// The objects that differ, as far as OIDs and tids tell: of files of other kinds all may.
    fn compare(&mut self) -> Result<SortedPairs> {
        let memory = self.options.sort_bytes();
        let mut here = PairSorter::new(None, memory);
        let pace = Pace::new(self.progress, self.watch);
        let scanned = self.staged.store().scan_unverified(&mut |oid, bytes| {
            let record = Record::parse_unverified(oid, bytes);
            here.push(oid.0, record.map_or(u64::MAX, |record| record.tid.0))?;
            pace.step(0)
        });
        self.in_destination(scanned)?;
        let (mut here, mut differ) = (here.finish()?, PairSorter::new(None, memory));
        let mut next = here.next().transpose()?;
        self.source.tids(&mut |oid, tid| {
            pace.step(0)?;
            while let Some((other, _)) = next.filter(|(other, _)| *other < oid.0) {
                differ.push(other, 0)?;
                next = here.next().transpose()?;
            }
            let found = next.filter(|(other, _)| *other == oid.0);
            if found.is_some() {
                next = here.next().transpose()?;
            }
            match found.is_some_and(|(_, was)| tid == Some(Tid(was))) {
                true => Ok(()),
                false => differ.push(oid.0, 0),
            }
        })?;
        while let Some((other, _)) = next {
            differ.push(other, 0)?;
            next = here.next().transpose()?;
        }
        differ.finish()
    }

    /// Waits for the next round, which comes at once when nobody writes to the source any more. Files are
    /// locked as soon as that is possible, but only when it was `told` that it is time for that.
    fn rest(&mut self, time: Duration, told: bool) -> Result<()> {
        let begin = Instant::now();
        while let Some(left) = time.checked_sub(begin.elapsed()) {
            self.watch.check()?;
            if told && self.source.take_over()? {
                self.progress.taken_over();
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
        Ok(())
    }
}
