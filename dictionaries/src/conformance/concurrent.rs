//! Concurrent revisions, and merging.

use std::time::{Duration, SystemTime};

use super::{Site, fields, keys};
use crate::{
    Class, Dictionaries, ErrorKind, Fields, History, IndexType, Merge, Merger, Query, Revision,
    RevisionId, Value,
};

fn number(number: i64) -> Value {
    Value::Int(number)
}

/// Waits until all clocks are later than a revision.
fn wait_after(id: RevisionId) {
    while SystemTime::now() < id.time() + Duration::from_millis(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn history(home: &Dictionaries, key: &str) -> Vec<Revision> {
    home.history("c", key)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// A dictionary `k` with fields `a` and `b` of 0, and two revisions after that: of `a` by one writer and of `b` by the other.
fn fork(one: &Dictionaries, two: &Dictionaries) -> [RevisionId; 3] {
    let base = one
        .put("c", "k", fields([("a", number(0)), ("b", number(0))]))
        .unwrap();
    let left = one
        .put_after(
            "c",
            "k",
            &[base],
            fields([("a", number(1)), ("b", number(0))]),
        )
        .unwrap();
    let right = two
        .put_after(
            "c",
            "k",
            &[base],
            fields([("a", number(0)), ("b", number(2))]),
        )
        .unwrap();
    [base, left, right]
}

/// The latest is shown, with the names of the others; a write that has seen all ends it.
pub fn readers_are_told_of_concurrent_revisions(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("b", IndexType::Int))
        .unwrap();
    let [_, left, right] = fork(&home, &site.open());
    let (older, newer) = (left.min(right), left.max(right));
    let found = home.get("c", "k").unwrap().unwrap();
    assert_eq!(
        (found.revision.id, &found.concurrent[..]),
        (newer, &[older][..])
    );
    assert_eq!(found.seen(), [older, newer]);
    let shown = found.fields()["b"].clone();
    assert_eq!(
        keys(home.select("c", "b", &Query::Equals(shown)).unwrap()),
        ["k"]
    );
    assert_eq!(home.select("c", "b", &Query::Any).unwrap().count(), 1);
    let ended = home.put("c", "k", fields([("b", number(7))])).unwrap();
    let found = home.get("c", "k").unwrap().unwrap();
    assert_eq!((found.revision.id, found.concurrent.len()), (ended, 0));
    assert_eq!(found.revision.parents, [older, newer]);
    assert_eq!(home.heal(None).unwrap()["c"].merged, 0);
    let error = home
        .put_after("c", "k", &[RevisionId::MIN], fields([]))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// What only one has changed is as that one has it; of two changes the later holds; what was taken out stays out.
pub fn fields_are_merged_by_their_own_times(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("b", IndexType::Int))
        .unwrap();
    let [_, left, right] = fork(&home, &site.open());
    let healed = home.heal(Some("c")).unwrap().remove("c").unwrap();
    assert_eq!((healed.merged, healed.left), (1, 0));
    let found = home.get("c", "k").unwrap().unwrap();
    assert_eq!(
        found.fields(),
        &fields([("a", number(1)), ("b", number(2))])
    );
    assert_eq!(found.concurrent, []);
    assert_eq!(found.revision.parents, [left.min(right), left.max(right)]);
    assert_eq!(
        keys(home.select("c", "b", &Query::Equals(number(2))).unwrap()),
        ["k"]
    );
    assert_eq!(history(&home, "k").len(), 4);
    // A later write of a field by one who has not seen the merge, against older ones.
    let base = found.revision.id;
    let other = site.open();
    let before = fields([("b", number(3)), ("new", number(1))]);
    wait_after(home.put_after("c", "k", &[base], before).unwrap());
    other
        .put_after(
            "c",
            "k",
            &[base],
            fields([("a", number(1)), ("b", number(4))]),
        )
        .unwrap();
    home.put_after(
        "c",
        "k",
        &[base],
        fields([("a", number(1)), ("b", number(2)), ("also", number(1))]),
    )
    .unwrap();
    home.heal(None).unwrap();
    let last = home.get("c", "k").unwrap().unwrap();
    let expected = fields([("b", number(4)), ("new", number(1)), ("also", number(1))]);
    assert_eq!(last.fields(), &expected);
}

/// It holds against older changes, and an unseen later change keeps the whole.
pub fn a_deletion_is_weighed_against_later_changes(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("a", IndexType::Int))
        .unwrap();
    let write = |key: &str, after: &[RevisionId], fields: Option<Fields>| {
        let write = crate::Write {
            key: key.to_owned(),
            after: Some(after.to_vec()),
            fields,
        };
        home.write("c", vec![write]).unwrap()[0]
    };
    let whole = fields([("a", number(1)), ("b", number(1))]);
    let changed = fields([("a", number(2)), ("b", number(1))]);
    for (key, deletion_is_last) in [("deleted", true), ("kept", false)] {
        let base = home.put("c", key, whole.clone()).unwrap();
        match deletion_is_last {
            true => {
                write(key, &[base], Some(changed.clone()));
                write(key, &[base], None);
            }
            false => {
                write(key, &[base], None);
                write(key, &[base], Some(changed.clone()));
            }
        }
    }
    assert_eq!(home.heal(None).unwrap()["c"].merged, 2);
    assert_eq!(home.get("c", "deleted").unwrap(), None);
    assert_eq!(history(&home, "deleted").len(), 4);
    assert_eq!(home.get("c", "kept").unwrap().unwrap().fields(), &changed);
    assert_eq!(keys(home.select("c", "a", &Query::Any).unwrap()), ["kept"]);
}

/// As a whole.
pub fn the_latest_holds_where_the_class_says_so(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").merge(Merge::Latest)).unwrap();
    fork(&home, &site.open());
    let newest = home.get("c", "k").unwrap().unwrap();
    home.heal(None).unwrap();
    let merged = home.get("c", "k").unwrap().unwrap();
    assert_eq!(merged.fields(), newest.fields());
    assert_eq!(
        (merged.concurrent.len(), merged.revision.parents.len()),
        (0, 2)
    );
}

/// Until a write has seen them.
pub fn concurrent_revisions_are_left_where_the_class_says_so(site: &dyn Site) {
    let home = site.open();
    let class = Class::new("c");
    for merge in [Merge::Leave, Merge::Function("absent".into())] {
        home.define(class.clone().merge(merge)).unwrap();
        home.delete("c", "k").unwrap();
        fork(&home, &site.open());
        let healed = home.heal(None).unwrap().remove("c").unwrap();
        assert_eq!((healed.merged, healed.left), (0, 1));
        assert_eq!(home.get("c", "k").unwrap().unwrap().concurrent.len(), 1);
        // Who has looked at one of them only has not seen the others.
        home.update("c", "k", |fields| {
            drop(fields.insert("a".into(), Value::Null))
        })
        .unwrap();
        assert_eq!(home.get("c", "k").unwrap().unwrap().concurrent.len(), 1);
        home.put("c", "k", fields([])).unwrap();
        assert_eq!(home.get("c", "k").unwrap().unwrap().concurrent.len(), 0);
    }
}

/// The application's own rule gets all that it needs.
pub fn a_function_merges_with_the_common_parent(site: &dyn Site) {
    let sum = |case: &crate::Concurrent<'_>| {
        assert_eq!((case.class, case.key), ("c", "k"));
        let of = |fields: &Fields| match fields.get("n") {
            Some(Value::Int(number)) => *number,
            _ => 0,
        };
        let base = case.base.map_or(0, |base| of(&base.fields));
        let sum = case
            .heads
            .iter()
            .map(|head| of(&head.fields) - base)
            .sum::<i64>()
            + base;
        (sum != 0).then(|| fields([("n", Value::Int(sum)), ("kept", Value::Null)]))
    };
    let home = site.writer(Merger::default().with("sum", sum));
    home.define(Class::new("c").merge(Merge::Function("sum".into())))
        .unwrap();
    let state = |number| fields([("n", Value::Int(number)), ("kept", Value::Null)]);
    let base = home.put("c", "k", state(10)).unwrap();
    let left = home.put_after("c", "k", &[base], state(12)).unwrap();
    home.put_after("c", "k", &[left], state(13)).unwrap();
    home.put_after("c", "k", &[base], state(8)).unwrap();
    assert_eq!(home.heal(None).unwrap()["c"].merged, 1);
    let merged = home.get("c", "k").unwrap().unwrap();
    assert_eq!(merged.fields(), &state(11));
    assert_eq!(merged.revision.stamp("kept"), Some(base));
    assert_eq!(merged.revision.stamp("n"), Some(merged.revision.id));
    let at = merged.revision.id;
    home.put_after("c", "k", &[at], state(1)).unwrap();
    home.put_after("c", "k", &[at], state(10)).unwrap();
    home.heal(None).unwrap();
    assert_eq!(home.get("c", "k").unwrap(), None, "the function deletes it");
}

/// So that merging ends.
pub fn two_who_merge_the_same_make_the_same_revision(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c")).unwrap();
    home.define(Class::new("d")).unwrap();
    fork(&home, &site.open());
    let revisions = history(&home, "k");
    let revisions = revisions
        .into_iter()
        .map(|revision| ("k".to_owned(), revision))
        .collect::<Vec<_>>();
    home.absorb("d", revisions).unwrap();
    home.heal(None).unwrap();
    let one = home.get("c", "k").unwrap().unwrap();
    let two = site.open().get("d", "k").unwrap().unwrap();
    assert_eq!(one.revision, two.revision);
    let merged = vec![("k".to_owned(), one.revision)];
    assert_eq!(home.absorb("d", merged).unwrap().known, 1);
}

/// And make the same of it, however often they come.
pub fn revisions_from_elsewhere_come_in_any_order(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").index("a", IndexType::Int))
        .unwrap();
    let [_, _, right] = fork(&home, &site.open());
    home.put_after("c", "k", &[right], fields([("b", number(5))]))
        .unwrap();
    home.heal(None).unwrap();
    home.delete("c", "k").unwrap();
    home.put("c", "k", fields([("a", number(9))])).unwrap();
    let revisions = history(&home, "k");
    let newest = home.get("c", "k").unwrap().unwrap();
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    for round in 0..if site.is_slow() { 2 } else { 10 } {
        let class = format!("d{round}");
        home.define(Class::new(&class).index("a", IndexType::Int))
            .unwrap();
        let mut order: Vec<_> = revisions
            .iter()
            .map(|revision| ("k".to_owned(), revision.clone()))
            .collect();
        random.shuffle(&mut order);
        for one in order.iter().chain(&order) {
            home.absorb(&class, vec![one.clone()]).unwrap();
        }
        let absorbed = home.absorb(&class, order.clone()).unwrap();
        assert_eq!((absorbed.added, absorbed.known), (0, order.len() as u64));
        let there: Vec<_> = home
            .history(&class, "k")
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(there, revisions);
        assert_eq!(home.get(&class, "k").unwrap().unwrap(), newest);
        assert_eq!(
            keys(home.select(&class, "a", &Query::Equals(number(9))).unwrap()),
            ["k"]
        );
    }
    let wrong = Revision {
        parents: vec![newest.revision.id],
        ..newest.revision.clone()
    };
    let error = home.absorb("c", vec![("l".to_owned(), wrong)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

/// One that was pruned, and comes again, changes nothing; one that nobody has seen does.
pub fn a_late_revision_from_before_the_history_is_not_lost(site: &dyn Site) {
    let home = site.open();
    home.define(Class::new("c").history(History::Revisions(2)))
        .unwrap();
    home.define(Class::new("elsewhere")).unwrap();
    let base = home
        .put("c", "k", fields([("a", number(0)), ("b", number(0))]))
        .unwrap();
    let first = home.newest("c", "k").unwrap().unwrap().revision;
    home.absorb("elsewhere", vec![("k".to_owned(), first.clone())])
        .unwrap();
    let late = fields([("a", number(0)), ("b", number(1))]);
    home.put_after("elsewhere", "k", &[base], late).unwrap();
    let late = home.newest("elsewhere", "k").unwrap().unwrap().revision;
    for value in 1..6 {
        home.put("c", "k", fields([("a", number(value)), ("b", number(0))]))
            .unwrap();
    }
    let again = home.absorb("c", vec![("k".to_owned(), first)]).unwrap();
    assert_eq!((again.added, again.known), (0, 1));
    assert_eq!(home.get("c", "k").unwrap().unwrap().concurrent, []);
    let come = home.absorb("c", vec![("k".to_owned(), late)]).unwrap();
    assert_eq!((come.added, come.known), (1, 0));
    home.heal(None).unwrap();
    let merged = home.get("c", "k").unwrap().unwrap();
    assert_eq!(
        merged.fields(),
        &fields([("a", number(5)), ("b", number(1))])
    );
}
