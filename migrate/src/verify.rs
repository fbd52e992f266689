//! Verifying a destination before it appears.

use durum_core::collect::OidSet;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result};

use crate::durus::DurusFile;
use crate::pipeline::{Copied, Progress, Verify};

/// Memory for the set of OIDs that were copied.
const SEEN_BYTES: usize = 16 << 20;
/// Progress is told after this many objects.
const STEP: u64 = 1024;

/// The OIDs that were copied, to find references to others.
#[derive(Debug)]
pub(crate) struct Seen {
    oids: Option<OidSet>,
}

impl Seen {
    pub(crate) fn new(verify: Verify) -> Seen {
        Seen {
            oids: (verify == Verify::Digest).then(|| OidSet::new(SEEN_BYTES)),
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
    pub(crate) copied: Copied,
    pub(crate) expected: Option<Digest>,
    pub(crate) seen: Seen,
    pub(crate) progress: &'a dyn Progress,
    /// References to objects that do not exist, as they were in the source.
    pub(crate) dangling: u64,
}

impl Verifier<'_> {
    /// Whether the destination is read back at all.
    pub(crate) fn reads(&self) -> bool {
        self.how != Verify::None
    }

    pub(crate) fn verify_store(&mut self, store: &LocalStore) -> Result<()> {
        match self.how {
            Verify::None => return Ok(()),
            Verify::Count => {
                // The store's own count is what the copy told it: the rows are what counts.
                let mut found = 0;
                store.scan_unverified(&mut |_, _| found += 1)?;
                return self.compare_counts(found);
            }
            Verify::Digest => {}
        }
        self.progress.begin("verify", Some(self.copied.objects));
        let snapshot = store.snapshot()?;
        let mut found = Digest::default();
        let mut data = Vec::new();
        let mut scan = snapshot.scan(Oid::ROOT)?;
        while let Some(record) = scan.next()? {
            data.clear();
            record.read_data(snapshot.codecs(), &mut data)?;
            found.add(record.oid, record.refs(), &data);
            self.dangling += self.seen.missing(&mut record.refs())?;
            self.step(&found);
        }
        self.compare(found)
    }

    pub(crate) fn verify_durus(&mut self, file: &DurusFile) -> Result<()> {
        if self.how == Verify::Count {
            return self.compare_counts(file.object_count());
        }
        self.progress.begin("verify", Some(self.copied.objects));
        let mut found = Digest::default();
        for object in file.objects() {
            let object = object?;
            found.add(object.oid, object.refs.iter().copied(), &object.data);
            self.dangling += self.seen.missing(&mut object.refs.iter().copied())?;
            self.step(&found);
        }
        self.compare(found)
    }

    fn step(&self, found: &Digest) {
        if found.objects().is_multiple_of(STEP) {
            self.progress.advance(STEP, 0);
        }
    }

    fn compare_counts(&self, found: u64) -> Result<()> {
        let expected = self.copied.objects;
        if found == expected {
            return Ok(());
        }
        Err(mismatch(format!(
            "{expected} objects were copied, and {found} are there"
        )))
    }

    fn compare(&self, found: Digest) -> Result<()> {
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
}

fn mismatch(reason: String) -> Error {
    Error::new(ErrorKind::Mismatch, "verify the copy")
        .because(reason)
        .hint("The destination was removed. Check the disk and the memory of this machine.")
}
