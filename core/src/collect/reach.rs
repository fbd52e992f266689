//! What the root reaches, in bounded memory.

use super::frontier::Frontier;
use super::oid_set::OidSet;
use crate::error::{ErrorKind, Result};
use crate::id::Oid;
use crate::store::Snapshot;
use crate::watch::{Steps, UNWATCHED};

/// The memory for the set of reached objects: a bit for each of half a thousand million of them.
const SET_BYTES: usize = 64 << 20;

/// The outcome of [`reach`].
#[derive(Debug)]
pub struct Reached {
    /// Objects that exist and can be reached.
    pub oids: OidSet,
    /// References from these to objects that do not exist: target and source.
    pub dangling: Vec<(Oid, Oid)>,
    /// How many such references there are; only the first thousand are listed.
    pub dangling_count: u64,
    /// Objects that can be reached and not be read. What only they refer to counts as not reached.
    pub damaged: Vec<Oid>,
}

/// Dangling references that are listed at most.
const DANGLING_MAX: usize = 1000;

/// Walks from the root through all references, breadth first.
///
/// # Errors
/// Those of reading, but for damaged and missing objects, which are listed.
pub fn reach(snapshot: &dyn Snapshot) -> Result<Reached> {
    reach_watched(snapshot, &mut Steps::new(UNWATCHED))
}

/// As [`reach`]; what `steps` tell can end it.
pub(crate) fn reach_watched(snapshot: &dyn Snapshot, steps: &mut Steps<'_>) -> Result<Reached> {
    let mut damaged = Vec::new();
    let (oids, mut missing) = reach_with(SET_BYTES, &mut |oid, refs| {
        steps.other(0)?;
        let loaded = snapshot.load_with(oid, &mut |record| {
            refs.extend(record.refs());
            Ok(())
        });
        match loaded {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                damaged.push(oid);
                Ok(true)
            }
            loaded => loaded,
        }
    })?;
    let mut reached = Reached {
        oids,
        dangling: Vec::new(),
        dangling_count: 0,
        damaged,
    };
    // An absent root is an empty store; every other absent object is one too few.
    if missing.len() > u64::from(missing.contains(Oid::ROOT)?) {
        find_sources(snapshot, &mut missing, &mut reached)?;
    }
    Ok(reached)
}

/// Walks from the root, breadth first, through the references that `refs_of` adds for an object; false
/// where there is none. Returns what is there, and what is missing. Each set takes up to `memory_bytes` of
/// memory, and the rest of the disk.
///
/// # Errors
/// Those of `refs_of`, and of temporary files.
pub fn reach_with(
    memory_bytes: usize,
    refs_of: &mut dyn FnMut(Oid, &mut Vec<Oid>) -> Result<bool>,
) -> Result<(OidSet, OidSet)> {
    let (mut walk, mut refs) = (RootWalk::new(memory_bytes)?, Vec::new());
    while let Some(oid) = walk.pop()? {
        refs.clear();
        match refs_of(oid, &mut refs)? {
            true => walk.found(oid, &refs)?,
            false => walk.missed(oid)?,
        }
    }
    Ok(walk.finish())
}

/// A walk from the root through all references, breadth first, for callers who look at several objects at
/// once: each OID is handed out once, and what becomes of it may be told later.
///
/// ```
/// use durum_core::{Oid, collect::RootWalk};
/// let mut walk = RootWalk::new(1 << 20)?;
/// assert_eq!(walk.pop()?, Some(Oid::ROOT));
/// assert_eq!(walk.pop()?, None); // nothing else is known yet
/// walk.found(Oid::ROOT, &[Oid(5), Oid(7)])?;
/// assert_eq!((walk.pop()?, walk.pop()?), (Some(Oid(5)), Some(Oid(7))));
/// walk.missed(Oid(7))?;
/// walk.found(Oid(5), &[Oid::ROOT, Oid(7)])?;
/// assert_eq!(walk.pop()?, None);
/// let (found, missing) = walk.finish();
/// assert_eq!((found.len(), missing.len()), (2, 1));
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Debug)]
pub struct RootWalk {
    oids: OidSet,
    missing: OidSet,
    /// Those that were ever referred to.
    seen: OidSet,
    frontier: Frontier,
    /// How many are in the frontier.
    waiting: u64,
}

impl RootWalk {
    /// A walk that begins at the root. Each of its sets takes up to `memory_bytes` of memory, and the rest of
    /// the disk.
    ///
    /// # Errors
    /// `Full` and others of temporary files, as of all its methods.
    pub fn new(memory_bytes: usize) -> Result<RootWalk> {
        let mut walk = RootWalk {
            oids: OidSet::new(memory_bytes),
            missing: OidSet::new(memory_bytes / 64),
            seen: OidSet::new(memory_bytes),
            frontier: Frontier::default(),
            waiting: 0,
        };
        walk.refer(&[Oid::ROOT])?;
        Ok(walk)
    }

    /// The next object to be looked at. Where there is none, there may still be after others were found.
    ///
    /// # Errors
    /// As [`RootWalk::new`].
    pub fn pop(&mut self) -> Result<Option<Oid>> {
        let next = self.frontier.pop()?;
        self.waiting -= u64::from(next.is_some());
        Ok(next)
    }

    /// How many objects are known that are still to be looked at.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The object is there, and refers to these.
    ///
    /// # Errors
    /// As [`RootWalk::new`].
    pub fn found(&mut self, oid: Oid, refs: &[Oid]) -> Result<()> {
        self.oids.insert(oid)?;
        self.refer(refs)
    }

    /// The object is not there.
    ///
    /// # Errors
    /// As [`RootWalk::new`].
    pub fn missed(&mut self, oid: Oid) -> Result<()> {
        self.missing.insert(oid).map(drop)
    }

    /// What is there, and what is missing.
    pub fn finish(self) -> (OidSet, OidSet) {
        (self.oids, self.missing)
    }

    fn refer(&mut self, refs: &[Oid]) -> Result<()> {
        for target in refs {
            if self.seen.insert(*target)? {
                self.frontier.push(*target)?;
                self.waiting += 1;
            }
        }
        Ok(())
    }
}

/// Finds which reached objects refer to the missing ones.
fn find_sources(
    snapshot: &dyn Snapshot,
    missing: &mut OidSet,
    reached: &mut Reached,
) -> Result<()> {
    let mut scan = snapshot.scan_stored(Oid::ROOT)?;
    while let Some((oid, bytes)) = scan.next()? {
        let Ok(record) = crate::record::Record::parse(oid, bytes) else {
            continue;
        };
        if !reached.oids.contains(oid)? {
            continue;
        }
        for target in record.refs() {
            if missing.contains(target)? {
                reached.dangling_count += 1;
                if reached.dangling.len() < DANGLING_MAX {
                    reached.dangling.push((target, oid));
                }
            }
        }
    }
    Ok(())
}
