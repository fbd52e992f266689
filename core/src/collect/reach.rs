//! What the root reaches, in bounded memory.

use super::frontier::Frontier;
use super::oid_set::OidSet;
use crate::error::{ErrorKind, Result};
use crate::id::Oid;
use crate::store::Snapshot;

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
    let mut damaged = Vec::new();
    let (oids, mut missing) = reach_with(SET_BYTES, &mut |oid, refs| {
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
    let (mut oids, mut seen) = (OidSet::new(memory_bytes), OidSet::new(memory_bytes));
    let mut missing = OidSet::new(memory_bytes / 64);
    let (mut frontier, mut refs) = (Frontier::default(), Vec::new());
    seen.insert(Oid::ROOT)?;
    frontier.push(Oid::ROOT)?;
    while let Some(oid) = frontier.pop()? {
        refs.clear();
        match refs_of(oid, &mut refs)? {
            true => oids.insert(oid)?,
            false => missing.insert(oid)?,
        };
        for target in &refs {
            if seen.insert(*target)? {
                frontier.push(*target)?;
            }
        }
    }
    Ok((oids, missing))
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
