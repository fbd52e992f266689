//! One commit that cuts off a large structure, while others commit and the background worker collects.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durum_core::engine::{Key, Op, Table};
use durum_core::store::{Batch, Collection, Store as _};
use durum_core::{Oid, Result};
use fastrand::Rng;

use super::driver::milliseconds;
use super::graph::{DATA_BYTES, Graph, data};
use super::memory;
use super::row::{GcRow, Sample, ratio};
use super::template::{Subject, Template};

/// Objects that each of the others changes.
const AREA: u64 = 256;
/// Objects that one object leads to.
const BUCKET: u64 = 1000;
/// How often the store is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Records that are deleted in one batch to see how fast the engine itself is.
const RAW_BATCH: usize = 4096;

/// A structure that hangs on the root by one reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder of objects that refer to it.
    Folder,
    /// A ring: each object refers to the next.
    Cycle,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Large {
    pub(crate) kind: Kind,
    pub(crate) objects: u64,
    /// Threads that commit meanwhile.
    pub(crate) others: u64,
    /// How long they commit before.
    pub(crate) before: Duration,
    /// How long to wait for the end.
    pub(crate) wait: Duration,
}

impl Large {
    /// The graph: the root, objects for the others to change, and the structure, the top of it first.
    pub(crate) fn build(self) -> Graph {
        let mut graph = Graph::new();
        let top = 1 + self.others * AREA;
        graph.push((1..=top).map(Oid));
        for _ in 1..top {
            graph.push([]);
        }
        match self.kind {
            Kind::Cycle => {
                let last = top + self.objects - 1;
                for oid in top..last {
                    graph.push([Oid(oid + 1)]);
                }
                graph.push([Oid(top)]);
            }
            Kind::Folder => {
                let buckets = self.objects.div_ceil(BUCKET);
                let first = top + 1 + buckets;
                graph.push((top + 1..first).map(Oid));
                for bucket in 0..buckets {
                    let range = bucket * BUCKET..(bucket * BUCKET + BUCKET).min(self.objects);
                    graph.push(range.map(|number| Oid(first + number)));
                }
                for _ in 0..self.objects {
                    graph.push([Oid(top)]);
                }
            }
        }
        graph
    }

    /// The commit that cuts the structure off, and how many objects that makes garbage.
    fn cut(self, graph: &Graph) -> (Batch, u64) {
        let top = Oid(1 + self.others * AREA);
        let mut batch = Batch::new();
        let refs = graph.refs(Oid::ROOT).iter().copied();
        batch.update(Oid::ROOT, "root", refs.filter(|oid| *oid != top));
        (batch, graph.len() - top.0)
    }

    pub(crate) fn run(self, template: &Template<'_>, seed: u64) -> Result<GcRow> {
        let mut row = GcRow {
            commits: 1,
            ..GcRow::default()
        };
        self.among_others(template, seed, &mut row)?;
        self.alone(template, &mut row)?;
        self.raw(template, &mut row)?;
        Ok(row)
    }

    fn among_others(self, template: &Template<'_>, seed: u64, row: &mut GcRow) -> Result<()> {
        let subject = template.open(Collection::default())?;
        row.durability = Some(subject.durability);
        let (batch, garbage) = self.cut(template.graph());
        row.garbage = Some(garbage);
        let (cut, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let samples = [Sample::default(), Sample::default()].map(Mutex::new);
        let watched = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.others)
                .map(|number| {
                    let (subject, cut, stop, samples) = (&subject, &cut, &stop, &samples);
                    scope.spawn(move || others(subject, seed, number, cut, stop, samples))
                })
                .collect();
            std::thread::sleep(self.before);
            cut.store(true, Ordering::Relaxed);
            let watched = self.watch(&subject, batch, row);
            stop.store(true, Ordering::Relaxed);
            let ended = threads.into_iter().map(|thread| {
                let joined = thread.join();
                joined.unwrap_or_else(|_| Err(subject.wrong("a committing thread died".to_owned())))
            });
            watched.and(ended.collect::<Result<()>>())
        });
        watched?;
        let [before, meanwhile] = samples.map(|sample| {
            let sample = sample.into_inner();
            sample.unwrap_or_else(PoisonError::into_inner).sorted()
        });
        row.others_before_ms_p50 = before.at(50);
        row.others_before_ms_p99 = before.at(99);
        row.others_before_ms_max = before.at(100);
        row.others_ms_p50 = meanwhile.at(50);
        row.others_ms_p99 = meanwhile.at(99);
        row.others_ms_max = meanwhile.at(100);
        let counters = subject.store.collection_counters();
        row.collected = Some(counters.deleted);
        row.restarts = Some(counters.restarts);
        row.condemned = Some(counters.condemned);
        row.climb_max = Some(counters.climbs.max);
        row.climb_mean = ratio(counters.climbs.sum as f64, counters.climbs.count() as f64);
        Ok(())
    }

    /// Cuts the structure off and looks on until it is gone.
    fn watch(self, subject: &Subject, batch: Batch, row: &mut GcRow) -> Result<()> {
        let objects = subject.store.stats()?.objects;
        let memory_before = memory::anonymous();
        let mut memory_max = memory_before;
        let begin = Instant::now();
        subject.commit(batch)?;
        row.cut_ms = Some(milliseconds(begin.elapsed()));
        while begin.elapsed() < self.wait {
            let stats = subject.store.stats()?;
            let now = Some(milliseconds(begin.elapsed()));
            if stats.objects < objects {
                row.condemned_ms = row.condemned_ms.or(now);
                if row.first_deletion_ms.is_none()
                    && subject.store.collection_counters().deleted > 0
                {
                    row.first_deletion_ms = Some(milliseconds(begin.elapsed()));
                }
            }
            memory_max = memory_max.max(memory::anonymous());
            if stats.garbage_pending == 0 {
                row.gone_ms = now;
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let grown = memory_max.zip(memory_before);
        row.memory_bytes = grown.map(|(max, before)| max - before);
        Ok(())
    }

    /// Collects the structure while nobody else commits, and counts the rows that are read.
    fn alone(self, template: &Template<'_>, row: &mut GcRow) -> Result<()> {
        let subject = template.open(Collection::OFF)?;
        let (batch, garbage) = self.cut(template.graph());
        subject.commit(batch)?;
        let reads = subject.counts.reads();
        let begin = Instant::now();
        let collected = subject.store.collect()?.objects;
        row.alone_ms = Some(milliseconds(begin.elapsed()));
        if collected != garbage {
            return Err(subject.wrong(format!(
                "{garbage} objects became garbage and {collected} were collected"
            )));
        }
        let reads = subject.counts.reads() - reads;
        row.reads_per_garbage = ratio(reads as f64, collected as f64);
        let graph = template.graph();
        let refs =
            (graph.len() - garbage..graph.len()).map(|oid| graph.refs(Oid(oid)).len() as u64);
        row.degree = ratio(refs.sum::<u64>() as f64, garbage as f64);
        Ok(())
    }

    /// Deletes as many records by the engine alone.
    fn raw(self, template: &Template<'_>, row: &mut GcRow) -> Result<()> {
        let subject = template.open(Collection::OFF)?;
        let (_, garbage) = self.cut(template.graph());
        let last = template.graph().len();
        let keys: Vec<u64> = (last - garbage..last).collect();
        let begin = Instant::now();
        for part in keys.chunks(RAW_BATCH) {
            let delete = |oid: &u64| Op::Delete {
                table: Table::Objects,
                key: Key::from(*oid),
            };
            let ops: Vec<Op<'_>> = part.iter().map(delete).collect();
            let engine = subject.store.raw_engine();
            engine.apply(&ops, subject.durability)?;
        }
        row.raw_delete_ms = Some(milliseconds(begin.elapsed()));
        Ok(())
    }
}

/// Commits changes of single objects until it is time to stop.
fn others(
    subject: &Subject,
    seed: u64,
    number: u64,
    cut: &AtomicBool,
    stop: &AtomicBool,
    samples: &[Mutex<Sample>; 2],
) -> Result<()> {
    let mut draw = Rng::with_seed(seed ^ number);
    let mut own = [Sample::default(), Sample::default()];
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let oid = Oid(1 + number * AREA + draw.u64(0..AREA));
        let mut batch = Batch::new();
        batch.update(oid, data(oid, version, DATA_BYTES), []);
        let meanwhile = cut.load(Ordering::Relaxed);
        let begin = Instant::now();
        subject.commit(batch)?;
        let time = milliseconds(begin.elapsed());
        let [before, after] = &mut own;
        if meanwhile { after } else { before }.add(time);
    }
    for (sample, own) in samples.iter().zip(own) {
        let mut sample = sample.lock().unwrap_or_else(PoisonError::into_inner);
        sample.append(own);
    }
    Ok(())
}
