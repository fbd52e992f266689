//! Dictionaries that move between homes, with all of their revisions.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_cluster::TestCluster;
use durum_dictionaries::{
    Class, Dictionaries, ErrorKind, Fields, History, IndexType, Merge, Merger, Query, Result,
    Revision, RevisionId, Value,
};
use durum_migrate::dictionaries::{Moved, Place, Selection, migrate_dictionaries};
use durum_migrate::{Difference, MigrateOptions, Progress, Verify};
use fastrand::Rng;

fn class() -> Class {
    Class::new("thing")
        .index("size", IndexType::Int)
        .index_many("tags", IndexType::String)
        .merge(Merge::Leave)
}

fn some_fields(random: &mut Rng) -> Fields {
    let mut fields = Fields::from([("size".into(), Value::Int(random.i64(..10)))]);
    let tags = (0..random.usize(..3)).map(|_| Value::String(format!("t{}", random.u8(..5))));
    fields.insert("tags".into(), Value::List(tags.collect()));
    match random.u8(..20) {
        0 => {
            let large = vec![random.u8(..); random.usize(1000..40_000)];
            fields.insert("large".into(), Value::Bytes(large));
        }
        1 => drop(fields.insert("odd".into(), Value::Float(f64::NAN))),
        2 => drop(fields.remove("size")),
        _ => {}
    }
    fields
}

/// Histories of some dictionaries: chains, forks that nobody has merged, deletions, and a long one.
fn filled(count: usize, seed: u64) -> Dictionaries {
    let mut random = Rng::with_seed(seed);
    let home = Dictionaries::create("memory:").unwrap();
    home.define(class()).unwrap();
    for number in 0..count {
        let key = format!("key {:05}", random.u32(..50_000) + number as u32);
        let first = home.put("thing", &key, some_fields(&mut random)).unwrap();
        let revisions = match number {
            7 => 400,
            _ => random.usize(..4),
        };
        for _ in 0..revisions {
            match random.u8(..6) {
                0 => drop(home.delete("thing", &key).unwrap()),
                1 => {
                    let fields = some_fields(&mut random);
                    home.put_after("thing", &key, &[first], fields).unwrap();
                }
                _ => drop(home.put("thing", &key, some_fields(&mut random)).unwrap()),
            }
        }
    }
    home
}

/// Everything: by key what is newest, what is concurrent with it, and the history.
type Everything = BTreeMap<String, (Vec<RevisionId>, Vec<Revision>)>;

fn everything(home: &Dictionaries) -> Everything {
    let newest = home.all_newest("thing", "").unwrap();
    let one = |found: Result<durum_dictionaries::Dictionary>| {
        let found = found.unwrap();
        let history = home.history("thing", &found.key).unwrap();
        let history: Result<Vec<Revision>> = history.collect();
        (found.key.clone(), (found.seen(), history.unwrap()))
    };
    newest.map(one).collect()
}

fn selected(home: &Dictionaries) -> Vec<String> {
    let all = [
        home.select(
            "thing",
            "size",
            &Query::Range(Bound::Unbounded, Bound::Unbounded),
        ),
        home.select("thing", "tags", &Query::Prefix("t".into())),
    ];
    let found = all.into_iter().flat_map(Result::unwrap);
    found.map(|found| found.unwrap().key).collect()
}

fn place(home: &Dictionaries) -> Place<'_> {
    Place {
        home,
        url: "one",
        is_on_nodes: false,
    }
}

fn to(home: &Dictionaries) -> Place<'_> {
    Place {
        url: "other",
        ..place(home)
    }
}

fn move_all(
    from: &Dictionaries,
    into: &Dictionaries,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Vec<Moved>> {
    let selection = Selection::default();
    migrate_dictionaries(place(from), to(into), &selection, options, progress)
}

fn resuming() -> MigrateOptions {
    MigrateOptions {
        resume: true,
        ..MigrateOptions::default()
    }
}

#[test]
fn all_revisions_move_and_indexes_find_them() {
    let seed = durum_testkit::seed();
    let from = filled(300, seed);
    let into = Dictionaries::create("memory:").unwrap();
    let moved = move_all(&from, &into, &MigrateOptions::default(), &()).unwrap();
    let everything = everything(&from);
    assert!(everything == self::everything(&into), "seed {seed}");
    assert_eq!(selected(&from), selected(&into), "seed {seed}");
    let revisions: usize = everything.values().map(|(_, history)| history.len()).sum();
    assert!(everything.values().any(|(heads, _)| heads.len() > 1));
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].dictionaries, everything.len() as u64);
    assert_eq!(moved[0].added, revisions as u64);
    assert_eq!(moved[0].digest.unwrap().objects(), revisions as u64);
    assert_eq!(into.classes().unwrap(), from.classes().unwrap());
    // Who has used it before goes on.
    into.put("thing", "new", Fields::new()).unwrap();
    let again = move_all(&from, &into, &resuming(), &()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists);
}

/// Where several are moved, some are whole when it is cut off.
#[test]
fn classes_that_are_whole_are_not_moved_again() {
    let seed = durum_testkit::seed();
    let from = filled(100, seed);
    from.define(Class::new("more")).unwrap();
    from.put("more", "one", Fields::new()).unwrap();
    let into = Dictionaries::create("memory:").unwrap();
    let only = Selection {
        classes: vec!["thing".to_owned()],
        ..Selection::default()
    };
    let first = migrate_dictionaries(place(&from), to(&into), &only, &resuming(), &()).unwrap();
    let refused = move_all(&from, &into, &MigrateOptions::default(), &()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists);
    let unverified = MigrateOptions {
        verify: Verify::None,
        ..resuming()
    };
    let moved = move_all(&from, &into, &unverified, &()).unwrap();
    let told: Vec<_> = moved
        .iter()
        .map(|moved| (&*moved.class, moved.added, moved.resumed))
        .collect();
    assert_eq!(told, [("more", 1, false), ("thing", 0, true)]);
    assert_eq!(moved[1].digest, first[0].digest, "seed {seed}");
    assert_eq!(moved[1].dictionaries, first[0].dictionaries);
    assert!(everything(&from) == everything(&into), "seed {seed}");
    assert!(into.get("more", "one").unwrap().is_some());
    let again = move_all(&from, &into, &resuming(), &()).unwrap();
    assert!(again.iter().all(|moved| moved.resumed && moved.added == 0));
    // What has changed since is not what was moved, and nothing else is begun.
    from.put("more", "two", Fields::new()).unwrap();
    from.define(Class::new("last")).unwrap();
    let refused = move_all(&from, &into, &unverified, &()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists);
    assert!(into.class("last").is_err());
}

/// Stops after so many parts of the copy, and does something else before.
struct Meddling<'a> {
    stop: Arc<AtomicBool>,
    left: Cell<i64>,
    at: &'static str,
    phase: Cell<&'static str>,
    then: &'a dyn Fn(),
    differing: RefCell<Vec<(Difference, String)>>,
}

impl<'a> Meddling<'a> {
    fn new(at: &'static str, parts: i64, then: &'a dyn Fn()) -> Meddling<'a> {
        Meddling {
            stop: Arc::default(),
            left: Cell::new(parts),
            at,
            phase: Cell::new(""),
            then,
            differing: RefCell::default(),
        }
    }
}

impl Progress for Meddling<'_> {
    fn begin(&self, phase: &'static str, _total: Option<u64>) {
        self.phase.set(phase);
        self.advance(0, 0);
    }

    fn advance(&self, _objects: u64, _bytes: u64) {
        if self.phase.get() == self.at {
            self.left.set(self.left.get() - 1);
            if self.left.get() == 0 {
                (self.then)();
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }

    fn skip(&self, _objects: u64, _bytes: u64) {}

    fn key_differs(&self, difference: Difference, _class: &str, key: &str) {
        self.differing
            .borrow_mut()
            .push((difference, key.to_owned()));
    }
}

#[test]
fn it_goes_on_from_wherever_it_is_stopped_and_nobody_uses_it_before() {
    let seed = durum_testkit::seed();
    let from = filled(500, seed);
    let database = durum_objects::Database::create("memory:").unwrap();
    let open = || Dictionaries::embedded(&database, Merger::default()).unwrap();
    let (mut stops, mut resumed_with) = (0, Vec::new());
    for (at, parts) in [
        ("copy", 2),
        ("copy", 3),
        ("follow", 1),
        ("verify", 1),
        ("verify", 3),
    ] {
        let meddling = Meddling::new(at, parts, &|| {});
        let options = MigrateOptions {
            stop: Arc::clone(&meddling.stop),
            ..resuming()
        };
        let stopped = move_all(&from, &open(), &options, &meddling).unwrap_err();
        assert_eq!(stopped.kind(), ErrorKind::Interrupted, "{at} {parts}");
        stops += 1;
        // It is there, and says why it cannot be used.
        let class = open().class("thing").unwrap();
        let filling = class.filling.unwrap();
        assert_eq!(filling.source, "one");
        resumed_with.push(filling.done);
        for used in [
            open().get("thing", "key").err(),
            open().put("thing", "key", Fields::new()).err(),
            open().define(self::class()).err(),
            open().heal(None).err(),
            open().changes("thing", None).err(),
        ] {
            let error = used.unwrap();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
            assert!(error.to_string().contains("--resume"), "{error}");
        }
    }
    assert!(
        resumed_with[0] > 0 && resumed_with.is_sorted(),
        "{resumed_with:?}"
    );
    let moved = move_all(&from, &open(), &resuming(), &()).unwrap();
    assert!(moved[0].resumed && stops == 5);
    assert!(everything(&from) == everything(&open()), "seed {seed}");
    let alone = Dictionaries::create("memory:").unwrap();
    let at_once = move_all(&from, &alone, &MigrateOptions::default(), &()).unwrap();
    assert_eq!(moved[0].digest, at_once[0].digest);
    assert_eq!(selected(&open()), selected(&from), "seed {seed}");
}

#[test]
fn what_is_written_meanwhile_follows() {
    let seed = durum_testkit::seed();
    let from = filled(300, seed);
    for at in ["copy", "follow", "verify"] {
        let into = Dictionaries::create("memory:").unwrap();
        let write = || {
            let changed = everything(&from).keys().next().unwrap().clone();
            from.put("thing", &changed, Fields::new()).unwrap();
            from.put("thing", &format!("a new one {at}"), Fields::new())
                .unwrap();
        };
        // Its own flag, so that nothing stops.
        let meddling = Meddling::new(at, 2, &write);
        let moved = move_all(&from, &into, &MigrateOptions::default(), &meddling).unwrap();
        assert!(everything(&from) == everything(&into), "seed {seed}, {at}");
        assert!(
            into.get("thing", &format!("a new one {at}"))
                .unwrap()
                .is_some()
                || meddling.left.get() > 0
        );
        if at == "copy" {
            assert!(moved[0].followed >= 1, "{moved:?}");
        }
    }
}

#[test]
fn a_copy_that_differs_is_told_and_does_not_appear() {
    let seed = durum_testkit::seed();
    let from = filled(50, seed);
    let database = durum_objects::Database::create("memory:").unwrap();
    let into = Dictionaries::embedded(&database, Merger::default()).unwrap();
    let keys: Vec<String> = everything(&from).into_keys().collect();
    // Who has admitted itself to an unfinished class can spoil it.
    let spoil = || {
        into.put("thing", &keys[3], Fields::new()).unwrap();
        into.put("thing", "added", Fields::new()).unwrap();
    };
    let meddling = Meddling::new("verify", 1, &spoil);
    let options = MigrateOptions {
        verify: Verify::Full,
        ..MigrateOptions::default()
    };
    let error = move_all(&from, &into, &options, &meddling).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    let differing = meddling.differing.into_inner();
    assert_eq!(
        differing,
        [
            (Difference::Added, "added".to_owned()),
            (Difference::Changed, keys[3].clone())
        ],
        "seed {seed}"
    );
    let other = Dictionaries::embedded(&database, Merger::default()).unwrap();
    assert_eq!(
        other.get("thing", "added").unwrap_err().kind(),
        ErrorKind::InUse
    );
}

#[test]
fn a_migration_goes_on_from_what_it_was_begun_with_only() {
    let from = filled(300, 1);
    let into = Dictionaries::create("memory:").unwrap();
    let meddling = Meddling::new("copy", 2, &|| {});
    let options = MigrateOptions {
        stop: Arc::clone(&meddling.stop),
        ..MigrateOptions::default()
    };
    move_all(&from, &into, &options, &meddling).unwrap_err();
    let refused = |source: Place<'_>, options: &MigrateOptions| {
        let selection = Selection::default();
        let error = migrate_dictionaries(source, to(&into), &selection, options, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    };
    let begin = refused(place(&from), &MigrateOptions::default());
    assert!(begin.contains("--resume"), "{begin}");
    let elsewhere = Place {
        url: "elsewhere",
        ..place(&from)
    };
    let other = refused(elsewhere, &resuming());
    assert!(other.contains("begun from one"), "{other}");
    from.define(class().index("more", IndexType::Bool)).unwrap();
    let changed = refused(place(&from), &resuming());
    assert!(changed.contains("definition"), "{changed}");
    from.define(class()).unwrap();
    move_all(&from, &into, &resuming(), &()).unwrap();
    assert!(everything(&from) == everything(&into));
}

#[test]
fn a_bounded_history_moves_as_it_is() {
    let from = Dictionaries::create("memory:").unwrap();
    let class = class().history(History::Revisions(2));
    from.define(class.clone()).unwrap();
    for number in 0..50 {
        for _ in 0..5 {
            let size = Fields::from([("size".into(), Value::Int(number))]);
            from.put("thing", &number.to_string(), size).unwrap();
        }
    }
    let into = Dictionaries::create("memory:").unwrap();
    // What is pruned at the source meanwhile is still there, and pruned by the next write.
    let write = || {
        for _ in 0..3 {
            from.put("thing", "7", Fields::new()).unwrap();
        }
    };
    let meddling = Meddling::new("follow", 1, &write);
    move_all(&from, &into, &MigrateOptions::default(), &meddling).unwrap();
    assert_eq!(into.class("thing").unwrap().history, class.history);
    let count = |home: &Dictionaries, key: &str| home.history("thing", key).unwrap().count();
    assert_eq!((count(&from, "8"), count(&into, "8")), (2, 2));
    assert!(count(&into, "7") > 2);
    into.put("thing", "7", Fields::new()).unwrap();
    assert_eq!(count(&into, "7"), 2);
}

#[test]
fn dictionaries_move_to_nodes_and_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let nodes = cluster.cluster();
    let seed = durum_testkit::seed();
    let from = filled(120, seed);
    let open = || Dictionaries::distributed(nodes.clone(), "moved", Merger::default()).unwrap();
    let on_nodes = open();
    let selection = Selection {
        copies: Some(3),
        ..Selection::default()
    };
    let there = Place {
        is_on_nodes: true,
        ..to(&on_nodes)
    };
    let meddling = Meddling::new("copy", 2, &|| {});
    let options = MigrateOptions {
        stop: Arc::clone(&meddling.stop),
        ..MigrateOptions::default()
    };
    let stopped =
        migrate_dictionaries(place(&from), there, &selection, &options, &meddling).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Interrupted);
    let refused = open().get("thing", "key").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
    let moved = migrate_dictionaries(place(&from), there, &selection, &resuming(), &()).unwrap();
    assert!(moved[0].resumed);
    assert!(everything(&from) == everything(&open()), "seed {seed}");
    assert_eq!(selected(&from), selected(&open()), "seed {seed}");
    assert_eq!(open().class("thing").unwrap().copies, 3);

    let back = Dictionaries::create("memory:").unwrap();
    let again = move_all(&open(), &back, &MigrateOptions::default(), &()).unwrap();
    assert_eq!(again[0].digest, moved[0].digest);
    assert!(everything(&from) == everything(&back), "seed {seed}");
}
