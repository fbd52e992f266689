//! Measuring one workload on one subject.

use std::time::{Duration, Instant};

use durum_core::{Error, ErrorKind, Result};
use fastrand::Rng;

use crate::DOING;
use crate::clock::{Took, Whose};
use crate::latency::Histogram;
use crate::objects::Objects;
use crate::subject::{Change, Reading, Subject};
use crate::workload::Compared;

/// So many loads are timed together, so that the clocks count for little; one more alone.
const LOADS: usize = 1024;
/// Objects that are updated in one commit that nobody waits for.
const UPDATES: u64 = 1000;
/// Referrers that are cut off from their children in one commit.
const CUTS: usize = 16;
/// Loads of single objects that nothing is cached of.
const COLD_LOADS_MAX: u64 = 1000;

/// What was done, and what it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) count: u64,
    pub(crate) took: Took,
    pub(crate) latencies: Histogram,
}

impl Sample {
    pub(crate) fn of(count: u64, took: Took) -> Sample {
        Sample {
            count,
            took,
            latencies: Histogram::default(),
        }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.took.time.as_secs_f64().max(1e-9)
    }

    /// Adds what was done later.
    pub(crate) fn add(&mut self, later: &Sample) {
        self.count += later.count;
        self.took.time += later.took.time;
        self.took.processor += later.took.processor;
        self.latencies.merge(&later.latencies);
    }

    /// Seconds for each.
    pub(crate) fn cost(&self, compared: Compared) -> f64 {
        let seconds = match compared {
            Compared::Time => self.took.time,
            Compared::ProcessorTime => self.took.processor,
        };
        seconds.as_secs_f64() / (self.count.max(1)) as f64
    }
}

/// Which objects are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// Any.
    All,
    /// One of these few, anywhere.
    Hot,
    /// One after the other.
    Sequence,
}

/// How an object is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Borrowed,
    Owned,
    Alone,
}

/// Draws numbers of objects.
struct Drawer {
    draw: Draw,
    count: u64,
    random: Rng,
    next: u64,
}

impl Drawer {
    fn new(draw: Draw, objects: Objects, seed: u64) -> Drawer {
        let mut random = Rng::with_seed(seed);
        Drawer {
            next: random.u64(..objects.count),
            draw,
            count: objects.count,
            random,
        }
    }

    fn next(&mut self) -> u64 {
        match self.draw {
            Draw::All => self.random.u64(..self.count),
            // Spread over all by a factor that has nothing in common with most numbers.
            Draw::Hot => {
                let hot = self.random.u64(..self.count.div_ceil(100));
                hot.wrapping_mul(7919) % self.count
            }
            Draw::Sequence => {
                self.next = (self.next + 1) % self.count;
                self.next
            }
        }
    }
}

/// Loads objects for some time, with one state or one for each.
pub(crate) fn loads(
    subject: &dyn Subject,
    (objects, draw, way): (Objects, Draw, Way),
    time: Duration,
    seed: u64,
) -> Result<Sample> {
    let mut drawer = Drawer::new(draw, objects, seed);
    let mut reader = match way {
        Way::Alone => None,
        _ => Some(subject.reader()?),
    };
    let mut load = |oid: u64| match (&mut reader, way) {
        (Some(reader), Way::Borrowed) => reader.load(oid),
        (Some(reader), _) => reader.load_owned(oid),
        (None, _) => subject.load_alone(oid),
    };
    let mut sample = Sample::default();
    let begin = Instant::now();
    while sample.count == 0 || begin.elapsed() < time {
        let oids: Vec<u64> = (0..LOADS).map(|_| drawer.next()).collect();
        sample
            .took
            .add(Whose::Thread, || oids.iter().try_for_each(|oid| load(*oid)))?;
        sample.count += LOADS as u64;
        let oid = drawer.next();
        let begin = Instant::now();
        load(oid)?;
        sample.latencies.add(begin.elapsed());
    }
    Ok(sample)
}

/// The same by as many threads as the machine runs at once.
pub(crate) fn loads_by_all(
    subject: &dyn Subject,
    (objects, draw): (Objects, Draw),
    time: Duration,
    seed: u64,
) -> Result<Sample> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let samples = in_threads(threads, |thread| {
        let seed = seed.wrapping_add(thread as u64);
        loads(subject, (objects, draw, Way::Borrowed), time, seed)
    })?;
    // They ran at the same time, each as fast as its own time says.
    let rate: f64 = samples.iter().map(Sample::per_second).sum();
    let mut all = Sample::default();
    for sample in &samples {
        all.count += sample.count;
        all.took.processor += sample.took.processor;
        all.latencies.merge(&sample.latencies);
    }
    all.took.time = Duration::from_secs_f64(all.count as f64 / rate.max(1e-9));
    Ok(all)
}

/// Loads few objects of which nothing is cached.
pub(crate) fn cold_loads(
    reader: &mut dyn Reading,
    objects: Objects,
    time: Duration,
    seed: u64,
) -> Result<Sample> {
    let mut drawer = Drawer::new(Draw::All, objects, seed);
    let mut sample = Sample::default();
    while sample.count == 0 || sample.took.time < time && sample.count < COLD_LOADS_MAX {
        let (oid, begin) = (drawer.next(), Instant::now());
        sample.took.add(Whose::Thread, || reader.load(oid))?;
        sample.latencies.add(begin.elapsed());
        sample.count += 1;
    }
    Ok(sample)
}

/// Reads everything.
pub(crate) fn scan(subject: &dyn Subject, objects: Objects) -> Result<Sample> {
    let mut reader = subject.reader()?;
    let mut took = Took::default();
    let found = took.add(Whose::Thread, || reader.scan())?;
    if found != objects.count {
        return Err(Error::new(ErrorKind::Mismatch, DOING).because(format!(
            "{} objects were stored and {found} were found",
            objects.count
        )));
    }
    Ok(Sample::of(found, took))
}

/// Commits durably for some time, by so many at once, each changing so many objects in a commit.
pub(crate) fn commits(
    subject: &dyn Subject,
    objects: Objects,
    (committers, each): (usize, usize),
    time: Duration,
    seed: u64,
) -> Result<Sample> {
    let begin = Instant::now();
    let samples = in_threads(committers, |thread| {
        let mut random = Rng::with_seed(seed.wrapping_add(thread as u64));
        let mut sample = Sample::default();
        while sample.count == 0 || begin.elapsed() < time {
            // Nobody changes what another one does.
            let few = objects.count / committers as u64;
            let oids = some(few, each as u64, &mut random);
            let oids: Vec<u64> = oids
                .into_iter()
                .map(|oid| oid * committers as u64 + thread as u64)
                .collect();
            let prepared = subject.prepare(&Change::Update(&oids, random.u64(1..1 << 32)));
            let begin = Instant::now();
            sample
                .took
                .add(Whose::Thread, || subject.commit(prepared, true))?;
            sample.latencies.add(begin.elapsed());
            sample.count += 1;
        }
        Ok(sample)
    })?;
    let elapsed = begin.elapsed();
    let mut all = Sample::default();
    for sample in &samples {
        all.count += sample.count;
        all.took.processor += sample.took.processor;
        all.took.time += sample.took.time;
        all.latencies.merge(&sample.latencies);
    }
    if committers > 1 {
        all.took.time = elapsed;
    }
    Ok(all)
}

/// Updates objects by a thousand, for some time.
pub(crate) fn updates(
    subject: &dyn Subject,
    objects: Objects,
    time: Duration,
    seed: u64,
) -> Result<Sample> {
    let mut random = Rng::with_seed(seed);
    let mut sample = Sample::default();
    while sample.count == 0 || sample.took.time < time {
        let oids = some(objects.count, UPDATES, &mut random);
        let prepared = subject.prepare(&Change::Update(&oids, random.u64(1..1 << 32)));
        sample
            .took
            .add(Whose::Process, || subject.commit(prepared, false))?;
        sample.count += oids.len() as u64;
    }
    Ok(sample)
}

/// Deletes half of all leaves.
pub(crate) fn deletes(subject: &dyn Subject, objects: Objects) -> Result<Sample> {
    let twigs: Vec<u64> = objects.twigs().collect();
    let mut sample = Sample::default();
    for twigs in twigs.chunks(CUTS) {
        let prepared = subject.prepare(&Change::Cut(twigs));
        sample
            .took
            .add(Whose::Process, || subject.commit(prepared, false))?;
        let leaves = twigs.iter().map(|twig| objects.refs(*twig).count() as u64);
        sample.count += leaves.sum::<u64>();
    }
    sample.took.add(Whose::Process, || subject.settle())?;
    Ok(sample)
}

/// At most so many different numbers below `count`, in ascending order.
pub(crate) fn some(count: u64, wanted: u64, random: &mut Rng) -> Vec<u64> {
    let count = count.max(1);
    let mut some: Vec<u64> = (0..wanted.min(count))
        .map(|_| random.u64(..count))
        .collect();
    some.sort_unstable();
    some.dedup();
    some
}

/// Runs the same in so many threads at once.
fn in_threads<T: Send>(threads: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    if threads == 1 {
        return Ok(vec![work(0)?]);
    }
    let panicked = || Error::new(ErrorKind::Other, DOING).because("a thread panicked");
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| panicked())?);
        ended.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_set_is_small_and_a_sequence_goes_round() {
        let objects = Objects {
            count: 1000,
            size: 1,
            seed: 0,
        };
        let mut hot = Drawer::new(Draw::Hot, objects, 1);
        let mut drawn: Vec<u64> = (0..2000).map(|_| hot.next()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 10);
        assert!(drawn.iter().all(|oid| *oid < 1000));
        let mut sequence = Drawer::new(Draw::Sequence, objects, 1);
        let mut drawn: Vec<u64> = (0..1000).map(|_| sequence.next()).collect();
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..1000));
    }

    #[test]
    fn some_are_different_and_sorted() {
        let mut random = Rng::with_seed(1);
        let drawn = some(50, 20, &mut random);
        assert!(drawn.is_sorted_by(|left, right| left < right) && drawn.len() > 10);
        assert_eq!(some(1, 5, &mut random), [0]);
    }
}
