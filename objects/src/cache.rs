//! The shared cache of loaded objects, and what keeps it true.
//!
//! For each object it has at most one version: the newest that this process knows of. The log of changes is
//! followed up to the snapshot of each transaction before that uses the cache, and what has changed is dropped.
//! So a version that is there and not newer than a snapshot is the one that the snapshot shows.
//!
//! A version that was loaded from an older snapshot may be outdated before it arrives here. Changes are
//! remembered for that, up to a bound; older snapshots than those that are remembered add nothing.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durum_core::store::{Snapshot, Store};
use durum_core::{ErrorKind, Oid, Result, Tid};
use quick_cache::Weighter;
use quick_cache::sync::Cache as Shards;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::kind::{Kind, Value};

/// How many changed objects are remembered.
const REMEMBERED: usize = 1 << 16;
/// What the cache itself takes for an object, and the allocations of the value, in bytes.
const OVERHEAD: u64 = 128;

/// A version of an object.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) tid: Tid,
    pub(crate) kind: &'static Kind,
    pub(crate) value: Value,
    weight: u64,
}

impl Version {
    /// `length` is that of the state.
    pub(crate) fn new(tid: Tid, kind: &'static Kind, value: Value, length: usize) -> Version {
        // Numbers take one to nine bytes in the state and mostly eight in memory; text has an allocation.
        let weight = kind.size as u64 + 2 * length as u64 + OVERHEAD;
        Version {
            tid,
            kind,
            value,
            weight,
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Oid, Version> for Weigh {
    fn weight(&self, _oid: &Oid, version: &Version) -> u64 {
        version.weight
    }
}

pub(crate) struct Cache {
    versions: Shards<Oid, Version, Weigh, FxBuildHasher>,
    followed: RwLock<Followed>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} objects, {} bytes",
            self.versions.len(),
            self.versions.weight()
        )
    }
}

/// How far the log of changes was followed.
struct Followed {
    /// The last commit whose changes are taken into account.
    tid: Tid,
    /// Which life of the store it is of, see [`Snapshot::incarnation`].
    incarnation: u64,
    /// The last change of each object that was changed after `since`.
    changed: FxHashMap<Oid, Tid>,
    since: Tid,
}

impl Followed {
    fn note(&mut self, oid: Oid, tid: Tid) {
        let last = self.changed.entry(oid).or_default();
        *last = tid.max(*last);
    }

    fn forget(&mut self) {
        self.changed = FxHashMap::default();
        self.since = self.tid;
    }

    /// Whether what a snapshot of `tid` shows of `oid` is the newest.
    fn is_newest(&self, oid: Oid, tid: Tid) -> bool {
        tid >= self.since && self.changed.get(&oid).is_none_or(|changed| *changed <= tid)
    }
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Cache {
        // An estimate from which the number of shards is taken.
        let items = (bytes / 512).clamp(16, 1 << 24) as usize;
        let followed = Followed {
            tid: Tid::ZERO,
            incarnation: 0,
            changed: FxHashMap::default(),
            since: Tid::ZERO,
        };
        Cache {
            versions: Shards::with(items, bytes, Weigh, FxBuildHasher, Default::default()),
            followed: RwLock::new(followed),
        }
    }

    /// The bytes that it takes, as it estimates them.
    pub(crate) fn bytes(&self) -> u64 {
        self.versions.weight()
    }

    fn read(&self) -> RwLockReadGuard<'_, Followed> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Followed> {
        self.followed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot, up to which the log of changes has been followed.
    pub(crate) fn snapshot(&self, store: &dyn Store) -> Result<Box<dyn Snapshot>> {
        let snapshot = store.snapshot()?;
        if self.read().incarnation != snapshot.incarnation() {
            // The last commits may be lost, and their numbers be those of others now.
            let mut followed = self.write();
            self.versions.clear();
            followed.incarnation = snapshot.incarnation();
            followed.tid = snapshot.tid();
            followed.forget();
        }
        if self.read().tid < snapshot.tid() {
            self.follow(store, snapshot.tid())?;
        }
        Ok(snapshot)
    }

    fn follow(&self, store: &dyn Store, to: Tid) -> Result<()> {
        let mut followed = self.write();
        // Another thread may have done it meanwhile.
        if followed.tid >= to {
            return Ok(());
        }
        if followed.tid == Tid::ZERO {
            // Nothing was ever loaded.
            followed.tid = to;
            followed.since = to;
            return Ok(());
        }
        let since = followed.tid;
        let result = store.visit_changes_since(since, &mut |change| {
            // Where there are more, all are forgotten below.
            if followed.changed.len() <= REMEMBERED {
                followed.note(change.oid, change.tid);
            }
            self.drop_older(change.oid, change.tid, change.deleted);
            Ok(())
        });
        match result {
            Ok(tid) => followed.tid = tid.max(to),
            // A log that cannot be read must not keep anybody from reading objects.
            Err(error) if matches!(error.kind(), ErrorKind::TooOld | ErrorKind::Damaged) => {
                self.versions.clear();
                followed.tid = to;
                followed.forget();
            }
            Err(error) => return Err(error),
        }
        if followed.changed.len() > REMEMBERED {
            followed.forget();
        }
        Ok(())
    }

    fn drop_older(&self, oid: Oid, tid: Tid, deleted: bool) {
        // A version that this process has committed itself is there before the log tells of it.
        let outdated = |version: &Version| deleted || version.tid < tid;
        self.versions.remove_if(&oid, outdated);
    }

    /// The version of `oid` that a snapshot of `tid` shows, if it is here.
    pub(crate) fn get(&self, oid: Oid, tid: Tid) -> Option<Version> {
        self.versions.get(&oid).filter(|version| version.tid <= tid)
    }

    /// Takes a version that was loaded from a snapshot of `tid`.
    pub(crate) fn put(&self, oid: Oid, tid: Tid, version: Version) {
        // The lock is held so that no change of the object comes between.
        let followed = self.read();
        if followed.is_newest(oid, tid) {
            self.versions.insert(oid, version);
        }
    }

    /// Takes what a commit has written, and whether each object was there before. `alone`: nothing was collected
    /// with it.
    pub(crate) fn committed(
        &self,
        tid: Tid,
        alone: bool,
        written: impl Iterator<Item = (Oid, bool, Version)>,
    ) {
        let mut followed = self.write();
        // Where no other commit came between, its changes need not be read from the log.
        let next = alone && followed.tid != Tid::ZERO && followed.tid.next() == tid;
        for (oid, was_there, version) in written {
            // No older snapshot has a version of a new object.
            if next && was_there {
                followed.note(oid, tid);
            }
            if next || followed.is_newest(oid, tid) {
                self.versions.insert(oid, version);
            }
        }
        if next {
            followed.tid = tid;
            if followed.changed.len() > REMEMBERED {
                followed.forget();
            }
        }
    }
}
