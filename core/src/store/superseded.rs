//! Superseded records, kept for as long as a live snapshot may read them.
//!
//! This is what makes snapshots independent of the engine. A commit publishes the old record of every
//! object that it updates or deletes *before* it writes to the engine; a snapshot of commit `t` reads
//! the engine first, and where the record that it finds is newer than `t`, or missing, looks here for
//! the first record superseded after `t`. Since publishing comes before writing and reading the engine
//! before looking here, it cannot miss one. An object of which there is no such record, or one that is
//! itself newer than `t`, did not exist.
//!
//! The records are bounded in bytes; beyond, the oldest snapshots are given up.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::graph::Replaced;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, Tid};

/// What each kept record costs beyond its bytes: keys and nodes of both maps.
const OVERHEAD: u64 = 96;

#[derive(Debug)]
pub(super) struct Superseded {
    bytes_max: u64,
    /// The newest commit that may already show in the engine.
    newest: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// (object, commit that superseded the record): the record's stored bytes.
    records: BTreeMap<(Oid, Tid), Vec<u8>>,
    /// As `records`, ascending: what was published for commits that are not visible yet. Snapshots that
    /// begin meanwhile may need it; when the commits are visible it is moved to the maps, or, where there
    /// is no snapshot from before them, as mostly, dropped.
    fresh: Vec<Replaced>,
    by_tid: BTreeMap<Tid, Vec<Oid>>,
    bytes: u64,
    /// How many snapshots there are of each commit, ascending. Most begin and end at its back, which
    /// allocates nothing.
    live: VecDeque<(Tid, usize)>,
    /// The newest commit that snapshots are taken of.
    visible: Tid,
    /// Snapshots of commits before this one have been given up.
    floor: Tid,
}

impl Superseded {
    pub(super) fn new(visible: Tid, bytes_max: u64) -> Superseded {
        let inner = Inner {
            visible,
            ..Inner::default()
        };
        Superseded {
            bytes_max,
            newest: AtomicU64::new(visible.0),
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a snapshot of the newest commit.
    pub(super) fn begin_snapshot(&self) -> Tid {
        let mut inner = self.lock();
        let tid = inner.visible;
        match inner.live.back_mut() {
            Some((newest, count)) if *newest == tid => *count += 1,
            _ => inner.live.push_back((tid, 1)),
        }
        tid
    }

    /// Ends a snapshot of `tid`.
    pub(super) fn end_snapshot(&self, tid: Tid) {
        let mut inner = self.lock();
        // One that was given up is not there.
        let Ok(at) = inner.live.binary_search_by_key(&tid, |(tid, _)| *tid) else {
            return;
        };
        let Some((_, count)) = inner.live.get_mut(at) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            inner.live.remove(at);
            inner.prune();
        }
    }

    /// The newest commit that snapshots are taken of.
    pub(super) fn visible(&self) -> Tid {
        self.lock().visible
    }

    /// Whether there is a snapshot of a commit before `tid`.
    pub(super) fn is_shown_before(&self, tid: Tid) -> bool {
        let inner = self.lock();
        let oldest = inner.live.front();
        oldest.is_some_and(|(oldest, _)| *oldest < tid) || inner.visible < tid
    }

    /// Whether an engine snapshot that was taken before this call can show a commit after `tid`.
    pub(super) fn newer_than(&self, tid: Tid) -> bool {
        self.newest.load(Ordering::Acquire) > tid.0
    }

    /// Keeps what commits up to `newest` are about to replace: for each object the commit and the
    /// stored bytes.
    pub(super) fn publish(&self, newest: Tid, mut records: Vec<Replaced>) {
        // What a commit has written and condemned at once is deleted later, and stands for that commit
        // again; snapshots from before need what it was then: the first.
        records.sort_by_key(|(oid, tid, _)| (*oid, *tid));
        records.dedup_by_key(|(oid, tid, _)| (*oid, *tid));
        let mut inner = self.lock();
        // What is there is of a commit that failed; its number is used again.
        let failed = std::mem::replace(&mut inner.fresh, records);
        self.newest.store(newest.0, Ordering::Release);
        drop(inner);
        drop(failed);
    }

    /// The commits up to `tid` are in the engine: snapshots show them from now on.
    pub(super) fn make_visible(&self, tid: Tid) {
        let mut inner = self.lock();
        inner.visible = tid;
        let unneeded = inner.keep_fresh();
        inner.prune();
        while inner.bytes > self.bytes_max {
            let Some(&(oldest, _)) = inner.live.front() else {
                break;
            };
            if oldest >= inner.visible {
                break;
            }
            tracing::warn!(%oldest, bytes = inner.bytes, "gave up a snapshot that grew too old");
            inner.live.pop_front();
            inner.floor = oldest.next();
            inner.prune();
        }
        drop(inner);
        drop(unneeded);
    }

    /// The record of `oid` that the first commit after `tid` replaced or deleted; `None` where none did.
    /// It is that of `tid`, unless it is newer: then there was none.
    pub(super) fn find(&self, oid: Oid, tid: Tid) -> Result<Option<Vec<u8>>> {
        let inner = self.lock();
        inner.check(tid)?;
        let mut kept = inner
            .records
            .range((oid, tid.next())..=(oid, Tid(u64::MAX)))
            .map(|((_, later), bytes)| (*later, bytes));
        let mut fresh = inner
            .fresh_from(oid, tid.next())
            .take_while(|(found, ..)| *found == oid)
            .map(|(_, later, bytes)| (*later, bytes));
        // Of two for the same commit the first that was published counts.
        let found = match (kept.next(), fresh.next()) {
            (Some(kept), Some(fresh)) if fresh.0 < kept.0 => Some(fresh),
            (kept, fresh) => kept.or(fresh),
        };
        Ok(found.map(|(_, bytes)| bytes.clone()))
    }

    /// As [`Superseded::find`] for all objects from `first` to `last`, ascending.
    pub(super) fn find_range(
        &self,
        first: Oid,
        last: Oid,
        tid: Tid,
    ) -> Result<Vec<(Oid, Vec<u8>)>> {
        let inner = self.lock();
        inner.check(tid)?;
        let kept = inner
            .records
            .range((first, Tid::ZERO)..)
            .map(|((oid, later), bytes)| (*oid, *later, bytes))
            .take_while(|(oid, ..)| *oid <= last);
        let fresh = inner
            .fresh_from(first, Tid::ZERO)
            .map(|(oid, later, bytes)| (*oid, *later, bytes))
            .take_while(|(oid, ..)| *oid <= last);
        let mut found: Vec<_> = kept
            .chain(fresh)
            .filter(|(_, later, _)| *later > tid)
            .collect();
        // Two runs that ascend; the sort is stable, so that of two for the same commit the first counts.
        found.sort_by_key(|(oid, later, _)| (*oid, *later));
        found.dedup_by_key(|(oid, ..)| *oid);
        Ok(found
            .into_iter()
            .map(|(oid, _, bytes)| (oid, bytes.clone()))
            .collect())
    }
}

impl Inner {
    fn check(&self, tid: Tid) -> Result<()> {
        if tid >= self.floor {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooOld, "read from a snapshot")
            .because(format!(
                "the snapshot of commit {tid} grew too old under later commits"
            ))
            .hint("Take a new snapshot, and read faster or in smaller parts."))
    }

    /// Drops the records that no live snapshot can ask for.
    fn prune(&mut self) {
        let oldest = self.live.front().map_or(self.visible, |(tid, _)| *tid);
        while let Some(entry) = self.by_tid.first_entry() {
            let tid = *entry.key();
            if tid > oldest {
                break;
            }
            let oids = entry.remove();
            self.forget(tid, oids);
        }
    }

    /// What was published for commits that are not visible yet, from `(oid, tid)` on.
    fn fresh_from(&self, oid: Oid, tid: Tid) -> impl Iterator<Item = &Replaced> {
        let at = self
            .fresh
            .partition_point(|(found, later, _)| (*found, *later) < (oid, tid));
        self.fresh.iter().skip(at)
    }

    /// Moves to the maps what live snapshots may need of commits that have become visible; returns the
    /// rest if that is all.
    fn keep_fresh(&mut self) -> Vec<Replaced> {
        let fresh = std::mem::take(&mut self.fresh);
        let Some(&(oldest, _)) = self.live.front().filter(|live| live.0 < self.visible) else {
            return fresh;
        };
        for (oid, tid, bytes) in fresh {
            if tid <= oldest {
                continue;
            }
            if let Entry::Vacant(entry) = self.records.entry((oid, tid)) {
                self.bytes += bytes.len() as u64 + OVERHEAD;
                entry.insert(bytes);
                self.by_tid.entry(tid).or_default().push(oid);
            }
        }
        Vec::new()
    }

    fn forget(&mut self, tid: Tid, oids: Vec<Oid>) {
        for oid in oids {
            if let Some(bytes) = self.records.remove(&(oid, tid)) {
                self.bytes -= bytes.len() as u64 + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(kept: &Superseded, tid: u64, oid: u64, old: &[u8]) {
        kept.publish(Tid(tid), vec![(Oid(oid), Tid(tid), old.to_vec())]);
        kept.make_visible(Tid(tid));
    }

    #[test]
    fn a_snapshot_finds_what_was_superseded_after_it_first() {
        let kept = Superseded::new(Tid(4), 1 << 20);
        let early = kept.begin_snapshot();
        commit(&kept, 5, 1, b"four");
        commit(&kept, 6, 1, b"five");
        let late = kept.begin_snapshot();
        assert_eq!((early, late), (Tid(4), Tid(6)));
        assert_eq!(kept.find(Oid(1), early).unwrap().unwrap(), b"four");
        assert_eq!(kept.find(Oid(1), Tid(5)).unwrap().unwrap(), b"five");
        assert_eq!(kept.find(Oid(1), late).unwrap(), None);
        assert_eq!(kept.find(Oid(2), early).unwrap(), None);
        let range = kept.find_range(Oid(0), Oid(9), early).unwrap();
        assert_eq!(range, [(Oid(1), b"four".to_vec())]);
        kept.end_snapshot(early);
        assert_eq!(kept.lock().records.len(), 0);
        assert_eq!(kept.lock().bytes, 0);
        kept.end_snapshot(late);
    }

    #[test]
    fn what_is_published_and_not_visible_yet_is_found_and_goes_with_its_commit() {
        let kept = Superseded::new(Tid(4), 1 << 20);
        let early = kept.begin_snapshot();
        commit(&kept, 5, 1, b"four");
        let record = |oid, tid, bytes: &[u8]| (Oid(oid), Tid(tid), bytes.to_vec());
        // One that fails, and one that is being written.
        kept.publish(Tid(6), vec![record(1, 6, b"five"), record(7, 6, b"seven")]);
        kept.publish(Tid(6), vec![record(2, 6, b"two"), record(1, 6, b"five")]);
        let late = kept.begin_snapshot();
        assert_eq!((early, late), (Tid(4), Tid(5)));
        let find = |oid, tid| kept.find(Oid(oid), tid).unwrap();
        let check = || {
            assert_eq!(find(1, early).unwrap(), b"four");
            assert_eq!(find(1, late).unwrap(), b"five");
            assert_eq!(find(2, early).unwrap(), b"two");
            assert_eq!(find(7, early), None);
            let range = |tid| kept.find_range(Oid(0), Oid(9), tid).unwrap();
            let two = (Oid(2), b"two".to_vec());
            assert_eq!(range(early), [(Oid(1), b"four".to_vec()), two.clone()]);
            assert_eq!(range(late), [(Oid(1), b"five".to_vec()), two]);
            assert_eq!(kept.find_range(Oid(3), Oid(9), early).unwrap(), []);
        };
        check();
        kept.make_visible(Tid(6));
        check();
        kept.end_snapshot(early);
        kept.end_snapshot(late);
        assert_eq!(kept.lock().bytes, 0);
        // Without snapshots nothing is kept beyond the commit.
        commit(&kept, 7, 1, b"six");
        assert!(kept.lock().fresh.is_empty() && kept.lock().records.is_empty());
    }

    #[test]
    fn what_a_commit_wrote_and_condemned_does_not_hide_what_was_before() {
        let kept = Superseded::new(Tid(4), 1 << 20);
        let early = kept.begin_snapshot();
        commit(&kept, 5, 1, b"four");
        kept.publish(Tid(6), vec![(Oid(1), Tid(5), b"five".to_vec())]);
        assert_eq!(kept.find(Oid(1), early).unwrap().unwrap(), b"four");
        kept.make_visible(Tid(6));
        kept.end_snapshot(early);
        assert_eq!(kept.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_snapshots_are_given_up_at_the_bound_and_say_so() {
        let kept = Superseded::new(Tid(1), 1000);
        let old = kept.begin_snapshot();
        commit(&kept, 2, 1, &[0; 500]);
        let newer = kept.begin_snapshot();
        assert!(kept.find(Oid(1), old).is_ok());
        commit(&kept, 3, 1, &[0; 500]);
        assert_eq!(
            kept.find(Oid(1), old).unwrap_err().kind(),
            ErrorKind::TooOld
        );
        assert_eq!(kept.find(Oid(1), newer).unwrap().unwrap(), [0; 500]);
        kept.end_snapshot(old);
        kept.end_snapshot(newer);
        assert_eq!(kept.lock().bytes, 0);
    }
}
