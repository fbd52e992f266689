//! What a store takes on the disk after everything in it was replaced several times.

use durum_core::store::{Batch, Collection, Store as _};
use durum_core::{Oid, Result, SessionId};

use super::graph::{DATA_BYTES, Graph, data};
use super::row::{GcRow, ratio};
use super::template::{Subject, Template};

/// How often everything is replaced.
const ROUNDS: u64 = 5;
/// Objects that one commit replaces.
const BUCKET: u64 = 200;

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

/// Replaces everything and measures; the store collects as in daily use.
pub(crate) fn run(template: &Template<'_>) -> Result<GcRow> {
    let subject = template.open(Collection::default())?;
    let graph = template.graph();
    let buckets: Vec<Oid> = graph.refs(Oid::ROOT).to_vec();
    let mut row = GcRow {
        durability: Some(subject.durability),
        ..GcRow::default()
    };
    let mut garbage = 0;
    for round in 1..=ROUNDS {
        for bucket in &buckets {
            let count = graph.refs(*bucket).len();
            let new = subject.store.new_oids(SessionId::EMBEDDED, count as u32)?;
            let mut batch = Batch::new();
            for oid in &new {
                batch.create(*oid, data(*oid, round, DATA_BYTES), []);
            }
            batch.update(*bucket, data(*bucket, round, DATA_BYTES), new);
            subject.commit(batch)?;
            row.commits += 1;
            garbage += count as u64;
        }
    }
    subject.store.collect()?;
    let collected = subject.store.collection_counters().deleted;
    if collected != garbage {
        return Err(subject.wrong(format!(
            "{garbage} objects became garbage and {collected} were collected"
        )));
    }
    row.garbage = Some(garbage);
    row.collected = Some(collected);
    subject.store.sync()?;
    row.disk_ratio = disk_ratio(&subject)?;
    let offered = subject.store.engine();
    if offered.reclaim {
        subject.store.reclaim_all(&mut |_| {})?;
        row.disk_ratio_reclaimed = disk_ratio(&subject)?;
    }
    if offered.compaction {
        subject.store.compact(&mut |_, _| {})?;
        row.disk_ratio_compacted = disk_ratio(&subject)?;
    }
    Ok(row)
}

fn disk_ratio(subject: &Subject) -> Result<Option<f64>> {
    let stats = subject.store.stats()?;
    Ok(ratio(
        stats.engine.disk_bytes as f64,
        stats.live_bytes as f64,
    ))
}
