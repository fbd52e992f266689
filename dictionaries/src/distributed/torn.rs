//! Writes that crashes have cut off between their items: after healing history, newest revision and indexes agree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use durum_cluster::TestCluster;
use durum_garage::Range;
use tokio::runtime::Runtime;

use super::Distributed;
use super::shard::{self, Place};
use crate::class::{Class, IndexType};
use crate::clock::{Clock, RevisionId};
use crate::home::{Home, Write};
use crate::merge::Merger;
use crate::order::Query;
use crate::revision::Revision;
use crate::value::{Fields, Value};

/// Garage tells of a deletion a little later than of all else.
const SETTLES: Duration = Duration::from_secs(10);

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
            .read_range(&Range::of(&class.shard(key)))
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

#[test]
fn what_a_crash_leaves_of_a_write_is_healed() {
    let runtime = Runtime::new().unwrap();
    let Some(cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let home = Distributed::new(
        cluster.cluster(),
        "torn",
        Merger::default(),
        Clock::new().unwrap(),
    )
    .unwrap();
    let class = Class::new("c")
        .copies(3)
        .index("n", IndexType::Int)
        .index_many("t", IndexType::String);
    home.define(class).unwrap();

    // A history, a newest revision and three lines; and as many to be taken away.
    let mut cases = Vec::new();
    for written in 0..=5 {
        cases.push((written, 0));
    }
    for taken in 1..=4 {
        cases.push((5, taken));
    }
    // Items arrive in any order: the last ones can be there without the first.
    for skipped in 1..5 {
        cases.push((skipped + 10, 0));
    }
    let mut keys = Vec::new();
    for (written, taken) in cases {
        let key = format!("k{written}-{taken}");
        put(&home, &key, 1);
        let cut_off = async {
            let class = home.shared.catalogue.open("c").await?;
            let place = Place::new(&class, &key)?;
            let before = shard::heads(&class, &place).await?;
            let revision = Revision::after(&home.shared.clock, &before, Some(fields(2)))?;
            let parts = shard::parts(&class, &place, &revision, true)?;
            assert_eq!(parts.items.len(), 5);
            let (from, to) = if written > 10 {
                (written - 10, 5)
            } else {
                (0, written)
            };
            class
                .items
                .insert(parts.items.get(from..to).unwrap())
                .await?;
            let old = before.first().unwrap();
            let mut gone = place.lines(&class, old);
            gone.insert(0, format!("n {key} {}", old.id));
            let gone: Vec<_> = gone
                .iter()
                .take(taken)
                .map(|sort| Range::single(&place.shard, sort))
                .collect();
            class.items.delete(&gone).await?;
            // Without its history and its newest item a revision is not there: lines alone make none.
            let is_there = from < 2 && to > 0;
            Ok((is_there, before, revision))
        };
        let (is_there, before, revision) = home.run(cut_off).unwrap();
        keys.push((key, is_there, before, revision));
    }
    let healed = home.heal("c").unwrap();
    assert!(healed.indexed > 0, "{healed:?}");
    for (key, is_there, mut revisions, new) in keys {
        if is_there {
            revisions.push(new);
        }
        let expected = expected(&home, &key, &revisions);
        let begun = Instant::now();
        while items(&home, &key) != expected {
            assert!(
                begun.elapsed() < SETTLES,
                "{key}: {:?} and not {expected:?}",
                items(&home, &key)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let newest = home.newest("c", &key).unwrap().unwrap();
        assert_eq!(
            (&newest.revision, newest.concurrent.len()),
            (revisions.last().unwrap(), 0)
        );
        for number in [1, 2] {
            let found = home
                .select("c", "n", &Query::Equals(Value::Int(number)))
                .unwrap();
            let is_found = found.map(Result::unwrap).any(|found| found.key == key);
            assert_eq!(is_found, (number == 2) == is_there, "{key} by {number}");
        }
    }
    let again = home.heal("c").unwrap();
    assert_eq!((again.merged, again.left, again.pruned), (0, 0, 0));
}
