//! What can be tested: anything that makes numbered commits and can tell what it holds.

use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Backend, Durability, Options};

use super::engine::EngineSubject;
use super::plan::Plan;
use super::store::StoreSubject;
use super::store_path;
use super::toys;

/// An error, as far as the harness needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whether, by its own account, it changed nothing, so that it can be tried again.
    pub unchanged: bool,
    /// What it said.
    pub reason: String,
}

/// An open store of any sort.
pub trait Subject {
    /// Makes a commit and returns the durability that was achieved.
    fn commit(
        &mut self,
        plan: &Plan,
        commit: u64,
        durability: Durability,
    ) -> Result<Durability, Refused>;

    /// How many commits it holds.
    fn found(&self) -> Result<u64, String>;

    /// Compares all that it holds with what this many commits make.
    fn check(&self, plan: &Plan, commits: u64) -> Result<(), String>;

    /// Does what stores do between commits, such as giving space back.
    fn upkeep(&mut self, commit: u64) -> Result<(), Refused>;
}

/// Opens the subject `name` in `root`; creates it if it is not there. An engine's name stands for the
/// engine alone, `store-` and that name for a store on it. Options of the engine may follow its name alone,
/// as in a URL.
pub fn open(name: &str, root: &Path) -> Result<Box<dyn Subject>, Refused> {
    let path = store_path(root);
    if let Some(engine) = name.strip_prefix("store-") {
        let backend = backend(engine).expect("the name of an engine after `store-`");
        return Ok(Box::new(StoreSubject::open(backend, &path)?));
    }
    let (engine, given) = name.split_once('?').unwrap_or((name, ""));
    if let Some(backend) = backend(engine) {
        let given = given.split('&').filter_map(|option| option.split_once('='));
        let engine = backend.capabilities().name;
        let options = Options::check(engine, backend.options(), given);
        let options = options.expect("options of the engine");
        return Ok(Box::new(EngineSubject::open(&*backend, &path, &options)?));
    }
    toys::open(name, &path)
}

/// Whether there is a store in `root`, which then has to open.
pub fn is_present(root: &Path) -> bool {
    std::fs::symlink_metadata(store_path(root)).is_ok()
}

fn backend(name: &str) -> Option<Arc<dyn Backend>> {
    durum_backends::registry().get(name).ok()
}
