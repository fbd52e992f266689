//! What the tests against other programs share.

use std::path::{Path, PathBuf};

use durum_core::Oid;
use durum_migrate::durus::DurusObject;
use durum_testkit::{run_python, unhex};
use serde_json::Value;
use tempfile::TempDir;

/// A Python interpreter, and a directory for one test.
pub(crate) struct Bench {
    pub(crate) python: PathBuf,
    directory: TempDir,
}

impl Bench {
    /// `None` where the interpreter is.
    pub(crate) fn new(python: Option<PathBuf>) -> Option<Bench> {
        let directory = tempfile::tempdir().unwrap();
        python.map(|python| Bench { python, directory })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a script on a file and gives what it prints.
    pub(crate) fn run(&self, script: &str, file: &Path, options: &[&str]) -> String {
        let mut arguments = vec![file.to_str().unwrap()];
        arguments.extend(options);
        run_python(&self.python, script, &arguments)
    }
}

/// The object of a line that a script prints: `[OID, [references], "data"]`.
pub(crate) fn parse_object(value: &Value) -> DurusObject {
    let refs = value[1].as_array().unwrap();
    DurusObject {
        oid: Oid(value[0].as_u64().unwrap()),
        refs: refs.iter().map(|oid| Oid(oid.as_u64().unwrap())).collect(),
        data: unhex(value[2].as_str().unwrap()),
    }
}
