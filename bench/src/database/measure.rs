//! Measuring one workload on one subject.

use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};
use fastrand::Rng;

use super::DOING;
use super::subject::{Change, Subject, Worker};
use super::workload::{BATCH, Commit, DatabaseWorkload};
use crate::clock::{Took, Whose};
use crate::measure::{Sample, some};
use crate::objects::Objects;

/// Referrers that are cut off from their children in one commit.
const CUTS: usize = 16;

/// The objects of a subject, and what is done to which of them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) objects: Objects,
    /// Those that are loaded and updated.
    all: Vec<u64>,
    /// Those without references of which each gets some once; never updated otherwise.
    leaves: Vec<u64>,
    /// The next of these.
    next: Mutex<usize>,
    /// How many of these a measurement may take, so that some are left for the others.
    creates_max: u64,
    draw: Rng,
}

impl Plan {
    /// For so many measurements of commits that add objects.
    pub(super) fn new(objects: Objects, measurements: usize) -> Plan {
        let leaves: Vec<u64> = objects
            .other_twigs()
            .flat_map(|twig| objects.refs(twig))
            .map(|leaf| leaf.0)
            .collect();
        let is_leaf = |oid: &u64| leaves.binary_search(oid).is_ok();
        Plan {
            objects,
            all: (0..objects.count).filter(|oid| !is_leaf(oid)).collect(),
            creates_max: (leaves.len() / measurements.max(1)) as u64,
            leaves,
            next: Mutex::new(0),
            draw: Rng::with_seed(objects.seed),
        }
    }

    /// So that two subjects do the same: what is drawn is drawn again.
    pub(super) fn begin(&mut self, seed: u64) {
        self.draw = Rng::with_seed(seed);
    }

    fn leaf(&self) -> Result<u64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        self.leaves.get(*next - 1).copied().ok_or_else(|| {
            Error::new(ErrorKind::Usage, DOING)
                .because("there are too few objects for so many commits that add some")
                .hint("Take more by --objects.")
        })
    }
}

/// One operation of a workload.
fn operate(
    plan: &Plan,
    workload: DatabaseWorkload,
    worker: &mut dyn Worker,
    (number, of): (usize, usize),
    draw: &mut Rng,
) -> Result<(u64, Took)> {
    let mut took = Took::default();
    let any = |draw: &mut Rng| draw.choice(&plan.all).copied().unwrap_or_default();
    if let Some((commit, each, _)) = workload.commit() {
        // Nobody changes what another one does.
        let few = plan.all.len() / of;
        let change = match commit {
            Commit::Update => some(few as u64, each as u64, draw),
            Commit::Create => Vec::new(),
        };
        let oids: Vec<u64> = change
            .into_iter()
            .filter_map(|place| plan.all.get(place as usize * of + number).copied())
            .collect();
        let change = match commit {
            Commit::Update => Change::Update(&oids, draw.u64(1..1 << 32)),
            Commit::Create => Change::Create(plan.leaf()?, each),
        };
        return Ok((1, worker.commit(&change)?));
    }
    match workload {
        DatabaseWorkload::Load => {
            let oid = any(draw);
            took.add(Whose::Thread, || worker.load(oid))?;
            Ok((1, took))
        }
        _ => {
            let oids: Vec<u64> = (0..BATCH).map(|_| any(draw)).collect();
            took.add(Whose::Thread, || worker.load_many(&oids))?;
            Ok((BATCH as u64, took))
        }
    }
}

/// Does it for some time, at least once. What is done before the clock starts finds everything prepared.
pub(super) fn repeat(
    plan: &Plan,
    workload: DatabaseWorkload,
    subject: &dyn Subject,
    time: Duration,
) -> Result<Sample> {
    let threads = workload.commit().map_or(1, |(_, _, threads)| threads);
    let count_max = match workload.commit() {
        // One more was done before.
        Some((Commit::Create, ..)) => plan.creates_max.saturating_sub(1),
        _ => u64::MAX,
    };
    let mut draw = plan.draw.clone();
    let mut workers = Vec::new();
    for number in 0..threads {
        workers.push((number, subject.worker()?, draw.fork()));
    }
    let barrier = Barrier::new(threads);
    let work = |number, worker: &mut dyn Worker, draw: &mut Rng| {
        let of = (number, threads);
        let warm = operate(plan, workload, worker, of, draw);
        barrier.wait();
        warm?;
        let (mut sample, begin) = (Sample::default(), Instant::now());
        while sample.count == 0 || begin.elapsed() < time && sample.count < count_max {
            let (count, took) = operate(plan, workload, worker, of, draw)?;
            sample.count += count;
            sample.took.time += took.time;
            sample.took.processor += took.processor;
            sample.latencies.add(took.time);
        }
        let elapsed = begin.elapsed();
        Ok((sample, elapsed))
    };
    let done: Vec<Result<(Sample, Duration)>> = std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = workers
            .into_iter()
            .map(|(number, mut worker, mut draw)| {
                scope.spawn(move || work(number, &mut *worker, &mut draw))
            })
            .collect();
        let ended = running.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect()
    });
    let (mut all, mut longest) = (Sample::default(), Duration::ZERO);
    for done in done {
        let (sample, elapsed) = done?;
        all.add(&sample);
        longest = longest.max(elapsed);
    }
    if threads > 1 {
        all.took.time = longest;
    }
    Ok(all)
}

/// Does it so many times, one after the other; `counted` is asked before and after. How much that has grown for each.
pub(super) fn count(
    plan: &Plan,
    workload: DatabaseWorkload,
    subject: &dyn Subject,
    times: u32,
    counted: &dyn Fn() -> u64,
) -> Result<f64> {
    let (mut worker, mut draw) = (subject.worker()?, plan.draw.clone());
    let mut operate = || operate(plan, workload, &mut *worker, (0, 1), &mut draw).map(drop);
    operate()?;
    let before = counted();
    for _ in 0..times {
        operate()?;
    }
    Ok(counted().saturating_sub(before) as f64 / f64::from(times.max(1)))
}

/// Reads everything.
pub(super) fn scan(plan: &Plan, subject: &dyn Subject) -> Result<Sample> {
    let (mut worker, mut took) = (subject.worker()?, Took::default());
    let found = took.add(Whose::Process, || worker.scan())?;
    if found != plan.objects.count {
        let count = plan.objects.count;
        return Err(Error::new(ErrorKind::Mismatch, DOING).because(format!(
            "{count} objects were stored and {found} were found"
        )));
    }
    Ok(Sample::of(found, took))
}

/// Deletes half of all leaves.
pub(super) fn deletes(plan: &Plan, subject: &dyn Subject) -> Result<Sample> {
    let (mut worker, mut sample) = (subject.worker()?, Sample::default());
    let twigs: Vec<u64> = plan.objects.twigs().collect();
    for twigs in twigs.chunks(CUTS) {
        let took = worker.commit(&Change::Cut(twigs))?;
        sample.took.time += took.time;
        sample.took.processor += took.processor;
        let leaves = twigs
            .iter()
            .map(|twig| plan.objects.refs(*twig).count() as u64);
        sample.count += leaves.sum::<u64>();
    }
    sample.took.add(Whose::Process, || worker.settle())?;
    Ok(sample)
}
