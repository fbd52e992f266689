//! The log of changes: which objects each commit wrote and deleted.
//!
//! A commit adds rows `(tid, part)`, each with up to [`PART_MAX`] OIDs: the number of objects written,
//! their OIDs as varint differences, then the same of those deleted. Rows of commits that are older
//! than the newest [`COMMITS_KEPT`] are removed in slices.

use super::batch::CommitId;
use super::condemned::Condemned;
use super::write_set::WriteSet;
use crate::collect::rows::{condemned_oids, put_oids, take_oids};
use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, Tid};

/// How many commits the log reaches back at least.
pub(super) const COMMITS_KEPT: u64 = 65_536;
/// How many commits beyond that may gather before a slice is removed.
const SLACK: u64 = 1024;
/// OIDs in one row at most, so that rows stay small for a commit of any size.
const PART_MAX: usize = 4096;

/// A change of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The commit.
    pub tid: Tid,
    /// The object.
    pub oid: Oid,
    /// Whether it was deleted; else it was created or updated.
    pub deleted: bool,
}

/// The changes after some commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The last commit that is included.
    pub tid: Tid,
    /// The changes, by ascending tid; of each commit first what it wrote, then what it deleted.
    pub changes: Vec<Change>,
}

/// The rows that log one commit. Both slices are ascending.
pub(super) fn rows(tid: Tid, written: &[Oid], deleted: &[Oid]) -> Vec<(Key, Vec<u8>)> {
    let parts = written
        .len()
        .div_ceil(PART_MAX)
        .max(deleted.len().div_ceil(PART_MAX));
    let mut written = written.chunks(PART_MAX);
    let mut deleted = deleted.chunks(PART_MAX);
    (0..parts as u64)
        .map(|part| {
            let mut value = Vec::new();
            for oids in [written.next(), deleted.next()] {
                put_oids(&mut value, oids.unwrap_or_default());
            }
            (Key::pair(tid.0, part), value)
        })
        .collect()
}

/// Where the log shall begin after the commit `tid`, if it is time to shorten it.
pub(super) fn shortened(tid: Tid, from: Tid) -> Option<Tid> {
    let excess = tid.0.saturating_sub(from.0 + COMMITS_KEPT);
    (excess >= SLACK).then(|| Tid(from.0 + SLACK))
}

/// The rows that tell of commits up to `last`: their changes and their identities.
pub(super) fn rows_until(view: &dyn EngineSnapshot, last: Tid) -> Result<Vec<(Table, Key)>> {
    let mut rows = Vec::new();
    let mut cursor = view.cursor(Table::Changes, Key::MIN)?;
    while let Some((key, _)) = cursor.next()? {
        if key.first > last.0 {
            break;
        }
        rows.push((Table::Changes, key));
    }
    let mut cursor = view.cursor(Table::Recent, Key::MIN)?;
    while let Some((key, value)) = cursor.next()? {
        if recent_tid(value).is_none_or(|tid| tid <= last) {
            rows.push((Table::Recent, key));
        }
    }
    Ok(rows)
}

/// The row that remembers a commit's identity: keyed by its first 63 bits; the whole and the tid.
pub(super) fn recent_row(identity: CommitId, tid: Tid) -> (Key, Vec<u8>) {
    let number = u128::from_be_bytes(identity);
    let value = [identity.as_slice(), &tid.0.to_be_bytes()].concat();
    (Key::from((number >> 65) as u64), value)
}

/// The tid in a row of [`recent_row`].
pub(super) fn recent_tid(value: &[u8]) -> Option<Tid> {
    value
        .last_chunk::<8>()
        .map(|tid| Tid(u64::from_be_bytes(*tid)))
}

/// The commit that a row of [`recent_row`] is about, where it is the one with this identity.
pub(super) fn recent_of(identity: CommitId, value: &[u8]) -> Option<Tid> {
    value
        .starts_with(&identity)
        .then(|| recent_tid(value))
        .flatten()
}

/// The commit with this identity, if one is remembered.
pub(super) fn remembered(rows: &WriteSet, identity: CommitId) -> Result<Option<Tid>> {
    let (key, _) = recent_row(identity, Tid::ZERO);
    let mut tid = None;
    rows.get(Table::Recent, key, &mut |value| {
        tid = recent_of(identity, value);
    })?;
    Ok(tid)
}

/// Reads the changes of the commits after `since`, up to `until`: what [`visit`] shows, in order.
pub(super) fn read(
    view: &dyn EngineSnapshot,
    since: Tid,
    until: Tid,
    condemned: Option<&Condemned>,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    visit(view, since, until, condemned, &mut |change| {
        changes.push(change);
        check_length(&changes, since)
    })?;
    // What a commit wrote and deleted was deleted last.
    changes.sort_unstable_by_key(|change| (change.tid, change.deleted, change.oid));
    changes.dedup();
    Ok(changes)
}

/// Shows the changes of the commits after `since`, up to `until`, in no particular order. An engine
/// without snapshots may show a row of what is condemned, and then its deletion in the log as well: some
/// changes may come twice.
///
/// `condemned` is what a collection was deleting when `view` was opened, or before: gone since its
/// condemnation, though its rows come bit by bit.
pub(super) fn visit(
    view: &dyn EngineSnapshot,
    since: Tid,
    until: Tid,
    condemned: Option<&Condemned>,
    show: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    if let Some(condemned) = condemned.filter(|now| now.tid > since && now.tid <= until) {
        visit_condemned(view, condemned, show)?;
    }
    let mut cursor = view.cursor(Table::Changes, Key::pair(since.0.saturating_add(1), 0))?;
    while let Some((key, value)) = cursor.next()? {
        let tid = Tid(key.first);
        if tid > until {
            break;
        }
        let mut rest = value;
        for deleted in [false, true] {
            let oids = take_oids(&mut rest).ok_or_else(|| {
                Error::damaged(
                    "read the log of changes",
                    format!("the row of commit {tid}"),
                )
            })?;
            for oid in oids {
                show(Change { tid, oid, deleted })?;
            }
        }
    }
    Ok(())
}

fn visit_condemned(
    view: &dyn EngineSnapshot,
    condemned: &Condemned,
    show: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    let mut cursor = view.cursor(Table::Condemned, Key::pair(condemned.job, 0))?;
    while let Some((key, value)) = cursor.next()? {
        if key.first != condemned.job {
            break;
        }
        for oid in condemned_oids(key, value)? {
            show(Change {
                tid: condemned.tid,
                oid,
                deleted: true,
            })?;
        }
    }
    Ok(())
}

/// Beyond this many changes it is better to read everything anew than to hold them all in memory.
const CHANGES_MAX: usize = 4 << 20;

fn check_length(changes: &[Change], since: Tid) -> Result<()> {
    if changes.len() <= CHANGES_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooOld, "read the log of changes")
        .because(format!(
            "more than {CHANGES_MAX} changes came after {since}"
        ))
        .hint("Read everything anew from a snapshot."))
}

/// The row that logs a part of what the commit `tid` condemned, when that part has been deleted; `left`
/// is how many members were left then, so that each part has a key of its own.
pub(super) fn condemned_part(tid: Tid, left: u64, oids: &[Oid]) -> (Key, Vec<u8>) {
    const FIRST: u64 = 1 << 40;
    let mut value = Vec::new();
    put_oids(&mut value, &[]);
    put_oids(&mut value, oids);
    (Key::pair(tid.0, FIRST + left), value)
}

/// Whether a log that begins after `from` and ends with `until` tells of all commits after `since`.
///
/// # Errors
/// `TooOld` where it does not.
pub(super) fn check_reach(since: Tid, from: Tid, until: Tid) -> Result<()> {
    if since > until {
        return Err(too_new(since, until));
    }
    if since < from {
        return Err(too_old(since, from));
    }
    Ok(())
}

fn too_old(since: Tid, from: Tid) -> Error {
    Error::new(ErrorKind::TooOld, "read the log of changes")
        .because(format!(
            "it begins after commit {from}, and {since} was asked for"
        ))
        .hint("Read everything anew from a snapshot.")
}

fn too_new(since: Tid, last: Tid) -> Error {
    Error::new(ErrorKind::TooOld, "read the log of changes")
        .because(format!(
            "the last commit is {last}, and {since} was asked for"
        ))
        .hint("Commits were lost, or this is another store. Read everything anew from a snapshot.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_of_any_size_are_split_into_rows() {
        for (written, deleted) in [
            (0, 1),
            (3, 0),
            (PART_MAX, 1),
            (2 * PART_MAX + 1, PART_MAX + 2),
        ] {
            let oids = |count: usize, step: u64| -> Vec<Oid> {
                (0..count as u64).map(|index| Oid(index * step)).collect()
            };
            let (written, deleted) = (oids(written, 3), oids(deleted, 7));
            let mut found = (Vec::new(), Vec::new());
            for (part, (key, value)) in rows(Tid(9), &written, &deleted).into_iter().enumerate() {
                assert_eq!(key, Key::pair(9, part as u64));
                let mut rest = value.as_slice();
                found.0.extend(take_oids(&mut rest).unwrap());
                found.1.extend(take_oids(&mut rest).unwrap());
                assert!(rest.is_empty());
            }
            assert_eq!(found, (written, deleted));
        }
    }
}
