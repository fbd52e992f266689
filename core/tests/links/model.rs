//! Graphs, and what the collector's tables have to say of them, computed in memory and by rules of
//! their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Durability, Key, Op, Options, Table};
use durum_core::record::{Codecs, Payload, Record};
use durum_core::store::{Collection, LocalStore, StagedStore, StoreOptions};
use durum_core::{Oid, Tid};

use super::backend::KeptBackend;

/// Objects and their references.
pub(crate) type Graph = BTreeMap<u64, BTreeSet<u64>>;
/// OID and session.
pub(crate) type Pins = BTreeSet<(u64, u64)>;

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        engine: Options::default(),
        collection: Collection::OFF,
        ..StoreOptions::default()
    }
}

/// A store with the objects of `graph`.
pub(crate) fn import(backend: &KeptBackend, path: &Path, graph: &Graph) -> LocalStore {
    let staged = StagedStore::create(Arc::new(backend.clone()), path, &options()).unwrap();
    let mut importer = staged.importer().unwrap().with_memory(0).unwrap();
    for (oid, refs) in graph {
        let refs: Vec<Oid> = refs.iter().copied().map(Oid).collect();
        let data = Payload::plain(b"data");
        let codecs = Codecs::default();
        importer
            .push(Oid(*oid), Tid(3), &refs, data, &codecs)
            .unwrap();
    }
    let summary = importer.finish(Tid(5), Oid(9)).unwrap();
    let targets = graph.values().flatten();
    let dangling = targets.filter(|target| !graph.contains_key(target)).count();
    assert_eq!(
        (summary.objects, summary.dangling),
        (graph.len() as u64, dangling as u64)
    );
    staged.publish().unwrap()
}

pub(crate) fn open(
    backend: &KeptBackend,
    path: &Path,
    rebuild: bool,
) -> durum_core::Result<LocalStore> {
    let options = StoreOptions {
        rebuild_state: rebuild,
        ..options()
    };
    LocalStore::open(Arc::new(backend.clone()), path, &options)
}

/// All rows of a table.
pub(crate) fn rows(store: &LocalStore, table: Table) -> BTreeMap<Key, Vec<u8>> {
    let view = store.raw_engine().snapshot().unwrap();
    let mut cursor = view.cursor(table, Key::MIN).unwrap();
    let mut rows = BTreeMap::new();
    while let Some((key, value)) = cursor.next().unwrap() {
        rows.insert(key, value.to_vec());
    }
    rows
}

/// Puts a row, or deletes it, below the store.
pub(crate) fn write(store: &LocalStore, table: Table, key: Key, value: Option<&[u8]>) {
    let op = match value {
        Some(value) => Op::Put { table, key, value },
        None => Op::Delete { table, key },
    };
    store
        .while_quiet(|engine| engine.apply(&[op], Durability::Relaxed))
        .unwrap();
}

/// A row of `referrers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) anchor: Option<u64>,
    pub(crate) pins: u64,
    pub(crate) more: u64,
    pub(crate) inline: Vec<u64>,
}

impl Row {
    pub(crate) fn decode(bytes: &[u8]) -> Row {
        let mut numbers = Vec::new();
        let (mut number, mut shift) = (0, 0);
        for byte in &bytes[4..] {
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                numbers.push(number);
                (number, shift) = (0, 0);
            }
        }
        assert_eq!(numbers[3], numbers.len() as u64 - 4);
        let mut last = 0;
        let step = |difference: &u64| {
            last += difference;
            last
        };
        Row {
            anchor: numbers[0].checked_sub(1),
            pins: numbers[1],
            more: numbers[2],
            inline: numbers[4..].iter().map(step).collect(),
        }
    }

    pub(crate) fn encode(&self, oid: u64) -> Vec<u8> {
        let mut numbers = vec![
            self.anchor.map_or(0, |anchor| anchor + 1),
            self.pins,
            self.more,
        ];
        numbers.push(self.inline.len() as u64);
        let mut last = 0;
        for referrer in &self.inline {
            numbers.push(referrer - last);
            last = *referrer;
        }
        let mut out = Vec::new();
        for mut number in numbers {
            while number >= 0x80 {
                out.push(number as u8 | 0x80);
                number >>= 7;
            }
            out.push(number as u8);
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&oid.to_be_bytes());
        hasher.update(&[0; 8]);
        hasher.update(&out);
        [&hasher.finalize().to_le_bytes()[..], &out].concat()
    }
}

pub(crate) fn put_row(store: &LocalStore, oid: u64, row: &Row) {
    write(
        store,
        Table::Referrers,
        Key::from(oid),
        Some(&row.encode(oid)),
    );
}

pub(crate) fn referrers(graph: &Graph) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut all: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (source, targets) in graph {
        for target in targets.iter().filter(|target| *target != source) {
            all.entry(*target).or_default().insert(*source);
        }
    }
    all
}

/// The anchors in the records.
pub(crate) fn recorded(store: &LocalStore) -> BTreeMap<u64, Option<u64>> {
    let records = rows(store, Table::Objects);
    let anchor = |(key, bytes): (&Key, &Vec<u8>)| {
        let record = Record::parse(Oid(key.first), bytes).unwrap();
        (key.first, record.anchor.map(|anchor| anchor.0))
    };
    records.iter().map(anchor).collect()
}

/// Verifies every row of every table, and that what is in use is settled.
pub(crate) fn verify(store: &LocalStore, graph: &Graph, pins: &Pins) {
    let recorded = recorded(store);
    assert!(recorded.keys().eq(graph.keys()));
    let links = rows(store, Table::Referrers);
    let more = rows(store, Table::ReferrersMore);
    let orphans = rows(store, Table::Orphans);
    let irregular = rows(store, Table::Irregular);
    assert_eq!(store_orphans(store), orphans.len() as u64);
    let referrers = referrers(graph);
    let none = BTreeSet::new();
    let mut anchors = BTreeMap::new();
    let (mut links_found, mut more_found) = (0, 0);
    for oid in graph.keys() {
        let key = Key::from(*oid);
        let expected = referrers.get(oid).unwrap_or(&none);
        let pinned = pins.iter().filter(|pin| pin.0 == *oid).count() as u64;
        let alone = expected.iter().eq(&recorded[oid]);
        let row = links.get(&key).map(|bytes| Row::decode(bytes));
        let anchor = row.as_ref().map_or(recorded[oid], |row| row.anchor);
        anchors.insert(*oid, anchor);
        let needed = pinned > 0 || !alone || anchor != recorded[oid];
        assert_eq!(row.is_some(), needed, "the row of {oid}");
        if let Some(row) = row {
            links_found += 1;
            assert_eq!(row.encode(*oid), links[&key], "the row of {oid}");
            let beyond = expected.len().saturating_sub(32);
            more_found += beyond;
            assert_eq!((row.pins, row.more), (pinned, beyond as u64));
            let listed = more.range(Key::pair(*oid, 0)..=Key::pair(*oid, u64::MAX));
            let listed = listed.map(|(key, _)| key.second);
            let all = row.inline.iter().copied().chain(listed);
            assert!(all.eq(expected.iter().copied()), "the referrers of {oid}");
        }
        assert!(anchor.is_none_or(|anchor| expected.contains(&anchor)));
        assert_eq!(irregular.contains_key(&key), anchor > Some(*oid), "{oid}");
        let is_orphan = orphans.contains_key(&key);
        let states = [*oid == 0 || pinned > 0, anchor.is_some(), is_orphan];
        assert_eq!(states.iter().filter(|state| **state).count(), 1, "{oid}");
    }
    assert_eq!((links.len(), more.len()), (links_found, more_found));
    assert!(
        irregular
            .keys()
            .chain(orphans.keys())
            .all(|key| graph.contains_key(&key.first))
    );
    assert!(
        rows(store, Table::Pins)
            .keys()
            .all(|key| pins.contains(&(key.second, key.first)))
    );
    let used = reachable(graph, pins);
    for oid in graph.keys() {
        let (mut at, mut steps) = (*oid, 0);
        while let Some(anchor) = anchors[&at] {
            (at, steps) = (anchor, steps + 1);
            assert!(steps <= graph.len(), "the anchors of {oid} form a cycle");
        }
        assert_eq!(
            orphans.contains_key(&Key::from(at)),
            !used.contains(oid),
            "{oid}"
        );
    }
}

/// The orphans that the store counts: the last of the numbers in its state row.
fn store_orphans(store: &LocalStore) -> u64 {
    let row = &rows(store, Table::Meta)[&Key::from(0)];
    let body = &row[1..row.len() - 4];
    let ends: Vec<usize> = (0..body.len()).filter(|at| body[*at] < 0x80).collect();
    let last = &body[ends[ends.len() - 2] + 1..];
    last.iter()
        .rev()
        .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

fn reachable(graph: &Graph, pins: &Pins) -> BTreeSet<u64> {
    let mut todo: Vec<u64> = pins.iter().map(|pin| pin.0).chain([0]).collect();
    let mut reached = BTreeSet::new();
    while let Some(oid) = todo.pop() {
        if let Some(refs) = graph.get(&oid)
            && reached.insert(oid)
        {
            todo.extend(refs);
        }
    }
    reached
}

/// A graph with some of everything.
pub(crate) fn zoo() -> Graph {
    let mut graph = Graph::new();
    let mut link = |from: u64, to: &[u64]| graph.entry(from).or_default().extend(to);
    // Plain objects, one of them with two referrers; a cycle in use.
    link(0, &[1, 2, 10, 60, 200]);
    link(1, &[3, 4]);
    link(2, &[4, 0]);
    link(3, &[]);
    link(4, &[4]);
    link(10, &[11, 12]);
    link(11, &[12]);
    link(12, &[10, 11]);
    // A list in reverse.
    for oid in 41..=60 {
        link(oid, &[oid - 1]);
    }
    link(40, &[]);
    // A hub with many referrers, smaller and larger ones.
    link(230, &[]);
    for oid in 200..280 {
        if oid != 230 {
            link(oid, &[oid + 1 + u64::from(oid == 229), 230]);
        }
    }
    link(280, &[]);
    // Garbage: a tree and two cycles.
    link(300, &[301, 302, 4]);
    link(301, &[]);
    link(302, &[301]);
    link(310, &[311]);
    link(311, &[310]);
    link(320, &[322]);
    link(321, &[320]);
    link(322, &[321, 300]);
    graph
}

pub(crate) fn random(random: &mut fastrand::Rng) -> Graph {
    let count = random.u64(1..200);
    let scale = *random.choice(&[1, 7, 1 << 50]).unwrap();
    let oids: Vec<u64> = (0..count)
        .map(|number| number * scale)
        .filter(|oid| *oid == 0 || random.u8(..12) > 0)
        .collect();
    let mut graph: Graph = oids.iter().map(|oid| (*oid, BTreeSet::new())).collect();
    let degree = random.usize(..4);
    let direction = random.u8(..4);
    let hub = random.choice(&oids).copied().filter(|_| random.bool());
    for (place, oid) in oids.iter().enumerate() {
        let refs = graph.entry(*oid).or_default();
        refs.extend(hub);
        match direction {
            0 => refs.extend(place.checked_sub(1).map(|before| oids[before])),
            1 => refs.extend(oids.get(place + 1)),
            _ => {}
        }
        for _ in 0..degree {
            refs.extend(random.choice(&oids));
        }
    }
    if let (0, Some(last)) = (direction, oids.last()) {
        graph.entry(oids[0]).or_default().insert(*last);
    }
    graph
}
