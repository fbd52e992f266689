//! Copying all objects from one place to another.

use durum_core::config::Location;
use durum_core::digest::Digest;
use durum_core::engine::Registry;
use durum_core::record::Codecs;
use durum_core::{Error, ErrorKind, Result};

use crate::channel::Channel;
use crate::destination::{Copy, Destination};
use crate::source::Source;
use crate::verify::{Seen, Verifier};
use crate::zodb::LeftOut;

/// How a copy is verified before it appears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    None,
    /// The number of objects.
    Count,
    /// All contents, read back from the destination.
    #[default]
    Digest,
}

/// How to migrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrateOptions {
    /// How the copy is verified.
    pub verify: Verify,
    /// Bytes of objects that may be on their way from the source to the destination. A larger object
    /// travels alone.
    pub in_flight_bytes_max: usize,
}

impl Default for MigrateOptions {
    fn default() -> MigrateOptions {
        MigrateOptions {
            verify: Verify::default(),
            in_flight_bytes_max: 2 << 20,
        }
    }
}

/// What a migration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Objects copied.
    pub objects: u64,
    /// Bytes of their data, uncompressed.
    pub bytes: u64,
    /// The digest of both sides, where they were verified by it.
    pub digest: Option<Digest>,
    /// Bytes of a torn write at the end of a foreign file, which belong to no whole transaction and
    /// were left out.
    pub torn_bytes: u64,
    /// References to objects that do not exist, copied as they are; counted where the copy was
    /// verified by its digest.
    pub dangling: u64,
    /// What a ZODB file has that is not copied.
    pub left_out: LeftOut,
}

/// Is told how far a migration has come, on the thread that called [`migrate`].
pub trait Progress {
    /// A phase begins; the number of objects that it has to do, where it is known.
    fn begin(&self, phase: &'static str, objects_total: Option<u64>);
    /// So many more objects, with so many bytes of data, are done.
    fn advance(&self, objects: u64, bytes: u64);
}

/// For callers that need no progress.
impl Progress for () {
    fn begin(&self, _phase: &'static str, _objects_total: Option<u64>) {}
    fn advance(&self, _objects: u64, _bytes: u64) {}
}

/// What has been copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// Copies everything from `source` to `destination`, which must not exist yet, in memory that does
/// not grow with the number of objects. The destination appears when it is complete and verified;
/// where anything fails, nothing is left of it.
///
/// OIDs, references and data are kept, as are tids between stores. Data that is compressed as the
/// destination would do it is copied as it is.
///
/// # Errors
/// `NotFound`, `Unreadable`, `InUse`, `Damaged` of the source; `Exists` and `ReadOnly` of the
/// destination; `TooLarge`, `Full`; `Mismatch` where verification fails; `Usage` where both are the
/// same, or the destination is of a kind that is only read.
pub fn migrate(
    registry: &Registry,
    source: &Location,
    destination: &Location,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Outcome> {
    Destination::check(destination)?;
    let source = Source::open(registry, source)?;
    let mut destination = Destination::create(registry, destination)?;
    progress.begin("copy", Some(source.objects()?));
    let mut seen = Seen::new(options.verify);
    let channel = Channel::new(options.in_flight_bytes_max);
    let no_dictionaries = Codecs::default();
    let wanted = options.verify == Verify::Digest;
    let (copied, expected) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| source.send(&channel, wanted));
        let mut copy = Copy {
            codecs: source.codecs(&no_dictionaries),
            seen: &mut seen,
            progress,
            copied: Copied::default(),
        };
        let written = destination.receive(&channel, &mut copy, || source.marks());
        let copied = copy.copied;
        let sent = reader.join().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Other, "migrate").because("the reading thread failed"))
        });
        // Where the source fails the destination just ends early; where the destination fails the
        // source is told to stop, which is no error of its own.
        written?;
        Ok::<_, Error>((copied, sent?))
    })?;
    let mut verifier = Verifier {
        how: options.verify,
        copied,
        expected,
        seen,
        progress,
        dangling: 0,
    };
    destination.publish(&mut verifier)?;
    Ok(Outcome {
        objects: copied.objects,
        bytes: copied.bytes,
        digest: expected,
        torn_bytes: source.torn_bytes(),
        dangling: verifier.dangling,
        left_out: source.left_out(),
    })
}
