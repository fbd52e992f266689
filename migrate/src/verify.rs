//! Verifying a destination before it appears.

use durum_core::collect::OidSet;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result};
use durum_server::client::RemoteStore;

use crate::beside::Found;
use crate::destination::Destination;
use crate::durus::{DurusFile, DurusObject};
use crate::options::{MigrateOptions, Verify};
use crate::pace::Pace;
use crate::phases::Clock;
use crate::pipeline::{Difference, Progress};
use crate::source::Source;
use crate::sum::{self, Shares};
use crate::walk::Walk;

/// Memory for the set of OIDs that were copied.
const SEEN_BYTES: usize = 16 << 20;

/// The OIDs that were copied, to find references to others.
#[derive(Debug)]
pub(crate) struct Seen {
    oids: Option<OidSet>,
}

impl Seen {
    /// A set that is filled where a store would not count such references itself.
    pub(crate) fn new(destination: &Destination, options: &MigrateOptions) -> Seen {
        let wanted = matches!(destination, Destination::Durus(_)) && options.digests();
        Seen {
            oids: wanted.then(|| OidSet::new(SEEN_BYTES)),
        }
    }

    pub(crate) fn add(&mut self, oid: Oid) -> Result<()> {
        match &mut self.oids {
            Some(oids) => oids.insert(oid).map(drop),
            None => Ok(()),
        }
    }

    fn missing(&mut self, refs: &mut dyn Iterator<Item = Oid>) -> Result<u64> {
        let Some(oids) = &mut self.oids else {
            return Ok(0);
        };
        let mut missing = 0;
        for oid in refs {
            missing += u64::from(!oids.contains(oid)?);
        }
        Ok(missing)
    }
}

/// Compares what a destination reads back with what the source had.
pub(crate) struct Verifier<'a> {
    pub(crate) how: Verify,
    /// How a store is read back.
    pub(crate) shares: Shares,
    pub(crate) source: &'a Source,
    pub(crate) pace: Pace<'a>,
    pub(crate) clock: &'a Clock,
    /// Whether the source was followed, and the destination is about to appear.
    pub(crate) ends_following: bool,
    /// Objects that were copied.
    pub(crate) objects: u64,
    /// Whether objects that cannot be read were left out, and how many.
    pub(crate) skips: bool,
    pub(crate) rejects: u64,
    /// Whether it was the source that could not be read.
    pub(crate) source_failed: bool,
    pub(crate) expected: Option<Digest>,
    /// What was read back already.
    pub(crate) found: Found,
    pub(crate) seen: Seen,
    pub(crate) progress: &'a dyn Progress,
    /// References to objects that do not exist, as they were in the source, where they were counted.
    pub(crate) dangling: Option<u64>,
}

impl Verifier<'_> {
    /// Whether the destination is read back at all.
    pub(crate) fn reads(&self) -> bool {
        self.how != Verify::None
    }

    pub(crate) fn verify_store(&mut self, store: &LocalStore) -> Result<()> {
        self.clock.end(|phases| &mut phases.publish);
        let result = self.verify_open(store);
        let result = match self.ends_following {
            true => result.and_then(|()| self.source.check_unchanged()),
            false => result,
        };
        self.clock.end(|phases| &mut phases.verify);
        result
    }

    /// Verifies the store of a server, which reads it back itself.
    pub(crate) fn verify_remote(&mut self, store: &RemoteStore) -> Result<()> {
        self.clock.end(|phases| &mut phases.publish);
        let result = match self.how {
            Verify::None => Ok(()),
            Verify::Count | Verify::Digest => {
                self.progress.begin("verify", None);
                store.digest().and_then(|found| match self.how {
                    Verify::Count => self.compare_counts(found.objects()),
                    _ => self.compare_digests(found),
                })
            }
            Verify::Full => {
                let snapshot = store.snapshot()?;
                self.verify_objects(Walk::of_snapshot(&*snapshot, false)?)
            }
        };
        self.clock.end(|phases| &mut phases.verify);
        result
    }

    fn verify_open(&mut self, store: &LocalStore) -> Result<()> {
        match self.how {
            Verify::None => Ok(()),
            Verify::Count => {
                // The store's own count is what the copy told it: the rows are what counts.
                self.progress.begin("verify", Some(self.objects));
                let mut found = 0;
                store.scan_unverified(&mut |_, stored| {
                    found += 1;
                    self.pace.step(stored.len())
                })?;
                self.pace.tell()?;
                self.compare_counts(found)
            }
            Verify::Digest if self.found.is_some() => {
                let found = self.found.take().transpose()?;
                self.compare_digests(found.unwrap_or_default())
            }
            Verify::Digest => {
                self.progress.begin("verify", Some(self.objects));
                let snapshot = store.snapshot()?;
                let step = |bytes| self.pace.step(bytes);
                let mut scan = snapshot.scan_stored(Oid::ROOT)?;
                let found = sum::of_rows(&mut *scan, snapshot.codecs(), self.shares, &step)?;
                self.pace.tell()?;
                self.compare_digests(found)
            }
            Verify::Full => {
                let snapshot = store.snapshot()?;
                self.verify_objects(Walk::of_snapshot(&*snapshot, false)?)
            }
        }
    }

    pub(crate) fn verify_durus(&mut self, file: &DurusFile) -> Result<()> {
        self.clock.end(|phases| &mut phases.publish);
        let result = match self.how {
            Verify::None => Ok(()),
            Verify::Count => self.compare_counts(file.object_count()),
            Verify::Digest | Verify::Full => {
                Walk::of_durus(file, false).and_then(|walk| self.verify_objects(walk))
            }
        };
        self.clock.end(|phases| &mut phases.verify);
        result
    }

    fn verify_objects(&mut self, found: Walk<'_>) -> Result<()> {
        self.progress.begin("verify", Some(self.objects));
        match self.how {
            Verify::Full => self.merge(found),
            _ => self.sum(found),
        }
    }

    /// Computes the destination's digest.
    fn sum(&mut self, mut walk: Walk<'_>) -> Result<()> {
        let (mut found, mut object) = (Digest::default(), DurusObject::default());
        while walk.next(&mut object)? {
            found.add(object.oid, object.refs.iter().copied(), &object.data);
            self.note(&object)?;
            self.pace.step(object.data.len())?;
        }
        self.pace.tell()?;
        self.compare_digests(found)
    }

    fn compare_digests(&self, found: Digest) -> Result<()> {
        let expected = self.expected.unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(mismatch(format!(
            "the source has {} objects with the digest {expected}, the destination {} with {found}",
            expected.objects(),
            found.objects()
        )))
    }

    /// Walks over both sides at once.
    fn merge(&mut self, mut found: Walk<'_>) -> Result<()> {
        let mut expected = self.of_source(self.source.walk(self.skips))?;
        let (mut left, mut right) = (DurusObject::default(), DurusObject::default());
        let first = self.of_source(expected.next(&mut left))?;
        let mut more = (first, found.next(&mut right)?);
        let mut counts = [0; 3];
        while more.0 || more.1 {
            let order = match more {
                (true, true) => left.oid.cmp(&right.oid),
                (true, false) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            let (difference, oid) = match order {
                std::cmp::Ordering::Less => (Some(Difference::Missing), left.oid),
                std::cmp::Ordering::Greater => (Some(Difference::Added), right.oid),
                std::cmp::Ordering::Equal if left == right => (None, left.oid),
                std::cmp::Ordering::Equal => (Some(Difference::Changed), left.oid),
            };
            if let Some(difference) = difference {
                self.progress.difference(difference, oid);
                if let Some(count) = counts.get_mut(difference as usize) {
                    *count += 1_u64;
                }
            }
            if order.is_ge() {
                self.note(&right)?;
                more.1 = found.next(&mut right)?;
            }
            if order.is_le() {
                more.0 = self.of_source(expected.next(&mut left))?;
            }
            self.pace.step(left.data.len())?;
        }
        self.pace.tell()?;
        if expected.passed() > self.rejects {
            let error = Error::damaged(
                "verify the copy",
                "objects that were copied cannot be read from the source any more",
            );
            return self.of_source(Err(error));
        }
        let [missing, added, changed] = counts;
        if missing + added + changed == 0 {
            return Ok(());
        }
        Err(mismatch(format!(
            "in the destination {missing} objects are missing, {added} are too many, {changed} differ"
        )))
    }

    /// Notes that it is the source that failed, where it did.
    fn of_source<T>(&mut self, result: Result<T>) -> Result<T> {
        self.source_failed |= result.is_err();
        result
    }

    fn note(&mut self, object: &DurusObject) -> Result<()> {
        if self.seen.oids.is_some() {
            let missing = self.seen.missing(&mut object.refs.iter().copied())?;
            *self.dangling.get_or_insert(0) += missing;
        }
        Ok(())
    }

    fn compare_counts(&self, found: u64) -> Result<()> {
        let expected = self.objects;
        if found == expected {
            return Ok(());
        }
        Err(mismatch(format!(
            "{expected} objects were copied, and {found} are there"
        )))
    }
}

pub(crate) fn mismatch(reason: String) -> Error {
    Error::new(ErrorKind::Mismatch, "verify the copy")
        .because(reason)
        .hint("The destination was removed. Check the disk and the memory of this machine.")
}
