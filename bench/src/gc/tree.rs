//! Trees: subtrees that are dropped and moved, leaves that come, change and go.

use durum_core::{Oid, Result};
use fastrand::Rng;

use super::graph::{DATA_BYTES, Graph};
use super::plan::{Plan, Workload};

const BRANCHES: u64 = 8;
/// Objects of a subtree with two levels below its top.
const SUBTREE: u64 = 1 + BRANCHES + BRANCHES * BRANCHES;
/// Objects that many come to share.
const SHARED: u64 = 100;

/// A tree of so many objects, filled level by level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) objects: u64,
    /// Whether each object refers to its parent.
    pub(crate) parents: bool,
}

impl Tree {
    pub(crate) fn build(self) -> Graph {
        let mut graph = Graph::new();
        for oid in 0..self.objects {
            let parent = self.parents.then(|| parent(oid));
            graph.push(self.children(oid).chain(parent).map(Oid));
        }
        graph
    }

    fn children(self, oid: u64) -> impl Iterator<Item = u64> {
        let children = oid * BRANCHES + 1..=oid * BRANCHES + BRANCHES;
        children.filter(move |child| *child < self.objects)
    }

    /// The OIDs of the first objects without children, and of the last that has as many as it can.
    fn leaves(self) -> std::ops::Range<u64> {
        (self.objects - 2) / BRANCHES + 1..self.objects
    }

    /// The objects that have exactly two full levels below.
    fn tops(self) -> Vec<u64> {
        let lowest = |top: &u64| {
            let last = |oid: u64| oid * BRANCHES + BRANCHES;
            let first = |oid: u64| oid * BRANCHES + 1;
            let full = last(last(*top)) < self.objects;
            full && first(first(first(*top))) >= self.objects
        };
        (1..self.objects).filter(lowest).collect()
    }

    /// A subtree in the order of its levels.
    fn below(self, top: u64) -> Vec<u64> {
        let mut found = vec![top];
        let mut next = 0;
        while let Some(oid) = found.get(next).copied() {
            found.extend(self.children(oid));
            next += 1;
        }
        found
    }
}

fn parent(oid: u64) -> u64 {
    oid.saturating_sub(1) / BRANCHES
}

/// Drops a subtree of 73 objects in every commit, until half of them are gone.
#[derive(Debug)]
pub(crate) struct Drop {
    tree: Tree,
    tops: Vec<u64>,
    least: usize,
}

impl Drop {
    pub(crate) fn new(tree: Tree) -> Drop {
        let tops = tree.tops();
        let least = tops.len() / 2;
        Drop { tree, tops, least }
    }
}

impl Workload for Drop {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        if self.tops.len() <= self.least {
            return Ok(false);
        }
        let top = self.tops.swap_remove(draw.usize(0..self.tops.len()));
        plan.relink(Oid(parent(top)), &[Oid(top)], &[]);
        let gone = self.tree.below(top);
        debug_assert_eq!(gone.len() as u64, SUBTREE);
        gone.into_iter().for_each(|oid| plan.loses(Oid(oid)));
        Ok(true)
    }
}

/// Moves such a subtree to another place in every commit.
#[derive(Debug)]
pub(crate) struct Move {
    /// The tops of subtrees, and where they hang.
    tops: Vec<(u64, u64)>,
    places: std::ops::Range<u64>,
    parents: bool,
}

impl Move {
    pub(crate) fn new(tree: Tree) -> Move {
        let tops: Vec<(u64, u64)> = tree.tops().iter().map(|top| (*top, parent(*top))).collect();
        let above = |top: Option<&(u64, u64)>| top.map_or(0, |top| top.1);
        Move {
            places: above(tops.first())..above(tops.last()) + 1,
            tops,
            parents: tree.parents,
        }
    }
}

impl Workload for Move {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        if self.tops.is_empty() || self.places.end - self.places.start < 2 {
            return Ok(false);
        }
        let chosen = draw.usize(0..self.tops.len());
        let Some((top, place)) = self.tops.get_mut(chosen) else {
            return Ok(false);
        };
        let mut to = draw.u64(self.places.clone());
        if to == *place {
            to = if to == self.places.start {
                to + 1
            } else {
                to - 1
            };
        }
        plan.relink(Oid(*place), &[Oid(*top)], &[]);
        plan.relink(Oid(to), &[], &[Oid(*top)]);
        if self.parents {
            plan.relink(Oid(*top), &[Oid(*place)], &[Oid(to)]);
        }
        *place = to;
        Ok(true)
    }
}

/// What happens to leaves, one in every commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any object gets new data.
    Update,
    /// A new leaf below an object that is no leaf.
    Insert,
    /// A new leaf in the place of another.
    Replace,
    /// A leaf comes to refer to one of a hundred others.
    Share,
}

/// Commits of one kind.
#[derive(Debug)]
pub(crate) struct Leaves {
    pub(crate) tree: Tree,
    pub(crate) kind: Kind,
    /// Leaves that were replaced, and by what.
    replaced: std::collections::HashMap<u64, Oid>,
}

impl Leaves {
    pub(crate) fn new(tree: Tree, kind: Kind) -> Leaves {
        Leaves {
            tree,
            kind,
            replaced: std::collections::HashMap::new(),
        }
    }

    fn create(&self, plan: &mut Plan<'_>, above: u64) -> Result<Option<Oid>> {
        let new = plan.new_oids(1)?.pop();
        if let Some(oid) = new {
            let refs = self.tree.parents.then_some(Oid(above));
            plan.create(oid, refs.into_iter().collect(), DATA_BYTES);
        }
        Ok(new)
    }
}

impl Workload for Leaves {
    fn step(&mut self, plan: &mut Plan<'_>, draw: &mut Rng) -> Result<bool> {
        let leaves = self.tree.leaves();
        if leaves.end - leaves.start < 2 * SHARED {
            return Ok(false);
        }
        let leaf = draw.u64(leaves.start + SHARED..leaves.end);
        match self.kind {
            Kind::Update => {
                let oid = Oid(draw.u64(0..self.tree.objects));
                plan.relink(oid, &[], &[]);
            }
            Kind::Insert => {
                let above = draw.u64(0..leaves.start);
                let new = self.create(plan, above)?;
                plan.relink(Oid(above), &[], new.as_slice());
            }
            Kind::Replace => {
                let old = self.replaced.get(&leaf).copied().unwrap_or(Oid(leaf));
                let new = self.create(plan, parent(leaf))?;
                plan.relink(Oid(parent(leaf)), &[old], new.as_slice());
                plan.loses(old);
                self.replaced.extend(new.map(|new| (leaf, new)));
            }
            Kind::Share => {
                let shared = draw.u64(leaves.start..leaves.start + SHARED);
                plan.relink(Oid(leaf), &[], &[Oid(shared)]);
            }
        }
        Ok(true)
    }
}
