//! How to migrate.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durum_core::Result;

use crate::pipeline::{Progress, interrupted};

/// How a copy is verified before it appears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Not at all.
    None,
    /// The number of objects.
    Count,
    /// All contents, read back from the destination, by their digest.
    #[default]
    Digest,
    /// All contents of both sides, object by object, with a report of what differs.
    Full,
}

/// What is done about an object of the source that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The migration ends, and can be resumed.
    #[default]
    Stop,
    /// The object is left out, and counted, whether its bytes are wrong or the disk does not give them; what
    /// is wrong with the source as a whole ends the migration all the same. What can be had of it goes into the directory, if one is
    /// named: `OID.txt` with the reason, and `OID.record` with its bytes as they are stored.
    Skip(Option<PathBuf>),
}

/// How to migrate.
#[derive(Clone, Debug)]
pub struct MigrateOptions {
    /// How the copy is verified.
    pub verify: Verify,
    /// What is done about objects that cannot be read.
    pub on_error: OnError,
    /// Bytes of memory for objects on their way and for sorting references, the engines' own not
    /// counted. A larger object travels alone.
    pub memory_bytes: usize,
    /// Threads that decompress, hash and compress.
    pub threads: usize,
    /// Bytes of stored objects a second that are read from the source at most.
    pub rate: Option<u64>,
    /// The migration stops after this time, as if it was interrupted.
    pub time_max: Option<Duration>,
    /// What the root does not reach is left out.
    pub reachable_only: bool,
    /// Goes on with a migration that was cut off, if there is one. Without this it begins anew, and what
    /// the earlier one left is removed.
    pub resume: bool,
    /// After the copy, brings over what was committed meanwhile, round by round, until nobody writes to the
    /// source any more: to a file of another kind, until no program has it open to write to it. A store
    /// that is to be written to meanwhile is open in this process: see
    /// [`migrate_open`](crate::migrate_open).
    pub follow: bool,
    /// Set by somebody else, it makes the migration stop after the batch that is being written.
    pub stop: Arc<AtomicBool>,
}

impl MigrateOptions {
    /// The least memory that is of use.
    pub const MEMORY_BYTES_MIN: usize = 4 << 20;
    /// Threads at most.
    pub const THREADS_MAX: usize = 64;

    /// Memory for all objects that are on their way.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.memory_bytes.max(MigrateOptions::MEMORY_BYTES_MIN) / 32
    }

    /// Memory for sorting references.
    pub(crate) fn sort_bytes(&self) -> usize {
        self.memory_bytes.max(MigrateOptions::MEMORY_BYTES_MIN) / 8
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.clamp(1, MigrateOptions::THREADS_MAX)
    }

    /// The same, but with all contents verified.
    #[cfg(feature = "dictionaries")]
    pub(crate) fn thorough(&self) -> MigrateOptions {
        MigrateOptions {
            verify: match self.digests() {
                true => self.verify,
                false => Verify::Digest,
            },
            ..self.clone()
        }
    }

    /// Whether the digest of all contents is needed.
    pub(crate) fn digests(&self) -> bool {
        matches!(self.verify, Verify::Digest | Verify::Full)
    }
}

impl Default for MigrateOptions {
    fn default() -> MigrateOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        MigrateOptions {
            verify: Verify::default(),
            on_error: OnError::default(),
            memory_bytes: 64 << 20,
            // Reading and writing take a thread each.
            threads: cores.saturating_sub(1).clamp(1, 8),
            rate: None,
            time_max: None,
            reachable_only: false,
            resume: false,
            follow: false,
            stop: Arc::default(),
        }
    }
}

/// Says when a migration has to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopWatch {
    stop: Arc<AtomicBool>,
    end: Option<Instant>,
}

impl StopWatch {
    pub(crate) fn start(options: &MigrateOptions) -> StopWatch {
        let end = options.time_max;
        StopWatch {
            stop: Arc::clone(&options.stop),
            // A time that no clock can show is never reached.
            end: end.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// Why it has to stop, if it has to.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        if self.stop.load(Ordering::Relaxed) {
            return Some("it was asked to stop");
        }
        let over = self.end.is_some_and(|end| Instant::now() >= end);
        over.then_some("its time is over")
    }

    /// An error where it has to stop.
    pub(crate) fn check(&self) -> Result<()> {
        match self.reason() {
            Some(reason) => Err(interrupted(reason)),
            None => Ok(()),
        }
    }

    /// So many more objects of a phase are done; an error where it has to stop.
    pub(crate) fn advance(&self, progress: &dyn Progress, objects: u64) -> Result<()> {
        progress.advance(objects, 0);
        self.check()
    }
}
