//! One round of all workloads on one engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durum_core::config::StoreSettings;
use durum_core::engine::{Backend, Capabilities, Durability, Registry};
use durum_core::record::{Codecs, Payload};
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store};
use durum_core::{Error, ErrorKind, IoResultExt as _, Oid, Result, Tid};
use fastrand::Rng;

use crate::Settings;
use crate::objects::object;
use crate::row::{Row, Workload, median};

const DOING: &str = "compare the engines";

/// The rates of one round, per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    import: f64,
    commit: f64,
    load: f64,
    scan: f64,
    /// After the import.
    disk_bytes: u64,
}

/// Runs all workloads on a new store at `path` and removes it.
pub(crate) fn run(
    registry: &Registry,
    backend: &Arc<dyn Backend>,
    path: &Path,
    settings: &Settings,
    round: u64,
) -> Result<Round> {
    let capabilities = backend.capabilities();
    let objects = settings.objects.max(1);
    let mut draw = Rng::with_seed(round);
    let (store, import) = import(registry, &capabilities, path, objects)?;
    let disk_bytes = store.stats()?.engine.disk_bytes;
    // What is read has just been written: all of it comes from the page cache, on every engine.
    let scan = scan(&store, objects)?;
    let load = load(&store, objects, settings.load_time, &mut draw)?;
    let level = best(&capabilities);
    let commit = commit(&store, objects, level, settings.commit_time, &mut draw)?;
    drop(store);
    if capabilities.persistent {
        std::fs::remove_dir_all(path).during(DOING, path)?;
    }
    Ok(Round {
        import,
        commit,
        load,
        scan,
        disk_bytes,
    })
}

/// The rows of an engine.
pub(crate) fn rows(capabilities: &Capabilities, rounds: &[Round]) -> [Row; 4] {
    let level = Some(best(capabilities));
    let row = |workload, rate: fn(&Round) -> f64, durability| {
        let rates: Vec<f64> = rounds.iter().map(rate).collect();
        Row::new(capabilities.name, workload, &rates, durability)
    };
    let disk: Vec<f64> = rounds.iter().map(|round| round.disk_bytes as f64).collect();
    let mut import = row(Workload::Import, |round| round.import, level);
    import.disk_bytes = capabilities.persistent.then(|| median(&disk) as u64);
    [
        import,
        row(Workload::Commit, |round| round.commit, level),
        row(Workload::Load, |round| round.load, None),
        row(Workload::Scan, |round| round.scan, None),
    ]
}

fn best(capabilities: &Capabilities) -> Durability {
    capabilities
        .durability
        .iter()
        .max()
        .copied()
        .unwrap_or(Durability::Relaxed)
}

fn import(
    registry: &Registry,
    capabilities: &Capabilities,
    path: &Path,
    objects: u64,
) -> Result<(LocalStore, f64)> {
    let mut settings = StoreSettings::new(capabilities.name, path);
    settings.durability = Some(best(capabilities));
    let made: Vec<_> = (0..objects).map(|oid| object(oid, objects, 0)).collect();
    let codecs = Codecs::default();
    let begin = Instant::now();
    let staged = registry.stage(&settings)?;
    let mut importer = staged.importer()?;
    for (oid, (refs, data)) in (0..).map(Oid).zip(&made) {
        importer.push(oid, Tid(1), refs, Payload::plain(data), &codecs)?;
    }
    importer.finish(Tid(1), Oid::ROOT)?;
    let store = staged.publish()?;
    Ok((store, objects as f64 / begin.elapsed().as_secs_f64()))
}

fn scan(store: &LocalStore, objects: u64) -> Result<f64> {
    let begin = Instant::now();
    let snapshot = store.snapshot()?;
    let mut scan = snapshot.scan(Oid::ROOT)?;
    let mut found = 0;
    while scan.next()?.is_some() {
        found += 1;
    }
    let time = begin.elapsed();
    if found != objects {
        return Err(wrong(
            store,
            format!("{objects} objects were stored and {found} were found"),
        ));
    }
    Ok(objects as f64 / time.as_secs_f64())
}

fn load(store: &LocalStore, objects: u64, time: Duration, draw: &mut Rng) -> Result<f64> {
    let snapshot = store.snapshot()?;
    let begin = Instant::now();
    let mut loads = 0_u64;
    while loads == 0 || begin.elapsed() < time {
        // The clock is read seldom, to measure the engine and not the clock.
        for _ in 0..32 {
            let oid = Oid(draw.u64(0..objects));
            if snapshot.load(oid)?.is_none() {
                return Err(wrong(store, "an object is missing".to_owned()).with_oid(oid));
            }
            loads += 1;
        }
    }
    Ok(loads as f64 / begin.elapsed().as_secs_f64())
}

fn commit(
    store: &LocalStore,
    objects: u64,
    level: Durability,
    time: Duration,
    draw: &mut Rng,
) -> Result<f64> {
    let begin = Instant::now();
    let mut commits = 0_u64;
    while commits == 0 || begin.elapsed() < time {
        let oid = draw.u64(0..objects);
        let (refs, data) = object(oid, objects, commits + 1);
        let mut batch = Batch::new();
        batch.update(Oid(oid), data, refs);
        store.commit(batch, level)?;
        commits += 1;
    }
    Ok(commits as f64 / begin.elapsed().as_secs_f64())
}

fn wrong(store: &LocalStore, what: String) -> Error {
    Error::new(ErrorKind::Mismatch, DOING)
        .with_engine(store.engine().name)
        .because(what)
}
