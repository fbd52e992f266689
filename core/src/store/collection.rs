//! Collection outside of commits: slices of it, and sessions' pins.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::local::{LocalStore, Shared};
use super::session::{SessionKind, Sessions};
use super::writer::Writer;
use crate::collect::graph::Graph as _;
use crate::collect::rows::decode_orphan;
use crate::collect::{Budget, Collected, Counters, Progress};
use crate::engine::{Durability, Key, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, Tid};

/// How much is collected, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// What a commit may do for collection.
    pub commit: Budget,
    /// What the background worker may do at a time; none: there is no worker.
    pub worker: Option<Budget>,
    /// Whether the background worker, where there is one, also gives the space of what has died back to
    /// the system, on engines that can do that ([`Capabilities::reclaim`](crate::engine::Capabilities)).
    /// Else that is for [`LocalStore::reclaim`].
    pub reclaim: bool,
}

impl Default for Collection {
    fn default() -> Collection {
        Collection {
            commit: Budget::COMMIT,
            worker: Some(SLICE),
            reclaim: true,
        }
    }
}

impl Collection {
    /// Nothing is collected but by [`Store::collect`](super::Store::collect), and no space is given back but
    /// by [`LocalStore::reclaim`]: for commands that only read, and for tests that look at garbage.
    pub const OFF: Collection = Collection {
        commit: Budget {
            deletes: 0,
            reads: 0,
            time: None,
        },
        worker: None,
        reclaim: false,
    };
}

/// What there is to collect, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Objects that have lost the referrer through which the root reached them, and wait to be looked at:
    /// garbage, or to be found alive by another way.
    pub orphans: u64,
    /// The commit that cut off the one that has waited longest, among the first 65,536.
    pub oldest: Option<Tid>,
    /// Garbage that is gone for everyone, and is being deleted.
    pub condemned: u64,
    /// Objects that a search has found suspect so far.
    pub suspects: u64,
    /// Sessions that have ended, and whose objects are still to be released.
    pub ended_sessions: u64,
    /// Why nothing is collected any more: damage that was met. Or why nothing is at the moment: another
    /// failure, after which the next slice tries again.
    pub failed: Option<String>,
    /// Whether the background worker gives space back, or will do so when commits leave it the time.
    pub reclaiming: bool,
    /// Why no space could be given back the last time. Commits and collection go on.
    pub reclaim_failed: Option<String>,
}

/// Orphans that are looked at for the oldest.
const ORPHANS_LOOKED_AT: usize = 65_536;

/// A slice of the background worker: commits wait for little longer than that. As many objects as are
/// deleted at once are so without a look at the clock.
const SLICE: Budget = Budget {
    deletes: 2048,
    reads: 16 << 10,
    time: Some(Duration::from_millis(4)),
};
/// A slice of a collection that somebody waits for.
const WAITED_SLICE: Budget = Budget {
    deletes: 4096,
    reads: 64 << 10,
    time: Some(Duration::from_millis(20)),
};
/// Missing objects that an error lists.
const MISSING_LISTED: usize = 1000;

impl Shared {
    /// Does a slice of collection, as a write of its own.
    pub(super) fn collect_slice(&self, budget: Budget) -> Result<(Progress, Collected)> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        if let Some(error) = writer.damage() {
            return Err(error.duplicate());
        }
        writer.collection_failed = None;
        let mut graph = self.graph(&writer)?;
        let tid = graph.state.tid;
        graph.state.tid = tid.next();
        let outcome = writer
            .collector
            .run(&mut graph, budget, budget.reads / 2 + 1);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                writer.stop_collecting(error.duplicate());
                return Err(error);
            }
        };
        let condemns = graph.condemned.as_ref().is_some_and(|now| now.tid > tid);
        let visible = condemns || !graph.deleted.is_empty();
        let wanted = if visible {
            graph.log_changes(&[]);
            self.durability
        } else {
            // Nobody can tell: it needs no commit number of its own, and can be done again.
            graph.state.tid = tid;
            Durability::Relaxed
        };
        if !graph.is_empty() {
            let durability = self.offered_durability(wanted)?;
            let rows = graph.rows_to_write();
            let begin = Instant::now();
            self.write_graph(&mut writer, graph, durability)?;
            writer.collector.measured(rows, begin.elapsed());
        }
        Ok(outcome)
    }

    /// Tells the background worker that there is work, if there is.
    pub(super) fn wake_collector(&self, writer: &Writer) {
        let work = writer.state.orphans > 0 || writer.collector.is_busy();
        if work && writer.damage().is_none() {
            self.signal.wake();
        }
    }

    /// Has the pins under the number that `owner` returns removed by the following slices. No commit is
    /// being staged while that is called.
    pub(super) fn release_pins(&self, owner: impl FnOnce(&mut Sessions) -> Option<SessionId>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owner(&mut self.sessions());
        writer.collector.ended.extend(owner);
        self.signal.wake();
    }

    /// Objects that an import refers to and that are not there. Rows stay where what referred to them does
    /// so no longer, or is gone: only as long as something does are there referrers.
    fn missing(&self) -> Result<Vec<Oid>> {
        let view = self.view()?;
        let view = view.engine()?;
        let mut cursor = view.cursor(Table::Missing, Key::MIN)?;
        let mut missing = Vec::new();
        while let Some((key, _)) = cursor.next()? {
            let there = view.get(Table::Objects, key, &mut |_| {})?;
            if there || !view.get(Table::Referrers, key, &mut |_| {})? {
                continue;
            }
            missing.push(Oid(key.first));
            if missing.len() == MISSING_LISTED {
                break;
            }
        }
        Ok(missing)
    }

    /// Forgets what an import waited for in vain, and nobody refers to any more.
    fn forget_missing(&self) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let mut graph = self.graph(&writer)?;
        let mut from = Some(Key::MIN);
        while let Some(next) = from {
            let found = graph.rows.next(Table::Missing, next)?;
            from = found.and_then(|(key, _)| {
                graph.rows.delete(Table::Missing, key);
                key.successor(Table::Missing)
            });
        }
        if graph.is_empty() {
            return Ok(());
        }
        let durability = self.offered_durability(self.durability)?;
        self.write_graph(&mut writer, graph, durability).map(drop)
    }

    /// Lets an import end only when nothing that it refers to is missing.
    pub(super) fn check_import(&self) -> Result<()> {
        let missing = self.missing()?;
        if missing.is_empty() {
            return self.forget_missing();
        }
        Err(Error::new(ErrorKind::Gone, "end the import")
            .because("imported objects refer to others that were not imported")
            .with_oids(missing)
            .hint("Import these, or update what refers to them."))
    }
}

impl LocalStore {
    /// Has everything that `session` keeps alive without having linked it treated like any other object:
    /// the pack of Durus. It is collected soon. What the session commits or unlinks from now on is kept
    /// as before.
    pub fn release(&self, session: SessionId) {
        self.shared.release_pins(|sessions| sessions.renew(session));
    }

    /// Collects until nothing is left, and calls `progress` with what was collected so far.
    ///
    /// # Errors
    /// As [`Store::collect`](super::Store::collect).
    pub fn collect_with(&self, progress: &mut dyn FnMut(Collected)) -> Result<Collected> {
        self.release(SessionId::EMBEDDED);
        let mut total = Collected::default();
        loop {
            let (state, collected) = self.shared.collect_slice(WAITED_SLICE)?;
            total.objects += collected.objects;
            total.bytes += collected.bytes;
            progress(total);
            if state == Progress::Quiet {
                return Ok(total);
            }
        }
    }

    pub(super) fn read_pending(&self) -> Result<Pending> {
        let mut oldest = None;
        self.shared.with_newest(|newest| {
            let mut cursor = newest.cursor(Table::Orphans, Key::MIN)?;
            for _ in 0..ORPHANS_LOOKED_AT {
                let Some((_, value)) = cursor.next()? else {
                    break;
                };
                let tid = decode_orphan(value);
                oldest = Some(oldest.map_or(tid, |oldest: Tid| oldest.min(tid)));
            }
            Ok(())
        })?;
        let state = *self.shared.published();
        let writer = self.shared.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner);
        Ok(Pending {
            orphans: state.orphans,
            oldest,
            condemned: self.shared.condemned_left.load(Ordering::Relaxed),
            suspects: writer.collector.suspects(),
            ended_sessions: writer.collector.ended.len() as u64,
            failed: writer.collection_failed.as_ref().map(Error::to_string),
            reclaiming: self.shared.dead.is_worked_on(),
            reclaim_failed: writer.reclaim_failed.as_ref().map(Error::to_string),
        })
    }

    /// Whether an import goes on, so that objects may be referred to that are not there yet.
    pub(crate) fn is_importing(&self) -> bool {
        self.shared.sessions().has(SessionKind::Import)
    }

    /// Whether an import has noted that the object is still to come.
    pub(crate) fn is_expected(&self, oid: Oid) -> Result<bool> {
        let view = self.shared.view()?;
        let key = Key::from(oid.0);
        view.engine()?.get(Table::Missing, key, &mut |_| {})
    }

    /// What collection has done since the store was opened.
    pub fn collection_counters(&self) -> Counters {
        let writer = self.shared.writer.lock();
        writer
            .unwrap_or_else(PoisonError::into_inner)
            .collector
            .counters
    }
}
