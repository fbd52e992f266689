//! What a store takes on the disk after everything in it was replaced several times.

use std::time::{Duration, Instant};

use durum_core::store::{Batch, Collection, Store as _};
use durum_core::{Oid, Result, SessionId};

use super::driver::milliseconds;
use super::graph::{DATA_BYTES, Graph, data};
use super::row::{GcRow, Sample, ratio};
use super::template::{Subject, Template};

/// How often everything is replaced.
const ROUNDS: u64 = 5;
/// Objects that one commit replaces.
const BUCKET: u64 = 200;
/// So long may the worker take after the last commit.
const PATIENCE: Duration = Duration::from_secs(300);

/// Builds a root, buckets, and objects in these.
pub(crate) fn build(objects: u64) -> Graph {
    let buckets = objects.div_ceil(BUCKET);
    let mut graph = Graph::new();
    graph.push((1..=buckets).map(Oid));
    for bucket in 0..buckets {
        let range = bucket * BUCKET..(bucket * BUCKET + BUCKET).min(objects);
        graph.push(range.map(|number| Oid(1 + buckets + number)));
    }
    for _ in 0..objects {
        graph.push([]);
    }
    graph
}

/// Replaces everything and measures; the store collects as in daily use. Once with a worker that gives no
/// space back, so that commands can show what they do; once with one that does.
pub(crate) fn run(template: &Template<'_>) -> Result<GcRow> {
    let subject = template.open(Collection {
        reclaim: false,
        ..Collection::default()
    })?;
    let mut row = GcRow {
        durability: Some(subject.durability),
        ..GcRow::default()
    };
    let without = Churn::run(template, &subject)?;
    row.commits = without.commits;
    row.garbage = Some(without.garbage);
    row.collected = Some(without.garbage);
    row.others_before_ms_p50 = without.times.at(50);
    row.others_before_ms_p99 = without.times.at(99);
    row.others_before_ms_max = without.times.at(100);
    row.disk_ratio = disk_ratio(&subject)?;
    let offered = subject.store.engine().clone();
    if offered.reclaim {
        subject.store.reclaim_all(&mut |_| {})?;
        row.disk_ratio_reclaimed = disk_ratio(&subject)?;
    }
    if offered.compaction {
        subject.store.compact(&mut |_, _| {})?;
        row.disk_ratio_compacted = disk_ratio(&subject)?;
    }
    drop(subject);
    if offered.reclaim {
        let subject = template.open(Collection::default())?;
        let with = Churn::run(template, &subject)?;
        row.others_ms_p50 = with.times.at(50);
        row.others_ms_p99 = with.times.at(99);
        row.others_ms_max = with.times.at(100);
        row.disk_ratio_worker_max = with.ratio_max;
        await_worker(&subject)?;
        row.disk_ratio_worker = disk_ratio(&subject)?;
    }
    Ok(row)
}

/// What replacing everything took.
struct Churn {
    commits: u64,
    garbage: u64,
    /// Of the commits, in milliseconds.
    times: Sample,
    /// The most bytes on the disk for each live byte, looked at after each round.
    ratio_max: Option<f64>,
}

impl Churn {
    fn run(template: &Template<'_>, subject: &Subject) -> Result<Churn> {
        let graph = template.graph();
        let mut churn = Churn {
            commits: 0,
            garbage: 0,
            times: Sample::default(),
            ratio_max: None,
        };
        for round in 1..=ROUNDS {
            for bucket in graph.refs(Oid::ROOT) {
                let count = graph.refs(*bucket).len();
                let new = subject.store.new_oids(SessionId::EMBEDDED, count as u32)?;
                let mut batch = Batch::new();
                for oid in &new {
                    batch.create(*oid, data(*oid, round, DATA_BYTES), []);
                }
                batch.update(*bucket, data(*bucket, round, DATA_BYTES), new);
                let begin = Instant::now();
                subject.commit(batch)?;
                churn.times.add(milliseconds(begin.elapsed()));
                churn.commits += 1;
                churn.garbage += count as u64;
            }
            let ratio = disk_ratio(subject)?;
            if ratio > churn.ratio_max {
                churn.ratio_max = ratio;
            }
        }
        subject.store.collect()?;
        let collected = subject.store.collection_counters().deleted;
        if collected != churn.garbage {
            let garbage = churn.garbage;
            return Err(subject.wrong(format!(
                "{garbage} objects became garbage and {collected} were collected"
            )));
        }
        subject.store.sync()?;
        churn.times = churn.times.sorted();
        Ok(churn)
    }
}

/// Waits until the worker has nothing more to give back.
fn await_worker(subject: &Subject) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let pending = subject.store.pending()?;
        if let Some(failed) = pending.reclaim_failed {
            return Err(subject.wrong(format!("no space could be given back: {failed}")));
        }
        if !pending.reclaiming {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(subject.wrong("the worker does not come to an end of giving space back".to_owned()))
}

fn disk_ratio(subject: &Subject) -> Result<Option<f64>> {
    let stats = subject.store.stats()?;
    Ok(ratio(
        stats.engine.disk_bytes as f64,
        stats.live_bytes as f64,
    ))
}
