//! Commits one after another, and what each costs.

use std::time::{Duration, Instant};

use durum_core::collect::{Budget, Counters};
use durum_core::store::{Batch, Collection, Store as _};
use durum_core::{Oid, Result};
use fastrand::Rng;

use super::plan::{Plan, Step, Workload};
use super::row::{GcRow, Sample, ratio};
use super::template::{Subject, Template};

/// Commits that follow at most until the queue is empty, after the workload has ended.
const TRAILING_MAX: u64 = 5000;

/// What a commit may do, without a clock: the same in every run.
const COUNTED: Collection = Collection {
    commit: Budget {
        time: None,
        ..Budget::COMMIT
    },
    worker: None,
    reclaim: false,
};
/// The same as in daily use.
const TIMED: Collection = Collection {
    commit: Budget::COMMIT,
    worker: None,
    reclaim: false,
};

/// Does up to `commits` commits of the workload and measures each.
pub(crate) fn run(
    template: &Template<'_>,
    workload: &mut dyn Workload,
    commits: u64,
    seed: u64,
) -> Result<GcRow> {
    let mut row = GcRow::default();
    let (steps, counted) = count(template, workload, commits, seed, &mut row)?;
    row.durability = Some(counted.durability);
    drop(counted);
    let (timed, off) = (template.open(TIMED)?, template.open(Collection::OFF)?);
    time(&timed, &off, &steps, &mut row)?;
    Ok(row)
}

/// Does the commits on a store that collects, and counts what that takes.
fn count(
    template: &Template<'_>,
    workload: &mut dyn Workload,
    commits: u64,
    seed: u64,
    row: &mut GcRow,
) -> Result<(Vec<Step>, Subject)> {
    let subject = template.open(COUNTED)?;
    let mut plan = Plan::new(template.graph(), &subject.store);
    let mut draw = Rng::with_seed(seed);
    let mut steps = Vec::new();
    let mut tally = Tally::default();
    for _ in 0..commits {
        let more = workload.step(&mut plan, &mut draw)?;
        let step = plan.take();
        if !more {
            break;
        }
        // Looking around and taking OIDs is no part of the commit.
        tally.commit(&subject, step.batch.clone())?;
        tally.garbage = tally
            .garbage
            .zip(step.garbage)
            .map(|(sum, more)| sum + more);
        tally.garbage_refs += step.garbage_refs;
        steps.push(step);
    }
    row.commits = steps.len() as u64;
    row.bytes_per_commit = ratio(tally.bytes as f64, steps.len() as f64);
    row.engine_reads_mean = ratio(tally.engine_reads as f64, steps.len() as f64);
    let counters = tally.trail(&subject, &plan)?;
    if let Some(garbage) = tally.garbage
        && garbage != tally.collected + tally.waited
    {
        let collected = tally.collected + tally.waited;
        return Err(subject.wrong(format!(
            "{garbage} objects became garbage and {collected} were collected"
        )));
    }
    tally.tell(row, counters);
    Ok((steps, subject))
}

/// What the commits so far have led to.
#[derive(Debug)]
struct Tally {
    garbage: Option<u64>,
    garbage_refs: u64,
    /// Objects that commits collected.
    collected: u64,
    /// Those that were left then.
    waited: u64,
    reads: Sample,
    bytes: u64,
    engine_reads: u64,
    /// Commits in a row after which there was something left to collect.
    pending: u64,
    pending_max: u64,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            garbage: Some(0),
            garbage_refs: 0,
            collected: 0,
            waited: 0,
            reads: Sample::default(),
            bytes: 0,
            engine_reads: 0,
            pending: 0,
            pending_max: 0,
        }
    }
}

impl Tally {
    fn commit(&mut self, subject: &Subject, batch: Batch) -> Result<()> {
        let before = subject.store.collection_counters();
        let (bytes, reads) = (subject.counts.bytes(), subject.counts.reads());
        let receipt = subject.commit(batch)?;
        self.bytes += subject.counts.bytes() - bytes;
        self.engine_reads += subject.counts.reads() - reads;
        let after = subject.store.collection_counters();
        if after.reads.count() > before.reads.count() {
            self.reads.add((after.reads.sum - before.reads.sum) as f64);
        }
        self.collected += receipt.collected.objects;
        let pending = subject.store.stats()?.garbage_pending > 0;
        self.pending = if pending { self.pending + 1 } else { 0 };
        self.pending_max = self.pending_max.max(self.pending);
        Ok(())
    }

    /// Commits something else until all garbage is gone. Returns what commits have done.
    fn trail(&mut self, subject: &Subject, plan: &Plan<'_>) -> Result<Counters> {
        for _ in 0..TRAILING_MAX {
            if self.pending == 0 {
                break;
            }
            let mut batch = Batch::new();
            batch.update(Oid::ROOT, "root", plan.refs(Oid::ROOT).iter().copied());
            self.commit(subject, batch)?;
        }
        let counters = subject.store.collection_counters();
        // Where commits alone are too slow for it.
        self.waited = subject.store.collect()?.objects;
        Ok(counters)
    }

    fn tell(self, row: &mut GcRow, counters: Counters) {
        let reads = self.reads.sorted();
        let whole = |percent| reads.at(percent).map(|reads| reads as u64);
        row.collecting_commits = Some(counters.reads.count());
        row.garbage = self.garbage;
        row.collected = Some(self.collected + self.waited);
        row.degree = self
            .garbage
            .and_then(|garbage| ratio(self.garbage_refs as f64, garbage as f64));
        row.reads_mean = reads.mean();
        row.reads_p50 = whole(50);
        row.reads_p99 = whole(99);
        row.reads_max = whole(100);
        row.reads_per_garbage = ratio(counters.reads.sum as f64, self.collected as f64);
        row.age_commits_max = Some(self.pending_max);
        row.anchored = Some(counters.anchored);
        row.long_searches = Some(counters.long_searches);
        row.restarts = Some(counters.restarts);
        row.condemned = Some(counters.condemned);
        row.climb_mean = ratio(counters.climbs.sum as f64, counters.climbs.count() as f64);
        row.climb_max = Some(counters.climbs.max);
    }
}

/// Does the same commits on a store that collects and on one that does not, in turns, so that what else
/// the machine does meets both.
fn time(timed: &Subject, off: &Subject, steps: &[Step], row: &mut GcRow) -> Result<()> {
    let (mut pauses, mut plain) = (Sample::default(), Sample::default());
    let (mut off_bytes, mut off_reads) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        timed.take_oids(step)?;
        off.take_oids(step)?;
        let before = (off.counts.bytes_without_collector(), off.counts.reads());
        let mut order = [timed, off];
        if number % 2 == 1 {
            order.reverse();
        }
        let mut times = [Duration::ZERO; 2];
        for (subject, time) in order.iter().zip(&mut times) {
            let batch = step.batch.clone();
            let begin = Instant::now();
            subject.commit(batch)?;
            *time = begin.elapsed();
        }
        off_bytes += off.counts.bytes_without_collector() - before.0;
        off_reads += off.counts.reads() - before.1;
        if number % 2 == 1 {
            times.reverse();
        }
        let [with, without] = times.map(milliseconds);
        pauses.add(with - without);
        plain.add(without);
    }
    let (count, bytes) = (steps.len() as f64, row.bytes_per_commit.unwrap_or_default());
    row.bytes_ratio = ratio(bytes * count, off_bytes as f64);
    row.engine_reads_off_mean = ratio(off_reads as f64, count);
    let (pauses, plain) = (pauses.sorted(), plain.sorted());
    row.pause_ms_p50 = pauses.at(50);
    row.pause_ms_p99 = pauses.at(99);
    row.pause_ms_max = pauses.at(100);
    row.off_ms_p50 = plain.at(50);
    row.off_ms_p99 = plain.at(99);
    Ok(())
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
