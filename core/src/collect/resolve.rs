//! The collector: works off the queue of orphans, within budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::budget::{Budget, Counters, Deadline, Meter};
use super::climb::{Floor, Memo, Obstacles};
use super::condemn::Draft;
use super::delete::{Deletion, Guard, delete_all, delete_condemned, guard, weight};
use super::graph::{Graph, Position, inconsistent};
use super::rows::JobState;
use super::search::{Scene, Search, Step};
use super::spill::SpillSet;
use crate::collect::Collected;
use crate::error::Result;
use crate::id::{Oid, SessionId};

#[cfg(test)]
#[path = "model/collector_image.rs"]
mod image;

/// Units of work that a commit does at least for a search that others began, so that the queue cannot
/// grow without end.
const PACE_MIN: u64 = 64;
/// Rows that a slice writes at least, if it takes all of its time, and from which on a write tells what a row
/// costs.
const ROWS_MIN: u32 = 128;
/// How often one search may find its outcome refuted before the tables are declared inconsistent.
const REFUTED_MAX: u32 = 1000;

/// What collection keeps in memory between commits. It can be forgotten at any time: the tables say
/// what is still to be done.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Collector {
    pub(crate) job: JobState,
    pub(crate) counters: Counters,
    /// Sessions that have ended, and whose pins are still to be removed.
    pub(crate) ended: Vec<SessionId>,
    /// What sessions hold until their next commit.
    pub(super) held: BTreeMap<SessionId, Vec<Oid>>,
    /// What they held before the write that is being prepared.
    held_before: BTreeMap<SessionId, Vec<Oid>>,
    /// Sessions that are no longer among those that have ended if that write is made.
    released: Vec<SessionId>,
    /// Whether there may be rows of drafts that nobody needs.
    pub(crate) leftovers: bool,
    pub(super) memo: Memo,
    pub(super) search: Option<Search>,
    /// Whether the search has seen more than one commit or slice.
    long: bool,
    refuted: u32,
    pub(super) draft: Option<Draft>,
    /// Members of the draft that have a row of referrers.
    pub(super) with_rows: SpillSet,
    pub(super) deletion: Deletion,
    /// What writing a row has taken the engine of late.
    row_cost: Duration,
    /// For the controls of the model check.
    #[cfg(test)]
    pub(super) sabotage: super::model::Sabotage,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No orphan, nothing condemned: no garbage.
    Quiet,
    /// The budget ended first.
    More,
}

impl Obstacles for Collector {
    fn blocks(&mut self, oid: Oid) -> Result<bool> {
        match &mut self.search {
            Some(search) => search.blocks(oid),
            None => Ok(false),
        }
    }
}

impl Collector {
    pub(crate) fn new(job: JobState, ended: Vec<SessionId>) -> Collector {
        Collector {
            job,
            ended,
            leftovers: true,
            ..Collector::default()
        }
    }

    /// Forgets what was found and not written, and remembers what [`Collector::written`] did not confirm
    /// as done.
    pub(crate) fn reset(&mut self, job: JobState) {
        self.job = job;
        self.long = false;
        while let Some(session) = self.released.pop() {
            self.ended.push(session);
        }
        for (session, held) in std::mem::take(&mut self.held_before) {
            match held.is_empty() {
                true => self.held.remove(&session),
                false => self.held.insert(session, held),
            };
        }
        self.memo.clear();
        self.search = None;
        self.draft = None;
        self.deletion = Deletion::default();
        self.leftovers = true;
    }

    /// The write that was prepared has been made: what was done for it in memory cannot be undone.
    pub(crate) fn written(&mut self) {
        self.held_before.clear();
        self.released.clear();
    }

    /// Takes what a session holds out of memory, until the write that is being prepared fails.
    pub(super) fn take_held(&mut self, session: SessionId) -> Vec<Oid> {
        let held = self.held.remove(&session).unwrap_or_default();
        let before = self.held_before.entry(session);
        before.or_insert_with(|| held.clone());
        held
    }

    /// A commit has written the object, or changed its referrers or pins.
    pub(super) fn touched(&mut self, oid: Oid) -> Result<()> {
        #[cfg(test)]
        if self.sabotage.no_touch {
            return Ok(());
        }
        if let Some(search) = &mut self.search
            && search.touched(oid)?
        {
            self.counters.restarts += 1;
            self.drop_draft();
        }
        Ok(())
    }

    fn drop_draft(&mut self) {
        self.leftovers |= self.draft.take().is_some();
    }

    /// Whether nothing is in question, so that every object hangs on the root or on a pin.
    pub(super) fn is_certified(&self, graph: &mut dyn Graph) -> Result<bool> {
        #[cfg(test)]
        if self.sabotage.trust_above {
            return Ok(true);
        }
        let quiet = self.search.is_none() && self.job.condemned == 0;
        Ok(quiet && graph.next_orphan(Oid::ROOT)?.is_none())
    }

    /// Whether anything is remembered to be safe.
    pub(super) fn remembers(&self) -> bool {
        !self.memo.is_empty()
    }

    /// Remembers that these objects are safe.
    pub(super) fn add_safe(&mut self, oids: &[Oid]) {
        oids.iter().for_each(|oid| self.memo.add(*oid));
    }

    /// The object has lost its anchor or its last pin.
    pub(super) fn cut(&mut self, oid: Oid) -> Result<()> {
        self.cut_off_from(oid, &[])
    }

    /// The object has lost its anchor, and does not come to be above these by that.
    pub(super) fn cut_off_from(&mut self, oid: Oid, above: &[Oid]) -> Result<()> {
        self.memo.keep(above);
        match &mut self.search {
            Some(search) => search.cut(oid),
            None => Ok(()),
        }
    }

    /// The floor as it is now.
    pub(super) fn floor(&mut self, graph: &mut dyn Graph) -> Result<Oid> {
        let searched = self.search.as_ref().map(Search::least);
        self.unknown_floor().get(graph, searched)
    }

    fn unknown_floor(&self) -> Floor {
        let condemned = (self.job.condemned != 0).then_some(self.job.next);
        #[cfg_attr(not(test), expect(unused_mut, reason = "the model check changes it"))]
        let mut floor = Floor::new(condemned);
        #[cfg(test)]
        {
            floor.raised = self.sabotage.raise_floor;
        }
        floor
    }

    /// Does a commit's share of the work, which has removed so many references.
    pub(crate) fn after_commit(
        &mut self,
        graph: &mut dyn Graph,
        budget: Budget,
        removed: u64,
    ) -> Result<Collected> {
        let pace = PACE_MIN.max(removed.saturating_mul(2)).min(budget.reads);
        // A search that did not end in the commit that began it is mostly the background worker's.
        let reads = if self.long { pace } else { budget.reads };
        let before = graph.reads();
        let share = Budget { reads, ..budget };
        let deadline = |time| Deadline::new(time, Duration::ZERO, graph);
        let deadline = budget.time.map(deadline);
        let (_, collected) = self.run_until(graph, share, pace, deadline)?;
        self.counters.reads.add(graph.reads() - before);
        Ok(collected)
    }

    /// Works off what there is to do, within the budget, in whose time the result is to be written as well;
    /// `pace` is the part of it that goes into deleting what is condemned.
    pub(crate) fn run(
        &mut self,
        graph: &mut dyn Graph,
        budget: Budget,
        pace: u64,
    ) -> Result<(Progress, Collected)> {
        // However slow the engine is, a slice gets somewhere.
        let row_cost = |time: Duration| self.row_cost.min(time / ROWS_MIN);
        let deadline = |time| Deadline::new(time, row_cost(time), graph);
        let deadline = budget.time.map(deadline);
        self.run_until(graph, budget, pace, deadline)
    }

    /// Takes account of how long the engine took to write rows that were collected.
    pub(crate) fn measured(&mut self, rows: u64, time: Duration) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        // In a few rows there is mostly what every write costs.
        if rows >= ROWS_MIN {
            let cost = time / rows;
            self.row_cost = match self.row_cost {
                Duration::ZERO => cost,
                // A write that had to wait for something else says little.
                before => (before * 3 + cost.min(before * 4)) / 4,
            };
        }
    }

    fn run_until(
        &mut self,
        graph: &mut dyn Graph,
        budget: Budget,
        pace: u64,
        deadline: Option<Deadline>,
    ) -> Result<(Progress, Collected)> {
        let before = (self.counters.deleted, self.counters.deleted_bytes);
        let condemned = self.delete_condemned(graph, budget, pace, deadline);
        let mut meter = Meter::new(budget, deadline, graph);
        let searched = condemned.and_then(|done| {
            let searched = self.search_orphans(graph, budget, &mut meter)?;
            // What the search has condemned is deleted with what is left of the budget.
            Ok(match searched {
                Progress::Quiet if done && self.job.condemned == 0 => Progress::Quiet,
                _ => Progress::More,
            })
        });
        self.long = self.search.is_some();
        let collected = Collected {
            objects: self.counters.deleted - before.0,
            bytes: self.counters.deleted_bytes - before.1,
        };
        searched.map(|progress| (progress, collected))
    }

    /// Deletes a part of what is condemned; true when nothing is left of it.
    fn delete_condemned(
        &mut self,
        graph: &mut dyn Graph,
        budget: Budget,
        pace: u64,
        deadline: Option<Deadline>,
    ) -> Result<bool> {
        if self.job.condemned == 0 {
            return Ok(true);
        }
        // A search that is under way gets its part of the time.
        let kept = budget.time.filter(|_| self.search.is_some());
        let kept = kept.unwrap_or_default() / 2;
        let deadline = deadline.map(|deadline| deadline.before(kept));
        let share = Budget {
            deletes: budget.deletes.min(pace),
            reads: pace,
            ..budget
        };
        let mut meter = Meter::new(share, deadline, graph);
        let (done, deleted, count) =
            delete_condemned(graph, &mut self.job, &mut self.deletion, &mut meter)?;
        self.counters.deleted += count;
        self.counters.deleted_bytes += deleted.bytes;
        // A search may be under way as well.
        for target in deleted.touched {
            self.touched(target)?;
        }
        for orphan in deleted.orphans {
            self.cut(orphan)?;
        }
        Ok(done)
    }

    fn search_orphans(
        &mut self,
        graph: &mut dyn Graph,
        budget: Budget,
        meter: &mut Meter,
    ) -> Result<Progress> {
        if !self.release_pins(graph, meter)? || !self.remove_leftovers(graph, meter)? {
            return Ok(Progress::More);
        }
        let mut floor = self.unknown_floor();
        loop {
            if self.search.is_none() {
                let Some(orphan) = self.next_orphan(graph, meter)? else {
                    return Ok(Progress::Quiet);
                };
                self.search = Some(Search::new(orphan)?);
                self.refuted = 0;
                floor = self.unknown_floor();
            }
            if !meter.more(graph) {
                return Ok(Progress::More);
            }
            let Some(search) = &mut self.search else {
                return Ok(Progress::More);
            };
            let mut scene = Scene {
                graph: &mut *graph,
                meter: &mut *meter,
                memo: &mut self.memo,
                counters: &mut self.counters,
                floor: &mut floor,
                weight_max: budget.reads,
            };
            let step = search.step(&mut scene)?;
            match step {
                Step::Going => {}
                Step::OutOfBudget => return Ok(Progress::More),
                Step::Done => self.end_search(),
                Step::Closed => {
                    if !self.close(graph, budget, meter)? {
                        return Ok(Progress::More);
                    }
                }
            }
        }
    }

    /// The least orphan that is not condemned.
    fn next_orphan(&mut self, graph: &mut dyn Graph, meter: &mut Meter) -> Result<Option<Oid>> {
        let mut from = Oid::ROOT;
        while let Some(orphan) = graph.next_orphan(from)? {
            if self.job.condemned == 0 || !graph.is_condemned(orphan)? {
                return Ok(Some(orphan));
            }
            if !meter.more(graph) {
                break;
            }
            from = orphan.next();
        }
        Ok(None)
    }

    pub(super) fn end_search(&mut self) {
        self.search = None;
        self.drop_draft();
        tracing::trace!(long = self.long, "a search for garbage ended");
        match self.long {
            true => self.counters.long_searches += 1,
            false => self.counters.searches += 1,
        }
        self.long = false;
    }

    /// Deletes or condemns a closed set; false where the budget ended.
    fn close(&mut self, graph: &mut dyn Graph, budget: Budget, meter: &mut Meter) -> Result<bool> {
        let Some(search) = &mut self.search else {
            return Ok(true);
        };
        if self.draft.is_some() || search.suspects.len() > budget.deletes {
            return self.condemn(graph, meter);
        }
        let (mut members, mut total, mut from) = (Vec::new(), 0u64, Oid::ROOT);
        while let Some(oid) = search.suspects.next_from(from)? {
            members.push(oid);
            total = total.saturating_add(weight(graph, oid)?);
            from = oid.next();
        }
        if total > budget.reads {
            return self.condemn(graph, meter);
        }
        for oid in &members {
            if self.confirm(graph, *oid, None, &mut |_| true)? != Guard::Closed {
                return Ok(true);
            }
        }
        let deleted = delete_all(graph, &members)?;
        let count = members.len() as u64;
        meter.deleted(count);
        self.counters.deleted += count;
        self.counters.deleted_bytes += deleted.bytes;
        self.memo.clear();
        self.end_search();
        Ok(true)
    }

    /// Whether every referrer of a suspect is a suspect, and no pin holds it. Where it does not hold, the
    /// suspect is examined anew.
    pub(super) fn confirm(
        &mut self,
        graph: &mut dyn Graph,
        oid: Oid,
        begun: Option<Position>,
        more: &mut dyn FnMut(&dyn Graph) -> bool,
    ) -> Result<Guard> {
        let Some(search) = &mut self.search else {
            return Ok(Guard::Open);
        };
        #[cfg(test)]
        if self.sabotage.no_confirm {
            return Ok(Guard::Closed);
        }
        let found = guard(graph, oid, &mut search.suspects, begun, more)?;
        if found == Guard::Open {
            self.refuted += 1;
            if self.refuted > REFUTED_MAX {
                self.end_search();
                return Err(inconsistent(
                    oid,
                    "a search for its referrers contradicts itself",
                ));
            }
            search.touched(oid)?;
            self.counters.restarts += 1;
            self.drop_draft();
        }
        Ok(found)
    }

    /// Removes the pins of sessions that have ended; false where the budget ended.
    fn release_pins(&mut self, graph: &mut dyn Graph, meter: &mut Meter) -> Result<bool> {
        while let Some(session) = self.ended.last().copied() {
            let mut from = Oid::ROOT;
            while let Some((oid, _)) = graph.next_pin(session, from)? {
                if !meter.more(graph) {
                    return Ok(false);
                }
                self.unpin(graph, session, oid)?;
                from = oid.next();
            }
            self.take_held(session);
            self.ended.pop();
            self.released.push(session);
        }
        Ok(true)
    }

    /// Removes rows of drafts that were given up; false where the budget ended.
    fn remove_leftovers(&mut self, graph: &mut dyn Graph, meter: &mut Meter) -> Result<bool> {
        let mut from = (0, Oid::ROOT);
        while self.leftovers {
            let Some((job, oids)) = graph.next_condemned(from.0, from.1)? else {
                self.leftovers = false;
                break;
            };
            let kept = [Some(self.job.condemned), self.draft.map(|draft| draft.job)];
            if kept.contains(&Some(job)) {
                from = (job + 1, Oid::ROOT);
                continue;
            }
            if !meter.more(graph) {
                return Ok(false);
            }
            graph.delete_condemned(job, &oids, 0)?;
        }
        Ok(true)
    }

    /// Objects that the search has found suspect so far.
    pub(crate) fn suspects(&self) -> u64 {
        self.search
            .as_ref()
            .map_or(0, |search| search.suspects.len())
    }

    /// Whether there is work that needs neither a commit nor a look into the tables to be known of.
    pub(crate) fn is_busy(&self) -> bool {
        let job = self.job.condemned != 0 || self.leftovers;
        job || self.search.is_some() || !self.ended.is_empty()
    }
}
