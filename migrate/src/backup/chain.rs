//! Which backups follow one another.

use durum_core::{Error, ErrorKind, Result, Tid};

use super::format::Header;

/// What is being done, for errors.
const CHAIN: &str = "restore";

/// How many of these backups are needed for the state after the commit `at`, or else after the last one's:
/// they are the first so many.
///
/// The first has to be a full one, and each following an increment of the same store that begins where the
/// one before ends, or before that: what it repeats is the same or newer.
///
/// # Errors
/// `Usage` where they do not follow one another, or none of them ends with `at`: the message lists the
/// commits that can be restored.
pub fn choose(headers: &[Header], at: Option<Tid>) -> Result<usize> {
    let refuse = |reason: String| Error::new(ErrorKind::Usage, CHAIN).because(reason);
    let Some(first) = headers.first() else {
        return Err(refuse("no backup is given".to_owned()));
    };
    if let Some(from) = first.from {
        return Err(refuse(format!(
            "the first backup holds only what came after commit {from}"
        ))
        .hint("Begin with a full backup."));
    }
    for (number, (before, header)) in (2..).zip(headers.iter().zip(headers.iter().skip(1))) {
        let Some(from) = header.from else {
            return Err(refuse(format!("backup {number} is another full one"))
                .hint("Give one full backup and the increments that follow it."));
        };
        if header.store_id != before.store_id {
            return Err(refuse(format!(
                "backup {number} is of the store {}, and those before it are of {}",
                header.store_id, before.store_id
            )));
        }
        if from > before.tid {
            return Err(refuse(format!(
                "backup {number} begins after commit {from}, and the one before it ends with {}",
                before.tid
            ))
            .hint("A backup between the two is missing."));
        }
        if header.tid < before.tid {
            return Err(refuse(format!(
                "backup {number} ends with commit {}, before the one before it, which ends with {}",
                header.tid, before.tid
            ))
            .hint("Give them in the order in which they were made."));
        }
    }
    let Some(at) = at else {
        return Ok(headers.len());
    };
    // Of several that end there all are taken: they may have been made for that.
    let found = headers.iter().rposition(|header| header.tid == at);
    found.map(|position| position + 1).ok_or_else(|| {
        let mut points: Vec<String> = headers.iter().map(|it| it.tid.to_string()).collect();
        points.dedup();
        refuse(format!("none of the backups ends with commit {at}"))
            .hint(format!("They end with {}.", points.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use durum_core::{Oid, StoreId};

    use super::*;

    fn header(from: Option<u64>, tid: u64) -> Header {
        Header {
            store_id: StoreId([1; 16]),
            from: from.map(Tid),
            tid: Tid(tid),
            high_water: Oid(1),
        }
    }

    #[test]
    fn backups_that_follow_one_another() {
        let chain = [
            header(None, 5),
            header(Some(5), 9),
            header(Some(5), 12),
            header(Some(12), 12),
        ];
        assert_eq!(choose(&chain, None).unwrap(), 4);
        assert_eq!(choose(&chain[..1], None).unwrap(), 1);
        for (at, count) in [(5, 1), (9, 2), (12, 4)] {
            assert_eq!(choose(&chain, Some(Tid(at))).unwrap(), count, "{at}");
        }
        let error = choose(&chain, Some(Tid(10))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("5, 9, 12"), "{error}");
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let foreign = Header {
            store_id: StoreId([2; 16]),
            ..header(Some(5), 6)
        };
        let full = header(None, 5);
        for (chain, part) in [
            (vec![], "no backup"),
            (vec![header(Some(1), 5)], "after commit 1"),
            (vec![full, full], "backup 2 is another full one"),
            (vec![full, foreign], "0202"),
            (vec![full, header(Some(6), 7)], "after commit 6"),
            (vec![full, header(Some(1), 4)], "before the one before it"),
            (vec![full, header(Some(5), 8), header(Some(5), 7)], "8"),
        ] {
            let error = choose(&chain, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
