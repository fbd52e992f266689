//! Every engine to every other, with every codec.

use durum_core::config::Location;
use durum_core::record::Codec;
use durum_core::store::Store as _;
use durum_core::{Oid, SessionId, Tid};
use durum_migrate::Verify;
use durum_testkit::{names, seed};
use fastrand::Rng;

use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{contents, digest, fill, object, open, persistent, run};

/// Whether objects of the store lie compressed by `codec`; sizes of 0 and more are in every sample.
pub(crate) fn uses(store: &durum_core::store::LocalStore, codec: Codec) -> bool {
    let snapshot = store.snapshot().unwrap();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    let mut found = false;
    while let Some(record) = scan.next().unwrap() {
        found |= record.payload().codec() == codec;
    }
    found
}

/// Every pair of engines, with a pair of codecs that is another for each: contents and tids are the
/// same, and OIDs that were ever handed out are not handed out again.
#[test]
fn every_engine_to_every_engine() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let engines = persistent(&registry);
    for (number, from) in engines.iter().enumerate() {
        let (name, _) = Codec::NAMES[number % 4];
        let path = directory.path().join(format!("from-{from}"));
        let source = format!("{from}:{}?compression={name}", path.display());
        let store = registry
            .create(&registry.parse_store(&source).unwrap().without_collection())
            .unwrap();
        let collected = fill(&store, &mut draw);
        let (objects, stats) = (contents(&store), store.stats().unwrap());
        let expected = digest(&store);
        drop(store);
        for (step, to) in engines.iter().enumerate() {
            let (name, codec) = Codec::NAMES[(number + step + 1) % 4];
            let path = directory.path().join(format!("{from}-{to}"));
            let destination = format!("{to}:{}?compression={name}", path.display());
            let outcome = run(&registry, &source, &destination, Verify::Digest).unwrap();
            let what = format!("{source} to {destination}");
            assert_eq!(outcome.digest, Some(expected), "{what}");
            assert_eq!(outcome.objects, objects.len() as u64, "{what}");
            let bytes: usize = objects.iter().map(|object| object.data.len()).sum();
            assert_eq!(outcome.bytes, bytes as u64, "{what}");
            assert_eq!((outcome.dangling, outcome.torn_bytes), (0, 0), "{what}");

            let copy = open(&registry, &destination);
            assert!(contents(&copy) == objects, "{what}: objects differ");
            assert!(uses(&copy, codec), "{what}");
            let found = copy.stats().unwrap();
            assert_eq!(
                (found.objects, found.tid),
                (stats.objects, stats.tid),
                "{what}"
            );
            assert!(found.high_water >= stats.high_water, "{what}");
            for oid in copy.new_oids(SessionId::EMBEDDED, 100).unwrap() {
                assert!(oid > collected, "{what}: {oid} was in use once");
            }
            let report = durum_core::check::check(&copy, false).unwrap();
            assert_eq!(
                (report.error_count, report.unreachable, report.dangling),
                (0, 0, 0)
            );
        }
    }
    let left: Vec<String> = names(directory.path());
    assert_eq!(left.len(), engines.len() * (engines.len() + 1), "{left:?}");
}

/// All pairs of codecs, on the engine in memory.
#[test]
fn every_codec_to_every_codec() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    for (from, _) in Codec::NAMES {
        let path = directory.path().join(from);
        let source = format!("{NAME}:{}?compression={from}", path.display());
        let store = registry
            .create(&registry.parse_store(&source).unwrap().without_collection())
            .unwrap();
        fill(&store, &mut draw);
        let (objects, expected) = (contents(&store), digest(&store));
        drop(store);
        for (to, codec) in Codec::NAMES {
            let path = directory.path().join(format!("{from}-{to}"));
            let destination = format!("{NAME}:{}?compression={to}", path.display());
            let outcome = run(&registry, &source, &destination, Verify::Digest).unwrap();
            assert_eq!(outcome.digest, Some(expected), "{from} to {to}");
            let copy = open(&registry, &destination);
            assert!(contents(&copy) == objects, "{from} to {to}");
            assert!(uses(&copy, codec), "{from} to {to}");
        }
    }
}

/// Commits go on in a copy where they ended in the source, and the copy is a store like any other.
#[test]
fn a_copy_lives_on() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let [source, copy] =
        ["source", "copy"].map(|name| format!("{NAME}:{}", directory.path().join(name).display()));
    let store = registry
        .create(&registry.parse_store(&source).unwrap().without_collection())
        .unwrap();
    fill(&store, &mut draw);
    let (tid, id) = (store.stats().unwrap().tid, store.id());
    drop(store);
    for verify in [Verify::None, Verify::Count, Verify::Digest] {
        let url = format!("{copy}-{verify:?}");
        let outcome = run(&registry, &source, &url, verify).unwrap();
        assert_eq!(outcome.digest.is_some(), verify == Verify::Digest);
        let store = open(&registry, &url);
        assert_ne!(store.id(), id, "a copy is a store of its own");
        let oid = store.new_oids(SessionId::EMBEDDED, 1).unwrap()[0];
        let mut batch = durum_core::store::Batch::new();
        batch
            .create(oid, *b"new", [])
            .update(Oid::ROOT, *b"root", [oid]);
        let receipt = store.commit(batch, crate::sample::best(&store)).unwrap();
        assert_eq!(receipt.tid, tid.next());
        let collected = store.collect().unwrap();
        assert_eq!(
            collected.objects,
            outcome.objects - 1,
            "all but the root lost their referrer"
        );
    }
}

/// A store without objects is one, too; and an engine that keeps nothing still proves what it got.
#[test]
fn empty_stores_and_stores_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let path = |name: &str| directory.path().join(name).display().to_string();
    for engine in persistent(&registry) {
        let source = format!("{engine}:{}", path(engine));
        drop(
            registry
                .create(&registry.parse_store(&source).unwrap().without_collection())
                .unwrap(),
        );
        for to in persistent(&registry) {
            let url = format!("{to}:{}", path(&format!("{engine}-{to}")));
            let outcome = run(&registry, &source, &url, Verify::Digest).unwrap();
            assert_eq!((outcome.objects, outcome.bytes), (0, 0));
            assert_eq!(outcome.digest.unwrap().to_string(), "0".repeat(64));
            let store = open(&registry, &url);
            assert_eq!(contents(&store), []);
            assert_eq!(store.new_oids(SessionId::EMBEDDED, 1).unwrap(), [Oid::ROOT]);
        }
        let durus = format!("durus:{}", path(&format!("{engine}.durus")));
        assert_eq!(
            run(&registry, &source, &durus, Verify::Digest)
                .unwrap()
                .objects,
            0
        );
        let back = format!("{NAME}:{}", path(&format!("{engine}-back")));
        assert_eq!(
            run(&registry, &durus, &back, Verify::Digest)
                .unwrap()
                .objects,
            0
        );
    }
    let url = format!("{NAME}:{}", path("full"));
    crate::sample::import(
        &registry,
        &url,
        &[object(0, &[5], b"root"), object(5, &[0], b"leaf")],
    );
    let outcome = run(&registry, &url, "memory:", Verify::Digest).unwrap();
    assert_eq!(outcome.digest, Some(digest(&open(&registry, &url))));
    assert_eq!(
        run(&registry, "memory:", "memory:", Verify::Digest)
            .unwrap()
            .objects,
        0
    );
}

/// Through files of both formats of Durus, and garbage, which is data like any other.
#[test]
fn durus_files_of_all_formats_on_the_way() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let source = format!("{NAME}:{}", path("source"));
    let mut objects: Vec<_> = (0..300)
        .map(|oid| {
            object(
                oid * 2,
                &[oid / 2 * 2, oid],
                &crate::sample::text(&mut draw, 99),
            )
        })
        .collect();
    for object in &mut objects {
        durum_core::record::normalize_refs(object.oid, &mut object.refs);
        object.refs.retain(|to| to.0.is_multiple_of(2));
        object.tid = Tid(object.oid.0 % 7 + 1);
    }
    crate::sample::import(&registry, &source, &objects);
    let expected = digest(&open(&registry, &source));
    for (format, magic) in [
        ("shelf", &b"SHELF-1\n"[..]),
        ("dfs20", b"DFS20\0"),
        ("sqlite", b"SQLite format 3\0"),
    ] {
        let file = path(format);
        let durus = format!("durus:{file}?format={format}");
        let outcome = run(&registry, &source, &durus, Verify::Digest).unwrap();
        assert_eq!(outcome.digest, Some(expected), "{format}");
        assert!(std::fs::read(&file).unwrap().starts_with(magic), "{format}");
        let parsed = registry.parse(&durus).unwrap();
        assert!(matches!(parsed, Location::DurusFile { .. }));
        let back = format!("{NAME}:{}", path(&format!("{format}-back")));
        assert_eq!(
            run(&registry, &durus, &back, Verify::Digest)
                .unwrap()
                .digest,
            Some(expected)
        );
        // Durus knows no commits: all are of the first.
        let mut first = objects.clone();
        first.iter_mut().for_each(|object| object.tid = Tid(1));
        assert!(contents(&open(&registry, &back)) == first);
    }
}
