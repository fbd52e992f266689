//! Reading few items past a node that hangs.
//!
//! Garage reads from as many nodes as make a quorum, the nearest ones, and from others when one of these fails. One
//! that says nothing (its process is stopped, its line cut) has not failed until a time of many seconds is over,
//! and all who ask its neighbours wait for it. A poll without a marker asks all nodes that have the items, and
//! answers 200 ms after a quorum has: what is read so is as new. But it has no limit, and so it is the second
//! choice, and only for ranges that are narrow.

use std::time::Duration;

use crate::k2v::{Item, Page, Range};

/// It is begun so much later than another node is asked: by then it is known which one not to ask.
pub(crate) const LATER: Duration = Duration::from_millis(20);
/// Only so many ranges are read in this way.
const RANGES_MAX: usize = 8;
/// Only ranges of which no more is wanted.
const LIMIT_MAX: u64 = 64;
/// What they have must not be longer, in bytes.
pub(crate) const ANSWER_MAX: usize = 4 << 20;

/// Whether all are narrow: single items, and the first or last few of a prefix.
pub(crate) fn all(ranges: &[Range]) -> bool {
    let narrow = |range: &Range| {
        let few = range.limit.is_some_and(|limit| limit <= LIMIT_MAX);
        range.single_item || (range.prefix.is_some() && few)
    };
    ranges.len() <= RANGES_MAX && ranges.iter().all(narrow)
}

/// What is polled: forwards always.
pub(crate) fn bounds(range: &Range) -> Range {
    let after = |key: &String| format!("{key}\0");
    let (start, end) = if range.single_item {
        (range.start.clone(), range.start.as_ref().map(after))
    } else if range.reverse {
        (
            range.end.as_ref().map(after),
            range.start.as_ref().map(after),
        )
    } else {
        (range.start.clone(), range.end.clone())
    };
    Range {
        prefix: range.prefix.clone(),
        start,
        end,
        ..Range::of(&range.partition)
    }
}

/// What a read would have had of what a poll has.
pub(crate) fn page(range: &Range, mut items: Vec<Item>) -> Page {
    items.retain(|item| {
        let wanted = range.tombstones || item.value().is_some();
        wanted && (!range.conflicts_only || item.values.len() > 1)
    });
    items.sort_by(|one, other| one.sort.cmp(&other.sort));
    if range.reverse && !range.single_item {
        items.reverse();
    }
    let limit = range.limit.and_then(|limit| usize::try_from(limit).ok());
    let next = limit.and_then(|limit| items.get(limit));
    let next = next.map(|item| item.sort.clone());
    items.truncate(limit.unwrap_or(usize::MAX));
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(sorts: &[&str]) -> Vec<Item> {
        let item = |sort: &&str| Item {
            sort: (*sort).to_owned(),
            token: String::new(),
            values: vec![(!sort.ends_with('x')).then(|| "v".into())],
        };
        sorts.iter().map(item).collect()
    }

    fn sorts(page: &Page) -> Vec<&str> {
        page.items.iter().map(|item| item.sort.as_str()).collect()
    }

    #[test]
    fn pages_are_cut_as_reads_are() {
        let polled = || items(&["c", "a", "bx", "d"]);
        let range = Range {
            limit: Some(2),
            ..Range::prefix("p", "")
        };
        let found = page(&range, polled());
        assert_eq!(
            (sorts(&found), found.next.as_deref()),
            (vec!["a", "c"], Some("d"))
        );
        let reverse = Range {
            reverse: true,
            ..range.clone()
        };
        let found = page(&reverse, polled());
        assert_eq!(
            (sorts(&found), found.next.as_deref()),
            (vec!["d", "c"], Some("a"))
        );
        let deleted = Range {
            tombstones: true,
            limit: Some(9),
            ..range
        };
        let found = page(&deleted, polled());
        assert_eq!(sorts(&found), ["a", "bx", "c", "d"]);
        assert_eq!(found.next, None);
    }

    #[test]
    fn bounds_go_forwards() {
        let single = bounds(&Range::single("p", "s"));
        assert_eq!(
            (single.start.as_deref(), single.end.as_deref()),
            (Some("s"), Some("s\0"))
        );
        let reverse = bounds(&Range {
            start: Some("z".into()),
            end: Some("a".into()),
            reverse: true,
            ..Range::prefix("p", "")
        });
        assert_eq!(
            (reverse.start.as_deref(), reverse.end.as_deref()),
            (Some("a\0"), Some("z\0"))
        );
        assert!(all(&[Range::single("p", "s")]));
        assert!(!all(&[Range::of("p")]));
        assert!(!all(&[Range::prefix("p", "h/")]));
    }
}
