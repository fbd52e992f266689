//! A quick comparison of the engines on this machine.
//!
//! Each measurement runs once and for a fraction of a second: enough to see orders of magnitude, and
//! no more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::config::StoreSettings;
use durum_core::record::{Codecs, Payload};
use durum_core::store::{Batch, LocalStore, SnapshotExt as _, Store as _};
use durum_core::{IoResultExt as _, Oid, Result, Tid};
use serde_json::{Value, json};

use super::home::Home;
use super::narrator::Narrator;
use super::persistent;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Side, Table};

/// Objects in the store that is measured.
const OBJECTS: u64 = 20_000;
/// Bytes of data of each.
const DATA_BYTES: usize = 200;
/// How long each measurement but the load takes at least.
const MEASURED: Duration = Duration::from_millis(300);

/// What an engine did per second.
#[derive(Debug)]
pub(super) struct Row {
    engine: &'static str,
    durability: &'static str,
    loads: f64,
    commits: f64,
    reads: f64,
    scans: f64,
}

impl Row {
    pub(super) fn object(&self) -> Value {
        let whole = |value: f64| value.round() as u64;
        json!({
            "engine": self.engine,
            "durability": self.durability,
            "loaded_per_second": whole(self.loads),
            "commits_per_second": whole(self.commits),
            "reads_per_second": whole(self.reads),
            "scanned_per_second": whole(self.scans),
        })
    }
}

/// Measures every persistent engine in a store that is removed afterwards.
pub(super) fn compare(
    context: &Context,
    narrator: &Narrator,
    home: &Home,
) -> Result<Vec<Row>, Failure> {
    narrator.heading("5. The engines on this machine")?;
    let dir = home.path().join("compare");
    fs::create_dir(&dir).during("compare the engines", &dir)?;
    let mut rows = Vec::new();
    for engine in persistent(&context.registry) {
        rows.push(measure(context, engine, &dir)?);
    }
    fs::remove_dir_all(&dir).during("compare the engines", &dir)?;
    narrator.say(&format!(
        "Per second, with {} of {DATA_BYTES} bytes; a commit writes one of them durably.\n\n{}",
        output::count(OBJECTS, "object"),
        table(&rows)
    ))?;
    Ok(rows)
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        ("engine", Side::Left),
        ("loaded", Side::Right),
        ("commits", Side::Right),
        ("durability", Side::Left),
        ("random reads", Side::Right),
        ("scanned", Side::Right),
    ]);
    let whole = |value: f64| output::number(value.round() as u64);
    for row in rows {
        table.row([
            row.engine.to_owned(),
            whole(row.loads),
            whole(row.commits),
            row.durability.to_owned(),
            whole(row.reads),
            whole(row.scans),
        ]);
    }
    table.render("  ")
}

fn measure(context: &Context, engine: &'static str, dir: &Path) -> Result<Row> {
    let progress = context.progress();
    progress.begin("compare", None);
    let settings = StoreSettings::new(engine, dir.join(engine));
    let begin = Instant::now();
    let store = load(context, &settings)?;
    let loads = OBJECTS as f64 / begin.elapsed().as_secs_f64();
    let scans = scans(&store)?;
    let reads = reads(&store)?;
    let (commits, durability) = commits(&store)?;
    Ok(Row {
        engine,
        durability,
        loads,
        commits,
        reads,
        scans,
    })
}

fn load(context: &Context, settings: &StoreSettings) -> Result<LocalStore> {
    let staged = context.registry.stage(settings)?;
    let mut importer = staged.importer()?;
    let codecs = Codecs::default();
    for number in 0..OBJECTS {
        // A binary tree, so that everything can be reached.
        let children = [2 * number + 1, 2 * number + 2];
        let refs: Vec<Oid> = children
            .into_iter()
            .filter(|oid| *oid < OBJECTS)
            .map(Oid)
            .collect();
        importer.push(
            Oid(number),
            Tid(1),
            &refs,
            Payload::plain(&data(number)),
            &codecs,
        )?;
    }
    importer.finish(Tid(1), Oid::ROOT)?;
    staged.publish()
}

/// Objects per second in whole scans.
fn scans(store: &LocalStore) -> Result<f64> {
    let snapshot = store.snapshot()?;
    per_second(|| {
        let mut seen = 0;
        let mut scan = snapshot.scan(Oid::ROOT)?;
        while scan.next()?.is_some() {
            seen += 1;
        }
        Ok(seen)
    })
}

/// Objects per second, each loaded by itself.
fn reads(store: &LocalStore) -> Result<f64> {
    const BATCH: u64 = 500;
    let snapshot = store.snapshot()?;
    let mut random = Random(1);
    per_second(|| {
        let mut found = 0;
        for _ in 0..BATCH {
            found += u64::from(snapshot.load(Oid(random.below(OBJECTS)))?.is_some());
        }
        Ok(found)
    })
}

/// Commits per second, one after the other, and how durable they are.
fn commits(store: &LocalStore) -> Result<(f64, &'static str)> {
    let mut random = Random(2);
    let mut achieved = store.durability();
    let rate = per_second(|| {
        let oid = Oid(random.below(OBJECTS));
        let mut batch = Batch::new();
        batch.update(oid, data(random.below(u64::MAX)), []);
        achieved = store.commit(batch, store.durability())?.durability;
        Ok(1)
    })?;
    Ok((rate, achieved.name()))
}

/// How many per second `work` does, which returns how many it has done.
fn per_second(mut work: impl FnMut() -> Result<u64>) -> Result<f64> {
    let begin = Instant::now();
    let mut done = 0;
    loop {
        done += work()?;
        let time = begin.elapsed();
        if time >= MEASURED {
            return Ok(done as f64 / time.as_secs_f64());
        }
    }
}

/// Bytes that look like an object's: half of them compress.
fn data(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let mut out = vec![b'.'; DATA_BYTES];
    out.iter_mut()
        .step_by(2)
        .for_each(|byte| *byte = random.below(256) as u8);
    out
}

/// SplitMix64, by Sebastiano Vigna: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
