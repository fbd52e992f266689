//! Writers that cannot see each other for a while, and then can.
//!
//! Random histories on three homes, with exchanges of some of what they have now and then, in any order, between any two of
//! them; at last all of it. All homes come to the same state, and no revision is lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use durum_cluster::TestCluster;
use durum_dictionaries::conformance::fields;
use durum_dictionaries::{
    Class, Concurrent, Dictionaries, Fields, History, IndexType, Merge, Merger, Query, Revision,
    RevisionId, Value,
};
use durum_objects::Database;
use fastrand::Rng;

const KEYS: u8 = 6;

/// Adds what each has added, and keeps the longest of texts.
fn add_up(case: &Concurrent<'_>) -> Option<Fields> {
    let number = |revision: &Revision, name: &str| match revision.fields.get(name) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let alive: Vec<_> = case
        .heads
        .iter()
        .filter(|head| !head.is_deleted())
        .collect();
    if alive.is_empty() {
        return None;
    }
    let sum = |name: &str| {
        let base = case.base.map_or(0, |base| number(base, name));
        let added = alive
            .iter()
            .map(|head| number(head, name).wrapping_sub(base));
        Value::Int(added.fold(base, i64::wrapping_add))
    };
    Some(["a", "b"].map(|name| (name.to_owned(), sum(name))).into())
}

fn merger() -> Merger {
    Merger::default().with("add_up", add_up)
}

struct World {
    homes: Vec<Dictionaries>,
    random: Rng,
    written: BTreeSet<(String, RevisionId)>,
}

impl World {
    fn new(class: &Class, seed: u64) -> World {
        let home =
            |_| Dictionaries::embedded(&Database::create("memory:").unwrap(), merger()).unwrap();
        World::of((0..3).map(home).collect(), class, seed)
    }

    fn of(homes: Vec<Dictionaries>, class: &Class, seed: u64) -> World {
        for home in &homes {
            home.define(class.clone()).unwrap();
        }
        World {
            homes,
            random: Rng::with_seed(seed),
            written: BTreeSet::new(),
        }
    }

    fn write(&mut self) {
        let random = &mut self.random;
        let home = &self.homes[random.usize(..3)];
        let key = random.u8(..KEYS).to_string();
        let mut values = Fields::new();
        for name in ["a", "b", "c"] {
            if random.u8(..3) > 0 {
                values.insert(name.into(), Value::Int(random.i64(..4)));
            }
        }
        let id = match random.u8(..5) {
            0 => home.delete("c", &key).unwrap(),
            // By one who has read some time ago.
            1 => {
                let history: Vec<_> = home
                    .history("c", &key)
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                let seen = random.choice(&history).map(|revision| revision.id);
                let seen: Vec<_> = seen.into_iter().collect();
                Some(home.put_after("c", &key, &seen, values).unwrap())
            }
            _ => {
                let change = |fields: &mut Fields| fields.extend(values.clone());
                Some(home.update("c", &key, change).unwrap())
            }
        };
        self.written.extend(id.map(|id| (key, id)));
    }

    /// Brings some, or all, of what one home has to another.
    fn exchange(&mut self, from: usize, to: usize, all: bool) -> u64 {
        let changes = self.homes[from].changes("c", None).unwrap();
        let mut revisions: Vec<_> = changes
            .map(|change| change.map(|change| (change.key, change.revision)).unwrap())
            .collect();
        self.random.shuffle(&mut revisions);
        if !all {
            revisions.truncate(self.random.usize(..=revisions.len()));
        }
        self.homes[to].absorb("c", revisions).unwrap().added
    }

    /// Exchanges everything and heals until nothing comes of it any more.
    fn settle(&mut self) {
        for _round in 0..20 {
            let mut moved = 0;
            for from in 0..3 {
                for to in 0..3 {
                    moved += self.exchange(from, to, true);
                }
            }
            for home in &self.homes {
                moved += home.heal(None).unwrap()["c"].merged;
            }
            if moved == 0 {
                return;
            }
        }
        panic!("it does not end");
    }

    fn state(&self, home: usize) -> BTreeMap<String, Vec<Revision>> {
        let newest = self.homes[home].all_newest("c", "").unwrap();
        let state = newest.map(|newest| {
            let newest = newest.unwrap();
            let history = self.homes[home].history("c", &newest.key).unwrap();
            let mut revisions: Vec<_> = history.map(Result::unwrap).collect();
            assert_eq!(revisions[0], newest.revision);
            revisions.sort_by_key(|revision| revision.id);
            (newest.key, revisions)
        });
        state.collect()
    }
}

fn histories(merge: Merge, rounds: u64) {
    let seed = durum_testkit::seed();
    let class = Class::new("c").index("a", IndexType::Int).merge(merge);
    for round in 0..rounds {
        history_of(World::new(&class, seed.wrapping_add(round)), &class, 60);
    }
}

fn history_of(mut world: World, class: &Class, steps: usize) {
    for _ in 0..steps {
        match world.random.u8(..10) {
            0 | 1 => {
                let (from, to) = (world.random.usize(..3), world.random.usize(..3));
                world.exchange(from, to, false);
            }
            2 => {
                let home = world.random.usize(..3);
                world.homes[home].heal(None).unwrap();
            }
            _ => world.write(),
        }
    }
    world.settle();
    let states: Vec<_> = (0..3).map(|home| world.state(home)).collect();
    assert_eq!(states[0], states[1]);
    assert_eq!(states[0], states[2]);
    for (key, id) in &world.written {
        let found = states[0][key].iter().any(|revision| revision.id == *id);
        assert!(found, "{id} of `{key}` is lost");
    }
    for home in &world.homes {
        check_state(home, class.merge == Merge::Leave);
    }
}

/// Nothing is left concurrent, nothing that is superseded is shown, and the index has what the dictionaries have.
fn check_state(home: &Dictionaries, leave: bool) {
    let mut indexed = Vec::new();
    for newest in home.all_newest("c", "").unwrap() {
        let newest = newest.unwrap();
        assert!(leave || newest.concurrent.is_empty());
        let history: Vec<_> = home
            .history("c", &newest.key)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let superseded: BTreeSet<_> = history
            .iter()
            .flat_map(|revision| revision.parents.iter())
            .collect();
        let mut heads: Vec<_> = history.iter().map(|revision| revision.id).collect();
        heads.retain(|id| !superseded.contains(id));
        heads.sort_unstable();
        assert_eq!(heads, newest.seen());
        if let Some(value) = newest.fields().get("a") {
            indexed.push((value.clone(), newest.key));
        }
    }
    indexed.sort();
    let found = home.select("c", "a", &Query::Any).unwrap();
    let found: Vec<_> = found.map(|found| found.unwrap().key).collect();
    assert_eq!(
        found,
        indexed.into_iter().map(|(_, key)| key).collect::<Vec<_>>()
    );
}

#[test]
fn homes_converge_by_fields() {
    histories(Merge::Fields, 40);
}

#[test]
fn homes_converge_by_the_latest() {
    histories(Merge::Latest, 20);
}

#[test]
fn homes_converge_by_a_function() {
    histories(Merge::Function("add_up".into()), 20);
}

#[test]
fn homes_that_merge_nothing_have_the_same_revisions() {
    histories(Merge::Leave, 20);
}

/// Two in memory, and one on three nodes.
#[test]
fn a_home_on_nodes_converges_with_others() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let seed = durum_testkit::seed();
    for (round, merge) in [Merge::Fields, Merge::Function("add_up".into())]
        .into_iter()
        .enumerate()
    {
        let home =
            |_| Dictionaries::embedded(&Database::create("memory:").unwrap(), merger()).unwrap();
        let mut homes: Vec<_> = (0..2).map(home).collect();
        let namespace = format!("round{round}");
        homes.push(Dictionaries::distributed(cluster.cluster(), &namespace, merger()).unwrap());
        let class = Class::new("c")
            .copies(3)
            .index("a", IndexType::Int)
            .merge(merge);
        history_of(World::of(homes, &class, seed), &class, 40);
    }
}

/// With a short history revisions are gone, and what they wrote is not.
#[test]
fn no_write_is_lost_where_the_history_is_short() {
    let seed = durum_testkit::seed();
    for round in 0..20 {
        let class = Class::new("c").history(History::Revisions(1));
        let mut world = World::new(&class, seed.wrapping_add(round));
        // Each home writes fields of its own, so that all of them must be there in the end.
        let mut last: BTreeMap<(String, String), i64> = BTreeMap::new();
        for number in 0..60 {
            let home = world.random.usize(..3);
            let (key, name) = (world.random.u8(..3).to_string(), format!("by{home}"));
            let change =
                |fields: &mut Fields| drop(fields.insert(name.clone(), Value::Int(number)));
            world.homes[home].update("c", &key, change).unwrap();
            last.insert((key, name), number);
            if world.random.u8(..6) == 0 {
                let (from, to) = (world.random.usize(..3), world.random.usize(..3));
                world.exchange(from, to, false);
                world.homes[to].heal(None).unwrap();
            }
        }
        world.settle();
        for home in &world.homes {
            for ((key, name), number) in &last {
                let found = home.get("c", key).unwrap().unwrap();
                assert_eq!(
                    found.fields()[name],
                    Value::Int(*number),
                    "round {round}, `{key}`"
                );
            }
        }
    }
}

/// The test can fail: without the stamps of fields, by which they are merged, the later revision would take the older values with it.
#[test]
fn merging_by_whole_revisions_loses_writes() {
    let class = Class::new("c").merge(Merge::Latest);
    let world = World::new(&class, 1);
    let [one, two, _] = &world.homes[..] else {
        panic!()
    };
    one.put("c", "k", fields([("a", Value::Int(1))])).unwrap();
    two.put("c", "k", fields([("b", Value::Int(1))])).unwrap();
    let revision = two.newest("c", "k").unwrap().unwrap().revision;
    one.absorb("c", vec![("k".into(), revision)]).unwrap();
    one.heal(None).unwrap();
    assert_eq!(one.get("c", "k").unwrap().unwrap().fields().len(), 1);
}
