//! The abstract store: the tables of the collector over very few objects, as bit sets.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::collect::graph::{Graph, Node, Pin};
use crate::collect::rows::{JobState, Links};
use crate::collect::spill::SpillSet;
use crate::error::Result;
use crate::id::{Oid, SessionId, Tid};

/// Objects at most, the root included.
pub(super) const OBJECTS: usize = 4;
/// Sessions at most.
pub(super) const SESSIONS: usize = 2;
/// Rows of `condemned`, drafts and leftovers included.
const CONDEMNED_ROWS: usize = 8;

/// A set of objects.
pub(crate) type Mask = u8;

pub(crate) fn mask(oids: impl IntoIterator<Item = Oid>) -> Mask {
    oids.into_iter().fold(0, |set, oid| set | bit(oid))
}

pub(crate) fn oids(set: Mask) -> impl Iterator<Item = Oid> + Clone {
    (0..8).filter(move |oid| set >> oid & 1 == 1).map(Oid)
}

pub(super) fn bit(oid: Oid) -> Mask {
    1u8.checked_shl(oid.0 as u32).unwrap_or(0)
}

fn pack(oid: Option<Oid>) -> u8 {
    oid.map_or(0, |oid| oid.0 as u8 + 1)
}

pub(super) fn unpack(oid: u8) -> Option<Oid> {
    oid.checked_sub(1).map(|oid| Oid(u64::from(oid)))
}

/// A row of `referrers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Plus 1; 0: none.
    pub(super) anchor: u8,
    pub(super) pins: u8,
    pub(super) inline: Mask,
}

/// All tables, and what the store remembers of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) exists: Mask,
    pub(super) refs: [Mask; OBJECTS],
    pub(super) record_anchor: [u8; OBJECTS],
    /// Which of `row` exist.
    pub(super) rows: Mask,
    pub(super) row: [Row; OBJECTS],
    pub(super) orphans: Mask,
    pub(super) irregular: Mask,
    pub(super) born: [Mask; SESSIONS],
    pub(super) held: [Mask; SESSIONS],
    /// Ascending: the job, and the members.
    pub(super) condemned_rows: [(u8, Mask); CONDEMNED_ROWS],
    pub(super) last_job: u8,
    pub(super) job: u8,
    pub(super) left: u8,
    pub(super) next: u8,
    pub(super) next_refs: u8,
    /// Sessions that have ended, as a set of their numbers, and may still have pins.
    pub(super) ended: u8,
    /// In memory: what is condemned.
    pub(super) condemned: Mask,
}

/// Objects with their references, then what differs from nothing.
impl fmt::Debug for Tables {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set| oids(set).map(|oid| oid.0).collect::<Vec<_>>();
        for oid in oids(self.exists | self.rows) {
            let index = oid.0 as usize;
            let links = self.links(oid);
            write!(out, "{oid} -> {:?} ", list(self.refs[index]))?;
            let anchor = unpack(links.anchor).map(|oid| oid.0);
            write!(out, "(from {:?}, anchor {anchor:?}", list(links.inline))?;
            let facts = [
                (self.exists & bit(oid) == 0, ", missing"),
                (links.pins > 0, ", pinned"),
                (self.orphans & bit(oid) != 0, ", orphan"),
                (self.condemned & bit(oid) != 0, ", condemned"),
            ];
            let facts = facts.iter().filter(|(holds, _)| *holds);
            let facts: String = facts.map(|(_, fact)| *fact).collect();
            write!(out, "{facts}); ")?;
        }
        let rows: Vec<_> = self
            .condemned_rows()
            .map(|(job, set)| (job, list(set)))
            .collect();
        let (born, held) = (self.born.map(list), self.held.map(list));
        write!(out, "born {born:?} held {held:?} ended {} ", self.ended)?;
        let (job, next, next_refs) = (self.job, self.next, self.next_refs);
        write!(out, "job {job} {rows:?} next {next}.{next_refs}")
    }
}

/// Which session this is.
pub(super) fn index(session: SessionId) -> usize {
    session.0 as usize
}

impl Tables {
    /// What is pinned.
    pub(super) fn pinned(&self) -> Mask {
        let pinned = self.born.iter().chain(&self.held);
        pinned.fold(0, |all, pins| all | pins)
    }

    pub(super) fn job_state(&self) -> JobState {
        JobState {
            last_job: self.last_job.into(),
            condemned: self.job.into(),
            left: self.left.into(),
            next: Oid(self.next.into()),
            next_refs: self.next_refs.into(),
            ..JobState::default()
        }
    }

    pub(super) fn condemned_rows(&self) -> impl Iterator<Item = (u8, Mask)> + '_ {
        let rows = self.condemned_rows.iter().copied();
        rows.filter(|(job, _)| *job != 0)
    }

    /// What can be reached from these.
    pub(super) fn reach(&self, from: Mask) -> Mask {
        let mut reached = from & self.exists;
        loop {
            let refs = oids(reached).map(|oid| self.refs[oid.0 as usize]);
            let next = refs.fold(reached, |all, refs| all | refs) & self.exists;
            if next == reached {
                return reached;
            }
            reached = next;
        }
    }

    /// Who refers to the object.
    pub(super) fn referrers(&self, target: Oid) -> Mask {
        mask(oids(self.exists).filter(|oid| self.refs[oid.0 as usize] & bit(target) != 0))
    }

    /// What is known of the object's referrers: its row, or what its record implies.
    pub(super) fn links(&self, oid: Oid) -> Row {
        let index = oid.0 as usize;
        if self.rows & bit(oid) != 0 {
            return self.row[index];
        }
        let anchor = self.record_anchor[index];
        Row {
            anchor,
            pins: 0,
            inline: mask(unpack(anchor)),
        }
    }

    /// Writes all records that are not condemned anew: their anchors go there, and rows that say no more than
    /// that go.
    pub(super) fn rewrite(&mut self) {
        for oid in oids(self.exists & !self.condemned) {
            let index = oid.0 as usize;
            let links = self.links(oid);
            let plain = links.pins == 0 && links.inline == mask(unpack(links.anchor));
            self.record_anchor[index] = if plain { links.anchor } else { 0 };
            if plain {
                self.rows &= !bit(oid);
                self.row[index] = Row::default();
            }
        }
    }

    fn set_condemned_rows(&mut self, mut rows: Vec<(u8, Mask)>) {
        rows.sort_by_key(|(job, set)| (*job, set.trailing_zeros()));
        assert!(rows.len() <= CONDEMNED_ROWS, "too many rows of drafts");
        self.condemned_rows = [(0, 0); CONDEMNED_ROWS];
        self.condemned_rows[..rows.len()].copy_from_slice(&rows);
    }

    /// Gives the jobs the smallest numbers that keep their order. Only the order is ever looked at.
    pub(super) fn renumber(&mut self, draft: Option<u64>) -> impl Fn(u64) -> u64 + use<> {
        let mut jobs: Vec<u8> = self.condemned_rows().map(|(job, _)| job).collect();
        jobs.extend(draft.map(|job| job as u8));
        jobs.push(self.job);
        jobs.retain(|job| *job != 0);
        jobs.sort_unstable();
        jobs.dedup();
        self.last_job = jobs.len() as u8;
        let new = move |job: u64| {
            let position = jobs.iter().position(|old| u64::from(*old) == job);
            position.map_or(0, |position| position as u64 + 1)
        };
        for row in &mut self.condemned_rows {
            row.0 = new(row.0.into()) as u8;
        }
        self.job = new(self.job.into()) as u8;
        new
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.push(self.exists);
        out.extend_from_slice(&self.refs);
        out.extend_from_slice(&self.record_anchor);
        out.push(self.rows);
        for row in self.row {
            out.extend_from_slice(&[row.anchor | row.pins << 4, row.inline]);
        }
        out.extend_from_slice(&[self.orphans, self.irregular]);
        out.extend_from_slice(&self.born);
        out.extend_from_slice(&self.held);
        for (job, set) in self.condemned_rows {
            out.push(job << 4 | set);
        }
        out.extend_from_slice(&[self.last_job, self.job, self.left, self.next]);
        out.extend_from_slice(&[self.next_refs, self.ended, self.condemned]);
    }

    pub(super) fn load(input: &mut &[u8]) -> Tables {
        let mut take = || {
            let (first, rest) = input.split_first().unwrap();
            *input = rest;
            *first
        };
        let mut tables = Tables {
            exists: take(),
            ..Tables::default()
        };
        tables.refs.fill_with(&mut take);
        tables.record_anchor.fill_with(&mut take);
        tables.rows = take();
        for row in &mut tables.row {
            let both = take();
            (row.anchor, row.pins, row.inline) = (both & 15, both >> 4, take());
        }
        (tables.orphans, tables.irregular) = (take(), take());
        tables.born.fill_with(&mut take);
        tables.held.fill_with(&mut take);
        tables.condemned_rows.fill_with(|| {
            let both = take();
            (both >> 4, both & 15)
        });
        (tables.last_job, tables.job, tables.left) = (take(), take(), take());
        (tables.next, tables.next_refs) = (take(), take());
        (tables.ended, tables.condemned) = (take(), take());
        tables
    }
}

/// The tables during one write.
pub(super) struct ModelGraph<'a> {
    pub(super) tables: &'a mut Tables,
    /// Objects whose records are being written.
    pub(super) written: Mask,
    /// Every time that somebody asks for it this counts on, so that a budget is a number of steps.
    pub(super) reads: Cell<u64>,
    /// What must not have been asked for.
    pub(super) violation: Option<String>,
}

impl<'a> ModelGraph<'a> {
    pub(super) fn new(tables: &'a mut Tables, written: Mask) -> ModelGraph<'a> {
        ModelGraph {
            tables,
            written,
            reads: Cell::new(0),
            violation: None,
        }
    }

    fn expect(&mut self, holds: bool, what: &str, oid: Oid) {
        if !holds && self.violation.is_none() {
            self.violation = Some(format!("{what} ({oid})"));
        }
    }
}

fn set(set: &mut Mask, oid: Oid, member: bool) {
    match member {
        true => *set |= bit(oid),
        false => *set &= !bit(oid),
    }
}

fn first(set: Mask, from: Oid) -> Option<Oid> {
    oids(set).find(|oid| *oid >= from)
}

impl Graph for ModelGraph<'_> {
    fn reads(&self) -> u64 {
        self.reads.set(self.reads.get() + 1);
        self.reads.get()
    }

    fn node(&mut self, oid: Oid) -> Result<Option<Arc<Node>>> {
        if self.tables.exists & bit(oid) == 0 {
            return Ok(None);
        }
        let index = oid.0 as usize;
        Ok(Some(Arc::new(Node {
            anchor: unpack(self.tables.record_anchor[index]),
            refs: oids(self.tables.refs[index]).collect(),
            bytes: 1,
        })))
    }

    fn set_record_anchor(&mut self, oid: Oid, anchor: Option<Oid>) -> Result<bool> {
        let written = self.written & self.tables.exists & bit(oid) != 0;
        if written {
            self.tables.record_anchor[oid.0 as usize] = pack(anchor);
        }
        Ok(written)
    }

    fn delete_node(&mut self, oid: Oid) -> Result<()> {
        let exists = self.tables.exists & bit(oid) != 0;
        self.expect(exists, "deleted, and not there", oid);
        set(&mut self.tables.exists, oid, false);
        self.tables.refs[oid.0 as usize] = 0;
        self.tables.record_anchor[oid.0 as usize] = 0;
        Ok(())
    }

    fn is_condemned(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.tables.condemned & bit(oid) != 0)
    }

    fn row(&mut self, oid: Oid) -> Result<Option<Links>> {
        if self.tables.rows & bit(oid) == 0 {
            return Ok(None);
        }
        let row = self.tables.row[oid.0 as usize];
        Ok(Some(Links {
            anchor: unpack(row.anchor),
            pins: row.pins.into(),
            inline: oids(row.inline).collect(),
            more: 0,
        }))
    }

    fn put_row(&mut self, oid: Oid, links: Option<Links>) -> Result<()> {
        set(&mut self.tables.rows, oid, links.is_some());
        let row = links.map(|links| Row {
            anchor: pack(links.anchor),
            pins: links.pins as u8,
            inline: mask(links.inline),
        });
        self.tables.row[oid.0 as usize] = row.unwrap_or_default();
        Ok(())
    }

    fn has_more(&mut self, oid: Oid, _: Oid) -> Result<bool> {
        self.expect(false, "there are no hubs", oid);
        Ok(false)
    }

    fn next_more(&mut self, _: Oid, _: Oid) -> Result<Option<Oid>> {
        Ok(None)
    }

    fn put_more(&mut self, oid: Oid, _: Oid) -> Result<()> {
        self.expect(false, "there are no hubs", oid);
        Ok(())
    }

    fn delete_more(&mut self, oid: Oid, _: Oid) -> Result<()> {
        self.expect(false, "there are no hubs", oid);
        Ok(())
    }

    fn is_orphan(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.tables.orphans & bit(oid) != 0)
    }

    fn next_orphan(&mut self, from: Oid) -> Result<Option<Oid>> {
        Ok(first(self.tables.orphans, from))
    }

    fn put_orphan(&mut self, oid: Oid) -> Result<()> {
        set(&mut self.tables.orphans, oid, true);
        Ok(())
    }

    fn delete_orphan(&mut self, oid: Oid) -> Result<()> {
        set(&mut self.tables.orphans, oid, false);
        Ok(())
    }

    fn least_irregular(&mut self) -> Result<Option<Oid>> {
        Ok(first(self.tables.irregular, Oid::ROOT))
    }

    fn set_irregular(&mut self, oid: Oid, irregular: bool) -> Result<()> {
        set(&mut self.tables.irregular, oid, irregular);
        Ok(())
    }

    fn put_condemned(&mut self, job: u64, oids: &[Oid]) -> Result<()> {
        let part = mask(oids.iter().copied());
        let mut rows: Vec<_> = self.tables.condemned_rows().collect();
        rows.retain(|(old, set)| {
            u64::from(*old) != job || set.trailing_zeros() != part.trailing_zeros()
        });
        rows.push((job as u8, part));
        self.tables.set_condemned_rows(rows);
        Ok(())
    }

    fn next_condemned(&mut self, job: u64, from: Oid) -> Result<Option<(u64, Vec<Oid>)>> {
        let row = self.tables.condemned_rows().find(|(found, set)| {
            let first = oids(*set).next();
            (u64::from(*found), first) >= (job, Some(from))
        });
        Ok(row.map(|(job, set)| (job.into(), oids(set).collect())))
    }

    fn delete_condemned(&mut self, job: u64, oids: &[Oid], _left: u64) -> Result<()> {
        let part = mask(oids.iter().copied());
        let mut rows: Vec<_> = self.tables.condemned_rows().collect();
        rows.retain(|(old, set)| (u64::from(*old), *set) != (job, part));
        self.tables.set_condemned_rows(rows);
        Ok(())
    }

    fn condemn(&mut self, job: u64, members: SpillSet, bytes: u64) -> Result<Tid> {
        let members = mask(members.sorted());
        let rows = self.tables.condemned_rows();
        let drafted = rows.filter(|(found, _)| u64::from(*found) == job);
        let drafted = drafted.fold(0, |all, (_, set)| all | set);
        let fits = drafted == members && bytes == u64::from(members.count_ones());
        self.expect(fits, "the draft differs from what is condemned", Oid(job));
        let free = self.tables.condemned == 0;
        self.expect(free, "a second job", Oid(job));
        self.tables.condemned = members;
        Ok(Tid::ZERO)
    }

    fn acquit(&mut self) -> Result<()> {
        let left = self.tables.condemned & self.tables.exists;
        self.expect(left == 0, "acquitted, and still there", Oid(left.into()));
        self.tables.condemned = 0;
        Ok(())
    }

    fn put_job(&mut self, job: &JobState) -> Result<()> {
        let tables = &mut *self.tables;
        (tables.last_job, tables.job) = (job.last_job as u8, job.condemned as u8);
        (tables.left, tables.next) = (job.left as u8, job.next.0 as u8);
        tables.next_refs = job.next_refs as u8;
        Ok(())
    }

    fn pin(&mut self, session: SessionId, oid: Oid) -> Result<Option<Pin>> {
        let found = |pins: [Mask; SESSIONS]| pins[index(session)] & bit(oid) != 0;
        Ok(match (found(self.tables.born), found(self.tables.held)) {
            (true, _) => Some(Pin::Born),
            (false, true) => Some(Pin::Held),
            (false, false) => None,
        })
    }

    fn next_pin(&mut self, session: SessionId, from: Oid) -> Result<Option<(Oid, Pin)>> {
        let pins = self.tables.born[index(session)] | self.tables.held[index(session)];
        let Some(oid) = first(pins, from) else {
            return Ok(None);
        };
        Ok(self.pin(session, oid)?.map(|pin| (oid, pin)))
    }

    fn put_pin(&mut self, session: SessionId, oid: Oid, pin: Pin) -> Result<()> {
        let index = index(session);
        set(&mut self.tables.born[index], oid, pin == Pin::Born);
        set(&mut self.tables.held[index], oid, pin == Pin::Held);
        Ok(())
    }

    fn delete_pin(&mut self, session: SessionId, oid: Oid) -> Result<()> {
        set(&mut self.tables.born[index(session)], oid, false);
        set(&mut self.tables.held[index(session)], oid, false);
        Ok(())
    }
}
