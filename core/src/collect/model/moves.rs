//! What can happen in a state, and what it leads to.

use super::Sabotage;
use super::tables::{Mask, ModelGraph, OBJECTS, SESSIONS, Tables, bit, mask, oids};
use crate::collect::budget::Budget;
use crate::collect::link::{Change, Committer, Hold};
use crate::collect::resolve::{Collector, Progress};
use crate::id::{Oid, SessionId};

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) objects: usize,
    /// Whether objects can refer to the root.
    pub(super) root_refs: bool,
    /// Whether commits can write two objects.
    pub(super) pairs: bool,
    /// What each session holds, and whether it may refer to what does not exist yet.
    pub(super) sessions: &'static [(Hold, bool)],
    pub(super) slices: &'static [Slice],
    pub(super) crashes: bool,
    /// Whether after each transition all records are written anew, so that anchors are in them wherever they
    /// can be, and none is out of date beneath a row of `referrers`: far fewer states.
    pub(super) rewrites: bool,
    pub(super) check_floor: bool,
    /// States that are more moves away from the first are not visited.
    pub(super) moves_max: u64,
    /// Nothing else is checked than that nothing live is deleted or condemned.
    pub(super) only_safety: bool,
    pub(super) sabotage: Sabotage,
}

impl Config {
    pub(super) fn import(&self) -> bool {
        self.sessions.iter().any(|(_, import)| *import)
    }
}

/// A slice of collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Steps; 0: without end.
    pub(super) steps: u64,
    pub(super) deletes: u64,
    /// Whether the write happens to contain all records, so that anchors go there.
    pub(super) written: bool,
}

impl Slice {
    pub(super) const ALL: Slice = Slice {
        steps: 0,
        deletes: u64::MAX,
        written: false,
    };

    pub(super) const fn steps(steps: u64) -> Slice {
        Slice {
            steps,
            deletes: 1,
            written: false,
        }
    }

    fn budget(self) -> Budget {
        Budget {
            deletes: self.deletes,
            // To ask how many there were before the first is a read, see `ModelGraph::reads`.
            reads: match self.steps {
                0 => u64::MAX,
                steps => steps + 1,
            },
            time: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The second object is none where it equals the first.
    Commit {
        session: u8,
        objects: [u8; 2],
        refs: [Mask; 2],
    },
    Collect(Slice),
    /// All sessions end, or those stay whose end nobody has asked for.
    Crash {
        end_sessions: bool,
    },
    EndSession(u8),
    /// A write failed: memory forgets what it was about to be.
    FailedWrite,
}

/// The tables, and the collector's memory.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) tables: Tables,
    pub(super) collector: Collector,
}

impl State {
    pub(super) fn initial(config: &Config) -> State {
        let tables = Tables {
            exists: 1,
            ..Tables::default()
        };
        State {
            collector: new_collector(&tables, config, Vec::new()),
            tables,
        }
    }

    pub(super) fn save(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.tables.save(out);
        self.collector.save(out);
    }

    pub(super) fn load(mut input: &[u8], config: &Config) -> State {
        let tables = Tables::load(&mut input);
        let job = tables.job_state();
        let collector = Collector::load(job, config.sabotage, &mut input);
        assert!(input.is_empty());
        State { tables, collector }
    }

    /// All moves that are possible.
    pub(super) fn moves(&mut self, config: &Config, out: &mut Vec<Move>) {
        out.clear();
        out.extend(config.slices.iter().map(|slice| Move::Collect(*slice)));
        if config.crashes {
            let end = |end_sessions| Move::Crash { end_sessions };
            out.extend([end(true), end(false), Move::FailedWrite]);
        }
        for session in 0..config.sessions.len() {
            if self.tables.ended >> session & 1 == 1 {
                continue;
            }
            self.commits(session, config, out);
            if self.tables.born[session] | self.tables.held[session] != 0 {
                out.push(Move::EndSession(session as u8));
            }
        }
    }

    /// Objects that can be created. A number is used again where nothing knows it any more, which is as
    /// good as a new one, and keeps the states finite.
    fn creatable(&mut self, config: &Config) -> Mask {
        let tables = &self.tables;
        let rows = tables.condemned_rows().fold(0, |all, (_, set)| all | set);
        let known = tables.exists | tables.condemned | rows | self.collector.mentioned();
        let all = (0..config.objects as u64).map(Oid);
        mask(all.filter(|oid| {
            let referrers = tables.referrers(*oid);
            let referred = match config.import() {
                true => referrers & tables.condemned != 0,
                false => referrers != 0,
            };
            known & bit(*oid) == 0 && !referred
        }))
    }

    fn commits(&mut self, session: usize, config: &Config, out: &mut Vec<Move>) {
        let creatable = self.creatable(config);
        let tables = &self.tables;
        let there = tables.exists & !tables.condemned;
        let (_, import) = config.sessions[session];
        let mut targets = there;
        if import {
            targets |= ((1u8 << config.objects) - 1) & !tables.condemned;
        }
        if !config.root_refs {
            targets &= !1;
        }
        let writable = there | creatable;
        let session = session as u8;
        for one in oids(writable) {
            for refs in subsets((targets | bit(one)) & !bit(one)) {
                let objects = [one.0 as u8; 2];
                let refs = [refs; 2];
                out.push(Move::Commit {
                    session,
                    objects,
                    refs,
                });
            }
            if !config.pairs {
                continue;
            }
            for two in oids(writable).filter(|two| *two > one) {
                let new = (bit(one) | bit(two)) & if config.root_refs { !0 } else { !1 };
                for first in subsets((targets | new) & !bit(one)) {
                    for second in subsets((targets | new) & !bit(two)) {
                        out.push(Move::Commit {
                            session,
                            objects: [one.0 as u8, two.0 as u8],
                            refs: [first, second],
                        });
                    }
                }
            }
        }
    }

    /// What a move leads to, or what is wrong with that.
    pub(super) fn apply(&self, config: &Config, step: Move) -> Result<State, String> {
        let mut next = self.clone();
        match step {
            Move::Commit {
                session,
                objects,
                refs,
            } => next.commit(config, session, objects, refs)?,
            Move::Collect(slice) => {
                next.collect(config, slice)?;
            }
            Move::Crash { end_sessions } => next.crash(config, end_sessions),
            Move::EndSession(session) => {
                next.tables.ended |= 1 << session;
                next.collector.ended.push(SessionId(session.into()));
            }
            Move::FailedWrite => next.collector.reset(self.tables.job_state()),
        }
        self.undone(&next)?;
        next.collector.written();
        next.normalize(config);
        Ok(next)
    }

    /// After a failed write, memory knows of sessions what it knew before.
    fn undone(&self, next: &State) -> Result<(), String> {
        if next.collector.sessions() == self.collector.sessions() {
            return Ok(());
        }
        if next.tables.ended != self.tables.ended || next.tables == self.tables {
            return Ok(()); // Not a write of the collector.
        }
        let mut failed = next.collector.clone();
        failed.reset(self.tables.job_state());
        match failed.sessions() == self.collector.sessions() {
            true => Ok(()),
            false => Err("a failed write loses what is known of sessions".to_owned()),
        }
    }

    fn normalize(&mut self, config: &Config) {
        // A draft notes which of its members have rows.
        if config.rewrites && self.collector.draft_job().is_none() {
            self.tables.rewrite();
        }
        let draft = self.collector.draft_job();
        let new = self.tables.renumber(draft);
        let job = self.tables.job_state();
        self.collector.renumber(new, job);
        for session in 0..SESSIONS {
            let pins = self.tables.born[session] | self.tables.held[session];
            let (ended, _) = self.collector.sessions();
            if pins == 0 && !ended.contains(&SessionId(session as u64)) {
                self.tables.ended &= !(1 << session);
            }
        }
    }

    fn commit(
        &mut self,
        config: &Config,
        session: u8,
        objects: [u8; 2],
        refs: [Mask; 2],
    ) -> Result<(), String> {
        let before = self.tables;
        let single = objects[0] == objects[1];
        let written: Vec<(Oid, Mask)> = objects
            .iter()
            .zip(refs)
            .map(|(oid, refs)| (Oid(u64::from(*oid)), refs))
            .take(if single { 1 } else { 2 })
            .collect();
        let mut lists = [const { Vec::new() }; 4];
        for (index, (oid, refs)) in written.iter().enumerate() {
            lists[index] = oids(before.refs[oid.0 as usize]).collect();
            lists[index + 2] = oids(*refs).collect();
            self.tables.exists |= bit(*oid);
            self.tables.refs[oid.0 as usize] = *refs;
        }
        let changes: Vec<Change<'_>> = (written.iter().enumerate())
            .map(|(index, (oid, _))| Change {
                oid: *oid,
                create: before.exists & bit(*oid) == 0,
                old_refs: &lists[index],
                refs: &lists[index + 2],
            })
            .collect();
        let live = (0..config.sessions.len() as u64).filter(|one| before.ended >> one & 1 == 0);
        let live: Vec<SessionId> = live.map(SessionId).collect();
        let (hold, import) = config.sessions[usize::from(session)];
        let committer = Committer {
            session: SessionId(session.into()),
            hold,
            import,
            sessions: &live,
        };
        let batch = mask(written.iter().map(|(oid, _)| *oid));
        let mut graph = ModelGraph::new(&mut self.tables, batch);
        let linked = self.collector.link(&mut graph, committer, &changes);
        linked.map_err(|error| error.to_string())?;
        graph.violation.map_or(Ok(()), Err)?;
        self.kept(&before, hold)
    }

    /// What was alive and has lost a reference is kept by whoever holds what it unlinks.
    fn kept(&self, before: &Tables, hold: Hold) -> Result<(), String> {
        if hold == Hold::No {
            return Ok(());
        }
        let alive = before.reach(1 | before.pinned());
        let mut unlinked = 0;
        for oid in oids(alive) {
            let index = oid.0 as usize;
            unlinked |= before.refs[index] & !self.tables.refs[index];
        }
        let lost = unlinked & alive & !self.tables.reach(1 | self.tables.pinned());
        match lost {
            0 => Ok(()),
            _ => Err(format!("unlinked, and not held ({lost:b})")),
        }
    }

    pub(super) fn collect(&mut self, config: &Config, slice: Slice) -> Result<Progress, String> {
        let before = self.tables;
        let written = if slice.written { !0 } else { 0 };
        let budget = slice.budget();
        let mut graph = ModelGraph::new(&mut self.tables, written);
        let run = self.collector.run(&mut graph, budget, budget.reads);
        let violation = graph.violation;
        let progress = match run {
            Ok((progress, _)) => progress,
            // A search that contradicts itself is given up, and nothing is deleted.
            Err(_) if config.only_safety => {
                self.tables = before;
                self.collector.reset(before.job_state());
                return Ok(Progress::More);
            }
            Err(error) => return Err(error.to_string()),
        };
        violation.map_or(Ok(()), Err)?;
        let tables = &self.tables;
        let alive = before.reach(1 | tables.pinned());
        if alive & !(tables.exists & !tables.condemned) != 0 {
            return Err("a live object was deleted".to_owned());
        }
        let kept = (0..config.objects)
            .all(|oid| tables.exists >> oid & 1 == 0 || tables.refs[oid] == before.refs[oid]);
        if !kept || tables.exists & !before.exists != 0 {
            return Err("collection changed objects".to_owned());
        }
        Ok(progress)
    }

    fn crash(&mut self, config: &Config, end_sessions: bool) {
        let tables = &mut self.tables;
        let rows = tables.condemned_rows();
        let job = tables.job;
        let members = rows.filter(|(found, _)| *found == job && job != 0);
        tables.condemned = members.fold(0, |all, (_, set)| all | set);
        let mut ended = Vec::new();
        for session in 0..config.sessions.len() {
            let pins = tables.born[session] | tables.held[session];
            // A session of this kind does not outlive its connection.
            let ends = end_sessions || config.sessions[session].0 == Hold::NextCommit;
            if pins != 0 && (ends || tables.ended >> session & 1 == 1) {
                tables.ended |= 1 << session;
                ended.push(SessionId(session as u64));
            }
        }
        self.collector = new_collector(&self.tables, config, ended);
    }

    /// Collects until nothing is left to do. What remains is what can be reached.
    pub(super) fn settle(mut self, config: &Config, slice: Slice) -> Result<(), String> {
        for _ in 0..500 {
            let progress = self.collect(config, slice)?;
            let done = progress == Progress::Quiet;
            self.normalize(config);
            if done {
                let alive = self.tables.reach(1 | self.tables.pinned());
                let clean = self.tables.exists == alive && !self.collector.has_search();
                return match clean && self.tables.orphans | self.tables.condemned == 0 {
                    true => Ok(()),
                    false => Err(format!("garbage is left with {slice:?}: {:?}", self.tables)),
                };
            }
        }
        Err(format!(
            "collection does not end with {slice:?}: {:?}",
            self.tables
        ))
    }
}

fn new_collector(tables: &Tables, config: &Config, ended: Vec<SessionId>) -> Collector {
    let mut collector = Collector::new(tables.job_state(), ended);
    collector.sabotage = config.sabotage;
    collector
}

fn subsets(set: Mask) -> impl Iterator<Item = Mask> {
    let all = 0..1u16 << OBJECTS;
    all.map(|subset| subset as Mask)
        .filter(move |subset| subset & !set == 0)
}
