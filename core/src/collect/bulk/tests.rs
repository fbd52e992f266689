//! The tables of random graphs, against a model in memory.

use std::collections::{BTreeMap, BTreeSet};

use durum_testkit::seed;

use super::*;
use crate::watch::UNWATCHED;

/// Each object with the anchor in its record and its references.
type Graph = BTreeMap<u64, (Option<u64>, BTreeSet<u64>)>;
type Rows = BTreeMap<(Table, Key), Option<Vec<u8>>>;

/// Computes the tables; `budget` is the factor and the rest of what the passes may read.
fn link(graph: &Graph, pins: &BTreeSet<(u64, u64)>, budget: (u64, u64)) -> (Rows, Linked) {
    let mut linker = Linker::new(0).unwrap();
    for (oid, (recorded, refs)) in graph {
        let refs = refs.iter().copied().map(Oid);
        linker.add(Oid(*oid), recorded.map(Oid), refs).unwrap();
    }
    let mut sorted = PairSorter::new(None, 0);
    for (oid, session) in pins {
        sorted.push(*oid, *session).unwrap();
    }
    let mut rows = Rows::new();
    let mut sink = |table, key, value: Option<&[u8]>| {
        assert_eq!(
            rows.insert((table, key), value.map(<[u8]>::to_vec)),
            None,
            "one write for each row"
        );
        Ok(())
    };
    let mut passes = Passes {
        rooted: OidSet::new(0),
        left: WordStack::default(),
        linked: Linked::default(),
        tid: Tid(7),
        expected: &|_| Ok(false),
        sink: &mut sink,
        steps: Steps::new(UNWATCHED),
        links: Links::default(),
        row: Vec::new(),
    };
    let (objects, pairs) = linker.sorted(UNWATCHED).unwrap();
    let pins = Ahead::new(sorted.finish().unwrap()).unwrap();
    passes.first(objects, pairs, pins).unwrap();
    passes.others(budget.0, budget.1).unwrap();
    let linked = passes.linked;
    (rows, linked)
}

fn referrers(graph: &Graph) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut all: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (source, (_, targets)) in graph {
        for target in targets.iter().filter(|target| *target != source) {
            all.entry(*target).or_default().insert(*source);
        }
    }
    all
}

/// Verifies every row, and returns the objects whose anchors lead to the root or a pin.
fn verify(
    graph: &Graph,
    pins: &BTreeSet<(u64, u64)>,
    rows: &Rows,
    linked: &Linked,
) -> BTreeSet<u64> {
    let referrers = referrers(graph);
    let none = BTreeSet::new();
    let mut anchors = BTreeMap::new();
    let mut expected_rows = 0;
    for (oid, (recorded, _)) in graph {
        let expected = referrers.get(oid).unwrap_or(&none);
        let key = Key::from(*oid);
        let links = match rows.get(&(Table::Referrers, key)) {
            Some(row) => {
                expected_rows += 1;
                let links = Links::decode(Oid(*oid), row.as_ref().unwrap()).unwrap();
                assert!(
                    !links.is_implied_by(recorded.map(Oid)),
                    "a row too many for {oid}"
                );
                links
            }
            None => Links::of_anchor(recorded.map(Oid)),
        };
        let mut found: Vec<u64> = links.inline.iter().map(|source| source.0).collect();
        let more = rows.range((Table::ReferrersMore, Key::pair(*oid, 0))..);
        let more = more
            .take_while(|((table, key), _)| (*table, key.first) == (Table::ReferrersMore, *oid));
        let more: Vec<u64> = more.map(|((_, key), _)| key.second).collect();
        assert_eq!(links.more, more.len() as u64);
        expected_rows += more.len();
        assert!(links.inline.len() == INLINE_MAX || more.is_empty());
        found.extend(more);
        assert!(found.iter().eq(expected), "referrers of {oid}");
        let count = pins.iter().filter(|(pinned, _)| pinned == oid).count() as u64;
        assert_eq!(links.pins, count);
        let anchor = links.anchor.map(|anchor| anchor.0);
        assert!(
            anchor.is_none_or(|anchor| expected.contains(&anchor)),
            "anchor of {oid}"
        );
        let orphan = rows.contains_key(&(Table::Orphans, key));
        let irregular = rows.contains_key(&(Table::Irregular, key));
        assert_eq!(irregular, anchor.is_some_and(|anchor| anchor > *oid));
        expected_rows += usize::from(irregular) + usize::from(orphan);
        let states = [*oid == 0 || count > 0, anchor.is_some(), orphan];
        assert_eq!(
            states.iter().filter(|state| **state).count(),
            1,
            "states of {oid}: {states:?}"
        );
        anchors.insert(*oid, anchor);
    }
    for (oid, session) in pins.iter().filter(|(oid, _)| !graph.contains_key(oid)) {
        expected_rows += 1;
        assert_eq!(
            rows.get(&(Table::Pins, Key::pair(*session, *oid))),
            Some(&None)
        );
    }
    assert_eq!(rows.len(), expected_rows, "no other rows");
    verify_counts(graph, rows, linked);
    follow(&anchors, rows)
}

fn verify_counts(graph: &Graph, rows: &Rows, linked: &Linked) {
    let referrers = referrers(graph);
    let orphans = rows
        .keys()
        .filter(|(table, _)| *table == Table::Orphans)
        .count();
    assert_eq!(linked.orphans, orphans as u64);
    let dangling = referrers
        .iter()
        .filter(|(target, _)| !graph.contains_key(target));
    assert_eq!(
        linked.dangling,
        dangling
            .map(|(_, sources)| sources.len() as u64)
            .sum::<u64>()
    );
}

/// The objects whose anchors lead to no orphan.
fn follow(anchors: &BTreeMap<u64, Option<u64>>, rows: &Rows) -> BTreeSet<u64> {
    let mut rooted = BTreeSet::new();
    for oid in anchors.keys() {
        let (mut at, mut steps) = (*oid, 0);
        while let Some(anchor) = anchors[&at] {
            at = anchor;
            steps += 1;
            assert!(steps <= anchors.len(), "the anchors of {oid} form a cycle");
        }
        if !rows.contains_key(&(Table::Orphans, Key::from(at))) {
            rooted.insert(*oid);
        }
    }
    rooted
}

fn reachable(graph: &Graph, pins: &BTreeSet<(u64, u64)>) -> BTreeSet<u64> {
    let mut todo: Vec<u64> = pins.iter().map(|pin| pin.0).chain([0]).collect();
    let mut reached = BTreeSet::new();
    while let Some(oid) = todo.pop() {
        if let Some((_, refs)) = graph.get(&oid)
            && reached.insert(oid)
        {
            todo.extend(refs);
        }
    }
    reached
}

fn random_graph(random: &mut fastrand::Rng) -> Graph {
    let scale = *random.choice(&[1, 1000, 1 << 40]).unwrap();
    let count = random.u64(1..120);
    let oids: Vec<u64> = (0..count)
        .map(|n| n * scale)
        .filter(|_| random.u8(..9) > 0)
        .collect();
    let degree = random.usize(1..6);
    let direction = random.u8(..4);
    let hub = random.choice(&oids).copied();
    let mut graph = Graph::new();
    for (place, oid) in oids.iter().enumerate() {
        let mut refs = BTreeSet::new();
        for _ in 0..random.usize(..=degree) {
            let (low, high) = match direction {
                0 => (place, oids.len()),
                1 => (0, place + 1),
                _ => (0, oids.len()),
            };
            refs.insert(oids[random.usize(low..high)]);
        }
        if random.u8(..4) > 0 {
            refs.extend(hub);
        }
        if random.u8(..60) == 0 {
            refs.insert(random.u64(..count * scale + 9));
        }
        graph.insert(*oid, (None, refs));
    }
    // Records hold the smallest referrer as after an import, or anything at all.
    let import = random.bool();
    let referrers = referrers(&graph);
    for (oid, (recorded, _)) in &mut graph {
        let sources = referrers.get(oid);
        *recorded = if import {
            sources.and_then(|sources| sources.first().filter(|first| *first < oid).copied())
        } else if random.bool() {
            sources.and_then(|sources| sources.iter().nth(random.usize(..sources.len())).copied())
        } else {
            random.bool().then(|| random.u64(..count * scale + 9))
        };
    }
    graph
}

#[test]
fn the_tables_of_random_graphs_are_complete() {
    let mut random = fastrand::Rng::with_seed(seed());
    for _ in 0..3000 {
        let graph = random_graph(&mut random);
        let mut pins = BTreeSet::new();
        if random.bool() {
            for _ in 0..random.u8(..6) {
                let oid = random.choice(graph.keys()).copied().unwrap_or(4);
                pins.insert((oid + u64::from(random.u8(..9) == 0), random.u64(1..4)));
            }
        }
        let (rows, linked) = link(&graph, &pins, (READ_FACTOR, READ_EXTRA));
        let rooted = verify(&graph, &pins, &rows, &linked);
        assert_eq!(
            rooted,
            reachable(&graph, &pins),
            "every object in use is settled"
        );
        // However little the passes may read, the tables are whole.
        let (rows, linked) = link(&graph, &pins, (0, random.u64(..300)));
        verify(&graph, &pins, &rows, &linked);
    }
}

#[test]
fn a_list_in_reverse_takes_one_pass_and_a_zigzag_is_given_up() {
    const COUNT: u64 = 60_000;
    let mut list: Graph = (1..=COUNT)
        .map(|oid| (oid, (None, [oid - 1].into())))
        .collect();
    list.insert(0, (None, [COUNT].into()));
    list.insert(COUNT, (Some(0), [COUNT - 1].into()));
    let none = BTreeSet::new();
    let (rows, linked) = link(&list, &none, (READ_FACTOR, 0));
    assert_eq!((linked.passes, linked.orphans), (1, 0));
    verify_chain(&rows, COUNT);
    // Low and high OIDs in turn: every pass settles two objects.
    let mut zigzag = Graph::new();
    let path: Vec<u64> = (0..COUNT / 2).flat_map(|n| [n, COUNT - n]).collect();
    for pair in path.windows(2) {
        zigzag.insert(pair[0], (None, [pair[1]].into()));
    }
    zigzag.insert(path[path.len() - 1], (None, BTreeSet::new()));
    let (_, linked) = link(&zigzag, &none, (READ_FACTOR, 0));
    assert!(
        linked.passes <= READ_FACTOR + 2 && linked.orphans > COUNT / 4,
        "{linked:?}"
    );
}

fn verify_chain(rows: &Rows, count: u64) {
    for table in [Table::Referrers, Table::Irregular] {
        let of_table = rows.keys().filter(|(of, _)| *of == table).count() as u64;
        // All but the root, which has a row as it is referred to, and the head.
        let expected = count - 1 + u64::from(table == Table::Referrers);
        assert_eq!(of_table, expected, "{table:?}");
    }
}
