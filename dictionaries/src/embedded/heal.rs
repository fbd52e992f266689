//! What becomes of concurrent revisions and of old ones, in time.

use std::ops::Bound;
use std::time::{Duration, SystemTime};

use durum_core::Result;
use durum_objects::{Database, Transaction};

use super::layout::{Catalogue, ClassRoot, Entry, Logged, ROOT};
use super::{define, log, open, write};
use crate::class::History;
use crate::clock::RevisionId;
use crate::home::Healed;
use crate::merge::{self, Merger};
use crate::pace::Pace;
use crate::revision::Revision;

/// How many dictionaries are merged, or changes looked at, in one transaction.
const SLICE: usize = 64;

/// Clocks that are further ahead are wrong.
const AHEAD: Duration = Duration::from_secs(60);

/// How many revisions of one dictionary are pruned in one transaction.
const PRUNE: usize = 1024;

pub(super) fn heal(
    database: &Database,
    merger: &Merger,
    class: &str,
    pace: &mut Pace,
) -> Result<Healed> {
    let mut healed = Healed {
        indexed: define::build(database, class)?,
        ..Healed::default()
    };
    merge_all(database, merger, class, &mut healed, pace)?;
    prune(database, class, &mut healed, pace)?;
    Ok(healed)
}

/// Merges what is concurrent.
fn merge_all(
    database: &Database,
    merger: &Merger,
    class: &str,
    healed: &mut Healed,
    pace: &mut Pace,
) -> Result<()> {
    let mut from = Bound::Unbounded;
    loop {
        let keys: Vec<String> = database.read(|tx| {
            let root = open(tx, class)?;
            let keys = root.forked.range(tx, (from.clone(), Bound::Unbounded))?;
            keys.take(SLICE).collect()
        })?;
        let Some(last) = keys.last() else {
            return Ok(());
        };
        let (merged, left) = database.transact(|tx| {
            let root = open(tx, class)?;
            let mut counts = (0, 0);
            for key in &keys {
                match merge_one(tx, &root, merger, key)? {
                    Some(true) => counts.0 += 1,
                    Some(false) => counts.1 += 1,
                    None => {}
                }
            }
            Ok(counts)
        })?;
        healed.merged += merged;
        healed.left += left;
        std::thread::sleep(pace.due(keys.len() as u64));
        from = Bound::Excluded(last.clone());
    }
}

/// Merges the concurrent revisions of one dictionary; says whether that could be done, where there are any.
fn merge_one(
    tx: &Transaction,
    root: &ClassRoot,
    merger: &Merger,
    key: &str,
) -> Result<Option<bool>> {
    let Some(entry) = root.entries.get(tx, key)? else {
        return Ok(None);
    };
    let entry = tx.get(entry)?;
    if entry.heads.is_empty() {
        return Ok(None);
    }
    let heads = write::heads(tx, &entry)?;
    let base = || common(tx, &entry, &heads);
    let name = root.class.name.as_str();
    let Some(merged) = merger.merge(&root.class.merge, (name, key), &heads, base)? else {
        return Ok(Some(false));
    };
    if let Err(error) = merged.check() {
        tracing::warn!(class = name, key, %error, "concurrent revisions cannot be merged");
        return Ok(Some(false));
    }
    write::add(tx, root, key, merged)?;
    Ok(Some(true))
}

/// The last revision from which all of these descend, as far as the history has them.
fn common(tx: &Transaction, entry: &Entry, heads: &[Revision]) -> Result<Option<Revision>> {
    let parents = |id| Ok(write::find(tx, entry, id)?.map(|revision| revision.parents));
    match merge::common_by(heads, parents)? {
        Some(id) => write::find(tx, entry, id),
        None => Ok(None),
    }
}

/// Prunes what the history no longer keeps.
fn prune(database: &Database, class: &str, healed: &mut Healed, pace: &mut Pace) -> Result<()> {
    let rule = database.read(|tx| Ok(open(tx, class)?.class.history))?;
    match rule {
        History::All => Ok(()),
        History::Revisions(_) => sweep(database, class),
        History::Seconds(_) => {
            let Some(limit) = rule
                .age()
                .and_then(|age| SystemTime::now().checked_sub(age))
            else {
                return Ok(());
            };
            let limit = RevisionId::first_of(limit);
            loop {
                let (pruned, more) = database.transact(|tx| prune_old(tx, class, limit))?;
                healed.pruned += pruned;
                std::thread::sleep(pace.due(SLICE as u64));
                if !more {
                    return Ok(());
                }
            }
        }
    }
}

/// Takes the changes from before `limit` that are first in the log out of it, and prunes what these have superseded; says how much that was, and
/// whether there is more to do.
///
/// A revision is kept for as long as it was the newest within the time that is kept. So each is pruned when the change that
/// superseded it gets too old, and that is when this meets it.
fn prune_old(tx: &Transaction, class: &str, limit: RevisionId) -> Result<(u64, bool)> {
    let root = open(tx, class)?;
    let Some((changes, _)) = log::read(tx, &root, root.log_begins)? else {
        return Ok((0, false));
    };
    // One from a clock that is ahead is passed over, and does not stop the others.
    let now = RevisionId::last_of(SystemTime::now() + AHEAD);
    let is_old = |id: RevisionId| id < limit || id > now;
    let old = changes.iter().take_while(|(_, change)| is_old(change.id));
    let mut pruned = 0;
    let mut begins = None;
    for (at, change) in old.take(SLICE) {
        let (some, all) = match change.id > now {
            true => (0, true),
            false => supersede(tx, &root, change)?,
        };
        pruned += some;
        if !all {
            break;
        }
        begins = Some(at + 1);
    }
    let more = pruned > 0 || begins.is_some();
    if let Some(begins) = begins {
        begin_log(tx, class, begins)?;
    }
    Ok((pruned, more))
}

/// Prunes what lies before a change; says how much that was, and whether it was all.
fn supersede(tx: &Transaction, root: &ClassRoot, change: &Logged) -> Result<(u64, bool)> {
    let key = change.key.as_str();
    let Some(at) = root.entries.get(tx, key)? else {
        return Ok((0, true));
    };
    let mut entry = Entry::clone(&*tx.get(at)?);
    let newest = &entry.newest;
    let is_gone = newest.cleared == Some(newest.written.unwrap_or(newest.id));
    if newest.id == change.id && is_gone && entry.heads.is_empty() {
        root.entries.remove(tx, key)?;
        return Ok((entry.past.count + 1, true));
    }
    let first = entry.past.first(tx, PRUNE + entry.heads.len())?;
    let ids = first
        .iter()
        .map(|(id, _)| *id)
        .take_while(|id| *id < change.id);
    let ids: Vec<_> = ids
        .filter(|id| !entry.heads.contains(id))
        .take(PRUNE)
        .collect();
    for id in &ids {
        write::prune(tx, &mut entry, *id)?;
    }
    if !ids.is_empty() {
        tx.set(at, entry)?;
    }
    Ok((ids.len() as u64, ids.len() < PRUNE))
}

/// Lets the log begin at a position.
fn begin_log(tx: &Transaction, class: &str, begins: u64) -> Result<()> {
    change_root(tx, class, |tx, root| {
        log::drop_before(tx, root, begins)?;
        root.log_begins = begins;
        Ok(())
    })
}

/// Takes revisions that are no longer there out of the log, when as many have come since the last time.
fn sweep(database: &Database, class: &str) -> Result<()> {
    let (swept, end, live) = database.read(|tx| {
        let root = open(tx, class)?;
        let live = root.chunks.len(tx)? * log::CHUNK as u64;
        Ok((root.log_swept, tx.get(root.tail)?.first, live))
    })?;
    if end - swept < (live / 2).max(log::CHUNK as u64) {
        return Ok(());
    }
    let mut from = 0;
    while let Some(next) = database.transact(|tx| sweep_on(tx, class, from))? {
        from = next;
    }
    database.transact(|tx| {
        change_root(tx, class, |_, root| {
            root.log_swept = end;
            Ok(())
        })
    })
}

fn sweep_on(tx: &Transaction, class: &str, from: u64) -> Result<Option<u64>> {
    let root = open(tx, class)?;
    log::sweep_one(tx, &root, from, |change| {
        let Some(entry) = root.entries.get(tx, change.key.as_str())? else {
            return Ok(false);
        };
        let entry = tx.get(entry)?;
        Ok(entry.newest.id == change.id || entry.past.find(tx, change.id)?.is_some())
    })
}

fn change_root(
    tx: &Transaction,
    class: &str,
    change: impl FnOnce(&Transaction, &mut ClassRoot) -> Result<()>,
) -> Result<()> {
    let root = open(tx, class)?;
    let mut changed = ClassRoot::clone(&root);
    change(tx, &mut changed)?;
    let catalogue = tx.root::<Catalogue>(ROOT)?;
    let at = match catalogue {
        Some(catalogue) => tx.get(catalogue)?.classes.get(tx, class)?,
        None => None,
    };
    match at {
        Some(at) => tx.set(at, changed),
        None => Ok(()),
    }
}
