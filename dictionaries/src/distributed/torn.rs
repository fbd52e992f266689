//! Writes that crashes have cut off between their items: after healing history, newest revision and indexes agree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use durum_cluster::TestCluster;
use durum_garage::Range as ItemRange;
use tokio::runtime::Runtime;

use super::Distributed;
use super::shard::{self, Place};
use crate::class::{Class, IndexType};
use crate::clock::{Clock, RevisionId};
use crate::home::{Home, Write};
use crate::merge::Merger;
use crate::order::Query;
use crate::pace::Pace;
use crate::revision::Revision;
use crate::value::{Fields, Value};

/// Garage tells of a deletion a little later than of all else.
const SETTLES: Duration = Duration::from_secs(10);

/// A history, a newest revision and three lines.
const ITEMS: usize = 5;

fn fields(number: i64) -> Fields {
    let tags = ["a", "b"].map(|tag| Value::String(format!("{tag}{number}")));
    [
        ("n".to_owned(), Value::Int(number)),
        ("t".to_owned(), Value::List(tags.to_vec())),
    ]
    .into()
}

/// The names of all items of a dictionary.
fn items(home: &Distributed, key: &str) -> BTreeSet<String> {
    let read = async {
        let class = home.shared.catalogue.open("c").await?;
        let page = class
            .items
            .read_range(&ItemRange::of(&class.shard(key)))
            .await?;
        let of_key = |sort: &String| sort.contains(&format!(" {key} "));
        Ok(page
            .items
            .into_iter()
            .map(|item| item.sort)
            .filter(of_key)
            .collect())
    };
    home.run(read).unwrap()
}

/// What there has to be of a dictionary with these revisions of which the last is the newest.
fn expected(home: &Distributed, key: &str, revisions: &[Revision]) -> BTreeSet<String> {
    let read = async {
        let class = home.shared.catalogue.open("c").await?;
        let place = Place::new(&class, key)?;
        let mut expected: BTreeSet<String> = revisions
            .iter()
            .map(|each| format!("h {key} {}", each.id))
            .collect();
        if let Some(newest) = revisions.last() {
            expected.insert(format!("n {key} {}", newest.id));
            expected.extend(place.lines(&class, newest));
        }
        Ok(expected)
    };
    home.run(read).unwrap()
}

fn put(home: &Distributed, key: &str, number: i64) -> RevisionId {
    let write = Write {
        key: key.to_owned(),
        after: None,
        fields: Some(fields(number)),
    };
    *home.write("c", vec![write]).unwrap().first().unwrap()
}

/// A write that was cut off.
struct Torn {
    key: String,
    /// Whether enough of it arrived for it to be completed.
    is_there: bool,
    before: Vec<Revision>,
    revision: Revision,
}

/// Writes a dictionary, and of a second revision these items only; and takes so many away of what that supersedes.
fn tear(home: &Distributed, items: Range<usize>, taken: usize) -> Torn {
    let key = format!("k{}-{}-{taken}", items.start, items.end);
    put(home, &key, 1);
    let write = async {
        let class = home.shared.catalogue.open("c").await?;
        let place = Place::new(&class, &key)?;
        let before = shard::heads(&class, &place).await?;
        let revision = Revision::after(&home.shared.clock, &before, Some(fields(2)))?;
        let parts = shard::parts(&class, &place, &revision, true)?;
        assert_eq!(parts.items.len(), ITEMS);
        class
            .items
            .insert(parts.items.get(items.clone()).unwrap())
            .await?;
        let old = before.first().unwrap();
        let mut gone = place.lines(&class, old);
        gone.insert(0, format!("n {key} {}", old.id));
        let gone = gone.iter().take(taken);
        let gone: Vec<_> = gone
            .map(|sort| ItemRange::single(&place.shard, sort))
            .collect();
        class.items.delete(&gone).await?;
        Ok((before, revision))
    };
    let (before, revision) = home.run(write).unwrap();
    Torn {
        // Without its history and its newest item a revision is not there: lines alone make none.
        is_there: items.start < 2 && !items.is_empty(),
        key,
        before,
        revision,
    }
}

/// After healing it is there whole, or nothing of it is.
fn check(home: &Distributed, torn: Torn) {
    let key = torn.key.as_str();
    let mut revisions = torn.before;
    revisions.extend(torn.is_there.then_some(torn.revision));
    let expected = expected(home, key, &revisions);
    let begun = Instant::now();
    while items(home, key) != expected {
        let there = items(home, key);
        assert!(
            begun.elapsed() < SETTLES,
            "{key}: {there:?} and not {expected:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let newest = home.newest("c", key).unwrap().unwrap();
    assert_eq!(Some(&newest.revision), revisions.last());
    assert_eq!(newest.concurrent, []);
    for number in [1, 2] {
        let found = home.select("c", "n", &Query::Equals(Value::Int(number)));
        let is_found = found
            .unwrap()
            .map(Result::unwrap)
            .any(|found| found.key == key);
        assert_eq!(
            is_found,
            (number == 2) == torn.is_there,
            "{key} by {number}"
        );
    }
}

#[test]
fn what_a_crash_leaves_of_a_write_is_healed() {
    let runtime = Runtime::new().unwrap();
    let Some(cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let clock = Clock::new().unwrap();
    let merger = Merger::default();
    let home =
        Distributed::with_grace(cluster.cluster(), "torn", merger, clock, Duration::ZERO).unwrap();
    let class = Class::new("c").copies(3).index("n", IndexType::Int);
    home.define(class.index_many("t", IndexType::String))
        .unwrap();

    let mut torn: Vec<Torn> = (0..=ITEMS).map(|end| tear(&home, 0..end, 0)).collect();
    // As many are taken away of the old one, but for its history.
    torn.extend((1..ITEMS).map(|taken| tear(&home, 0..ITEMS, taken)));
    // Items arrive in any order: the last ones can be there without the first.
    torn.extend((1..ITEMS).map(|start| tear(&home, start..ITEMS, 0)));
    let healed = home.heal("c", &mut Pace::new(None)).unwrap();
    assert!(healed.indexed > 0, "{healed:?}");
    for torn in torn {
        check(&home, torn);
    }
    let again = home.heal("c", &mut Pace::new(None)).unwrap();
    assert_eq!((again.merged, again.left, again.pruned), (0, 0, 0));
}
