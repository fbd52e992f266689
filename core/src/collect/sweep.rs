//! Mark-and-sweep over a store in this process.

use super::{Collected, reach};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Oid;
use crate::store::{LocalStore, Store as _, Sweep};

/// Objects that are deleted in one engine batch: small enough for a bounded pause and memory.
const BATCH_MAX: usize = 4096;

/// Deletes everything that the root does not reach.
///
/// Nothing is deleted where an object cannot be read or refers to one that is missing: what hangs on
/// it cannot be told from garbage. The deletion runs in several commits; stopped in between, it leaves
/// garbage that refers to objects that are gone, which the next collection deletes.
pub(crate) fn mark_and_sweep(store: &LocalStore) -> Result<Collected> {
    let mut sweep = Sweep::begin(store)?;
    let snapshot = store.snapshot()?;
    let mut reached = reach(&*snapshot)?;
    if let Some(oid) = reached.damaged.first() {
        return Err(
            Error::damaged("collect garbage", "an object that is in use cannot be read")
                .with_oid(*oid)
                .hint("Nothing was deleted. See `durum check`."),
        );
    }
    if let Some((target, source)) = reached.dangling.first() {
        let reason = format!("object {source} refers to object {target}, which does not exist");
        return Err(Error::new(ErrorKind::Damaged, "collect garbage")
            .because(reason)
            .hint("Nothing was deleted. See `durum check`."));
    }
    let mut total = Collected::default();
    let mut batch = Vec::new();
    let mut scan = snapshot.scan_stored(Oid::ROOT)?;
    while let Some((oid, bytes)) = scan.next()? {
        if !reached.oids.contains(oid)? {
            total.objects += 1;
            total.bytes += bytes.len() as u64;
            batch.push((oid, bytes.to_vec()));
        }
        if batch.len() >= BATCH_MAX {
            sweep.delete(std::mem::take(&mut batch))?;
        }
    }
    sweep.delete(batch)?;
    Ok(total)
}
