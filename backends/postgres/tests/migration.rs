//! Stores that move to a server and back: whole, interrupted and gone on with.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use durum_core::check::check;
use durum_core::engine::Registry;
use durum_core::record::{Codecs, Payload};
use durum_core::{ErrorKind, Oid, Result, Tid};
use durum_database::Server;
use durum_lmdb::LmdbBackend;
use durum_migrate::{MigrateOptions, Outcome, Progress, Verify, migrate};
use durum_postgres::PostgresBackend;
use durum_testkit::seed;

/// Objects, unless `DURUM_TEST_OBJECTS` says more.
const OBJECTS: u64 = 20_000;
const DATA_BYTES: usize = 200;

fn registry() -> Registry {
    Registry::new().with(LmdbBackend).with(PostgresBackend)
}

/// Fills a store with objects of which each refers to the next and to two others anywhere.
fn fill(registry: &Registry, url: &str, objects: u64) {
    let mut random = fastrand::Rng::with_seed(seed());
    let settings = registry.parse_store(url).unwrap().without_collection();
    let staged = registry.stage(&settings).unwrap();
    let mut importer = staged.importer().unwrap();
    let (codecs, mut data) = (Codecs::default(), vec![0; DATA_BYTES]);
    for number in 0..objects {
        let mut refs = vec![
            Oid((number + 1) % objects),
            Oid(random.u64(..objects)),
            Oid(random.u64(..objects)),
        ];
        refs.sort_unstable();
        refs.dedup();
        refs.retain(|oid| oid.0 != number);
        random.fill(&mut data);
        importer
            .push(Oid(number), Tid(1), &refs, Payload::plain(&data), &codecs)
            .unwrap();
    }
    importer.finish(Tid(1), Oid::ROOT).unwrap();
    drop(staged.publish().unwrap());
}

/// Stops after so many objects.
struct StopAfter {
    stop: Arc<AtomicBool>,
    objects: u64,
    done: AtomicU64,
}

impl Progress for StopAfter {
    fn begin(&self, _phase: &'static str, _total: Option<u64>) {}

    fn advance(&self, objects: u64, _bytes: u64) {
        if self.done.fetch_add(objects, Ordering::Relaxed) + objects >= self.objects {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn run(registry: &Registry, from: &str, to: &str, stop_after: u64) -> Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = MigrateOptions {
        verify: Verify::Digest,
        resume: true,
        stop: stop.clone(),
        ..MigrateOptions::default()
    };
    let progress = StopAfter {
        stop,
        objects: stop_after,
        done: AtomicU64::new(0),
    };
    let parse = |url| registry.parse(url).unwrap();
    migrate(registry, &parse(from), &parse(to), &options, &progress)
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

#[test]
fn a_store_moves_to_a_server_and_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let objects = std::env::var("DURUM_TEST_OBJECTS").map_or(OBJECTS, |text| text.parse().unwrap());
    let registry = registry();
    let home = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("lmdb:{}", home.path().join(name).display());
    let there = format!("postgres:{}", server.address("test"));
    fill(&registry, &url("from"), objects);

    let error = run(&registry, &url("from"), &there, objects / 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    // What is half there is no store.
    let settings = registry.parse_store(&there).unwrap();
    assert_eq!(
        registry.open(&settings).unwrap_err().kind(),
        ErrorKind::NotFound
    );

    let mut digests = Vec::new();
    for (from, to) in [(url("from"), there.clone()), (there.clone(), url("back"))] {
        let began = Instant::now();
        let moved = run(&registry, &from, &to, u64::MAX).unwrap();
        println!(
            "{} objects, {:.1} s, {} MiB at most, resumed {}",
            moved.objects,
            began.elapsed().as_secs_f64(),
            peak_mib(),
            moved.resumed,
        );
        assert_eq!(moved.objects, objects);
        digests.push(moved.digest.unwrap());
    }
    assert_eq!(digests[0], digests[1]);
    let error = run(&registry, &url("from"), &there, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    let store = registry.open(&settings).unwrap();
    let report = check(&store, false).unwrap();
    assert_eq!((report.objects, report.errors), (objects, vec![]));
}
