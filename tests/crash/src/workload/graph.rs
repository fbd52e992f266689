//! What each commit does to a graph of objects, and which graph it leaves.
//!
//! Objects have names here, since the OIDs that a store hands out depend on what happened to it.

use std::collections::{BTreeMap, BTreeSet};

/// An object's name: the commit that created it, and its number among those.
pub(crate) type Name = (u64, u64);

/// An object as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Its data, which begins with its name.
    pub(crate) data: Vec<u8>,
    /// The objects that it refers to.
    pub(crate) refs: BTreeSet<Name>,
}

/// A graph, or the objects that a commit writes.
pub(crate) type Graph = BTreeMap<Name, Planned>;

/// The name of the root object.
pub(crate) const ROOT: Name = (0, 0);

/// How many objects the root refers to at most. What it lets go of is garbage, unless others refer to
/// it.
const SLOTS: usize = 10;

/// The graph after some commits, and what is needed to go on.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    seed: u64,
    /// All objects that were ever written.
    all: Graph,
    slots: Vec<Name>,
}

impl Growth {
    /// The state of the series `seed` after this many commits.
    pub(crate) fn after(seed: u64, commits: u64) -> Growth {
        let mut growth = Growth {
            seed,
            all: Graph::new(),
            slots: Vec::new(),
        };
        for commit in 1..=commits {
            growth.grow(commit);
        }
        growth
    }

    /// Goes on to the state after `commit`; returns what that commit writes.
    pub(crate) fn grow(&mut self, commit: u64) -> Graph {
        let mut random = fastrand::Rng::with_seed(self.seed ^ commit.wrapping_mul(0x9E37_79B9));
        let mut writes = Graph::new();
        for _ in 0..random.usize(..3) {
            // One that the root refers to, so that it cannot have been collected.
            if let Some(&name) = random.choice(&self.slots) {
                let planned = self.draw(&mut random, name);
                writes.insert(name, planned);
            }
        }
        let created = if commit % 5 == 4 {
            30
        } else {
            random.u64(1..4)
        };
        if commit % 5 == 1 {
            // The large ring of two commits before is let go of as a whole.
            self.slots.retain(|name| name.0 + 2 != commit);
        }
        for index in 0..created {
            let name = (commit, index);
            let mut planned = self.draw(&mut random, name);
            // What is created together forms a ring.
            let next = (commit, (index + 1) % created);
            planned.refs.extend((next != name).then_some(next));
            writes.insert(name, planned);
        }
        for index in 0..created {
            let slot = random.usize(..SLOTS);
            match self.slots.get_mut(slot) {
                Some(place) => *place = (commit, index),
                None => self.slots.push((commit, index)),
            }
        }
        let data = [name_bytes(ROOT), commit.to_le_bytes().to_vec()].concat();
        let refs = self.slots.iter().copied().collect();
        writes.insert(ROOT, Planned { data, refs });
        self.all.extend(writes.clone());
        writes
    }

    /// The objects that the root reaches; none before the first commit.
    pub(crate) fn reachable(&self) -> Graph {
        let mut reached = Graph::new();
        let mut waiting = vec![ROOT];
        while let Some(name) = waiting.pop() {
            if let Some(planned) = self.all.get(&name)
                && reached.insert(name, planned.clone()).is_none()
            {
                waiting.extend(&planned.refs);
            }
        }
        reached
    }

    fn draw(&self, random: &mut fastrand::Rng, name: Name) -> Planned {
        let length = match random.u32(..24) {
            0 => 30_000,
            1 | 2 => random.usize(2000..9000),
            _ => random.usize(..300),
        };
        let mut noise = vec![0; length];
        random.fill(&mut noise);
        let refs = (0..random.usize(..3)).filter_map(|_| random.choice(&self.slots).copied());
        let refs = refs.filter(|target| *target != name).collect();
        Planned {
            data: [name_bytes(name), noise].concat(),
            refs,
        }
    }
}

fn name_bytes(name: Name) -> Vec<u8> {
    [name.0.to_le_bytes(), name.1.to_le_bytes()].concat()
}

/// The name that an object's data begins with.
pub(crate) fn name_of(data: &[u8]) -> Option<Name> {
    let (first, rest) = data.split_first_chunk()?;
    let (second, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*second)))
}

/// The number of commits that the root's data tells.
pub(crate) fn commits_of(root: &[u8]) -> Option<u64> {
    root.get(16..)?.try_into().ok().map(u64::from_le_bytes)
}
