//! The home on typed objects does what every home does, on any engine and through the server.

#![allow(clippy::unwrap_used)]

use durum_dictionaries::conformance::Site;
use durum_dictionaries::{Dictionaries, Merger};
use durum_objects::Database;
use tempfile::TempDir;

struct Store {
    database: Database,
    _directory: TempDir,
}

impl Store {
    fn on(engine: &str) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let url = format!(
            "{engine}:{}?durability=process",
            directory.path().join("store").display()
        );
        Store {
            database: Database::create(&url).unwrap(),
            _directory: directory,
        }
    }
}

impl Site for Store {
    fn writer(&self, merger: Merger) -> Dictionaries {
        Dictionaries::embedded(&self.database, merger).unwrap()
    }
}

mod memory {
    use super::*;
    durum_dictionaries::conformance!(|| Store::on("memory"));
}

mod lmdb {
    use super::*;
    durum_dictionaries::conformance!(|| Store::on("lmdb"));
}
