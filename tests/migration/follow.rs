//! Migrating stores that are committed to meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use durum_backends::registry;
use durum_core::check::check;
use durum_core::config::Location;
use durum_core::engine::Registry;
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _};
use durum_core::{ErrorKind, Oid, SessionId};
use durum_migrate::{MigrateOptions, OnError, Outcome, Progress, Verify, migrate, migrate_open};
use durum_testkit::{names, seed};
use fastrand::Rng;

use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{contents, digest, fill, open, persistent, text};

/// Commits to a store, most of which make garbage, until it is told to stop, and at least so many.
fn commit_on(store: &LocalStore, draw: &mut Rng, least: u64, stop: &AtomicBool, done: &AtomicU64) {
    let level = store.durability();
    let mut made: Vec<Oid> = Vec::new();
    while done.load(Ordering::Acquire) < least || !stop.load(Ordering::Acquire) {
        let snapshot = store.snapshot().unwrap();
        let mut batch = Batch::new();
        let new = store.new_oids(SessionId::EMBEDDED, 3).unwrap();
        // Two that refer to each other, and one in place of what was made before.
        batch.create(new[0], text(draw, 40), [new[1]]);
        batch.create(new[1], text(draw, 400), [new[0], new[2]]);
        batch.create(new[2], text(draw, 4), []);
        made.push(new[0]);
        let mut refs: BTreeSet<Oid> = snapshot
            .load(Oid::ROOT)
            .unwrap()
            .unwrap()
            .refs
            .into_iter()
            .collect();
        refs.insert(new[0]);
        if made.len() > 20 {
            let old = made.swap_remove(draw.usize(0..made.len()));
            refs.remove(&old);
        }
        batch.update(Oid::ROOT, text(draw, 10), refs);
        let other = Oid(draw.u64(1..300));
        if let Some(found) = snapshot.load(other).unwrap() {
            batch.update(other, text(draw, 30), found.refs);
        }
        drop(snapshot);
        match store.commit(batch, level) {
            Ok(_) => {}
            // What it refers to was collected just now.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Gone, "{error}"),
        }
        done.fetch_add(1, Ordering::AcqRel);
        thread::sleep(Duration::from_micros(200));
    }
}

/// Ends the committing when following has caught up, or at some other point.
struct Switch<'a> {
    stop: &'a AtomicBool,
    interrupt: Option<(&'static str, Arc<AtomicBool>)>,
}

impl Progress for Switch<'_> {
    fn begin(&self, phase: &'static str, _: Option<u64>) {
        if let Some((at, interrupt)) = &self.interrupt
            && *at == phase
        {
            interrupt.store(true, Ordering::Release);
        }
    }

    fn advance(&self, _: u64, _: u64) {}

    fn caught_up(&self, _: u64, _: Duration) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Tells the committing thread to stop when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Follows a store while it is committed to; interrupted at the begin of a phase and resumed, if one is
/// named.
fn followed(
    registry: &Registry,
    source: &Arc<LocalStore>,
    to: &Location,
    options: &MigrateOptions,
    interrupted: Option<&'static str>,
    draw: &mut Rng,
) -> Outcome {
    let (stop, still) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let committing = scope.spawn(|| {
            commit_on(source, draw, 30, &stop, &done);
            still.store(true, Ordering::Release);
        });
        // Whatever happens, it ends.
        let _ends = Ends(&stop);
        let run = |options: &MigrateOptions, interrupt| {
            let stop = &stop;
            let switch = Switch { stop, interrupt };
            migrate_open(registry, source, &still, to, options, &switch)
        };
        if let Some(phase) = interrupted {
            let interrupt = Arc::new(AtomicBool::new(false));
            let options = MigrateOptions {
                stop: interrupt.clone(),
                ..options.clone()
            };
            let error = run(&options, Some((phase, interrupt))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        }
        let outcome = run(options, None).unwrap();
        committing.join().unwrap();
        outcome
    })
}

/// The same objects with the same tids, and tables of the collector that are right.
fn assert_same(source: &LocalStore, copy: &LocalStore, outcome: &Outcome) {
    let (ours, theirs) = (contents(source), contents(copy));
    if ours != theirs {
        let differs = |(left, right): &(_, _)| left != right;
        let first = ours.iter().zip(&theirs).find(differs);
        let (tid, counts) = (source.stats().unwrap().tid, (ours.len(), theirs.len()));
        panic!("the copy differs at {first:?}; objects: {counts:?}; {tid:?}, {outcome:?}");
    }
    assert_eq!(outcome.digest, Some(digest(source)));
    let stats = (source.stats().unwrap(), copy.stats().unwrap());
    assert_eq!(stats.0.objects, stats.1.objects);
    assert_eq!(outcome.objects, stats.1.objects);
    assert!(stats.1.tid >= stats.0.tid && stats.1.high_water >= stats.0.high_water);
    let report = check(copy, false).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    // What the source's collector has still to find, the copy's finds, too.
    source.collect().unwrap();
    copy.collect().unwrap();
    assert_eq!(digest(source), digest(copy));
}

fn create(registry: &Registry, url: &str, draw: &mut Rng) -> Arc<LocalStore> {
    let store = registry
        .create(&registry.parse_store(url).unwrap())
        .unwrap();
    fill(&store, draw);
    Arc::new(store)
}

/// Every engine to every other, while the source is committed to and collects.
#[test]
fn a_store_that_is_committed_to_arrives_whole() {
    let registry = registry();
    let mut draw = Rng::with_seed(seed());
    let engines = persistent(&registry);
    for from in engines.iter().chain(&["memory"]) {
        for to in &engines {
            let home = tempfile::tempdir().unwrap();
            let at = home.path().display();
            let source = create(&registry, &format!("{from}:{at}/from"), &mut draw);
            let url = format!("{to}:{at}/to");
            println!("{from} to {to}");
            let verify = *draw.choice([Verify::Digest, Verify::Full].iter()).unwrap();
            let options = MigrateOptions {
                verify,
                ..MigrateOptions::default()
            };
            let to = registry.parse(&url).unwrap();
            let outcome = followed(&registry, &source, &to, &options, None, &mut draw);
            assert!(outcome.rounds > 1 && outcome.followed > 0, "{outcome:?}");
            assert_same(&source, &open(&registry, &url), &outcome);
        }
    }
}

/// Cut off in any phase, and resumed with what the source has become meanwhile.
#[test]
fn following_is_resumed() {
    let registry = registry();
    let mut draw = Rng::with_seed(seed());
    for to in persistent(&registry) {
        for phase in ["copy", "verify", "follow"] {
            let home = tempfile::tempdir().unwrap();
            let at = home.path().display();
            let source = create(&registry, &format!("memory:{at}/from"), &mut draw);
            let url = format!("{to}:{at}/to");
            let options = MigrateOptions {
                resume: true,
                // Small batches, so that some of them are there.
                memory_bytes: MigrateOptions::MEMORY_BYTES_MIN,
                ..MigrateOptions::default()
            };
            let to = registry.parse(&url).unwrap();
            let outcome = followed(&registry, &source, &to, &options, Some(phase), &mut draw);
            if phase != "copy" {
                assert!(outcome.resumed, "{url} {phase}");
            }
            assert_same(&source, &open(&registry, &url), &outcome);
            assert_eq!(names(home.path()), ["to"]);
        }
    }
}

/// Damage that is met in the destination while it is brought up to date is the end of it, also where objects
/// that cannot be read are left out: what is gone on with would meet it again.
#[test]
fn what_was_damaged_in_the_destination_is_not_kept() {
    /// Commits a new object, and one that refers to it now, when the copy has been made.
    struct Change<'a>(&'a LocalStore, [Oid; 2]);
    impl Progress for Change<'_> {
        fn begin(&self, phase: &'static str, _: Option<u64>) {
            if phase == "follow" {
                let [new, old] = self.1;
                let mut batch = Batch::new();
                batch.create(new, *b"new", []);
                batch.update(old, *b"changed", [new]);
                self.0.commit(batch, self.0.durability()).unwrap();
            }
        }
        fn advance(&self, _: u64, _: u64) {}
    }
    // The one is met when it is to be replaced, the other when it is read back.
    for (damaged, verify) in [(1, Verify::None), (0, Verify::Digest)] {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().display();
        let draw = &mut Rng::with_seed(7);
        let source = create(&registry(), &format!("memory:{at}/from"), draw);
        let new = source.new_oids(SessionId::EMBEDDED, 1).unwrap();
        let oids = [new[0], Oid(7)];
        let registry = registry_with(Flaw::Flip(oids[damaged]));
        let to = registry.parse(&format!("{NAME}:{at}/to")).unwrap();
        let options = MigrateOptions {
            verify,
            on_error: OnError::Skip(None),
            ..MigrateOptions::default()
        };
        let (still, change) = (Arc::new(AtomicBool::new(true)), Change(&source, oids));
        let error = migrate_open(&registry, &source, &still, &to, &options, &change).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert_eq!(error.oids(), [oids[damaged]], "{error}");
        assert!(
            error.to_string().contains("the copy that is damaged"),
            "{error}"
        );
        assert_eq!(names(home.path()), [""; 0], "{error}");
    }
}

/// Where the log of changes does not reach back far enough everything is compared.
#[test]
fn more_commits_than_the_log_of_changes_keeps() {
    /// Commits when the copy has been made, and more than the log keeps.
    struct Flood<'a>(&'a LocalStore, &'a AtomicBool);
    impl Progress for Flood<'_> {
        fn begin(&self, phase: &'static str, _: Option<u64>) {
            if phase != "follow" {
                return;
            }
            for number in 0_u64..70_000 {
                let mut batch = Batch::new();
                batch.update(Oid(1 + number % 3), number.to_be_bytes(), [Oid(2)]);
                self.0.commit(batch, self.0.durability()).unwrap();
            }
            self.1.store(true, Ordering::Release);
        }
        fn advance(&self, _: u64, _: u64) {}
    }
    let registry = registry();
    let home = tempfile::tempdir().unwrap();
    let at = home.path().display();
    let source = create(
        &registry,
        &format!("memory:{at}/from"),
        &mut Rng::with_seed(7),
    );
    let mut batch = Batch::new();
    let kept: Vec<Oid> = contents(&source).iter().map(|object| object.oid).collect();
    batch.update(Oid::ROOT, *b"root", kept);
    source.commit(batch, source.durability()).unwrap();
    let url = format!("file:{at}/to");
    let (to, still) = (registry.parse(&url).unwrap(), Arc::default());
    let flood = Flood(&source, &still);
    let options = MigrateOptions::default();
    let outcome = migrate_open(&registry, &source, &still, &to, &options, &flood).unwrap();
    assert_eq!((outcome.rounds, outcome.followed), (1, 3));
    assert_same(&source, &open(&registry, &url), &outcome);
}

/// A store that nobody else can have open is followed in one round, and the program says so.
#[test]
fn a_store_in_nobodys_use_needs_one_round() {
    let registry = registry();
    let home = tempfile::tempdir().unwrap();
    let at = home.path().display();
    let source = create(
        &registry,
        &format!("file:{at}/from"),
        &mut Rng::with_seed(7),
    );
    drop(source);
    let (from, to) = (format!("file:{at}/from"), format!("lmdb:{at}/to"));
    let options = MigrateOptions {
        follow: true,
        on_error: OnError::Skip(None),
        ..MigrateOptions::default()
    };
    let parse = |url: &str| registry.parse(url).unwrap();
    let outcome = migrate(&registry, &parse(&from), &parse(&to), &options, &()).unwrap();
    assert_eq!(
        (outcome.rounds, outcome.followed, outcome.rejects),
        (1, 0, 0)
    );
    assert_same(&open(&registry, &from), &open(&registry, &to), &outcome);
    for (to, options) in [
        (format!("durus:{at}/durus"), options.clone()),
        (
            format!("lmdb:{at}/other"),
            MigrateOptions {
                reachable_only: true,
                ..options
            },
        ),
    ] {
        let error = migrate(&registry, &parse(&from), &parse(&to), &options, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
    assert_eq!(names(home.path()), ["from", "to"]);
}
