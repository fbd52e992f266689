//! One step of the benchmark, in a process of its own, so that the memory that it takes is seen.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use durum_core::config::StoreSettings;
use durum_core::engine::Registry;
use durum_core::store::Store as _;
use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{Dictionaries, History, Merger, Write};
use durum_objects::{Database, Options};
use serde::{Deserialize, Serialize};

use super::model::{Model, right};
use super::workload::DictWorkload;
use super::{DOING, read, write};
use crate::latency::Histogram;
use crate::subject::best;

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DictPart {
    pub(super) step: Step,
    pub(super) place: Place,
    pub(super) class: String,
    pub(super) copies: u32,
    pub(super) dicts: u64,
    pub(super) size: usize,
    pub(super) batch: usize,
    pub(super) writers: usize,
    /// Bytes of the cache of objects.
    pub(super) cache: u64,
    pub(super) seed: u64,
    /// When all was put and nothing updated, in milliseconds since 1970.
    pub(super) put_at: u64,
}

/// A step of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// The class is defined, in a store that is made.
    Define,
    /// Something is measured.
    Measure(DictWorkload),
    /// What is left is deleted, and its history given up.
    Clear,
}

/// Where dictionaries are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// In a store.
    Store {
        /// By this engine.
        engine: String,
        /// There.
        path: PathBuf,
    },
    /// On the nodes of this URL.
    Nodes(String),
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DictDone {
    /// How many were written or found.
    pub(super) count: u64,
    pub(super) seconds: f64,
    /// Of calls, or the times until the first result.
    pub(super) latencies: Histogram,
}

impl DictDone {
    /// Times a call that is done for so many.
    pub(super) fn time<T>(&mut self, count: u64, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let result = call()?;
        let took = begin.elapsed();
        self.count += count;
        self.seconds += took.as_secs_f64();
        self.latencies.add(took);
        Ok(result)
    }
}

/// What a step works with.
pub(super) struct Work<'a> {
    pub(super) part: &'a DictPart,
    pub(super) home: Dictionaries,
    pub(super) model: Model,
}

/// Does what `part`, a JSON object, says.
///
/// # Errors
/// `Usage` where it says nothing that can be done; `Mismatch` where something else is found than was put; those of the home.
pub fn run_dict_part(registry: &Registry, part: &str) -> Result<DictDone> {
    let part: DictPart = serde_json::from_str(part)
        .map_err(|error| Error::new(ErrorKind::Usage, DOING).because(error.to_string()))?;
    let home = open(registry, &part)?;
    let doing = match part.step {
        Step::Define => {
            home.define(Model::class(&part.class, part.copies))?;
            return Ok(DictDone::default());
        }
        Step::Measure(workload) => workload,
        Step::Clear => {
            clear(&home, &part)?;
            return Ok(DictDone::default());
        }
    };
    // What is known of the class after the first call is not what is measured.
    home.class(&part.class)?;
    let work = Work {
        part: &part,
        home,
        model: Model::new(part.dicts, part.size, part.seed, doing),
    };
    match doing {
        DictWorkload::PutBatches | DictWorkload::UpdateBatches | DictWorkload::DeleteBatches => {
            write::in_batches(&work, doing)
        }
        DictWorkload::Put | DictWorkload::Update | DictWorkload::Delete => {
            write::one_by_one(&work, doing)
        }
        DictWorkload::PutAtOnce | DictWorkload::UpdateAtOnce => write::at_once(&work, doing),
        DictWorkload::Get => read::get(&work),
        DictWorkload::GetAtOnce => read::get_at_once(&work),
        DictWorkload::GetAt => read::get_at(&work),
        DictWorkload::History => read::history(&work),
        DictWorkload::SelectEqual
        | DictWorkload::SelectRange
        | DictWorkload::SelectPrefix
        | DictWorkload::SelectMany => read::select(&work, doing),
        DictWorkload::All | DictWorkload::AllLeft => read::all(&work),
    }
}

fn open(registry: &Registry, part: &DictPart) -> Result<Dictionaries> {
    let (engine, path) = match &part.place {
        Place::Store { engine, path } => (engine, path),
        Place::Nodes(url) => return Dictionaries::open(url),
    };
    let settings = StoreSettings::new(engine, path);
    let store = match part.step {
        Step::Define => registry.create(&settings)?,
        _ => registry.open(&settings)?,
    };
    let options = Options {
        cache: part.cache,
        durability: Some(best(store.engine())),
        ..Options::default()
    };
    let database = Database::with_options(std::sync::Arc::new(store), options)?;
    Dictionaries::embedded(&database, Merger::default())
}

fn clear(home: &Dictionaries, part: &DictPart) -> Result<()> {
    let mut writes = Vec::new();
    for found in home.all(&part.class)? {
        writes.push(Write {
            key: found?.key,
            after: None,
            fields: None,
        });
        if writes.len() == part.batch {
            home.write(&part.class, std::mem::take(&mut writes))?;
        }
    }
    home.write(&part.class, writes)?;
    let class = Model::class(&part.class, part.copies);
    home.define(class.history(History::Seconds(1)))
}

impl Work<'_> {
    /// Whether dictionaries lie on nodes, where single calls take much longer and several at once do not.
    pub(super) fn is_on_nodes(&self) -> bool {
        matches!(self.part.place, Place::Nodes(_))
    }

    /// Does something for each of `numbers`, by as many threads as there are writers.
    pub(super) fn at_once(
        &self,
        numbers: &[u64],
        each: impl Fn(u64) -> Result<()> + Sync,
    ) -> Result<DictDone> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut latencies = Histogram::default();
            while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                let begin = Instant::now();
                each(*number)?;
                latencies.add(begin.elapsed());
            }
            Ok(latencies)
        };
        let begin = Instant::now();
        let done: Vec<Result<Histogram>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.part.writers).map(|_| scope.spawn(work)).collect();
            let ended = threads.into_iter().map(|thread| {
                let ended = thread.join();
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            ended.collect()
        });
        let mut all = DictDone {
            count: numbers.len() as u64,
            seconds: begin.elapsed().as_secs_f64(),
            latencies: Histogram::default(),
        };
        for latencies in done {
            all.latencies.merge(&latencies?);
        }
        Ok(all)
    }

    /// When all was put and nothing updated.
    pub(super) fn put_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.part.put_at)
    }

    /// So many numbers of dictionaries at random, the same each time.
    pub(super) fn drawn(&self, count: u64) -> Vec<u64> {
        let mut random = fastrand::Rng::with_seed(self.part.seed);
        (0..count).map(|_| random.u64(..self.model.dicts)).collect()
    }

    /// # Errors
    /// `Mismatch` where as many were not found.
    pub(super) fn found(&self, found: u64, expected: u64) -> Result<()> {
        right(found == expected, || {
            format!("{found} were found, and {expected} are there")
        })
    }
}
