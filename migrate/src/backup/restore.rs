//! Building a store from backups.

use durum_core::config::StoreSettings;
use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::{Codecs, Payload};
use durum_core::store::{StagedStore, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, StoreId, Tid};

use super::chain;
use super::entries::Entry;
use super::file::Input;
use super::merge::Merge;
use super::reader::StreamReader;
use super::take::digest;
use crate::Progress;
use crate::channel::Channel;

/// Objects travel in parcels of about this many bytes: few enough switches between threads.
const PARCEL_BYTES: usize = 256 << 10;
/// Bytes of objects that may be on their way. A larger object travels alone.
const IN_FLIGHT_BYTES: usize = 2 << 20;

/// What a restoration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store that was backed up.
    pub store_id: StoreId,
    /// The store that was built, which is another one; `None` where none was.
    pub new_store_id: Option<StoreId>,
    /// The last commit.
    pub tid: Tid,
    /// Backups that were needed.
    pub backups: usize,
    /// The digest of all objects, and their number.
    pub digest: Digest,
    /// Bytes of their data, uncompressed.
    pub bytes: u64,
    /// Whether the last backup holds a digest of the whole store: it was then equal.
    pub proven: bool,
    /// References to objects that do not exist, as they were backed up.
    pub dangling: u64,
}

/// Builds the store that `destination` names from a full backup and the increments that follow it, up to
/// the one that ends with the commit `at`, or all. The store appears when it is complete and verified;
/// where anything fails, nothing is left of it.
///
/// OIDs and tids are kept, and no OID that the original had handed out will be handed out again. The
/// store's identity is a new one.
///
/// # Errors
/// `Unreadable` and `Damaged` for a backup; as [`choose`](chain::choose) where they do not follow one
/// another; `Exists` and `ReadOnly` for the destination; `TooLarge`, `Full`; `Mismatch` where a digest
/// is not what it should be.
pub fn restore(
    registry: &Registry,
    inputs: Vec<Input>,
    at: Option<Tid>,
    destination: &StoreSettings,
    progress: &dyn Progress,
) -> Result<Restored> {
    let chosen = Chosen::new(inputs, at)?;
    let staged = registry
        .stage(&registry.sequential(destination))
        .map_err(|error| match error.kind() {
            // Whatever keeps a destination from being made, it is the destination that is at fault.
            ErrorKind::InUse => error.with_kind(ErrorKind::Exists),
            ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
            _ => error,
        })?;
    progress.begin("restore", chosen.entries);
    let mut restored = chosen.nothing();
    fill(&staged, chosen, &mut restored, progress)?;
    progress.begin("verify", Some(restored.digest.objects()));
    let found = digest(&*staged.store().snapshot()?, progress)?;
    if found != restored.digest {
        return Err(mismatch("the backup", restored.digest, "the store", found));
    }
    restored.new_store_id = Some(staged.publish()?.id());
    Ok(restored)
}

/// Does all that [`restore`] does but for the store: reads the backups to their ends and compares all
/// checksums and digests.
///
/// # Errors
/// As [`restore`], of the backups.
pub fn check(inputs: Vec<Input>, at: Option<Tid>, progress: &dyn Progress) -> Result<Restored> {
    let chosen = Chosen::new(inputs, at)?;
    progress.begin("check", chosen.entries);
    let mut restored = chosen.nothing();
    let mut merge = Merge::new(chosen.readers)?;
    let mut told = Told::default();
    while let Some(entry) = merge.next()? {
        restored.bytes += entry.data.len() as u64;
        if merge.read() - told.read >= 256 {
            told.tell(merge.read(), restored.bytes, progress);
        }
    }
    (restored.digest, restored.proven) = proven(&merge)?;
    Ok(restored)
}

/// The backups that are needed.
struct Chosen {
    readers: Vec<StreamReader>,
    tid: Tid,
    store_id: StoreId,
    high_water: Oid,
    /// How many entries they have, where all of them say so.
    entries: Option<u64>,
}

impl Chosen {
    fn new(inputs: Vec<Input>, at: Option<Tid>) -> Result<Chosen> {
        let mut summaries = Vec::new();
        let mut readers = Vec::new();
        for input in inputs {
            summaries.push(input.summary);
            readers.push(StreamReader::new(input.stream, input.path)?);
        }
        let headers: Vec<_> = readers.iter().map(|reader| *reader.header()).collect();
        let count = chain::choose(&headers, at)?;
        readers.truncate(count);
        summaries.truncate(count);
        let mut chosen = Chosen {
            readers,
            tid: Tid::ZERO,
            store_id: StoreId([0; 16]),
            high_water: Oid::ROOT,
            entries: summaries
                .iter()
                .map(|it| it.map(|it| it.totals.digest.objects() + it.totals.deleted))
                .sum(),
        };
        for header in headers.iter().take(count) {
            chosen.tid = header.tid;
            chosen.store_id = header.store_id;
            chosen.high_water = chosen.high_water.max(header.high_water);
        }
        Ok(chosen)
    }

    fn nothing(&self) -> Restored {
        Restored {
            store_id: self.store_id,
            new_store_id: None,
            tid: self.tid,
            backups: self.readers.len(),
            digest: Digest::default(),
            bytes: 0,
            proven: false,
            dangling: 0,
        }
    }
}

/// Brings everything into the new store. One thread reads and hashes, another compresses and writes.
fn fill(
    staged: &StagedStore,
    chosen: Chosen,
    restored: &mut Restored,
    progress: &dyn Progress,
) -> Result<()> {
    let (tid, high_water) = (chosen.tid, chosen.high_water);
    let channel = Channel::new(IN_FLIGHT_BYTES);
    let codecs = Codecs::default();
    let (read, written) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| send(chosen.readers, &channel));
        let written = (|| {
            let _closing = channel.closing();
            let mut importer = staged.importer()?;
            let mut told = Told::default();
            while let Some((entries, read)) = channel.receive() {
                for entry in &entries {
                    let payload = Payload::plain(&entry.data);
                    importer.push(entry.oid, entry.tid, &entry.refs, payload, &codecs)?;
                    restored.bytes += entry.data.len() as u64;
                }
                told.tell(read, restored.bytes, progress);
            }
            Ok::<_, Error>(importer)
        })();
        (reading.join(), written)
    });
    // Where writing has failed, the reader was told to stop, which is no error of its own.
    let importer = written?;
    (restored.digest, restored.proven) = read.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Other, "restore").because("the reading thread failed"))
    })?;
    restored.dangling = importer.finish(tid, high_water)?.dangling;
    Ok(())
}

/// Objects on their way, and how many entries were read for them and those before.
type Parcel = (Vec<Entry>, u64);

/// Sends all objects; returns their digest, and whether a backup knew it.
fn send(readers: Vec<StreamReader>, channel: &Channel<Parcel>) -> Result<(Digest, bool)> {
    let _closing = channel.closing();
    let mut merge = Merge::new(readers)?;
    let (mut parcel, mut weight) = (Vec::new(), 0);
    while let Some(entry) = merge.next()? {
        weight += entry.weight();
        parcel.push(entry);
        if weight >= PARCEL_BYTES {
            let full = (std::mem::take(&mut parcel), merge.read());
            if !channel.send(full, std::mem::take(&mut weight)) {
                return Ok((merge.digest(), false));
            }
        }
    }
    let read = merge.read();
    channel.send((parcel, read), weight);
    proven(&merge)
}

/// The digest of all that was merged, compared with that of the last backup, if it has one.
fn proven(merge: &Merge) -> Result<(Digest, bool)> {
    let found = merge.digest();
    match merge.digest_expected() {
        Some(expected) if expected != found => Err(mismatch(
            "the original",
            expected,
            "what the backups make",
            found,
        )),
        expected => Ok((found, expected.is_some())),
    }
}

fn mismatch(one: &str, expected: Digest, other: &str, found: Digest) -> Error {
    Error::new(ErrorKind::Mismatch, "verify the store").because(format!(
        "{one} has {} objects with the digest {expected}, {other} {} with {found}",
        expected.objects(),
        found.objects()
    ))
}

/// What was told of the progress.
#[derive(Default)]
struct Told {
    read: u64,
    bytes: u64,
}

impl Told {
    fn tell(&mut self, read: u64, bytes: u64, progress: &dyn Progress) {
        progress.advance(read - self.read, bytes - self.bytes);
        *self = Told { read, bytes };
    }
}
