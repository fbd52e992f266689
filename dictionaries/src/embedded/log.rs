//! The log of a class's changes, in the order of their commits.

use durum_core::Result;
use durum_objects::Transaction;

use super::layout::{Chunk, ClassRoot, Logged};
use crate::clock::RevisionId;
use crate::error;
use crate::home::Marker;

/// How many changes make a chunk.
pub(super) const CHUNK: usize = 128;

/// Appends a change.
pub(super) fn append(tx: &Transaction, root: &ClassRoot, key: &str, id: RevisionId) -> Result<()> {
    let full = {
        let mut tail = tx.get_mut(root.tail)?;
        tail.changes.push(Logged {
            key: key.to_owned(),
            id,
        });
        tail.changes.len() >= CHUNK
    };
    match full {
        true => cut_off(tx, root),
        false => Ok(()),
    }
}

/// Makes a chunk of the tail.
fn cut_off(tx: &Transaction, root: &ClassRoot) -> Result<()> {
    let (first, changes) = {
        let mut tail = tx.get_mut(root.tail)?;
        let first = tail.first;
        tail.first = tail.end();
        (first, std::mem::take(&mut tail.changes))
    };
    let chunk = tx.new(Chunk {
        changes: (0..).zip(changes).collect(),
    })?;
    root.chunks.insert(tx, first, chunk)?;
    Ok(())
}

/// Changes with their positions.
type Positioned = Vec<(u64, Logged)>;

/// The changes from a position on, as many as a chunk has, with their positions, and where to go on; none at the end.
pub(super) fn read(
    tx: &Transaction,
    root: &ClassRoot,
    from: u64,
) -> Result<Option<(Positioned, u64)>> {
    // Chunks first: who has not looked at the tail does not meet those who append to it.
    let containing = root.chunks.range(tx, ..=from)?.next_back().transpose()?;
    let later = root.chunks.range(tx, from + 1..)?;
    for entry in containing.into_iter().map(Ok).chain(later) {
        let (first, chunk) = entry?;
        let chunk = tx.get(chunk)?;
        let changes = chunk.changes.iter().cloned();
        let changes = changes.map(|(distance, change)| (first + u64::from(distance), change));
        let changes: Vec<_> = changes.filter(|(at, _)| *at >= from).collect();
        if let Some((last, _)) = changes.last() {
            let next = last + 1;
            return Ok(Some((changes, next)));
        }
    }
    let tail = tx.get(root.tail)?;
    let changes = (tail.first..).zip(tail.changes.iter().cloned());
    let changes: Vec<_> = changes.filter(|(at, _)| *at >= from).collect();
    Ok((!changes.is_empty()).then(|| (changes, tail.end())))
}

/// Where a marker says that somebody is.
pub(super) fn position(marker: &Marker) -> Result<u64> {
    let digits = marker.as_str().strip_prefix('e');
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| error::foreign(marker))
}

pub(super) fn marker(position: u64) -> Marker {
    Marker::new(format!("e{position}"))
}

/// Takes changes before a position out of the log.
pub(super) fn drop_before(tx: &Transaction, root: &ClassRoot, begins: u64) -> Result<()> {
    while let Some((first, chunk)) = root.chunks.first(tx)? {
        let changes = &tx.get(chunk)?.changes;
        let last = changes
            .last()
            .map_or(first, |(distance, _)| first + u64::from(*distance));
        if last >= begins {
            return Ok(());
        }
        root.chunks.remove(tx, &first)?;
    }
    let mut tail = tx.get_mut(root.tail)?;
    let surplus = begins.saturating_sub(tail.first);
    if surplus > 0 {
        let surplus = usize::try_from(surplus)
            .unwrap_or(usize::MAX)
            .min(tail.changes.len());
        tail.changes.drain(..surplus);
        tail.first += surplus as u64;
    }
    Ok(())
}

/// Takes what `keep` does not keep out of the first chunk from a position on; says from where to go on, until the tail is reached.
pub(super) fn sweep_one(
    tx: &Transaction,
    root: &ClassRoot,
    from: u64,
    mut keep: impl FnMut(&Logged) -> Result<bool>,
) -> Result<Option<u64>> {
    let Some((first, at)) = root.chunks.range(tx, from..)?.next().transpose()? else {
        return Ok(None);
    };
    let chunk = tx.get(at)?;
    let mut kept = Vec::new();
    for change in &chunk.changes {
        if keep(&change.1)? {
            kept.push(change.clone());
        }
    }
    if kept.is_empty() {
        root.chunks.remove(tx, &first)?;
    } else if kept.len() < chunk.changes.len() {
        tx.get_mut(at)?.changes = kept;
    }
    Ok(Some(first + 1))
}
