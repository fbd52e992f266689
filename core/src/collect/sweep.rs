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
/// it cannot be told from garbage. All garbage is condemned in one write and then deleted in several
/// commits. Stopped in between, it leaves garbage that refers to objects that are gone; nobody can link
/// to that any more, and the next collection deletes it.
pub(crate) fn mark_and_sweep(store: &LocalStore) -> Result<Collected> {
    let mut sweep = Sweep::begin(store)?;
    let mut reached = reach(&*store.snapshot()?)?;
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
    if sweep.condemn(&mut |oid| Ok(!reached.oids.contains(oid)?))? == 0 {
        return Ok(total);
    }
    let mut from = Oid::ROOT;
    loop {
        let batch = sweep.condemned(from, BATCH_MAX)?;
        let Some((last, _)) = batch.last() else { break };
        from = last.next();
        total.objects += batch.len() as u64;
        total.bytes += batch
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>();
        sweep.delete(batch)?;
    }
    sweep.finish()?;
    Ok(total)
}
