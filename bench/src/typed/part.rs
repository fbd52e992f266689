//! One subject doing one kind of work, in a process of its own.

use std::path::PathBuf;
use std::time::Instant;

use durum_core::engine::Registry;
use durum_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::workload::TypedWorkload;
use super::{DOING, objects, raw, tree};

/// Whose objects they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Durum's typed objects.
    Durum,
    /// The engine alone, which has rows of numbers instead of a tree.
    Raw,
    /// Durus's.
    Durus,
    /// ZODB's.
    Zodb,
}

/// What kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Objects with a text each, below a tree.
    Objects,
    /// A tree of numbers by numbers.
    Tree,
}

impl Shape {
    /// All that there are.
    pub const ALL: [Shape; 2] = [Shape::Objects, Shape::Tree];
}

/// What a process is to do. Durus's and ZODB's are told by the same JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub(super) system: System,
    pub(super) shape: Shape,
    /// The engine's name.
    pub(super) engine: String,
    /// Where a store is made, unless a server has it.
    pub(super) path: PathBuf,
    /// Where a server is asked.
    pub(super) address: Option<String>,
    /// How many objects.
    pub(super) objects: u64,
    /// Bytes of their texts.
    pub(super) text: usize,
    /// How many commits change objects.
    pub(super) changes: u64,
    /// How many entries of the tree.
    pub(super) entries: u64,
    pub(super) lookups: u64,
    pub(super) inserts: u64,
    /// How many are added or removed by a commit.
    pub(super) at_once: u64,
    /// Bytes of the cache of objects.
    pub(super) cache: u64,
    pub(super) seed: u64,
}

/// What was done, how often, and the seconds that it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done(pub(super) TypedWorkload, pub(super) u64, pub(super) f64);

/// What a process has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    /// In the order in which it was done.
    pub(super) rows: Vec<Done>,
}

impl PartReport {
    pub(super) fn new() -> PartReport {
        PartReport { rows: Vec::new() }
    }

    /// Runs `work`, which returns how much it has done.
    pub(super) fn measure(
        &mut self,
        workload: TypedWorkload,
        work: impl FnOnce() -> Result<u64>,
    ) -> Result<()> {
        let begin = Instant::now();
        let count = work()?;
        let seconds = begin.elapsed().as_secs_f64();
        self.rows.push(Done(workload, count, seconds));
        Ok(())
    }
}

/// Does what `part`, a JSON object, says.
///
/// # Errors
/// `Usage` where it says nothing that can be done; those of the engine, the server and the disk.
pub fn run_part(registry: &Registry, part: &str) -> Result<PartReport> {
    let refused = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Usage, DOING).because(error.to_string())
    };
    let part: Part = serde_json::from_str(part).map_err(|error| refused(&error))?;
    match (part.system, part.shape) {
        (System::Durum, Shape::Objects) => objects::run(registry, &part),
        (System::Durum, Shape::Tree) => tree::run(registry, &part),
        (System::Raw, Shape::Tree) => raw::run(&part),
        _ => Err(refused(&"not done by this program")),
    }
}
