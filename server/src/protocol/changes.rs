//! What was changed, in answers to `Changes`.

use std::time::Duration;

use durum_core::store::{Change, Changes};
use durum_core::{Oid, Tid};

use super::bytes::{Body, put_u32, put_u64};

/// Set in an OID that was deleted.
const DELETED: u64 = 1 << 63;

/// What a `Changes` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangesRequest {
    pub(crate) since: Tid,
    /// For how long the answer may wait until there is something to tell.
    pub(crate) wait: Duration,
    /// About how many changes; whole commits in any case.
    pub(crate) count: u32,
}

impl ChangesRequest {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.since.0);
        let millis = u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX);
        put_u32(out, millis);
        put_u32(out, self.count);
    }

    pub(crate) fn take(body: &mut Body<'_>) -> Option<ChangesRequest> {
        Some(ChangesRequest {
            since: body.tid()?,
            wait: Duration::from_millis(body.u32()?.into()),
            count: body.u32()?,
        })
    }
}

/// Leaves the first: whole commits, as many as have about `count` changes.
pub(crate) fn cut(changes: &mut Changes, count: u32) {
    let all = &mut changes.changes;
    let count = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    // The end of the commit to which the last one that fits belongs.
    let last = all.get(count - 1).map(|change| change.tid);
    let end = last.map_or(all.len(), |last| {
        all.partition_point(|change| change.tid <= last)
    });
    if end < all.len() {
        all.truncate(end);
        changes.tid = last.unwrap_or(changes.tid);
    }
}

/// Appends changes, and the last commit that there is.
pub(crate) fn put(out: &mut Vec<u8>, changes: &Changes, newest: Tid) {
    put_u64(out, changes.tid.0);
    put_u64(out, newest.0);
    for change in &changes.changes {
        put_u64(out, change.tid.0);
        put_u64(out, change.oid.0 | if change.deleted { DELETED } else { 0 });
    }
}

/// The changes, up to which commit they are whole, and the last commit that there was.
pub(crate) fn take(body: &mut Body<'_>) -> Option<(Changes, Tid)> {
    let (tid, newest) = (body.tid()?, body.tid()?);
    let mut changes = Vec::new();
    while !body.is_empty() {
        let (tid, oid) = (body.tid()?, body.u64()?);
        changes.push(Change {
            tid,
            oid: Oid(oid & !DELETED),
            deleted: oid & DELETED != 0,
        });
    }
    Some((Changes { tid, changes }, newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_told_whole() {
        let change = |tid, oid| Change {
            tid: Tid(tid),
            oid: Oid(oid),
            deleted: oid == 3,
        };
        let all = vec![change(5, 1), change(5, 2), change(6, 3), change(9, 1)];
        let changes = Changes {
            tid: Tid(11),
            changes: all.clone(),
        };
        for (count, told, until) in [
            (0, 2, 5),
            (1, 2, 5),
            (2, 2, 5),
            (3, 3, 6),
            (4, 4, 11),
            (9, 4, 11),
        ] {
            let mut bytes = Vec::new();
            let mut some = changes.clone();
            cut(&mut some, count);
            put(&mut bytes, &some, changes.tid);
            let (got, newest) = take(&mut Body::new(&bytes)).unwrap();
            assert_eq!((got.tid, newest), (Tid(until), Tid(11)));
            assert_eq!(got.changes, all[..told]);
        }
    }
}
