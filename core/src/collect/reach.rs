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
    let mut reached = Reached {
        oids: OidSet::new(SET_BYTES),
        dangling: Vec::new(),
        dangling_count: 0,
        damaged: Vec::new(),
    };
    let mut seen = OidSet::new(SET_BYTES);
    let mut missing = OidSet::new(SET_BYTES / 64);
    let mut frontier = Frontier::default();
    seen.insert(Oid::ROOT)?;
    frontier.push(Oid::ROOT)?;
    while let Some(oid) = frontier.pop()? {
        let mut refs = Vec::new();
        let loaded = snapshot.load_with(oid, &mut |record| {
            refs.extend(record.refs());
            Ok(())
        });
        match loaded {
            Ok(true) => reached.oids.insert(oid)?,
            Ok(false) => missing.insert(oid)?,
            Err(error) if error.kind() == ErrorKind::Damaged => {
                reached.damaged.push(oid);
                reached.oids.insert(oid)?
            }
            Err(error) => return Err(error),
        };
        for target in refs {
            if seen.insert(target)? {
                frontier.push(target)?;
            }
        }
    }
    // An absent root is an empty store; every other absent object is one too few.
    if missing.len() > u64::from(missing.contains(Oid::ROOT)?) {
        find_sources(snapshot, &mut missing, &mut reached)?;
    }
    Ok(reached)
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
