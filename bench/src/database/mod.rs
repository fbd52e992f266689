//! What stores in PostgreSQL do, near and far, beside a client that knows it well.
//!
//! Both have the same rows in schemas of their own, with random names, which are dropped in the end, also after a
//! failure. They take turns, and what is compared is elapsed time: it is the server, and the way to it, that is waited
//! for. A [`relay`] before the server adds a delay to each round trip, with which those workloads are measured whose
//! round trips count; it also counts them, which says what a delay will cost without depending on the machine.
//!
//! Migrations to the database and back are processes of their own, whose memory is looked at, beside a `COPY` of the
//! same records by the raw client.

mod measure;
mod migration;
pub mod relay;
mod row;
mod subject;
mod suite;
mod target;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durum_core::engine::Registry;
use durum_core::{IoResultExt as _, Result};
use serde::Serialize;

use crate::Machine;
use crate::files::scratch;
use crate::migrate::MigrateRow;
use crate::row::median;
use migration::Migrations;
use row::milliseconds;
use suite::Suite;
use target::Target;

pub use row::{DatabaseFigure, DatabaseLink, DatabaseRow};
pub use workload::DatabaseWorkload;

const DOING: &str = "measure a database";

/// Settings of a server that say what figures depend on.
const SERVER_SETTINGS: [&str; 5] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "shared_buffers",
    "max_wal_size",
];

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// The database: `postgres://USER@HOST:PORT/DATABASE`.
    pub url: String,
    /// What is done; none: all. A bulk load is always made.
    pub workloads: Vec<DatabaseWorkload>,
    /// What is added to each round trip, one after the other.
    pub delays: Vec<Duration>,
    /// Objects in the store.
    pub objects: u64,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// Objects that are migrated; 0: no migrations.
    pub migrated: u64,
    /// How long each measurement takes.
    pub time: Duration,
    /// How often everything is measured.
    pub rounds: usize,
    /// Whether the raw client does the same.
    pub raw: bool,
    /// What is drawn at random is drawn from it.
    pub seed: u64,
    /// The program `durum`.
    pub program: PathBuf,
}

impl DatabaseSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 12;
    /// Objects where nobody asks for more or fewer.
    pub const OBJECTS: u64 = 100_000;
    /// The same for some seconds.
    pub const OBJECTS_QUICK: u64 = 10_000;
    /// Fewer would be used up by commits that add some.
    pub const OBJECTS_MIN: u64 = 2000;
    /// Bytes of an object's data where nobody asks for more or fewer.
    pub const SIZE: u32 = 100;
    /// Objects that are migrated where nobody asks for more or fewer.
    pub const MIGRATED: u64 = 1_000_000;
    /// The same for some seconds.
    pub const MIGRATED_QUICK: u64 = 20_000;
    /// Bytes of their data, on average.
    pub const MIGRATED_SIZE: u32 = 200;

    fn wants(&self, workload: DatabaseWorkload) -> bool {
        self.workloads.is_empty() || self.workloads.contains(&workload)
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseReport {
    /// By workload and delay.
    pub rows: Vec<DatabaseRow>,
    /// Into the database, and out of it.
    pub migrations: Vec<MigrateRow>,
    /// What is asked of migrations.
    pub figures: Vec<DatabaseFigure>,
    /// What a round trip takes with each delay.
    pub links: Vec<DatabaseLink>,
    /// Round trips of opening a store, on all connections together.
    pub open_round_trips: f64,
    /// What the server says of itself.
    pub server: BTreeMap<&'static str, String>,
    /// Objects in the store.
    pub objects: u64,
    /// Bytes of an object's data, on average.
    pub size: u32,
    /// What was drawn from.
    pub seed: u64,
    /// How often everything was measured.
    pub rounds: usize,
    /// What it was measured on.
    pub machine: Machine,
}

/// Measures what `settings` say, in schemas of the database that are dropped afterwards, with stores for migrations in
/// a directory below `dir` that is removed afterwards. `progress` is told in a line what comes next.
///
/// # Errors
/// `Usage` for what is no URL of a database, or has options that cannot be measured; `Unreachable`, `Refused` and
/// `NotFound` as the server answers; `Mismatch` where something else is found than was stored; `Other` where a process
/// fails; those of the database, and of the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &DatabaseSettings,
    progress: &dyn Fn(&str),
) -> Result<DatabaseReport> {
    let target = Target::find(registry, &settings.url)?;
    let directory = scratch(dir, DOING)?;
    // Processes are started elsewhere.
    let dir = std::path::absolute(directory.path()).during(DOING, directory.path())?;
    let connection = target.connect(None)?;
    let mut server = BTreeMap::new();
    for name in SERVER_SETTINGS {
        server.insert(name, connection.text(&format!("SHOW {name}"))?);
    }
    drop(connection);
    let mut suite = Suite {
        registry,
        settings,
        target: &target,
        progress,
        measured: Vec::new(),
        counted: Vec::new(),
        open_round_trips: 0.0,
        links: Vec::new(),
    };
    let rounds = settings.rounds.max(1);
    for number in 0..rounds {
        suite.round(number)?;
    }
    let migrations = Migrations {
        target: &target,
        settings,
        dir: &dir,
        progress,
    };
    let migrations = match settings.migrated {
        0 => Vec::new(),
        _ => migrations.run()?,
    };
    Ok(DatabaseReport {
        rows: row::rows(&suite.measured, &suite.counted),
        figures: row::figures(&migrations),
        migrations,
        links: links(&settings.delays, &suite.links),
        open_round_trips: suite.open_round_trips,
        server,
        objects: settings.objects,
        size: settings.size,
        seed: settings.seed,
        rounds,
        machine: Machine::this(),
    })
}

fn links(delays: &[Duration], found: &[(Duration, Duration)]) -> Vec<DatabaseLink> {
    let of = |delay: &Duration| {
        let same = found.iter().filter(|(of, _)| of == delay);
        let times: Vec<f64> = same.map(|(_, took)| took.as_secs_f64() * 1e6).collect();
        DatabaseLink {
            delay_ms: milliseconds(*delay),
            round_trip_us: median(&times),
        }
    };
    delays.iter().map(of).collect()
}
