//! What an engine has to offer: an ordered, atomic table store with `u64` keys.
//!
//! A backend is a crate that implements [`Backend`] (how to create and open) and [`Engine`] (an open
//! one). It stores bytes under keys and knows nothing of objects, commits, conflicts, codecs or the
//! collector: all of these live once, in this crate, above this interface.
//!
//! The store keeps to the following, so that backends can stay small:
//! - Only one thread at a time calls [`Engine::apply`], [`Engine::sync`], [`Engine::reclaim`],
//!   [`Engine::make_room`] and what [`Compact`] has; snapshots are taken and read by any thread at any
//!   time, but for the calls that ask for none.
//! - Directories are created, locked against a second opening and identified by the store
//!   ([`crate::place`]); an engine gets a directory of its own.
//! - Keys are below 2^63.

mod compact;
mod disk;
mod options;
mod registry;
mod runs;
pub mod sql;
mod table;

use std::fmt::Debug;
use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::place::RemotePlaces;
pub use compact::{Compact, compare_rows, watch_file};
pub use disk::disk_bytes_below;
pub use options::{OptionKind, OptionSpec, Options};
pub use registry::Registry;
pub use runs::{Parts, Run, decode_runs, encode_runs};
pub use table::{Key, RowBytes, Table};

/// How long an acknowledged write lasts. Each level includes the ones before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Survives nothing in particular: it reaches the disk some time later.
    Relaxed,
    /// Survives the end of the process, however it ends (`kill -9`), while the system lives on.
    Process,
    /// Survives a loss of power: the device has confirmed it.
    #[default]
    Power,
}

impl Durability {
    /// All levels, the weakest first.
    pub const ALL: [Durability; 3] = [Durability::Relaxed, Durability::Process, Durability::Power];

    /// The name that configurations and URLs use.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Relaxed => "relaxed",
            Durability::Process => "process",
            Durability::Power => "power",
        }
    }
}

/// One change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Stores `value` under `key`, in place of what was there.
    Put {
        /// The table.
        table: Table,
        /// The key.
        key: Key,
        /// The bytes to store.
        value: &'a [u8],
    },
    /// Removes the row, if there is one.
    Delete {
        /// The table.
        table: Table,
        /// The key.
        key: Key,
    },
}

impl Op<'_> {
    /// The row that the change is about.
    pub fn row(&self) -> (Table, Key) {
        match *self {
            Op::Put { table, key, .. } | Op::Delete { table, key } => (table, key),
        }
    }
}

/// What an engine declares about itself. The conformance suite proves or disproves each entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The engine's name, which is also the scheme of its URLs.
    pub name: &'static str,
    /// The engine and the version of it that is compiled in, such as `LMDB 0.9.70`.
    pub version: String,
    /// Whether a snapshot of the engine's own stays fixed while others write. (Store snapshots always
    /// do: where the engine's do not, the store keeps superseded records.)
    pub snapshots: bool,
    /// The durability levels that the engine can truly give, the weakest first.
    pub durability: Vec<Durability>,
    /// Whether [`Engine::compact`] is there.
    pub compaction: bool,
    /// Whether [`Engine::reclaim`] can give space back to the system.
    pub reclaim: bool,
    /// Whether data outlives the process at all.
    pub persistent: bool,
    /// The largest value of a row, in bytes.
    pub value_bytes_max: u64,
}

/// Sizes that an engine knows without walking through its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct EngineStats {
    /// Bytes that the engine's files occupy on the disk.
    pub disk_bytes: u64,
    /// Bytes of these that hold nothing and could be given back or used again.
    pub reclaimable_bytes: u64,
}

/// What one call of [`Engine::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes given back to the system.
    pub bytes: u64,
    /// Whether another call would give back more.
    pub more: bool,
}

/// How an engine is created and opened: what a backend registers.
pub trait Backend: Send + Sync + Debug {
    /// What the engine is called and offers, known without opening anything.
    fn capabilities(&self) -> Capabilities;

    /// The options that `[store.options]` and URLs may give it. The store refuses all others.
    fn options(&self) -> &'static [OptionSpec];

    /// Values of options for a store that one caller reads or fills in the order of its keys, such as small caches,
    /// since nothing is read twice then. They count where the user gave none.
    fn sequential_options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Opens the engine in the directory `dir`, which exists and is this engine's alone; where it is
    /// empty, makes an empty database in it first. On return that database is durable (its files and
    /// the directory are synced). An engine that is not persistent ignores `dir`.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where the files are not what this engine
    /// wrote, [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a bad option value.
    fn open(&self, dir: &Path, options: &Options) -> Result<Box<dyn Engine>>;

    /// Where its stores lie, if the engine is a server of its own and keeps none in directories. They are
    /// opened by way of this, and [`Backend::open`] is of no use.
    fn remote(&self) -> Option<&dyn RemotePlaces> {
        None
    }
}

/// An open engine.
pub trait Engine: Send + Sync + Debug {
    /// A view of the data for reading. Where [`Capabilities::snapshots`] is declared it stays as it is
    /// now; elsewhere it shows each row as it was at some moment since, and may show part of a batch that
    /// is being applied. The store takes views often and keeps none for long.
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>>;

    /// Applies `ops` to all their tables as one atomic batch and makes it, with all batches before
    /// it, as durable as asked; returns the level that was achieved. The operations come sorted by
    /// table and key, at most one for a row.
    ///
    /// # Errors
    /// - [`ErrorKind::Full`](crate::ErrorKind::Full), [`ErrorKind::TooLarge`](crate::ErrorKind) and
    ///   [`ErrorKind::NeedsRoom`](crate::ErrorKind::NeedsRoom): nothing was changed, and the engine
    ///   can be used on.
    /// - Any other: what is on the disk is uncertain. The store refuses writes until it is reopened,
    ///   since a sync that failed once may report success when repeated (Rebello and others,
    ///   "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    fn apply(&self, ops: &[Op<'_>], durability: Durability) -> Result<Durability>;

    /// Makes everything that was applied durable at the best level that the engine has, and returns
    /// that level. Errors are those of [`Engine::apply`].
    fn sync(&self) -> Result<Durability>;

    /// Called after an `apply` that failed with `NeedsRoom`, while no snapshot is open: makes room for
    /// at least `bytes` more, so that the same batch can be applied again.
    fn make_room(&self, bytes: u64) -> Result<()>;

    /// Sizes that are known without walking through the data.
    fn stats(&self) -> Result<EngineStats>;

    /// Gives up to about `bytes_max` bytes of unused space back to the system, in bounded time and
    /// without keeping readers waiting. What open snapshots still need stays for a later call.
    ///
    /// # Errors
    /// - [`ErrorKind::Full`](crate::ErrorKind::Full) and [`ErrorKind::InUse`](crate::ErrorKind::InUse): it
    ///   could not be done now. [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) and
    ///   [`ErrorKind::Unreadable`](crate::ErrorKind::Unreadable): what was to be moved cannot be read, and
    ///   is where it was; an engine that can goes around it in later calls, and reports it once. In all four
    ///   the engine can be used on.
    /// - Any other: as for [`Engine::apply`].
    fn reclaim(&self, bytes_max: u64) -> Result<Reclaimed>;

    /// Bytes of a batch that suit the engine where many follow each other and nobody waits for any of
    /// them, as in an import: large where each costs a sync, small where a batch takes memory.
    fn bulk_bytes(&self) -> usize {
        256 << 10
    }

    /// What a small row counts of [`Engine::bulk_bytes`] beside its value.
    fn bulk_row_bytes(&self) -> usize {
        96
    }

    /// How durable such batches are. Whoever writes them syncs at the end; an engine that may lose some of them
    /// before loses the last ones.
    fn bulk_durability(&self) -> Durability {
        Durability::Process
    }

    /// From now on rows of `tables`, of a store that has not appeared yet, are put in bulk, each once, and not read:
    /// until [`Engine::end_bulk`] the engine can leave out what only reads need. It does so where there is no row
    /// yet; where there are some, it makes up for what was left out.
    ///
    /// # Errors
    /// Those of [`Engine::apply`].
    fn begin_bulk(&self, _tables: &[Table]) -> Result<()> {
        Ok(())
    }

    /// Makes up for what was left out of `tables`, durably. Batches of other tables can be applied meanwhile. `check` is
    /// called now and then where that takes long; where it fails, the rest is left as it was.
    ///
    /// # Errors
    /// Those of [`Engine::apply`] and of `check`; [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where a key is there
    /// twice.
    fn end_bulk(&self, _tables: &[Table], _check: &dyn Fn() -> Result<()>) -> Result<()> {
        Ok(())
    }

    /// The full rewrite that gives all unused space back, where the engine has one.
    fn compact(&self) -> Option<&dyn Compact> {
        None
    }
}

/// A view of an engine's data. It is read by one thread at a time, and can move between threads.
pub trait EngineSnapshot: Send {
    /// Calls `visit` with the value of the row, if there is one, and says whether there was. The bytes
    /// are the engine's own where it can lend them.
    fn get(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// A cursor over the rows of `table` whose keys are `from` or larger, ascending.
    fn cursor<'a>(&'a self, table: Table, from: Key) -> Result<Box<dyn Cursor + 'a>>;

    /// Whether each read costs a wait, as where the engine is a server, so that it is worth while to say what
    /// will be read.
    fn has_latency(&self) -> bool {
        false
    }

    /// Reads rows at once that will probably be asked for soon, and keeps them until the next call. Where that
    /// would be too much, or is of no use, some or all are left out. What is asked for then is as it was now.
    fn read_ahead(&self, _rows: &[(Table, Key)]) -> Result<()> {
        Ok(())
    }

    /// Allows this view to answer from what it has read before, and to read more at once than is asked for. To be
    /// called by who only prepares a write, which is refused where another process writes meanwhile: reads that are
    /// answered from memory do not notice that.
    fn keep_rows(&self) {}

    /// As [`EngineSnapshot::get`], for a caller that verifies the value, together with the key that it is
    /// stored under, by a checksum of its own: the engine need not compute its own over the same bytes.
    fn get_unverified(&self, table: Table, key: Key, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.get(table, key, visit)
    }

    /// Fails where the engine can tell that the row is damaged, of which a caller that verifies the value by
    /// itself would not know. One that is not there is not damaged.
    ///
    /// # Errors
    /// `Damaged`, and those of reading.
    fn verify(&self, _table: Table, _key: Key) -> Result<()> {
        Ok(())
    }

    /// Shows the rows that a cursor would walk over, for as long as `visit` says that it goes on; whether it
    /// went on to the end. Values are verified by the caller, as those of
    /// [`EngineSnapshot::get_unverified`].
    fn walk(
        &self,
        table: Table,
        from: Key,
        visit: &mut dyn FnMut(Key, &[u8]) -> bool,
    ) -> Result<bool> {
        let mut cursor = self.cursor(table, from)?;
        while let Some((key, value)) = cursor.next()? {
            if !visit(key, value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Walks over rows in ascending order of their keys.
pub trait Cursor {
    /// The next row: its key, and its value for as long as the cursor is not moved on.
    fn next(&mut self) -> Result<Option<(Key, &[u8])>>;
}
