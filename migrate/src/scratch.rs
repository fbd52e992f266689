//! A directory for one test.

use std::path::PathBuf;

use tempfile::TempDir;

/// It goes with everything in it when it is dropped.
pub(crate) struct Scratch {
    pub(crate) directory: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        Scratch { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
