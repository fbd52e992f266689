//! Where the engines and stores of the cases lie.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::engine::{Backend, Options};
use crate::error::Result;

/// A place for one case, with nothing in it at first.
pub trait Home: Debug + Send + Sync {
    /// Where the store of the case lies.
    fn path(&self) -> PathBuf;

    /// Options of the engine that belong to the place.
    fn options(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How many stores lie there, unfinished ones included.
    fn stores(&self) -> usize;
}

/// A directory that is removed in the end.
#[derive(Debug)]
pub struct TemporaryDirectory(tempfile::TempDir);

impl TemporaryDirectory {
    /// A new one.
    pub fn new() -> TemporaryDirectory {
        TemporaryDirectory(tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Default for TemporaryDirectory {
    fn default() -> TemporaryDirectory {
        TemporaryDirectory::new()
    }
}

impl Home for TemporaryDirectory {
    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn stores(&self) -> usize {
        let entries = std::fs::read_dir(self.0.path());
        entries.expect("the directory").count()
    }
}

/// The options of a case, and those of its place, as the backend takes them.
///
/// # Errors
/// As [`Options::check`].
pub(super) fn engine_options(
    backend: &dyn Backend,
    given: &[(&'static str, &'static str)],
    home: &dyn Home,
) -> Result<Options> {
    let of_place = home.options();
    let of_place = of_place
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all = given.iter().copied().chain(of_place);
    Options::check(backend.capabilities().name, backend.options(), all)
}
