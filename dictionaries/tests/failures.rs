//! Dictionaries on nodes that fail.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durum_cluster::TestCluster;
use durum_dictionaries::conformance::fields;
use durum_dictionaries::{
    Class, Dictionaries, ErrorKind, Fields, IndexType, Merger, NAMESPACE, Offline, Query,
    RevisionId, Value,
};
use durum_objects::Database;
use tokio::runtime::Runtime;

/// How many write at once.
const WRITERS: usize = 4;

fn open(cluster: &TestCluster) -> Dictionaries {
    Dictionaries::distributed(cluster.cluster(), NAMESPACE, Merger::default()).unwrap()
}

/// What a writer has been told to be written, and its longest wait.
struct Written {
    newest: BTreeMap<String, (RevisionId, i64)>,
    longest: Duration,
}

/// Writes and reads back until it is stopped. Nothing may fail.
fn write(home: &Dictionaries, writer: usize, stop: &AtomicBool) -> Written {
    let mut written = Written {
        newest: BTreeMap::new(),
        longest: Duration::ZERO,
    };
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{writer}-{}", number % 20);
        let begun = Instant::now();
        let id = home
            .put("c", &key, fields([("n", Value::Int(number))]))
            .unwrap();
        written.longest = written.longest.max(begun.elapsed());
        let begun = Instant::now();
        let found = home.get("c", &key).unwrap().unwrap();
        written.longest = written.longest.max(begun.elapsed());
        assert_eq!(
            (found.revision.id, &found.fields()["n"]),
            (id, &Value::Int(number))
        );
        written.newest.insert(key, (id, number));
        number += 1;
    }
    written
}

/// One of three nodes is killed while dictionaries are written and read: no error, and nothing is lost. Without two of
/// them it is said that they are too few, and when they are back all is there.
#[test]
fn a_class_of_three_copies_does_without_one_node() {
    let runtime = Runtime::new().unwrap();
    let Some(mut cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let home = open(&cluster);
    home.define(Class::new("c").copies(3).index("n", IndexType::Int))
        .unwrap();
    let stop = AtomicBool::new(false);
    let homes: Vec<_> = (0..WRITERS).map(|_| open(&cluster)).collect();
    let written: Vec<Written> = std::thread::scope(|scope| {
        let stop = &stop;
        let start = |(writer, home)| scope.spawn(move || write(home, writer, stop));
        let threads: Vec<_> = homes.iter().enumerate().map(start).collect();
        std::thread::sleep(Duration::from_secs(2));
        cluster.kill(1);
        std::thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let longest = written.iter().map(|written| written.longest).max().unwrap();
    let newest: BTreeMap<_, _> = written
        .into_iter()
        .flat_map(|written| written.newest)
        .collect();
    println!(
        "{} dictionaries, the longest wait was {longest:?}",
        newest.len()
    );
    check(&home, &newest);

    cluster.kill(2);
    let error = open(&cluster).put("c", "k", fields([])).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NoQuorum | ErrorKind::Unreachable),
        "{error}"
    );
    cluster.run(1);
    cluster.run(2);
    runtime.block_on(cluster.wait_until_all_are_up());
    check(&open(&cluster), &newest);
    home.heal(None).unwrap();
    check(&open(&cluster), &newest);
}

/// All that was acknowledged is there, is the newest, and is found by its index.
fn check(home: &Dictionaries, newest: &BTreeMap<String, (RevisionId, i64)>) {
    for (count, (key, (id, number))) in newest.iter().enumerate() {
        let found = home.get("c", key).unwrap().unwrap();
        assert_eq!(
            (found.revision.id, &found.fields()["n"]),
            (*id, &Value::Int(*number))
        );
        if count % 10 == 0 {
            let by_index = home
                .select("c", "n", &Query::Equals(Value::Int(*number)))
                .unwrap();
            let keys: Vec<_> = by_index.map(|found| found.unwrap().key).collect();
            assert!(keys.contains(key), "{key}: {keys:?}");
        }
    }
    assert_eq!(
        home.all("c").unwrap().map(Result::unwrap).count(),
        newest.len()
    );
}

/// Three classes, that want the one and the other where no node can be reached, with dictionaries that the copy has.
fn define_and_fill(home: &Dictionaries) {
    let class = |name: &str| Class::new(name).copies(3).index("n", IndexType::Int);
    home.define(class("w").offline(Offline::Write)).unwrap();
    home.define(class("r").offline(Offline::Read)).unwrap();
    home.define(class("x")).unwrap();
    for class in ["w", "r", "x"] {
        for key in 0..10 {
            let values = fields([("n", Value::Int(key)), ("m", Value::Int(0))]);
            home.put(class, &key.to_string(), values).unwrap();
        }
    }
    home.heal(None).unwrap();
    assert_eq!(home.get("w", "3").unwrap().unwrap().as_of, None);
}

/// Nothing where the class does not want it, no writes where it wants reads only, and those from the copy.
fn check_reads_without_nodes(home: &Dictionaries) {
    let error = home.get("x", "3").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let error = home.put("r", "3", fields([])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let found = home.get("r", "3").unwrap().unwrap();
    assert!(found.as_of.is_some() && found.fields()["n"] == Value::Int(3));
    assert_eq!(home.all("r").unwrap().map(Result::unwrap).count(), 10);
    let three = Query::Equals(Value::Int(3));
    assert_eq!(home.select("r", "n", &three).unwrap().count(), 1);
}

/// Without nodes a class is read from the copy, and written into the outbox, where it wants that; what was written arrives, with its parents, and is merged
/// with what others have written meanwhile.
#[test]
fn without_nodes_the_copy_answers_and_the_outbox_waits() {
    let runtime = Runtime::new().unwrap();
    let Some(mut cluster) = runtime.block_on(TestCluster::start(3, 3)) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let url = format!("lmdb:{}", directory.path().join("copy").display());
    let database = Database::create(&url).unwrap();
    let client = cluster.cluster();
    let with_copy = |database: &Database| {
        Dictionaries::with_copy(client.clone(), NAMESPACE, Merger::default(), database).unwrap()
    };
    let home = with_copy(&database);
    define_and_fill(&home);

    for node in 0..3 {
        cluster.kill(node);
    }
    check_reads_without_nodes(&home);

    let change = |fields: &mut Fields| drop(fields.insert("m".into(), Value::Int(7)));
    let written = home.update("w", "3", change).unwrap();
    let again = home.update("w", "3", |fields| {
        drop(fields.insert("o".into(), Value::Null))
    });
    let again = again.unwrap();
    let found = home.get("w", "3").unwrap().unwrap();
    assert_eq!(
        (found.revision.id, &found.revision.parents[..]),
        (again, &[written][..])
    );
    // The program ends, and begins anew with the same copy.
    drop(home);
    let home = with_copy(&database);
    assert_eq!(home.get("w", "3").unwrap().unwrap().revision.id, again);
    // While it runs it would deliver as soon as it can.
    drop(home);

    for node in 0..3 {
        cluster.run(node);
    }
    runtime.block_on(cluster.wait_until_all_are_up());
    // Another one has not heard of it.
    let other = open(&cluster);
    let set = |fields: &mut Fields| drop(fields.insert("n".into(), Value::Int(30)));
    other.update("w", "3", set).unwrap();
    let home = with_copy(&database);
    home.heal(None).unwrap();
    let found = other.get("w", "3").unwrap().unwrap();
    let expected = [
        ("m", Value::Int(7)),
        ("n", Value::Int(30)),
        ("o", Value::Null),
    ];
    assert_eq!(found.fields(), &fields(expected));
    let history: Vec<_> = other
        .history("w", "3")
        .unwrap()
        .map(|each| each.unwrap().id)
        .collect();
    let has_all = history.contains(&written) && history.contains(&again) && history.len() == 5;
    assert!(has_all, "{history:?} without {written:?} or {again:?}");
    home.heal(None).unwrap();
    for node in 0..3 {
        cluster.kill(node);
    }
    let copied = home.get("w", "3").unwrap().unwrap();
    assert_eq!(copied.revision, found.revision, "the copy has followed");
}
