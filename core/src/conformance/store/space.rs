//! Space that goes back to the system, under snapshots and commits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Fixture, Subject, assert_snapshot};
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::id::Oid;
use crate::store::{Collection, SnapshotExt as _, StoreOptions};

const OBJECTS: u32 = 400;

/// Objects of which all are replaced again and again, and most dropped at the end; bytes of each.
const CHURNED: u32 = 1000;
const CHURNED_BYTES: usize = 5000;
/// How often they are replaced.
const ROUNDS: u32 = 4;
/// Objects that are left.
const LEFT: usize = 100;
/// What files may take up beyond twice the live bytes: what is not worth giving back, and indexes.
const SLACK_BYTES: u64 = 2 << 20;
/// So long may that take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A root with many objects, of which nine of ten are collected.
fn fill_and_collect(subject: &mut Subject<'_>) -> Vec<Oid> {
    let oids = subject.oids(OBJECTS);
    let data = vec![7; 5000];
    let mut objects: Vec<(Oid, &[u8], &[Oid])> = vec![(oids[0], b"root", &oids[1..])];
    objects.extend(oids[1..].iter().map(|oid| (*oid, data.as_slice(), &[][..])));
    subject.put(&objects);
    let kept = oids.len() / 10;
    subject.put(&[(oids[0], b"root", &oids[1..kept])]);
    subject.store().collect().unwrap();
    subject.model.retain(|oid, _| *oid < oids[kept]);
    oids
}

/// Store snapshots from before stay valid, others read while the copy is made, commits come after it;
/// where the engine has no compaction that is said, and nothing happens.
pub fn snapshots_outlast_a_compaction(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = fill_and_collect(&mut subject);
    let before = subject.store().snapshot().unwrap();
    let model = subject.model.clone();
    let ended = AtomicBool::new(false);
    let mut last = (0, 0);
    std::thread::scope(|scope| {
        let store = subject.store();
        let (ended, model, oids) = (&ended, &model, &oids);
        let reader = scope.spawn(move || {
            let mut loads = 0;
            while !ended.load(Ordering::Acquire) || loads < 20 {
                let snapshot = store.snapshot().unwrap();
                let oid = oids[1 + loads % (oids.len() / 10 - 1)];
                let found = snapshot.load(oid).unwrap().expect("an object that is kept");
                assert_eq!(found.data, model[&oid].1);
                loads += 1;
            }
        });
        let compacted = subject
            .local()
            .compact(&mut |done, total| last = (done, total));
        ended.store(true, Ordering::Release);
        reader.join().expect("a reader that found nothing wrong");
        match fixture.capabilities().compaction {
            true => assert!(compacted.unwrap() > 0),
            false => assert_eq!(compacted.unwrap_err().kind(), ErrorKind::Unsupported),
        }
    });
    assert_eq!(last.0, last.1);
    assert_snapshot(&*before, &model);
    subject.put(&[(oids[1], b"later", &[])]);
    assert_snapshot(&*before, &model);
    drop(before);
    subject.finish();
}

/// Slices of it, with a snapshot open and commits in between.
pub fn snapshots_outlast_reclaiming(fixture: &Fixture) {
    let mut subject = fixture.create();
    let oids = fill_and_collect(&mut subject);
    let before = subject.store().snapshot().unwrap();
    let model = subject.model.clone();
    for round in 0..200_u32 {
        let step = subject.local().reclaim(64 << 10).unwrap();
        assert!(fixture.capabilities().reclaim || step.bytes == 0);
        if round % 8 == 0 {
            subject.put(&[(oids[1], &round.to_le_bytes(), &[])]);
            assert_snapshot(&*before, &model);
        }
        if !step.more {
            break;
        }
    }
    assert_snapshot(&*before, &model);
    drop(before);
    subject.finish();
}

fn in_background(fixture: &Fixture, reclaim: bool) -> StoreOptions {
    StoreOptions {
        collection: Collection {
            reclaim,
            ..Collection::default()
        },
        ..fixture.options()
    }
}

/// Replaces what the root refers to by as many new objects.
fn replace_all(subject: &mut Subject<'_>, count: u32) {
    let fresh = !subject.model.contains_key(&Oid::ROOT);
    let mut oids = subject.oids(count + u32::from(fresh));
    oids.retain(|oid| *oid != Oid::ROOT);
    let data: Vec<Vec<u8>> = oids.iter().map(|oid| noise(*oid)).collect();
    let mut objects: Vec<(Oid, &[u8], &[Oid])> = vec![(Oid::ROOT, b"root", &oids)];
    objects.extend(
        oids.iter()
            .zip(&data)
            .map(|(oid, data)| (*oid, data.as_slice(), &[][..])),
    );
    subject.put(&objects);
    subject
        .model
        .retain(|oid, _| *oid == Oid::ROOT || *oid >= oids[0]);
}

/// Bytes that no engine can compress.
fn noise(oid: Oid) -> Vec<u8> {
    let mut data = vec![0; CHURNED_BYTES];
    fastrand::Rng::with_seed(oid.0).fill(&mut data);
    data
}

/// Replaces everything several times, then leaves a tenth.
fn churn(subject: &mut Subject<'_>) {
    for _ in 0..ROUNDS {
        replace_all(subject, CHURNED);
    }
    drop_most(subject);
}

fn drop_most(subject: &mut Subject<'_>) {
    let left = subject.model[&Oid::ROOT].0[..LEFT].to_vec();
    subject.put(&[(Oid::ROOT, b"root", &left)]);
    subject
        .model
        .retain(|oid, _| *oid == Oid::ROOT || left.contains(oid));
}

/// Whether the files take up no more than twice what lives in them.
fn is_small(subject: &Subject<'_>) -> bool {
    let stats = subject.store().stats().unwrap();
    stats.garbage_pending == 0 && stats.engine.disk_bytes <= stats.live_bytes * 2 + SLACK_BYTES
}

/// After a lot of replacing, files come to be in proportion to what lives in them by themselves, while a
/// snapshot from before is read, and again after that. Where the engine cannot do that nothing is tried.
pub fn the_worker_gives_space_back(fixture: &Fixture) {
    let mut subject = fixture.create_with(in_background(fixture, true));
    replace_all(&mut subject, CHURNED);
    let model = subject.model.clone();
    let before = subject.store().snapshot().unwrap();
    let digest = Digest::of(&*before).unwrap();
    churn(&mut subject);
    if !fixture.capabilities().reclaim {
        assert!(!subject.store().pending().unwrap().reclaiming);
    } else {
        let begun = Instant::now();
        while !is_small(&subject) {
            assert_eq!(Digest::of(&*before).unwrap(), digest);
            let stats = subject.store().stats().unwrap();
            assert!(begun.elapsed() < PATIENCE, "it stays at {stats:?}");
        }
    }
    assert_snapshot(&*before, &model);
    drop(before);
    let failed = subject.store().pending().unwrap().reclaim_failed;
    assert_eq!(failed, None);
    subject.store().collect().unwrap();
    subject.finish();
}

/// The control of [`the_worker_gives_space_back`]: it is the worker that does, and only where it is wanted.
pub fn space_is_kept_where_the_worker_is_not_to_give_it_back(fixture: &Fixture) {
    let mut subject = fixture.create_with(in_background(fixture, false));
    replace_all(&mut subject, CHURNED);
    churn(&mut subject);
    while subject.store().stats().unwrap().garbage_pending > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!subject.store().pending().unwrap().reclaiming);
    if fixture.capabilities().reclaim {
        assert!(!is_small(&subject), "{:?}", subject.store().stats());
        subject.local().reclaim_all(&mut |_| {}).unwrap();
        assert!(is_small(&subject), "{:?}", subject.store().stats());
    }
    subject.finish();
}

/// Closed at any moment of it, a store has everything when it is opened; and the worker of the next opening
/// gives back what that of the last one did not.
pub fn a_store_is_closed_while_the_worker_gives_space_back(fixture: &Fixture) {
    let mut subject = fixture.create_with(in_background(fixture, true));
    for round in 0..6 {
        replace_all(&mut subject, CHURNED);
        replace_all(&mut subject, CHURNED);
        std::thread::sleep(Duration::from_millis(round * 3));
        subject.reopen();
        subject.store().collect().unwrap();
        subject.compare();
    }
    drop_most(&mut subject);
    subject.reopen();
    let begun = Instant::now();
    while fixture.capabilities().reclaim && !is_small(&subject) {
        let stats = subject.store().stats().unwrap();
        assert!(begun.elapsed() < PATIENCE, "it stays at {stats:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    subject.store().collect().unwrap();
    subject.finish();
}
