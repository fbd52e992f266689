//! What a workload is going to commit.

use std::collections::{BTreeMap, HashMap};

use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store};
use durum_core::{Oid, Result, SessionId};
use fastrand::Rng;

use super::graph::{DATA_BYTES, Graph, data};

/// Changes a graph, one commit after another.
pub(crate) trait Workload {
    /// Plans the next commit; false where nothing is left to do.
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool>;
}

/// One commit.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) batch: Batch,
    /// OIDs that it uses up.
    pub(crate) new_oids: u32,
    /// Objects that become garbage by it, where that is known beforehand.
    pub(crate) garbage: Option<u64>,
    /// References of these.
    pub(crate) garbage_refs: u64,
}

/// The graph as it is after the commits so far, and the commit that is being planned.
pub(crate) struct Plan<'a> {
    graph: &'a Graph,
    store: &'a LocalStore,
    changed: HashMap<Oid, Vec<Oid>>,
    writes: BTreeMap<Oid, (bool, usize)>,
    commits: u64,
    new_oids: u32,
    garbage: Option<u64>,
    garbage_refs: u64,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(graph: &'a Graph, store: &'a LocalStore) -> Plan<'a> {
        Plan {
            graph,
            store,
            changed: HashMap::new(),
            writes: BTreeMap::new(),
            commits: 0,
            new_oids: 0,
            garbage: Some(0),
            garbage_refs: 0,
        }
    }

    /// An object's references.
    pub(crate) fn refs(&self, oid: Oid) -> &[Oid] {
        match self.changed.get(&oid) {
            Some(refs) => refs,
            None => self.graph.refs(oid),
        }
    }

    /// Writes an object anew with these references.
    pub(crate) fn update(&mut self, oid: Oid, mut refs: Vec<Oid>) {
        durum_core::record::normalize_refs(oid, &mut refs);
        self.changed.insert(oid, refs);
        self.writes.entry(oid).or_insert((false, DATA_BYTES));
    }

    /// Takes some references out of an object and puts others in.
    pub(crate) fn relink(&mut self, oid: Oid, without: &[Oid], with: &[Oid]) {
        let kept = self.refs(oid).iter().filter(|oid| !without.contains(oid));
        let refs = kept.chain(with).copied().collect();
        self.update(oid, refs);
    }

    /// New OIDs, ascending.
    pub(crate) fn new_oids(&mut self, count: u32) -> Result<Vec<Oid>> {
        self.new_oids += count;
        self.store.new_oids(SessionId::EMBEDDED, count)
    }

    /// Creates an object.
    pub(crate) fn create(&mut self, oid: Oid, refs: Vec<Oid>, data_bytes: usize) {
        self.update(oid, refs);
        self.writes.insert(oid, (true, data_bytes));
    }

    /// The object becomes garbage by this commit.
    pub(crate) fn loses(&mut self, oid: Oid) {
        self.garbage_refs += self.refs(oid).len() as u64;
        self.garbage = self.garbage.map(|garbage| garbage + 1);
        self.changed.remove(&oid);
    }

    /// Nobody knows what becomes garbage by this commit.
    pub(crate) fn garbage_unknown(&mut self) {
        self.garbage = None;
    }

    /// Whether the store has the object.
    pub(crate) fn is_live(&self, oid: Oid) -> Result<bool> {
        Ok(self.store.snapshot()?.load(oid)?.is_some())
    }

    /// The commit.
    pub(crate) fn take(&mut self) -> Step {
        self.commits += 1;
        let mut batch = Batch::new();
        for (oid, (create, length)) in std::mem::take(&mut self.writes) {
            let data = data(oid, self.commits, length);
            let refs = self.refs(oid).iter().copied();
            match create {
                true => batch.create(oid, data, refs),
                false => batch.update(oid, data, refs),
            };
        }
        Step {
            batch,
            new_oids: std::mem::take(&mut self.new_oids),
            garbage: self.garbage.replace(0),
            garbage_refs: std::mem::take(&mut self.garbage_refs),
        }
    }

    /// What the root reaches.
    #[cfg(test)]
    pub(crate) fn reached(&self) -> BTreeMap<Oid, Vec<Oid>> {
        use std::collections::btree_map::Entry;
        let mut reached = BTreeMap::new();
        let mut open = vec![Oid::ROOT];
        while let Some(oid) = open.pop() {
            if let Entry::Vacant(new) = reached.entry(oid) {
                new.insert(self.refs(oid).to_vec());
                open.extend(self.refs(oid));
            }
        }
        reached
    }
}
