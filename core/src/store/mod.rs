//! The store: objects on an engine, with commits, snapshots and conflicts.
//!
//! [`Store`] is what applications, the server and the commands use. It is implemented once, by
//! [`LocalStore`], over any [`Engine`](crate::engine::Engine).

mod batch;
mod brought;
mod catch_up;
mod changes;
mod collection;
mod condemned;
mod dictionary;
mod enqueued;
mod first_referrers;
mod follow;
mod graph;
mod health;
mod identities;
mod import;
mod local;
mod meta;
mod oids;
mod open;
mod queue;
mod read_ahead;
mod rebuild;
mod reclaim;
mod repair;
mod request;
mod resume;
mod row_batch;
mod row_buffer;
mod scan;
mod sealed;
mod session;
mod snapshot;
mod space;
mod superseded;
mod table_rows;
mod views;
mod worker;
mod write_behind;
mod write_set;
mod writer;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use batch::{Batch, CommitId, Receipt, Write};
pub use brought::Brought;
pub use catch_up::CatchUp;
pub use changes::{Change, Changes};
pub use collection::{Collection, Pending};
pub use enqueued::Enqueued;
pub use health::Health;
pub use import::{ImportSummary, Importer};
pub use local::LocalStore;
pub use open::{StagedStore, StoreOptions};
pub use request::Prepared;
pub use session::SessionKind;

pub use crate::watch::Watch;
pub(crate) use table_rows::{AnchorReader, TableRows};

use crate::collect::Collected;
use crate::engine::{Capabilities, Durability, EngineStats};
use crate::error::Result;
use crate::id::{Oid, SessionId, StoreId, Tid};
use crate::record::{Codecs, Object, Record};

/// A graph of objects with atomic commits.
///
/// All methods can be called from many threads at once. Dropping the store closes it.
pub trait Store: Send + Sync + Debug {
    /// The store's random identity.
    fn id(&self) -> StoreId;

    /// What the engine underneath is called and offers.
    fn engine(&self) -> &Capabilities;

    /// A view of the store as it is now, which stays as it is while others commit.
    ///
    /// # Errors
    /// Those of the engine's reading.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// Commits `batch` atomically and returns when it is as durable as asked. One with the identity of a
    /// commit that is remembered is not applied again: the receipt is for that one.
    ///
    /// # Errors
    /// - `Conflict`: objects that the batch expects at certain tids have others; all are named. Read
    ///   them again and retry.
    /// - `Gone`: objects that the batch updates or refers to do not exist, or no longer.
    /// - `Full`: no space; nothing was changed, and the batch can be tried again.
    /// - `TooLarge`: an object is larger than the engine takes.
    /// - `Unsupported`: the engine cannot give this durability.
    /// - `Poisoned`: an earlier write failed in a way that leaves the disk uncertain.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<Receipt>;

    /// Hands out `count` OIDs that were never handed out before, to be created by `session`.
    ///
    /// # Errors
    /// `Full` where the high-water mark cannot be written, `Usage` for an unknown session.
    fn new_oids(&self, session: SessionId, count: u32) -> Result<Vec<Oid>>;

    /// Begins a session: an owner of handed-out OIDs and of objects that are not linked yet.
    ///
    /// # Errors
    /// `Poisoned` as for commits.
    fn session(&self, kind: SessionKind) -> Result<SessionId>;

    /// Ends a session: OIDs that it did not use are lost, and what it did not link is garbage.
    ///
    /// # Errors
    /// `Usage` for an unknown session; `Gone` for an import that refers to objects that are not there,
    /// and goes on.
    fn end_session(&self, session: SessionId) -> Result<()>;

    /// Whether the commit with this identity happened: its tid, or `None` where it did not or is too
    /// long ago to be remembered.
    ///
    /// # Errors
    /// Those of the engine's reading; `ReadOnly` where it is not there, and another process, which writes the
    /// store, may be about to perform it.
    fn outcome(&self, identity: CommitId) -> Result<Option<Tid>>;

    /// Whether the answer to a commit can get lost, so that it fails with `Unreachable` and is performed all the
    /// same: then it is worth an identity, see [`Store::outcome`].
    fn is_remote(&self) -> bool {
        false
    }

    /// Which objects were written and deleted by the commits after `tid`.
    ///
    /// # Errors
    /// `TooOld` where the log of changes no longer reaches back to `tid`.
    fn changes_since(&self, tid: Tid) -> Result<Changes>;

    /// As [`Store::changes_since`], one change at a time: in no particular order, some perhaps twice, and
    /// however many there are. Returns the last commit that is included. `show` must be short and must not
    /// use the store: a snapshot of the engine may be open meanwhile.
    ///
    /// # Errors
    /// As [`Store::changes_since`], and those of `show`.
    fn visit_changes_since(
        &self,
        tid: Tid,
        show: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Tid>;

    /// The durability that the configuration names, for callers without one of their own.
    fn durability(&self) -> Durability;

    /// What the collector has yet to look at and to delete.
    ///
    /// # Errors
    /// Those of the engine's reading.
    fn pending(&self) -> Result<Pending>;

    /// Deletes all garbage that there is: what neither the root nor a session's objects that are not
    /// linked yet can reach. Those of this process's own session, [`SessionId::EMBEDDED`], do not count.
    /// Commits go on meanwhile.
    ///
    /// # Errors
    /// As for commits; `Damaged` where garbage or the collector's tables cannot be read.
    fn collect(&self) -> Result<Collected>;

    /// What is in the store, from counters that are kept up to date.
    ///
    /// # Errors
    /// Those of the engine's reading.
    fn stats(&self) -> Result<StoreStats>;

    /// Makes everything that was committed durable at the best level of the engine; returns it.
    ///
    /// # Errors
    /// As for commits.
    fn sync(&self) -> Result<Durability>;
}

/// A fixed state of a store.
pub trait Snapshot: Send + Sync + Debug {
    /// The last commit that it shows.
    fn tid(&self) -> Tid;

    /// Which life of the store it shows. A store behind a server may have lost its last commits, where they were
    /// not durable, and have used their numbers again: then this number is another one than before.
    fn incarnation(&self) -> u64 {
        0
    }

    /// The dictionaries that the data of its records may need.
    fn codecs(&self) -> &Codecs;

    /// Calls `visit` with the verified record of `oid`, without copying it, and says whether there
    /// was one. `visit` must be short and must not call the store or a snapshot of it: the engine's
    /// snapshot is open meanwhile, and a commit may be waiting for all of them to be closed.
    ///
    /// # Errors
    /// `Damaged`, naming the object; `TooOld` where the store could not keep this state any longer.
    fn load_with(&self, oid: Oid, visit: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<bool>;

    /// Calls `visit` for each of `oids`, in their order, with its record where there is one, as
    /// [`Snapshot::load_with`] does. Through a server that is much cheaper than to load them one by one.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`], and those of `visit`.
    fn load_many_with(
        &self,
        oids: &[Oid],
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<()> {
        for oid in oids {
            if !self.load_with(*oid, &mut |record| visit(*oid, Some(record)))? {
                visit(*oid, None)?;
            }
        }
        Ok(())
    }

    /// Walks over all objects from `from` on, in ascending order of their OIDs.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`].
    fn scan(&self, from: Oid) -> Result<Box<dyn Scan + '_>>;

    /// Calls `visit` with the verified records of all objects from `from` on, in ascending order of their
    /// OIDs and without copying them, for as long as it says that it goes on. What holds for the `visit` of
    /// [`Snapshot::load_with`] holds for this one, for each record.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`], and those of `visit`.
    fn scan_with(&self, from: Oid, visit: &mut dyn FnMut(Record<'_>) -> Result<bool>)
    -> Result<()>;

    /// As [`Snapshot::scan`], for walks that go on where an object is damaged: each record is handed
    /// out as stored, to be parsed and verified by the caller.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`], but for damage within records.
    fn scan_stored(&self, from: Oid) -> Result<Box<dyn ScanStored + '_>>;
}

/// Convenience on top of [`Snapshot`].
pub trait SnapshotExt: Snapshot {
    /// The object `oid`, if it exists.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`].
    fn load(&self, oid: Oid) -> Result<Option<Object>> {
        let mut found = None;
        self.load_with(oid, &mut |record| {
            found = Some(record.to_object(self.codecs())?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Several objects, each as [`SnapshotExt::load`], in the order asked for.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`].
    fn load_many(&self, oids: &[Oid]) -> Result<Vec<Option<Object>>> {
        let mut objects = Vec::with_capacity(oids.len());
        self.load_many_with(oids, &mut |_, record| {
            let object = record.map(|record| record.to_object(self.codecs()));
            objects.push(object.transpose()?);
            Ok(())
        })?;
        Ok(objects)
    }
}

impl<S: Snapshot + ?Sized> SnapshotExt for S {}

/// Walks over the verified records of a snapshot.
pub trait Scan {
    /// The next record, for as long as the walk is not moved on.
    ///
    /// # Errors
    /// As [`Snapshot::load_with`].
    fn next(&mut self) -> Result<Option<Record<'_>>>;
}

/// Walks over the stored bytes of a snapshot's records.
pub trait ScanStored {
    /// The next object and its stored bytes, for as long as the walk is not moved on.
    ///
    /// # Errors
    /// As [`Snapshot::scan_stored`].
    fn next(&mut self) -> Result<Option<(Oid, &[u8])>>;
}

/// What is in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Objects, garbage that has not been deleted yet included.
    pub objects: u64,
    /// The last commit.
    pub tid: Tid,
    /// No OID from here on was ever handed out.
    pub high_water: Oid,
    /// Bytes of all stored records.
    pub live_bytes: u64,
    /// Objects that are queued for collection.
    pub garbage_pending: u64,
    /// The engine's sizes.
    pub engine: EngineStats,
}
