//! Whether an object hangs on the root: climbing from anchor to anchor.

use std::collections::HashSet;

use super::graph::{Graph, inconsistent, links};
use super::link::cut_off;
use super::spill::SpillSet;
use crate::error::Result;
use crate::id::Oid;

/// Objects that are remembered as safe.
const MEMO_MAX: usize = 64 << 10;

/// Objects that were found to hang on the root or on a pin. It holds as long as no anchor is cut and
/// no pin removed: whoever does either clears it, or keeps what that cannot concern.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Memo(HashSet<Oid>);

impl Memo {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, oids: &[Oid]) {
        self.0.retain(|oid| oids.contains(oid));
    }

    pub(super) fn add(&mut self, oid: Oid) {
        if self.0.len() >= MEMO_MAX {
            self.0.clear();
        }
        self.0.insert(oid);
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Oid> {
        self.0.iter().copied()
    }

    #[cfg(test)]
    pub(crate) fn of(oids: impl Iterator<Item = Oid>) -> Memo {
        Memo(oids.collect())
    }
}

/// The least object below which nothing is in question: no orphan, no suspect, nothing condemned, and no
/// anchor that is larger than its object. It is looked for when it is needed first.
#[derive(Debug)]
pub(crate) struct Floor {
    known: Option<Oid>,
    /// No condemned object lies below.
    condemned: Option<Oid>,
    /// For the controls of the model check.
    #[cfg(test)]
    pub(super) raised: bool,
}

impl Floor {
    pub(super) fn new(condemned: Option<Oid>) -> Floor {
        Floor {
            known: None,
            condemned,
            #[cfg(test)]
            raised: false,
        }
    }

    /// The floor, where the search goes on above `searched`.
    pub(super) fn get(&mut self, graph: &mut dyn Graph, searched: Option<Oid>) -> Result<Oid> {
        if let Some(floor) = self.known {
            return Ok(floor);
        }
        let (orphan, irregular) = (graph.next_orphan(Oid::ROOT)?, graph.least_irregular()?);
        let least = [searched, self.condemned, orphan, irregular];
        let mut floor = Oid::MAX.next();
        for oid in least.into_iter().flatten() {
            floor = floor.min(oid);
        }
        #[cfg(test)]
        if self.raised {
            floor = floor.next();
        }
        self.known = Some(floor);
        Ok(floor)
    }

    /// The object is in question now.
    pub(super) fn lower(&mut self, oid: Oid) {
        self.known = self.known.map(|floor| floor.min(oid));
    }
}

/// A climb that can be left and taken up again, as long as no anchor on its path changes.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Climb {
    /// The object that looks for an anchor: a chain that meets it does not help it.
    target: Oid,
    at: Oid,
    path: SpillSet,
    /// Those on the path of which nothing else need be known; see [`Obstacles::settles`].
    settled: SpillSet,
    length: u64,
}

/// How a climb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The chain ends at the root or at a pinned object.
    Safe,
    /// It meets the target: what it went through hangs on that.
    Beneath,
    /// It meets something suspect, or something condemned.
    Unsafe,
    /// It ends at this orphan, which nobody has looked at yet.
    Orphan(Oid),
    /// Not yet: there is more to climb.
    Unfinished,
}

/// What a climb must not pass.
pub(crate) trait Obstacles {
    /// Whether chains through the object are not to be trusted for now.
    fn blocks(&mut self, oid: Oid) -> Result<bool>;

    /// Whether an earlier climb to the same target found that the object hangs on it.
    fn is_beneath(&mut self, _oid: Oid) -> Result<bool> {
        Ok(false)
    }

    /// Whether the object, just read, need not be looked at again if the climb meets its target, where
    /// all of `path` is known to hang on that.
    fn settles(&mut self, _graph: &mut dyn Graph, _oid: Oid, _path: &mut SpillSet) -> Result<bool> {
        Ok(false)
    }
}

impl Climb {
    pub(crate) fn new(target: Oid, from: Oid) -> Climb {
        Climb {
            target,
            at: from,
            path: SpillSet::default(),
            settled: SpillSet::default(),
            length: 0,
        }
    }

    /// Steps so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the climb has gone through `oid`.
    pub(crate) fn passed(&mut self, oid: Oid) -> Result<bool> {
        self.path.contains(oid)
    }

    /// The object has changed: there may be more to be known of it.
    pub(crate) fn unsettle(&mut self, oid: Oid) -> Result<()> {
        self.settled.remove(oid).map(drop)
    }

    /// What the climb went through, and those of which nothing else need be known.
    pub(crate) fn into_passed(self) -> (SpillSet, SpillSet) {
        (self.path, self.settled)
    }

    /// Climbs on, while `more` says so. Everything below `floor` is safe: it lies below every orphan,
    /// suspect, condemned object and every object whose anchor is larger than itself, so that its
    /// chain descends and cannot meet one of these.
    pub(crate) fn run(
        &mut self,
        graph: &mut dyn Graph,
        floor: Oid,
        memo: Option<&Memo>,
        obstacles: &mut dyn Obstacles,
        more: &mut dyn FnMut(&dyn Graph) -> bool,
    ) -> Result<Verdict> {
        loop {
            let oid = self.at;
            if oid == self.target {
                return Ok(Verdict::Beneath);
            }
            let known = memo.is_some_and(|memo| memo.0.contains(&oid));
            if oid == Oid::ROOT || oid < floor || known {
                return Ok(Verdict::Safe);
            }
            if obstacles.is_beneath(oid)? {
                return Ok(Verdict::Beneath);
            }
            if obstacles.blocks(oid)? || graph.is_condemned(oid)? {
                return Ok(Verdict::Unsafe);
            }
            if !more(graph) {
                return Ok(Verdict::Unfinished);
            }
            let Some(links) = links(graph, oid)? else {
                return Err(inconsistent(
                    oid,
                    "an object that refers to another is missing",
                ));
            };
            if links.pins > 0 {
                return Ok(Verdict::Safe);
            }
            let Some(anchor) = links.anchor else {
                return Ok(Verdict::Orphan(oid));
            };
            if graph.is_condemned(anchor)? {
                // It is being deleted, and will be cut off when that comes to its references.
                cut_off(graph, oid, links)?;
                return Ok(Verdict::Orphan(oid));
            }
            if !self.path.insert(oid)? {
                return Err(inconsistent(oid, "the anchors of objects form a cycle"));
            }
            if obstacles.settles(graph, oid, &mut self.path)? {
                self.settled.insert(oid)?;
            }
            self.length += 1;
            self.at = anchor;
        }
    }

    /// Remembers all that a climb with the verdict `Safe` went through.
    pub(crate) fn remember(&mut self, memo: &mut Memo) -> Result<()> {
        let mut from = Oid::ROOT;
        for _ in 0..MEMO_MAX / 2 {
            let Some(oid) = self.path.next_from(from)? else {
                break;
            };
            memo.add(oid);
            from = oid.next();
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn parts(&mut self) -> (Oid, Oid, [Vec<Oid>; 2]) {
        let passed = [self.path.sorted(), self.settled.sorted()];
        (self.target, self.at, passed)
    }

    #[cfg(test)]
    pub(crate) fn of(target: Oid, at: Oid, [path, settled]: [SpillSet; 2]) -> Climb {
        Climb {
            target,
            at,
            path,
            settled,
            length: 0,
        }
    }
}
