//! The collector's tables: complete after an import, verified by `check`, rebuilt from the objects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod backend;
mod damages;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use backend::KeptBackend;
use damages::DAMAGES;
use durum_core::ErrorKind;
use durum_core::check::{Report, check_within};
use durum_core::engine::{Key, Table};
use durum_core::store::LocalStore;
use durum_testkit::seed;
use model::{
    Graph, Pins, Row, import, open, put_row, random, recorded, referrers, rows, verify, write, zoo,
};

const MEMORY: usize = 1 << 20;

struct Place {
    backend: KeptBackend,
    _home: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store");
        Place {
            backend: KeptBackend::new(),
            _home: home,
            path,
        }
    }

    fn import(&self, graph: &Graph) -> LocalStore {
        import(&self.backend, &self.path, graph)
    }
}

fn kinds(report: &Report) -> BTreeSet<String> {
    let kinds = report
        .errors
        .iter()
        .map(|found| format!("{:?}", found.kind));
    kinds.collect()
}

fn assert_clean(store: &LocalStore, graph: &Graph, pins: &Pins) {
    verify(store, graph, pins);
    let report = check_within(store, false, MEMORY).unwrap();
    assert_eq!(
        (report.errors, report.objects),
        (vec![], graph.len() as u64)
    );
    assert_eq!(report.repaired, [""; 0]);
}

/// Pins objects below the store, and has the tables rebuilt for that.
fn pin(store: &LocalStore, pins: &Pins) {
    for (oid, session) in pins {
        write(store, Table::Pins, Key::pair(*session, *oid), Some(&[0]));
    }
    if !pins.is_empty() {
        let found = check_within(store, false, MEMORY).unwrap();
        assert!(kinds(&found).contains("Pins"), "{found:?}");
        let report = check_within(store, true, MEMORY).unwrap();
        assert_eq!(report.errors, []);
    }
}

#[test]
fn random_graphs_are_complete_after_an_import_and_after_a_rebuild() {
    let mut rng = fastrand::Rng::with_seed(seed());
    for round in 0..150 {
        let graph = if round == 0 { zoo() } else { random(&mut rng) };
        let place = Place::new();
        let store = place.import(&graph);
        assert_recorded(&store, &graph);
        assert_clean(&store, &graph, &Pins::new());
        let mut pins = Pins::new();
        for _ in 0..rng.u8(..5) {
            let Some(oid) = rng.choice(graph.keys()).copied() else {
                break;
            };
            pins.insert((oid, rng.u64(1..4)));
        }
        pin(&store, &pins);
        assert_clean(&store, &graph, &pins);
        // Everything that can be rebuilt is gone, or is rubbish.
        for table in [
            Table::Referrers,
            Table::ReferrersMore,
            Table::Orphans,
            Table::Irregular,
        ] {
            for key in rows(&store, table).keys() {
                match rng.u8(..3) {
                    0 => write(&store, table, *key, None),
                    1 => write(&store, table, *key, Some(b"rubbish")),
                    _ => {}
                }
            }
            for _ in 0..rng.u8(..3) {
                let second = if table.is_pair() { rng.u64(..99) } else { 0 };
                let key = Key::pair(rng.u64(..99), second);
                write(&store, table, key, Some(b"rubbish"));
            }
        }
        let report = check_within(&store, true, MEMORY).unwrap();
        assert_eq!(report.errors, []);
        drop(store);
        let store = open(&place.backend, &place.path, false).unwrap();
        assert_clean(&store, &graph, &pins);
    }
}

/// Anchors in records are the smallest referrers, if these come first: no record is written twice.
fn assert_recorded(store: &LocalStore, graph: &Graph) {
    let referrers = referrers(graph);
    for (oid, anchor) in recorded(store) {
        let first = referrers.get(&oid).and_then(|sources| sources.first());
        assert_eq!(anchor, first.copied().filter(|first| *first < oid), "{oid}");
    }
}

#[test]
fn more_references_than_fit_in_memory_are_sorted_outside() {
    const COUNT: u64 = 20_000;
    let mut rng = fastrand::Rng::with_seed(seed());
    let graph: Graph = (0..COUNT)
        .map(|oid| (oid, (0..4).map(|_| rng.u64(..COUNT)).collect()))
        .collect();
    let place = Place::new();
    let store = place.import(&graph);
    assert_recorded(&store, &graph);
    let report = check_within(&store, false, 0).unwrap();
    assert_eq!(report.errors, []);
    write(&store, Table::Irregular, Key::from(0), Some(&[]));
    assert_eq!(check_within(&store, true, 0).unwrap().errors, []);
    assert_eq!(rows(&store, Table::Irregular).get(&Key::from(0)), None);
}

#[test]
fn every_damage_is_found_and_repaired() {
    let graph = zoo();
    for (number, damage) in DAMAGES.iter().enumerate() {
        let place = Place::new();
        let store = place.import(&graph);
        pin(&store, &Pins::from([(3, 7)]));
        assert_clean(&store, &graph, &Pins::from([(3, 7)]));
        let (kind, part) = damage(&store);
        let report = check_within(&store, false, MEMORY).unwrap();
        let named = |found: &&durum_core::check::Finding| {
            found.kind == kind && found.message.contains(part)
        };
        assert!(
            report.errors.iter().any(|found| named(&found)),
            "{number}: {:?}",
            report.errors
        );
        let report = check_within(&store, true, MEMORY).unwrap();
        assert_eq!(report.errors, [], "{number}");
        assert!(report.repaired.iter().any(|mended| mended.contains(part)));
        let kept = rows(&store, Table::Pins);
        let pins = kept.keys().map(|key| (key.second, key.first)).collect();
        assert_clean(&store, &graph, &pins);
    }
}

/// The least member and the length of every cycle among anchors.
fn cycles(anchors: &BTreeMap<u64, Option<u64>>) -> BTreeSet<(u64, usize)> {
    let mut cycles = BTreeSet::new();
    for from in anchors.keys() {
        let chain = std::iter::successors(Some(*from), |at| anchors.get(at).copied().flatten());
        let chain: Vec<u64> = chain.take(anchors.len() + 1).collect();
        let around = chain.iter().skip(1).position(|at| at == from);
        if let Some(length) = around.map(|place| place + 1)
            && chain[..length].iter().min() == Some(from)
        {
            cycles.insert((*from, length));
        }
    }
    cycles
}

#[test]
fn every_cycle_of_anchors_is_named_once() {
    let mut rng = fastrand::Rng::with_seed(seed());
    for _ in 0..80 {
        let count = rng.u64(1..60);
        let graph: Graph = (0..count).map(|oid| (oid, BTreeSet::new())).collect();
        let place = Place::new();
        let store = place.import(&graph);
        let mut anchors = BTreeMap::new();
        for oid in 0..count {
            let anchor = (rng.u8(..8) > 0).then(|| rng.u64(..count + 2));
            let anchor = anchor.filter(|anchor| *anchor != oid);
            let row = Row {
                anchor,
                ..Row::default()
            };
            put_row(&store, oid, &row);
            anchors.insert(oid, anchor);
        }
        let report = check_within(&store, false, MEMORY).unwrap();
        let found = report.errors.iter().filter_map(|found| {
            let length = found.message.strip_prefix("the anchors of ")?;
            let (length, _) = length.split_once(" objects form a cycle: ")?;
            Some((found.oid.unwrap(), length.parse().unwrap()))
        });
        let found: Vec<(u64, usize)> = found.collect();
        let expected = cycles(&anchors);
        assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        assert_eq!(check_within(&store, true, MEMORY).unwrap().errors, []);
        verify(&store, &graph, &Pins::new());
    }
}

#[test]
fn where_an_object_is_damaged_nothing_is_rebuilt() {
    let graph = zoo();
    let place = Place::new();
    let store = place.import(&graph);
    let mut bytes = rows(&store, Table::Objects)[&Key::from(1)].clone();
    bytes[6] ^= 1;
    write(&store, Table::Objects, Key::from(1), Some(&bytes));
    // What the damaged object refers to cannot be told, and is no finding.
    let report = check_within(&store, false, MEMORY).unwrap();
    assert_eq!(
        kinds(&report),
        BTreeSet::from(["Damaged".to_owned()]),
        "{report:?}"
    );
    write(&store, Table::Orphans, Key::from(300), None);
    let before: Vec<_> = Table::ALL.map(|table| rows(&store, table)).into();
    let report = check_within(&store, true, MEMORY).unwrap();
    assert_eq!(
        kinds(&report),
        BTreeSet::from(["Damaged".to_owned(), "Orphans".to_owned()])
    );
    let after: Vec<_> = Table::ALL.map(|table| rows(&store, table)).into();
    assert!(before == after);
}

/// The value of a row: CRC-32 over key and numbers, and these as varints of one byte.
fn sealed(key: Key, numbers: &[u8]) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.first.to_be_bytes());
    hasher.update(&key.second.to_be_bytes());
    hasher.update(numbers);
    [&hasher.finalize().to_le_bytes()[..], numbers].concat()
}

#[test]
fn condemned_objects_are_neither_counted_nor_compared() {
    let mut graph = zoo();
    // A cycle that refers to an object in use, in the only row of job 2; a draft of job 3.
    let members = Key::pair(2, 100);
    graph.insert(100, [101, 4].into());
    graph.insert(101, [100].into());
    let place = Place::new();
    let store = place.import(&graph);
    write(
        &store,
        Table::Condemned,
        members,
        Some(&sealed(members, &[2, 100, 1])),
    );
    let draft = Key::pair(3, 1);
    write(
        &store,
        Table::Condemned,
        draft,
        Some(&sealed(draft, &[1, 1])),
    );
    let job = sealed(Key::from(2), &[3, 2, 5, 2, 100, 0, 0]);
    write(&store, Table::Meta, Key::from(2), Some(&job));
    // Whatever tables say of members is no finding.
    write(&store, Table::Referrers, Key::from(101), Some(b"rubbish"));
    write(&store, Table::Irregular, Key::from(101), Some(b""));
    let report = check_within(&store, false, MEMORY).unwrap();
    assert_eq!(
        kinds(&report),
        BTreeSet::from(["Counters".to_owned()]),
        "{report:?}"
    );
    assert_eq!(report.objects, graph.len() as u64 - 2);
    let report = check_within(&store, true, MEMORY).unwrap();
    assert_eq!((report.errors, report.repaired.len()), (vec![], 1));
    assert!(rows(&store, Table::Condemned).contains_key(&draft));
    // A rebuild keeps them condemned, and forgets drafts.
    write(&store, Table::Orphans, Key::from(300), None);
    assert_eq!(check_within(&store, true, MEMORY).unwrap().errors, []);
    assert!(rows(&store, Table::Condemned).keys().eq([&members]));
    assert_eq!(rows(&store, Table::Meta)[&Key::from(2)], job);
    assert!(!rows(&store, Table::Referrers).contains_key(&Key::from(101)));
    let report = check_within(&store, false, MEMORY).unwrap();
    assert_eq!(
        (report.errors, report.objects),
        (vec![], graph.len() as u64 - 2)
    );
    // Where the state is lost nobody is condemned any more: they are garbage like other.
    write(&store, Table::Meta, Key::from(2), Some(b"rubbish"));
    assert_eq!(check_within(&store, true, MEMORY).unwrap().errors, []);
    assert!(rows(&store, Table::Condemned).is_empty());
    assert_clean(&store, &graph, &Pins::new());
}

/// A store whose tables take many writes.
fn many() -> Graph {
    let mut graph: Graph = (1..=4500).map(|oid| (oid, [oid - 1].into())).collect();
    graph.insert(0, [2000, 4000].into());
    graph
}

#[test]
fn a_rebuild_that_is_cut_off_anywhere_is_done_again() {
    let graph = many();
    let (mut cut, mut refused) = (0, 0);
    for (after, applied) in (0..).flat_map(|after| [(after, false), (after, true)]) {
        let place = Place::new();
        let store = place.import(&graph);
        write(&store, Table::Orphans, Key::from(4500), None);
        let before = derived(&store);
        *place.backend.0.fault.lock().unwrap() = Some((after, applied));
        let result = check_within(&store, true, MEMORY);
        drop(store);
        *place.backend.0.fault.lock().unwrap() = None;
        let done = result.is_ok();
        if done {
            assert_eq!(result.unwrap().errors, []);
        } else {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Io);
            cut += 1;
        }
        let store = match open(&place.backend, &place.path, false) {
            Ok(store) => {
                // Nothing in between: the tables are as they were, or complete.
                if derived(&store) != before {
                    verify(&store, &graph, &Pins::new());
                }
                store
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Damaged);
                assert!(
                    error.to_string().contains("`durum check --repair`"),
                    "{error}"
                );
                cut_again(&place, cut % 5);
                open(&place.backend, &place.path, true).unwrap()
            }
        };
        let report = check_within(&store, true, MEMORY).unwrap();
        assert_eq!(report.errors, []);
        assert_clean(&store, &graph, &Pins::new());
        if done {
            break;
        }
    }
    assert!(refused + 2 >= cut, "{refused} of {cut}");
    assert!(cut > 12, "only {cut} writes could be cut off");
}

fn derived(store: &LocalStore) -> [BTreeMap<Key, Vec<u8>>; 4] {
    let tables = [
        Table::Referrers,
        Table::ReferrersMore,
        Table::Orphans,
        Table::Irregular,
    ];
    tables.map(|table| rows(store, table))
}

/// Cuts off the rebuilding that opening does, too.
fn cut_again(place: &Place, after: usize) {
    *place.backend.0.fault.lock().unwrap() = Some((after, false));
    open(&place.backend, &place.path, true).unwrap_err();
    *place.backend.0.fault.lock().unwrap() = None;
    assert!(place.backend.0.writes.load(Ordering::SeqCst) > 0);
    open(&place.backend, &place.path, false).unwrap_err();
}
