//! Dictionaries in every home: in a store of each engine, on nodes that are started for it, on nodes that run already.
//!
//! They are in a class with three indexes: a string, which ten have each, an integer, and a list of three strings. All follow from a
//! seed, so that each step of the benchmark knows what it is to find, and fails where it finds something else. Each step is a process
//! of its own, which opens the home first, and whose memory is looked at. Commits are as durable as the engine can.

mod home;
mod model;
mod nodes;
mod part;
mod read;
mod row;
mod workload;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use serde::Serialize;

use crate::Machine;
use crate::files::scratch;
use crate::sync_rate;
use home::{Home, Round};

pub use nodes::NodeMemory;
pub use part::{DictDone, DictPart, run_dict_part};
pub use row::{DictRow, DictStore};
pub use workload::DictWorkload;

const DOING: &str = "measure dictionaries";

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictSettings {
    /// Engines by name; none: all that keep data; `none`: none of them.
    pub engines: Vec<String>,
    /// How many nodes are started on this machine, if any.
    pub nodes: Option<u32>,
    /// The Garage program for them; else the one on the path.
    pub garage: Option<PathBuf>,
    /// Nodes that run already: `garage:DIR` each.
    pub clusters: Vec<String>,
    /// How many dictionaries.
    pub dicts: u64,
    /// Bytes of the text that each has besides what is in indexes.
    pub size: usize,
    /// How many a call writes where many are written at once; on nodes 50 at most.
    pub batch: usize,
    /// How many write or read at once.
    pub writers: usize,
    /// Bytes of the caches of objects.
    pub cache: u64,
    /// How often everything is measured.
    pub rounds: usize,
    /// What is drawn at random is drawn from it.
    pub seed: u64,
    /// The program `durum`.
    pub program: PathBuf,
}

impl DictSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 8;
    /// Dictionaries where nobody asks for more or fewer.
    pub const DICTS: u64 = 100_000;
    /// The same for some seconds.
    pub const DICTS_QUICK: u64 = 2000;
    /// Bytes of the text where nobody asks for more or fewer.
    pub const SIZE: usize = 200;
    /// Dictionaries in a batch where nobody asks for more or fewer.
    pub const BATCH: usize = 1000;
    /// Writers at once where nobody asks for more or fewer.
    pub const WRITERS: usize = 16;
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct DictReport {
    /// By workload and home.
    pub rows: Vec<DictRow>,
    /// What the homes take.
    pub stores: Vec<DictStore>,
    /// How many dictionaries.
    pub dicts: u64,
    /// Bytes of the text of each.
    pub size: usize,
    /// How many a call writes where many are written at once; on nodes 50 at most.
    pub batch: usize,
    /// How many write or read at once.
    pub writers: usize,
    /// Bytes of the caches of objects.
    pub cache: u64,
    /// Small appends that the disk confirms in a second, one after the other.
    pub sync_per_second: f64,
    /// What was drawn from.
    pub seed: u64,
    /// How often everything was measured.
    pub rounds: usize,
    /// What it was measured on.
    pub machine: Machine,
}

/// Measures what `settings` say, with stores and nodes in a directory below `dir` that is removed afterwards. On nodes that run already a
/// class is left behind that is empty when it is healed. `progress` is told in a line what comes next.
///
/// # Errors
/// `Usage` for engines that do not exist or keep nothing, for what is no cluster, and where there is no Garage; `Mismatch` where something else is
/// found than was put; `Other` where a process fails; those of the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &DictSettings,
    progress: &dyn Fn(&str),
) -> Result<DictReport> {
    let mut homes = homes(registry, settings)?;
    let directory = scratch(dir, DOING)?;
    // Processes are started elsewhere.
    let dir = std::path::absolute(directory.path()).during(DOING, directory.path())?;
    let syncs = sync_rate::measure(&dir, Duration::from_secs(1))?.per_second();
    let (mut measured, mut stores) = (Vec::new(), Vec::new());
    let rounds = settings.rounds.max(1);
    for round in 1..=rounds {
        for home in &homes {
            let name = home.name();
            let tell = |what: &str| progress(&format!("round {round} of {rounds}: {name}: {what}"));
            let place = dir.join("home");
            let found = Round::new(settings, home, &place).run(&tell)?;
            measured.extend(found.0);
            stores.push(found.1);
        }
        homes.reverse();
    }
    Ok(DictReport {
        rows: row::rows(&measured),
        stores: row::stores(&stores),
        dicts: settings.dicts,
        size: settings.size,
        batch: settings.batch,
        writers: settings.writers,
        cache: settings.cache,
        sync_per_second: syncs,
        seed: settings.seed,
        rounds,
        machine: Machine::this(),
    })
}

fn homes(registry: &Registry, settings: &DictSettings) -> Result<Vec<Home>> {
    let mut homes = Vec::new();
    if settings.engines != ["none"] {
        let engines = crate::migrate::engines(registry, &settings.engines)?;
        homes.extend(engines.into_iter().map(Home::Engine));
    }
    homes.extend(settings.nodes.map(Home::Nodes));
    if settings.nodes.is_some() {
        // Before anything is measured.
        durum_nodes::find_garage(settings.garage.as_deref())?;
    }
    for url in &settings.clusters {
        homes.push(Home::cluster(url)?);
    }
    match homes.is_empty() {
        false => Ok(homes),
        true => Err(Error::new(ErrorKind::Usage, DOING)
            .because("there is neither an engine nor a node to measure them on")),
    }
}
