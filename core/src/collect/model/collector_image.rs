//! The collector's memory as a few bytes, and back, for the model check.

use super::Collector;
use crate::collect::climb::Memo;
use crate::collect::condemn::Draft;
use crate::collect::model::{Mask, Sabotage, mask, oids};
use crate::collect::rows::JobState;
use crate::collect::search::{Search, spill_set, take, take_oid};
use crate::id::{Oid, SessionId};

impl Collector {
    /// Everything that has an influence on what it will do. Not among it: the counters, the length of
    /// climbs, how often a search was refuted, and what the tables say as well.
    pub(crate) fn save(&mut self, out: &mut Vec<u8>) {
        out.push(self.ended.len() as u8);
        out.extend(self.ended.iter().map(|session| session.0 as u8));
        out.push(self.held.len() as u8);
        for (session, held) in &self.held {
            out.extend([session.0 as u8, held.len() as u8]);
            out.extend(held.iter().map(|oid| oid.0 as u8));
        }
        out.extend([u8::from(self.leftovers), mask(self.memo.iter())]);
        out.push(u8::from(self.draft.is_some()));
        if let Some(draft) = self.draft {
            assert_eq!(draft.bytes, draft.members);
            let least = draft.least.map_or(0, |oid| oid.0 as u8 + 1);
            let [job, next, members] = [draft.job, draft.next.0, draft.members];
            assert_eq!(draft.begun, None, "a hub in the model");
            out.extend([job as u8, next as u8, members as u8, least]);
            out.push(mask(self.with_rows.sorted()));
        }
        let with_rows = &self.deletion.with_rows;
        let known = with_rows.as_ref().map(|rows| mask(rows.sorted()));
        out.extend([u8::from(known.is_some()), known.unwrap_or(0)]);
        assert!(!self.long || self.search.is_some(), "no search, and long");
        out.push(u8::from(self.search.is_some()));
        if let Some(search) = &mut self.search {
            search.save(out);
        }
    }

    pub(crate) fn load(job: JobState, sabotage: Sabotage, input: &mut &[u8]) -> Collector {
        let mut collector = Collector::new(job, Vec::new());
        collector.sabotage = sabotage;
        for _ in 0..take(input) {
            let session = SessionId(take(input).into());
            collector.ended.push(session);
        }
        for _ in 0..take(input) {
            let session = SessionId(take(input).into());
            let held = (0..take(input)).map(|_| take_oid(input)).collect();
            collector.held.insert(session, held);
        }
        collector.leftovers = take(input) == 1;
        collector.memo = Memo::of(oids(take(input)));
        if take(input) == 1 {
            let (job, next, members) = (take(input), take_oid(input), take(input));
            collector.draft = Some(Draft {
                job: job.into(),
                next,
                members: members.into(),
                bytes: members.into(),
                least: take(input).checked_sub(1).map(|oid| Oid(oid.into())),
                begun: None,
            });
            collector.with_rows = spill_set(take(input));
        }
        let known = take(input) == 1;
        let with_rows = spill_set(take(input));
        collector.deletion.with_rows = known.then_some(with_rows);
        if take(input) == 1 {
            collector.search = Some(Search::load(input));
            collector.long = true;
        }
        collector
    }

    /// Objects of which it knows.
    pub(crate) fn mentioned(&mut self) -> Mask {
        let held = self.held.values().flatten().copied();
        let search = self.search.as_mut().map_or(0, Search::mentioned);
        mask(held) | mask(self.memo.iter()) | search
    }

    /// What is remembered as safe.
    pub(crate) fn remembered(&self) -> Vec<Oid> {
        self.memo.iter().collect()
    }

    pub(crate) fn has_search(&self) -> bool {
        self.search.is_some()
    }

    pub(crate) fn draft_job(&self) -> Option<u64> {
        self.draft.map(|draft| draft.job)
    }

    /// For counterexamples.
    pub(crate) fn described(&self) -> String {
        let memo = &self.memo;
        let search = (&self.search, &self.draft, self.leftovers);
        let sessions = (&self.ended, &self.held);
        format!("{search:?} {memo:?} {sessions:?}")
    }

    /// Gives jobs other numbers.
    pub(crate) fn renumber(&mut self, new: impl Fn(u64) -> u64, job: JobState) {
        self.job = job;
        if let Some(draft) = &mut self.draft {
            draft.job = new(draft.job);
        }
    }

    /// What only memory knows of sessions: those that have ended, and what is held.
    pub(crate) fn sessions(&self) -> (&[SessionId], Vec<(SessionId, Mask)>) {
        let held = self.held.iter();
        let held = held.map(|(session, held)| (*session, mask(held.iter().copied())));
        (&self.ended, held.collect())
    }
}
