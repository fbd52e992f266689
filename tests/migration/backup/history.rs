//! Random histories: a full backup and increments, restored at every point, on every engine.

use durum_core::record::Codec;
use durum_core::store::{Batch, Store as _};
use durum_core::{ErrorKind, Oid, SessionId, Tid};
use durum_migrate::backup::{Backup, check};
use durum_testkit::seed;
use fastrand::Rng;

use super::{Taken, evolve, inputs, restore_to, take};
use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{best, contents, digest, object, open, persistent, text};

/// Backups of a history.
const POINTS: usize = 5;

fn chain(points: &[Taken]) -> Vec<&[u8]> {
    points.iter().map(|point| point.bytes.as_slice()).collect()
}

#[test]
fn every_point_returns_on_every_engine() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let engines = persistent(&registry);
    for (number, engine) in engines.iter().enumerate() {
        let (codec, _) = Codec::NAMES[number % 4];
        let path = directory.path().join(engine);
        let url = format!("{engine}:{}?compression={codec}", path.display());
        let store = registry
            .create(&registry.parse_store(&url).unwrap())
            .unwrap();
        let mut points: Vec<Taken> = Vec::new();
        for step in 0..POINTS {
            // One of the increments holds nothing.
            let commits = if step == 2 { 0 } else { draw.usize(3..20) };
            evolve(&store, &mut draw, commits);
            if draw.bool() {
                store.collect().unwrap();
            }
            // From the last backup or an earlier one: both follow it.
            let earlier = step.checked_sub(1).map(|last| draw.usize(..=last));
            let since = earlier.map(|earlier| points[earlier].summary.header.tid);
            let verify = draw.bool();
            let taken = take(&store, since, verify);
            let totals = taken.summary.totals;
            if since.is_none() || verify {
                assert_eq!(totals.store_digest, Some(taken.digest), "{url}");
            }
            points.push(taken);
        }
        let deleted: u64 = points.iter().map(|it| it.summary.totals.deleted).sum();
        assert!(deleted > 0, "{url}: nothing was collected");
        drop(store);
        for (step, point) in points.iter().enumerate() {
            let tid = point.summary.header.tid;
            let to = engines[(number + step) % engines.len()];
            let path = directory.path().join(format!("{engine}-{step}"));
            let (codec, _) = Codec::NAMES[(number + step) % 4];
            let to = format!("{to}:{}?compression={codec}", path.display());
            let what = format!("{url} at {tid} to {to}");
            let done = restore_to(&registry, &chain(&points), Some(tid), &to).unwrap();
            assert_eq!((done.digest, done.tid), (point.digest, tid), "{what}");
            assert_eq!(done.dangling, 0, "{what}");
            let store = open(&registry, &to);
            assert!(contents(&store) == point.objects, "{what}: objects differ");
            assert_eq!(digest(&store), point.digest, "{what}");
            let stats = store.stats().unwrap();
            assert_eq!(stats.tid, tid, "{what}");
            assert!(stats.high_water >= point.high_water, "{what}");
            for oid in store.new_oids(SessionId::EMBEDDED, 50).unwrap() {
                let fresh = oid >= point.high_water || (oid == Oid::ROOT && done.bytes == 0);
                assert!(fresh, "{what}: {oid} was in use once");
            }
            assert_ne!(done.store_id, store.id(), "a store of its own");
            assert_eq!(done.new_store_id, Some(store.id()));
            let report = durum_core::check::check(&store, false).unwrap();
            assert_eq!((report.error_count, report.dangling), (0, 0), "{what}");
        }
        let all = check(inputs(&chain(&points)), None, &()).unwrap();
        assert_eq!(all.digest, points[POINTS - 1].digest, "{url}");
    }
}

/// A store that was restored is a store like any other: backups of it, too, are restored.
#[test]
fn backups_of_what_was_restored() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let url = |name: &str| format!("{NAME}:{}", directory.path().join(name).display());
    let store = registry
        .create(&registry.parse_store(&url("0")).unwrap())
        .unwrap();
    evolve(&store, &mut draw, 10);
    let first = take(&store, None, false);
    drop(store);
    restore_to(&registry, &[&first.bytes], None, &url("1")).unwrap();
    let store = open(&registry, &url("1"));
    let tid = first.summary.header.tid;
    // The log of changes begins with the restoration.
    assert_eq!(take(&store, Some(tid), true).summary.totals.deleted, 0);
    let error = Backup::begin(&store, Some(Tid(tid.0 - 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooOld);
    assert!(error.to_string().contains("full backup"), "{error}");
    let error = Backup::begin(&store, Some(Tid(tid.0 + 1000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooOld);
    evolve(&store, &mut draw, 10);
    let second = take(&store, None, false);
    evolve(&store, &mut draw, 10);
    let third = take(&store, Some(second.summary.header.tid), true);
    let chain = [&second.bytes[..], &third.bytes];
    let done = restore_to(&registry, &chain, None, &url("2")).unwrap();
    assert_eq!((done.digest, done.proven), (third.digest, true));
    // An increment of the new store does not follow the backups of the old one.
    let mixed = [&first.bytes[..], &third.bytes];
    let error = restore_to(&registry, &mixed, None, &url("3")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(!directory.path().join("3").exists());
}

/// Small objects that are compressed with a dictionary of the store's own: a backup needs none, and a new
/// store trains its own.
#[test]
fn stores_with_dictionaries() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let objects: Vec<_> = (0..3000)
        .map(|oid| {
            let length = draw.usize(50..400);
            object(oid, &[(oid + 1) % 3000], &text(&mut draw, length))
        })
        .collect();
    for engine in persistent(&registry) {
        let [url, copy] = ["a", "b"].map(|name| {
            let path = directory.path().join(format!("{engine}-{name}"));
            format!("{engine}:{}?compression=zstd-dict", path.display())
        });
        crate::sample::import(&registry, &url, &objects);
        let store = open(&registry, &url);
        assert!(crate::pairs::uses(&store, Codec::ZstdDict), "{url}");
        let full = take(&store, None, false);
        let mut batch = Batch::new();
        batch.update(Oid(7), text(&mut draw, 300), [Oid(9)]);
        store.commit(batch, best(&store)).unwrap();
        let increment = take(&store, Some(full.summary.header.tid), true);
        assert_eq!(increment.summary.totals.digest.objects(), 1);
        let chain = [&full.bytes[..], &increment.bytes];
        let done = restore_to(&registry, &chain, None, &copy).unwrap();
        assert!(done.proven, "{url}");
        let store = open(&registry, &copy);
        assert!(contents(&store) == increment.objects, "{url}");
        assert!(crate::pairs::uses(&store, Codec::ZstdDict), "{copy}");
    }
}

/// Objects that are larger than a block, and than what is in flight at once; empty stores; references to
/// what does not exist.
#[test]
fn the_smallest_and_the_largest() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let mut large = vec![0; 20 << 20];
    draw.fill(&mut large);
    let samples = [
        vec![],
        vec![object(0, &[1, 1 << 40], b"root")],
        vec![
            object(0, &[3], &large),
            object(3, &[0], &vec![7; 30 << 20]),
            object(9, &[], b""),
        ],
    ];
    for (number, objects) in samples.iter().enumerate() {
        for engine in persistent(&registry) {
            let path = |name: &str| directory.path().join(format!("{engine}-{number}-{name}"));
            let (url, copy) = ["a", "b"]
                .map(|name| format!("{engine}:{}", path(name).display()))
                .into();
            crate::sample::import(&registry, &url, objects);
            let store = open(&registry, &url);
            let taken = take(&store, None, false);
            let empty = take(&store, Some(taken.summary.header.tid), true);
            assert_eq!(empty.summary.totals.digest.objects(), 0);
            let chain = [&taken.bytes[..], &empty.bytes];
            let done = restore_to(&registry, &chain, None, &copy).unwrap();
            assert!(done.proven);
            assert_eq!(done.dangling, u64::from(number == 1) * 2, "{url}");
            assert!(contents(&open(&registry, &copy)) == *objects, "{url}");
        }
    }
}
