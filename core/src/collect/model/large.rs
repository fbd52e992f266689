//! The tables as maps, for graphs of some size with hubs in them, and what has to hold in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::collect::graph::{Graph, Node, Pin};
use crate::collect::resolve::Collector;
use crate::collect::rows::{INLINE_MAX, JobState, Links};
use crate::collect::spill::SpillSet;
use crate::error::Result;
use crate::id::{Oid, SessionId, Tid};

#[derive(Clone, Debug, Default)]
pub(super) struct LargeGraph {
    pub(super) nodes: BTreeMap<Oid, Arc<Node>>,
    rows: BTreeMap<Oid, Links>,
    more: BTreeSet<(Oid, Oid)>,
    pub(super) orphans: BTreeSet<Oid>,
    irregular: BTreeSet<Oid>,
    condemned_rows: BTreeMap<(u64, Oid), Vec<Oid>>,
    pub(super) job: JobState,
    pub(super) condemned: BTreeSet<Oid>,
    pub(super) pins: BTreeMap<(SessionId, Oid), Pin>,
    /// Objects whose records the write contains.
    pub(super) written: BTreeSet<Oid>,
    reads: u64,
}

impl LargeGraph {
    pub(super) fn new() -> LargeGraph {
        let mut graph = LargeGraph::default();
        graph.write(Oid::ROOT, Vec::new());
        graph
    }

    pub(super) fn is_there(&self, oid: Oid) -> bool {
        self.nodes.contains_key(&oid) && !self.condemned.contains(&oid)
    }

    pub(super) fn refs(&self, oid: Oid) -> &[Oid] {
        self.nodes.get(&oid).map_or(&[], |node| &node.refs)
    }

    /// Writes a record; the anchor in it stays.
    pub(super) fn write(&mut self, oid: Oid, refs: Vec<Oid>) {
        let anchor = self.nodes.get(&oid).and_then(|node| node.anchor);
        let bytes = 1;
        let node = Node {
            anchor,
            refs,
            bytes,
        };
        self.nodes.insert(oid, Arc::new(node));
    }

    /// What the root and pins reach.
    pub(super) fn alive(&self) -> BTreeSet<Oid> {
        let mut alive = BTreeSet::new();
        let mut next: Vec<Oid> = self.pins.keys().map(|(_, oid)| *oid).collect();
        next.push(Oid::ROOT);
        while let Some(oid) = next.pop() {
            if self.nodes.contains_key(&oid) && alive.insert(oid) {
                next.extend_from_slice(self.refs(oid));
            }
        }
        alive
    }

    pub(super) fn has_hub(&self) -> bool {
        !self.more.is_empty()
    }

    pub(super) fn existing(&self) -> BTreeSet<Oid> {
        self.nodes.keys().copied().collect()
    }

    /// The memory of the store is lost.
    pub(super) fn crash(&mut self) {
        let job = self.job.condemned;
        let rows = self
            .condemned_rows
            .range((job, Oid::ROOT)..(job + 1, Oid::ROOT));
        let members = rows.flat_map(|(_, oids)| oids.iter().copied());
        self.condemned = members.filter(|_| job != 0).collect();
    }

    fn known(&self, oid: Oid) -> Links {
        let recorded = self.nodes.get(&oid).and_then(|node| node.anchor);
        let row = self.rows.get(&oid).cloned();
        row.unwrap_or_else(|| Links::of_anchor(recorded))
    }

    fn is_safe(&self, oid: Oid) -> Option<bool> {
        let mut at = oid;
        for _ in 0..=self.nodes.len() {
            let links = self.known(at);
            if at == Oid::ROOT || links.pins > 0 {
                return Some(true);
            }
            if self.condemned.contains(&at) {
                return Some(false);
            }
            match links.anchor {
                Some(anchor) => at = anchor,
                None => return self.orphans.contains(&at).then_some(false),
            }
        }
        None
    }

    /// All invariants.
    pub(super) fn check(&self, collector: &mut Collector) {
        let mut referrers: BTreeMap<Oid, BTreeSet<Oid>> = BTreeMap::new();
        for (oid, node) in &self.nodes {
            let back = self.job.condemned != 0 && *oid == self.job.next;
            let back = if back { self.job.next_refs as usize } else { 0 };
            for target in &node.refs[back.min(node.refs.len())..] {
                // What an import refers to may be missing; collection is watched elsewhere.
                let missing = !self.nodes.contains_key(target);
                let there = self.is_there(*target) || missing;
                assert!(
                    there || self.condemned.contains(oid),
                    "{oid} dangles: {target}"
                );
                referrers.entry(*target).or_default().insert(*oid);
            }
        }
        let none = BTreeSet::new();
        for oid in self
            .nodes
            .keys()
            .filter(|oid| !self.condemned.contains(oid))
        {
            self.check_object(*oid, referrers.get(oid).unwrap_or(&none));
        }
        for oid in self.rows.keys().filter(|oid| !self.nodes.contains_key(oid)) {
            assert!(referrers.contains_key(oid), "a row of nothing: {oid}");
        }
        let irregular = self.nodes.keys().copied();
        let irregular = irregular.filter(|oid| self.known(*oid).anchor > Some(*oid));
        assert_eq!(irregular.collect::<BTreeSet<_>>(), self.irregular);
        let alive = self.alive();
        assert!(
            alive.is_disjoint(&self.condemned),
            "a live object is condemned"
        );
        if self.orphans.is_empty() && self.condemned.is_empty() {
            assert_eq!(alive, self.existing(), "garbage without an orphan");
        }
        let mut rows = self
            .orphans
            .iter()
            .chain(self.pins.keys().map(|(_, oid)| oid));
        assert!(rows.all(|oid| self.nodes.contains_key(oid)));
        let mut hubs = self.more.iter().map(|(oid, _)| oid);
        assert!(hubs.all(|oid| self.rows.contains_key(oid)));
        assert_eq!(self.job, collector.job);
        for oid in collector.remembered() {
            assert_eq!(self.is_safe(oid), Some(true), "{oid} is remembered as safe");
        }
        let floor = collector.floor(&mut self.clone()).unwrap();
        for oid in self.nodes.keys().take_while(|oid| **oid < floor) {
            assert_eq!(self.is_safe(*oid), Some(true), "{oid} is below the floor");
        }
    }

    fn check_object(&self, oid: Oid, referrers: &BTreeSet<Oid>) {
        let links = self.known(oid);
        let more: Vec<Oid> = (self.more.range((oid, Oid::ROOT)..(oid.next(), Oid::ROOT)))
            .map(|(_, referrer)| *referrer)
            .collect();
        assert_eq!(links.more, more.len() as u64);
        assert!(links.inline.len() <= INLINE_MAX && links.inline.is_sorted());
        let all = links.inline.iter().chain(&more);
        assert_eq!(
            links.inline.len() + more.len(),
            referrers.len(),
            "{oid}: {links:?}"
        );
        assert_eq!(
            &all.copied().collect::<BTreeSet<_>>(),
            referrers,
            "referrers of {oid}"
        );
        let pins = self.pins.keys().filter(|(_, pinned)| *pinned == oid);
        assert_eq!(links.pins, pins.count() as u64, "pins of {oid}");
        let recorded = self.nodes[&oid].anchor;
        let needless = self.rows.contains_key(&oid) && links.is_implied_by(recorded);
        assert!(!needless, "{oid} needs no row");
        let (anchored, orphan) = (links.anchor.is_some(), self.orphans.contains(&oid));
        let kinds = [oid == Oid::ROOT, links.pins > 0, anchored, orphan];
        let count = kinds.iter().filter(|kind| **kind).count();
        assert_eq!(count, 1, "{oid}: root, pinned, anchored, orphan: {kinds:?}");
        let real = links
            .anchor
            .is_none_or(|anchor| referrers.contains(&anchor));
        assert!(real, "the anchor of {oid} is no referrer");
        assert!(
            self.is_safe(oid).is_some(),
            "the chain of {oid} does not end"
        );
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, key: T, member: bool) {
    match member {
        true => set.insert(key),
        false => set.remove(&key),
    };
}

impl Graph for LargeGraph {
    fn reads(&self) -> u64 {
        self.reads
    }

    fn node(&mut self, oid: Oid) -> Result<Option<Arc<Node>>> {
        self.reads += 1;
        Ok(self.nodes.get(&oid).cloned())
    }

    fn set_record_anchor(&mut self, oid: Oid, anchor: Option<Oid>) -> Result<bool> {
        if !self.written.contains(&oid) {
            return Ok(false);
        }
        let Some(node) = self.nodes.get_mut(&oid) else {
            return Ok(false);
        };
        Arc::make_mut(node).anchor = anchor;
        Ok(true)
    }

    fn delete_node(&mut self, oid: Oid) -> Result<()> {
        assert!(self.nodes.remove(&oid).is_some(), "{oid} is not there");
        Ok(())
    }

    fn is_condemned(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.condemned.contains(&oid))
    }

    fn row(&mut self, oid: Oid) -> Result<Option<Links>> {
        self.reads += 1;
        Ok(self.rows.get(&oid).cloned())
    }

    fn put_row(&mut self, oid: Oid, links: Option<Links>) -> Result<()> {
        match links {
            Some(links) => self.rows.insert(oid, links),
            None => self.rows.remove(&oid),
        };
        Ok(())
    }

    fn has_more(&mut self, oid: Oid, referrer: Oid) -> Result<bool> {
        self.reads += 1;
        Ok(self.more.contains(&(oid, referrer)))
    }

    fn next_more(&mut self, oid: Oid, from: Oid) -> Result<Option<Oid>> {
        self.reads += 1;
        let found = self.more.range((oid, from)..).next();
        let found = found.filter(|(found, _)| *found == oid);
        Ok(found.map(|(_, referrer)| *referrer))
    }

    fn put_more(&mut self, oid: Oid, referrer: Oid) -> Result<()> {
        self.more.insert((oid, referrer));
        Ok(())
    }

    fn delete_more(&mut self, oid: Oid, referrer: Oid) -> Result<()> {
        assert!(self.more.remove(&(oid, referrer)));
        Ok(())
    }

    fn is_orphan(&mut self, oid: Oid) -> Result<bool> {
        Ok(self.orphans.contains(&oid))
    }

    fn next_orphan(&mut self, from: Oid) -> Result<Option<Oid>> {
        self.reads += 1;
        Ok(self.orphans.range(from..).next().copied())
    }

    fn put_orphan(&mut self, oid: Oid) -> Result<()> {
        self.orphans.insert(oid);
        Ok(())
    }

    fn delete_orphan(&mut self, oid: Oid) -> Result<()> {
        self.orphans.remove(&oid);
        Ok(())
    }

    fn least_irregular(&mut self) -> Result<Option<Oid>> {
        Ok(self.irregular.first().copied())
    }

    fn set_irregular(&mut self, oid: Oid, irregular: bool) -> Result<()> {
        set(&mut self.irregular, oid, irregular);
        Ok(())
    }

    fn put_condemned(&mut self, job: u64, oids: &[Oid]) -> Result<()> {
        self.condemned_rows.insert((job, oids[0]), oids.to_vec());
        Ok(())
    }

    fn next_condemned(&mut self, job: u64, from: Oid) -> Result<Option<(u64, Vec<Oid>)>> {
        let row = self.condemned_rows.range((job, from)..).next();
        Ok(row.map(|((job, _), oids)| (*job, oids.clone())))
    }

    fn delete_condemned(&mut self, job: u64, oids: &[Oid], _left: u64) -> Result<()> {
        assert!(self.condemned_rows.remove(&(job, oids[0])).is_some());
        Ok(())
    }

    fn condemn(&mut self, job: u64, members: SpillSet, bytes: u64) -> Result<Tid> {
        let rows = self
            .condemned_rows
            .range((job, Oid::ROOT)..(job + 1, Oid::ROOT));
        let drafted: BTreeSet<Oid> = rows.flat_map(|(_, oids)| oids.iter().copied()).collect();
        assert!(self.condemned.is_empty() && bytes == members.len());
        self.condemned = members.sorted().into_iter().collect();
        assert_eq!(drafted, self.condemned);
        Ok(Tid::ZERO)
    }

    fn acquit(&mut self) -> Result<()> {
        assert!(
            self.condemned
                .iter()
                .all(|oid| !self.nodes.contains_key(oid))
        );
        self.condemned.clear();
        Ok(())
    }

    fn put_job(&mut self, job: &JobState) -> Result<()> {
        self.job = *job;
        Ok(())
    }

    fn pin(&mut self, session: SessionId, oid: Oid) -> Result<Option<Pin>> {
        Ok(self.pins.get(&(session, oid)).copied())
    }

    fn next_pin(&mut self, session: SessionId, from: Oid) -> Result<Option<(Oid, Pin)>> {
        let found = self.pins.range((session, from)..).next();
        let found = found.filter(|((found, _), _)| *found == session);
        Ok(found.map(|((_, oid), pin)| (*oid, *pin)))
    }

    fn put_pin(&mut self, session: SessionId, oid: Oid, pin: Pin) -> Result<()> {
        self.pins.insert((session, oid), pin);
        Ok(())
    }

    fn delete_pin(&mut self, session: SessionId, oid: Oid) -> Result<()> {
        assert!(self.pins.remove(&(session, oid)).is_some());
        Ok(())
    }
}
