//! Condemning sets that are too large to be deleted in one write: their members are written down part by
//! part, and then gone for everyone by one small write.

use super::budget::Meter;
use super::delete::{Deletion, Guard};
use super::graph::{Graph, Position};
use super::resolve::Collector;
use super::rows::{CONDEMNED_PART, JobState};
use super::spill::SpillSet;
use crate::error::Result;
use crate::id::Oid;

/// The members of a large closed set on their way to being condemned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) job: u64,
    pub(super) next: Oid,
    pub(super) members: u64,
    pub(super) bytes: u64,
    pub(super) least: Option<Oid>,
    /// How far the guard has come with the referrers of one object.
    pub(super) begun: Option<(Oid, Position)>,
}

/// What listing a part of a draft led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// The part is full.
    Part,
    /// It holds the last member.
    All,
    /// The guard has found a member that must not be deleted.
    Refuted,
    OutOfTime,
}

impl Collector {
    /// OIDs in one row of a draft.
    fn part_max(&self) -> usize {
        #[cfg(test)]
        if self.sabotage.small_parts {
            return 1;
        }
        CONDEMNED_PART
    }

    /// Writes the members of a large set down, part by part, and condemns all of them at once.
    pub(super) fn condemn(&mut self, graph: &mut dyn Graph, meter: &mut Meter) -> Result<bool> {
        if self.job.condemned != 0 {
            // One at a time: the one before is deleted first.
            return Ok(false);
        }
        let mut draft = match self.draft {
            Some(draft) => draft,
            None => {
                self.job.last_job += 1;
                graph.put_job(&self.job)?;
                self.with_rows = SpillSet::default();
                Draft {
                    job: self.job.last_job,
                    ..Draft::default()
                }
            }
        };
        loop {
            let (part, listed) = self.list_part(graph, &mut draft, meter)?;
            if listed == Listed::Refuted {
                self.draft = None;
                self.leftovers = true;
                return Ok(true);
            }
            draft.members += part.len() as u64;
            if !part.is_empty() {
                graph.put_condemned(draft.job, &part)?;
            }
            self.draft = Some(draft);
            if listed == Listed::All {
                break;
            }
            if listed == Listed::OutOfTime || !meter.more(graph) {
                return Ok(false);
            }
        }
        self.carry_out(graph, draft)
    }

    /// Confirms the members of the next part of a draft.
    fn list_part(
        &mut self,
        graph: &mut dyn Graph,
        draft: &mut Draft,
        meter: &Meter,
    ) -> Result<(Vec<Oid>, Listed)> {
        let mut part = Vec::new();
        while part.len() < self.part_max() {
            let next = match &mut self.search {
                Some(search) => search.suspects.next_from(draft.next)?,
                None => None,
            };
            let Some(oid) = next else {
                return Ok((part, Listed::All));
            };
            let begun = draft.begun.take().filter(|(begun, _)| *begun == oid);
            let begun = begun.map(|(_, position)| position);
            match self.confirm(graph, oid, begun, &mut |graph| meter.is_in_time(graph))? {
                Guard::Open => return Ok((part, Listed::Refuted)),
                Guard::Unfinished(position) => {
                    draft.begun = Some((oid, position));
                    return Ok((part, Listed::OutOfTime));
                }
                Guard::Closed => {}
            }
            if graph.row(oid)?.is_some() {
                self.with_rows.insert(oid)?;
            }
            draft.bytes += graph.node(oid)?.map_or(0, |node| node.bytes);
            draft.next = oid.next();
            draft.least = draft.least.or(Some(oid));
            part.push(oid);
            if !meter.is_in_time(graph) {
                return Ok((part, Listed::OutOfTime));
            }
        }
        Ok((part, Listed::Part))
    }

    /// Condemns what the draft lists, by one small write.
    fn carry_out(&mut self, graph: &mut dyn Graph, draft: Draft) -> Result<bool> {
        let Some(search) = &mut self.search else {
            return Ok(true);
        };
        let members = std::mem::take(&mut search.suspects);
        let tid = graph.condemn(draft.job, members, draft.bytes)?;
        self.job = JobState {
            condemned: draft.job,
            tid,
            left: draft.members,
            next: draft.least.unwrap_or_default(),
            next_refs: 0,
            ..self.job
        };
        graph.put_job(&self.job)?;
        self.draft = None;
        self.deletion = Deletion::of(std::mem::take(&mut self.with_rows));
        self.memo.clear();
        self.counters.condemned += 1;
        tracing::info!(
            members = draft.members,
            bytes = draft.bytes,
            %tid,
            "a large structure is garbage and gone; deleting it begins"
        );
        self.end_search();
        // Deleting them is the next thing to be done.
        Ok(false)
    }
}
