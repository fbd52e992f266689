//! What was changed by which commit, for all clients at once.
//!
//! The newest part of the store's log of changes is kept in memory, up to a bound. A client needs nothing
//! of its own but the commit up to which it knows everything: however many are idle, they cost nothing. One
//! that is further behind is served from the store's log, as far as that reaches back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use durum_core::store::{Change, Changes, LocalStore, Store as _};
use durum_core::{ErrorKind, Oid, Result, Tid};

/// The end of the log of changes.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    tail: Mutex<Tail>,
    /// Changes that are kept.
    length_max: usize,
}

#[derive(Debug)]
struct Tail {
    /// All changes by later commits are here,
    from: Tid,
    /// up to this one.
    until: Tid,
    /// By ascending tid.
    changes: VecDeque<Change>,
    /// The newest deletion of each object that `changes` has.
    deleted: HashMap<Oid, Tid>,
}

impl ChangeLog {
    /// Begins with what is committed after `tid`.
    pub(crate) fn new(tid: Tid, length_max: usize) -> ChangeLog {
        ChangeLog {
            tail: Mutex::new(Tail {
                from: tid,
                until: tid,
                changes: VecDeque::new(),
                deleted: HashMap::new(),
            }),
            length_max,
        }
    }

    /// Adds to `out` what has become invalid for a client that knows everything up to `since`, and has
    /// made the commits `own` itself: what others wrote, and what was deleted. Ascending, each object once.
    /// Returns the commit up to which the client knows everything then.
    ///
    /// # Errors
    /// `TooOld` where the store's log no longer reaches back to `since`.
    pub(crate) fn invalid(
        &self,
        store: &LocalStore,
        since: Tid,
        own: &[Tid],
        out: &mut Vec<Oid>,
    ) -> Result<Tid> {
        let mut add = |change: Change| {
            if change.deleted || !own.contains(&change.tid) {
                out.push(change.oid);
            }
        };
        let until = match self.with_tail(store, |tail| tail.visit(since, &mut add))? {
            Some(until) => until,
            None => store.visit_changes_since(since, &mut |change| {
                add(change);
                Ok(())
            })?,
        };
        out.sort_unstable();
        out.dedup();
        Ok(until)
    }

    /// What was changed by the commits after `since`, by ascending commits: whole ones, as many as have about
    /// `count` changes; and the last commit that there is. `None` where that is not in memory.
    ///
    /// # Errors
    /// Those of reading the store.
    pub(crate) fn since(
        &self,
        store: &LocalStore,
        since: Tid,
        count: u32,
    ) -> Result<Option<(Changes, Tid)>> {
        self.with_tail(store, |tail| {
            let known = (tail.from..=tail.until).contains(&since);
            known.then(|| (tail.some(since, count), tail.until))
        })
    }

    /// Whether the object was deleted by a commit after `since`.
    ///
    /// # Errors
    /// As [`ChangeLog::invalid`].
    pub(crate) fn deleted_since(&self, store: &LocalStore, oid: Oid, since: Tid) -> Result<bool> {
        let known = self.with_tail(store, |tail| {
            let reaches = since >= tail.from;
            reaches.then(|| tail.deleted.get(&oid).is_some_and(|tid| *tid > since))
        })?;
        if let Some(deleted) = known {
            return Ok(deleted);
        }
        let mut deleted = false;
        store.visit_changes_since(since, &mut |change| {
            deleted |= change.deleted && change.oid == oid;
            Ok(())
        })?;
        Ok(deleted)
    }

    /// Brings the tail up to date, and looks at it.
    fn with_tail<T>(&self, store: &LocalStore, look: impl FnOnce(&Tail) -> T) -> Result<T> {
        // Without the lock: where another process writes the store, this asks the database.
        let visible = store.snapshot()?.tid();
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if visible > tail.until {
            match store.changes_since(tail.until) {
                Ok(new) => tail.append(new.changes, new.tid),
                // More than is read at once: whoever wants it reads the store's log.
                Err(error) if error.kind() == ErrorKind::TooOld => tail.restart(visible),
                Err(error) => return Err(error),
            }
            tail.shorten(self.length_max);
        }
        Ok(look(&tail))
    }
}

impl Tail {
    /// Shows what was changed after `since`, and up to which commit; nothing where the tail does not reach
    /// back so far.
    fn visit(&self, since: Tid, show: &mut dyn FnMut(Change)) -> Option<Tid> {
        if since < self.from {
            return None;
        }
        let start = self.changes.partition_point(|change| change.tid <= since);
        self.changes.range(start..).copied().for_each(show);
        Some(self.until)
    }

    /// The first changes after `since`, which is known.
    fn some(&self, since: Tid, count: u32) -> Changes {
        let start = self.changes.partition_point(|change| change.tid <= since);
        let mut some = Changes {
            tid: self.until,
            changes: Vec::new(),
        };
        for change in self.changes.range(start..) {
            let last = some.changes.last().map(|last| last.tid);
            if let Some(last) = last.filter(|last| *last != change.tid)
                && some.changes.len() >= count as usize
            {
                some.tid = last;
                break;
            }
            some.changes.push(*change);
        }
        some
    }

    fn append(&mut self, changes: Vec<Change>, until: Tid) {
        for change in &changes {
            if change.deleted {
                self.deleted.insert(change.oid, change.tid);
            }
        }
        self.changes.extend(changes);
        self.until = until;
    }

    fn restart(&mut self, tid: Tid) {
        (self.from, self.until) = (tid, tid);
        self.changes.clear();
        self.deleted.clear();
    }

    /// Removes whole commits from the front.
    fn shorten(&mut self, length_max: usize) {
        while self.changes.len() > length_max {
            let Some(first) = self.changes.front().map(|change| change.tid) else {
                return;
            };
            while let Some(change) = self.changes.front().filter(|change| change.tid == first) {
                if self.deleted.get(&change.oid) == Some(&first) {
                    self.deleted.remove(&change.oid);
                }
                self.changes.pop_front();
            }
            self.from = first;
        }
    }
}
