//! Typed objects beside what people use instead: the engine alone, Durus's objects, and ZODB's.
//!
//! Each subject works in a process of its own, whose memory is looked at, on a store of its own. Rounds go
//! through all subjects, in alternating order. Commits are durable, as far as the engine can; those of the
//! others are synced once each, by FileStorage2 of Durus and FileStorage of ZODB, but not by Durus's server, which
//! keeps another kind of file and does not sync. Servers are asked by TCP; they stay, so that only what their
//! clients keep is cold.

mod objects;
mod part;
mod raw;
mod row;
mod store;
mod tree;
mod workload;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use durum_core::engine::Registry;
use durum_core::{Error, IoResultExt as _, Result};
use serde::Serialize;

use crate::Machine;
use crate::files::{remove, scratch};
use crate::migrate::child::{self, Taken};
use crate::server::child::Served;
use crate::sync_rate;
use part::Done;
use row::Measured;

pub use part::{Part, PartReport, Shape, System, run_part};
pub use row::{TypedFigure, TypedRow};
pub use workload::TypedWorkload;

const DOING: &str = "measure typed objects";

/// Does with Durus's and ZODB's objects what a [`Part`] says.
const PEER: &str = include_str!("peer.py");

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedSettings {
    /// Engines by name; none for all.
    pub engines: Vec<String>,
    /// Engines that are measured through a server as well.
    pub served: Vec<String>,
    /// What kinds of work; none for all.
    pub shapes: Vec<Shape>,
    /// Objects below a tree.
    pub objects: u64,
    /// Entries of a tree of numbers.
    pub entries: u64,
    /// Bytes of the caches of objects.
    pub cache: u64,
    /// How often everything is measured.
    pub rounds: usize,
    /// A Python in which `import durus` works, to measure Durus's objects as well.
    pub durus: Option<PathBuf>,
    /// A Python in which `import ZODB` works, to measure ZODB's objects as well.
    pub zodb: Option<PathBuf>,
    /// What is drawn at random is drawn from it.
    pub seed: u64,
    /// The program `durum`.
    pub program: PathBuf,
}

impl TypedSettings {
    /// The seed where nobody gives another.
    pub const SEED: u64 = 10;
    /// Objects where nobody asks for more or fewer.
    pub const OBJECTS: u64 = 100_000;
    /// Entries where nobody asks for more or fewer.
    pub const ENTRIES: u64 = 1_000_000;
    /// Bytes of the caches where nobody asks for more or fewer.
    pub const CACHE: u64 = 64 << 20;
    /// Bytes of the objects' texts, so that each takes about a hundred.
    const TEXT: usize = 80;
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct TypedReport {
    /// By workload and subject.
    pub rows: Vec<TypedRow>,
    /// What is asked of Durum's.
    pub figures: Vec<TypedFigure>,
    /// Objects below a tree.
    pub objects: u64,
    /// Entries of a tree of numbers.
    pub entries: u64,
    /// Bytes of the caches of objects.
    pub cache: u64,
    /// Small appends that the disk confirms in a second, one after the other.
    pub sync_per_second: f64,
    /// What was drawn from.
    pub seed: u64,
    /// What it was measured on.
    pub machine: Machine,
}

/// Whose objects, where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    system: System,
    /// That of Durum, or what the others call it.
    engine: String,
    served: bool,
}

impl Subject {
    fn new(system: System, engine: &str, served: bool) -> Subject {
        Subject {
            system,
            engine: engine.to_owned(),
            served,
        }
    }

    fn does(&self, shape: Shape) -> bool {
        self.system != System::Raw || shape == Shape::Tree
    }
}

/// Measures what `settings` say with stores in a directory below `dir` that is removed afterwards. `progress`
/// is told in a line what comes next.
///
/// # Errors
/// `Usage` for engines that do not exist; `Mismatch` where one finds what it must not; `Other` where a process
/// fails; those of the disk below `dir`.
pub fn run(
    registry: &Registry,
    dir: &Path,
    settings: &TypedSettings,
    progress: &dyn Fn(&str),
) -> Result<TypedReport> {
    let mut subjects = subjects(registry, settings)?;
    let directory = scratch(dir, DOING)?;
    // Processes are started elsewhere.
    let dir = std::path::absolute(directory.path()).during(DOING, directory.path())?;
    let script = dir.join("peer.py");
    std::fs::write(&script, PEER).during(DOING, &script)?;
    let syncs = sync_rate::measure(&dir, std::time::Duration::from_secs(1))?.per_second();
    let shapes = match settings.shapes.is_empty() {
        true => &Shape::ALL[..],
        false => &settings.shapes,
    };
    let mut measured = Vec::new();
    for round in 1..=settings.rounds {
        for shape in shapes {
            for subject in subjects.iter().filter(|subject| subject.does(*shape)) {
                progress(&format!("round {round} of {}: {subject}", settings.rounds));
                let place = dir.join("store");
                remove(&place)?;
                std::fs::create_dir(&place).during(DOING, &place)?;
                let (done, taken) = measure(&place, &script, settings, subject, *shape)?;
                let of = |done: Done| Measured::new(subject, done, taken);
                measured.extend(done.rows.into_iter().map(of));
                remove(&place)?;
            }
        }
        subjects.reverse();
    }
    let rows = row::rows(&measured);
    Ok(TypedReport {
        figures: row::figures(&rows),
        rows,
        objects: settings.objects,
        entries: settings.entries,
        cache: settings.cache,
        sync_per_second: syncs,
        seed: settings.seed,
        machine: Machine::this(),
    })
}

fn subjects(registry: &Registry, settings: &TypedSettings) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for engine in crate::engines(registry, &settings.engines)? {
        subjects.push(Subject::new(System::Durum, engine.name, false));
        if durum_raw::engines().contains(&engine.name) {
            subjects.push(Subject::new(System::Raw, engine.name, false));
        }
    }
    for engine in &settings.served {
        registry.get(engine)?;
        subjects.push(Subject::new(System::Durum, engine, true));
    }
    if settings.durus.is_some() {
        subjects.push(Subject::new(System::Durus, "FileStorage2", false));
        if !settings.served.is_empty() {
            subjects.push(Subject::new(System::Durus, "FileStorage", true));
        }
    }
    if settings.zodb.is_some() {
        subjects.push(Subject::new(System::Zodb, "FileStorage", false));
    }
    Ok(subjects)
}

/// A subject's part in a round.
fn measure(
    place: &Path,
    script: &Path,
    settings: &TypedSettings,
    subject: &Subject,
    shape: Shape,
) -> Result<(PartReport, Taken)> {
    let python = match subject.system {
        System::Durus => settings.durus.as_deref(),
        System::Zodb => settings.zodb.as_deref(),
        System::Durum | System::Raw => None,
    };
    let served = match (subject.served, python) {
        (false, _) => None,
        (true, Some(python)) => Some(Served::durus(python, place)?),
        (true, None) => Some(Served::durum(&settings.program, &subject.engine, place)?),
    };
    let part = Part {
        system: subject.system,
        shape,
        engine: subject.engine.clone(),
        path: place.join("data"),
        address: served.as_ref().map(|served| served.address.to_string()),
        objects: settings.objects,
        text: TypedSettings::TEXT,
        changes: (settings.objects / 200).clamp(10, 500),
        entries: settings.entries,
        lookups: settings.entries.min(200_000),
        inserts: settings.entries.div_ceil(10).min(50_000),
        at_once: 1000,
        cache: settings.cache,
        seed: settings.seed,
    };
    let spec = serde_json::to_string(&part).unwrap_or_default();
    let (program, arguments): (&Path, Vec<OsString>) = match python {
        Some(python) => (python, vec![script.into(), spec.into()]),
        None => (
            &settings.program,
            vec!["bench".into(), "part".into(), spec.into()],
        ),
    };
    let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
    let (said, taken) = child::run(program, place, &arguments)?;
    let report = serde_json::from_value(said).map_err(|error| {
        Error::new(durum_core::ErrorKind::Other, DOING).because(error.to_string())
    })?;
    Ok((report, taken))
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let served = if self.served {
            ", through its server"
        } else {
            ""
        };
        match self.system {
            System::Durum => write!(f, "{}{served}", self.engine),
            System::Raw => write!(f, "{} alone", self.engine),
            System::Durus => write!(f, "Durus{served}"),
            System::Zodb => f.write_str("ZODB"),
        }
    }
}
