//! One round of all workloads: on a store, and on what the raw client has beside it.

use std::time::{Duration, Instant};

use durum_core::Result;
use durum_core::engine::Registry;
use durum_core::store::LocalStore;

use super::DatabaseSettings;
use super::measure::{self, Plan};
use super::relay::Relay;
use super::row::{Counted, Measured};
use super::subject::{RawSubject, StoreSubject, Subject};
use super::target::Target;
use super::workload::DatabaseWorkload;
use crate::clock::{Took, Whose};
use crate::measure::Sample;
use crate::objects::Objects;
use crate::row::median;
use crate::subject;

/// The store and the raw client take turns so often in a measurement at most, each for so long at least.
const SLICES: u32 = 4;
const SLICE_MIN: Duration = Duration::from_millis(50);
/// Calls of which the round trips are counted, with so much delay: then all that a call sends at once is sent before an
/// answer comes.
const COUNTED: u32 = 6;
const COUNTED_DELAY: Duration = Duration::from_millis(10);
/// The same for what is done once, with fewer objects: there are many round trips.
const COUNTED_OBJECTS: u64 = 600;
const COUNTED_ONCE_DELAY: Duration = Duration::from_millis(1);
/// Nobody works in the background any more when nothing has passed for so long; it is waited for so often at most.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_WAITS_MAX: u32 = 100;
/// Statements that do nothing.
const ROUND_TRIPS: u32 = 50;

/// What is measured, round by round.
pub(super) struct Suite<'a> {
    pub(super) registry: &'a Registry,
    pub(super) settings: &'a DatabaseSettings,
    pub(super) target: &'a Target,
    pub(super) progress: &'a dyn Fn(&str),
    pub(super) measured: Vec<Measured>,
    pub(super) counted: Vec<Counted>,
    /// Of opening a store.
    pub(super) open_round_trips: f64,
    /// Delays, and how long a round trip took.
    pub(super) links: Vec<(Duration, Duration)>,
}

/// The two sides of a round.
struct Sides {
    /// The store's schema.
    store: String,
    store_plan: Plan,
    raw: Option<RawSide>,
}

struct RawSide {
    schema: String,
    plan: Plan,
    /// The next row that is free.
    next: u64,
}

impl Suite<'_> {
    /// Everything once. Nothing is left of it.
    pub(super) fn round(&mut self, number: usize) -> Result<()> {
        let settings = self.settings;
        let objects = Objects {
            count: settings.objects,
            size: settings.size,
            seed: settings.seed,
        };
        let of = settings.rounds.max(1);
        let tell = |what: &str| (self.progress)(&format!("round {} of {of}: {what}", number + 1));
        let creates = 4 * settings.delays.len() * SLICES as usize + 4 * (COUNTED as usize + 1);
        let plan = || Plan::new(objects, creates);
        let mut sides = Sides {
            store: self.target.schema(&format!("store_{number}")),
            store_plan: plan(),
            raw: settings.raw.then(|| RawSide {
                schema: self.target.schema(&format!("raw_{number}")),
                plan: plan(),
                next: objects.count,
            }),
        };
        tell("bulk loads");
        self.import(&sides, objects)?;
        if settings.wants(DatabaseWorkload::Scan) {
            tell("scans");
            self.once(&sides, DatabaseWorkload::Scan, measure::scan)?;
        }
        for delay in &settings.delays {
            tell(&format!(
                "with {} ms of delay",
                super::row::milliseconds(*delay)
            ));
            self.delayed(&mut sides, *delay, number)?;
        }
        if number == 0 {
            tell("round trips");
            self.count(&mut sides)?;
            self.count_once()?;
        }
        if settings.wants(DatabaseWorkload::Delete) {
            tell("deletions");
            self.once(&sides, DatabaseWorkload::Delete, measure::deletes)?;
        }
        self.target.remove(&sides.store)?;
        match &sides.raw {
            Some(raw) => self.target.remove(&raw.schema),
            None => Ok(()),
        }
    }

    fn import(&mut self, sides: &Sides, objects: Objects) -> Result<()> {
        let settings = self.target.store(&sides.store, None);
        let (loaded, took) = subject::StoreSubject::load(self.registry, &settings, objects)?;
        drop(loaded);
        let raw = match &sides.raw {
            Some(raw) => Some(Sample::of(objects.count, self.copy(&raw.schema, objects)?)),
            None => None,
        };
        if self.settings.wants(DatabaseWorkload::Import) {
            self.measured.push(Measured {
                workload: DatabaseWorkload::Import,
                delay: Duration::ZERO,
                store: Sample::of(objects.count, took),
                raw,
            });
        }
        Ok(())
    }

    fn copy(&self, schema: &str, objects: Objects) -> Result<Took> {
        let mut took = Took::default();
        let load = took.add(Whose::Process, || {
            let connection = self.target.connect(None)?;
            connection.create(schema)?;
            connection.load(schema)
        })?;
        subject::fill(load, objects, &mut took)?;
        Ok(took)
    }

    /// A workload that is done once by each side, without delay.
    fn once(
        &mut self,
        sides: &Sides,
        workload: DatabaseWorkload,
        work: fn(&Plan, &dyn Subject) -> Result<Sample>,
    ) -> Result<()> {
        let store = self.open(sides, None)?;
        let objects = sides.store_plan.objects;
        let subject = StoreSubject {
            store: &store,
            objects,
        };
        let done = work(&sides.store_plan, &subject)?;
        let raw = match &sides.raw {
            Some(raw) => Some(work(&raw.plan, &self.raw_subject(raw, None))?),
            None => None,
        };
        self.measured.push(Measured {
            workload,
            delay: Duration::ZERO,
            store: done,
            raw,
        });
        Ok(())
    }

    fn open(&self, sides: &Sides, relay: Option<&Relay>) -> Result<LocalStore> {
        self.registry.open(&self.target.store(&sides.store, relay))
    }

    fn raw_subject(&self, raw: &RawSide, relay: Option<&Relay>) -> RawSubject {
        let address = self.target.address(relay);
        RawSubject::new(&address, &raw.schema, raw.plan.objects, raw.next)
    }

    /// All workloads that are done for some time.
    fn delayed(&mut self, sides: &mut Sides, delay: Duration, round: usize) -> Result<()> {
        let relay = match delay.is_zero() {
            true => None,
            false => Some(Relay::start(self.target.server(), delay)?),
        };
        self.link(delay, relay.as_ref())?;
        let store = self.open(sides, relay.as_ref())?;
        let objects = sides.store_plan.objects;
        let ours = StoreSubject {
            store: &store,
            objects,
        };
        let theirs = sides
            .raw
            .as_ref()
            .map(|raw| self.raw_subject(raw, relay.as_ref()));
        let slices = self.settings.time.as_micros() / SLICE_MIN.as_micros();
        let slices = (slices as u32).clamp(1, SLICES);
        for workload in DatabaseWorkload::ALL {
            if !workload.is_repeated() || !self.settings.wants(workload) {
                continue;
            }
            let (mut of_store, mut of_raw) = (Sample::default(), Sample::default());
            for slice in 0..slices {
                let seed = self.settings.seed ^ (round as u64) << 8 ^ u64::from(slice);
                let time = self.settings.time / slices;
                let measure = |plan: &mut Plan, subject: &dyn Subject, sample: &mut Sample| {
                    plan.begin(seed);
                    sample.add(&measure::repeat(plan, workload, subject, time)?);
                    Ok(())
                };
                // Whoever comes second finds what the first has left the server to do.
                for is_store in [slice % 2 == 0, slice % 2 == 1] {
                    match (is_store, &theirs, &mut sides.raw) {
                        (true, ..) => measure(&mut sides.store_plan, &ours, &mut of_store)?,
                        (_, Some(subject), Some(raw)) => {
                            measure(&mut raw.plan, subject, &mut of_raw)?
                        }
                        _ => {}
                    }
                }
            }
            self.measured.push(Measured {
                workload,
                delay,
                store: of_store,
                raw: theirs.is_some().then_some(of_raw),
            });
        }
        if let Some((subject, raw)) = theirs.zip(sides.raw.as_mut()) {
            raw.next = subject.next();
        }
        Ok(())
    }

    /// What a round trip takes: the median.
    fn link(&mut self, delay: Duration, relay: Option<&Relay>) -> Result<()> {
        let connection = self.target.connect(relay)?;
        connection.round_trip()?;
        let mut took = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let begin = Instant::now();
            connection.round_trip()?;
            took.push(begin.elapsed().as_secs_f64());
        }
        let middle = Duration::from_secs_f64(median(&took));
        self.links.push((delay, middle));
        Ok(())
    }

    /// Round trips of a call of each workload.
    fn count(&mut self, sides: &mut Sides) -> Result<()> {
        let relay = Relay::start(self.target.server(), COUNTED_DELAY)?;
        let counted = || relay.round_trips();
        let store = self.open(sides, Some(&relay))?;
        self.open_round_trips = counted() as f64;
        let objects = sides.store_plan.objects;
        let ours = StoreSubject {
            store: &store,
            objects,
        };
        let theirs = sides
            .raw
            .as_ref()
            .map(|raw| self.raw_subject(raw, Some(&relay)));
        for workload in DatabaseWorkload::ALL {
            let at_once = workload.commit().is_some_and(|(.., threads)| threads > 1);
            if !workload.is_repeated() || at_once || !self.settings.wants(workload) {
                continue;
            }
            relay.wait_until_quiet(QUIET, QUIET_WAITS_MAX);
            let store = measure::count(&sides.store_plan, workload, &ours, COUNTED, &counted)?;
            let raw = match (&theirs, &sides.raw) {
                (Some(subject), Some(raw)) => Some(measure::count(
                    &raw.plan, workload, subject, COUNTED, &counted,
                )?),
                _ => None,
            };
            self.counted.push(Counted {
                workload,
                store,
                raw,
            });
        }
        if let Some((subject, raw)) = theirs.zip(sides.raw.as_mut()) {
            raw.next = subject.next();
        }
        Ok(())
    }

    /// Round trips of what is done once, for each of few objects.
    fn count_once(&mut self) -> Result<()> {
        use DatabaseWorkload::{Delete, Import, Scan};

        let relay = Relay::start(self.target.server(), COUNTED_ONCE_DELAY)?;
        let objects = Objects {
            count: COUNTED_OBJECTS,
            size: self.settings.size,
            seed: self.settings.seed,
        };
        let (schema, plan) = (self.target.schema("counted"), Plan::new(objects, 1));
        let mut add = |workload, count: u64, before: u64| {
            relay.wait_until_quiet(QUIET, QUIET_WAITS_MAX);
            let round_trips = relay.round_trips().saturating_sub(before);
            self.counted.push(Counted {
                workload,
                store: round_trips as f64 / count.max(1) as f64,
                raw: None,
            });
        };
        let settings = self.target.store(&schema, Some(&relay));
        let (loaded, _) = subject::StoreSubject::load(self.registry, &settings, objects)?;
        add(Import, objects.count, 0);
        let subject = StoreSubject {
            store: &loaded.store,
            objects,
        };
        for (workload, work) in [
            (
                Scan,
                measure::scan as fn(&Plan, &dyn Subject) -> Result<Sample>,
            ),
            (Delete, measure::deletes),
        ] {
            if self.settings.wants(workload) {
                let before = relay.round_trips();
                let done = work(&plan, &subject)?;
                add(workload, done.count, before);
            }
        }
        drop(loaded);
        self.target.remove(&schema)
    }
}
