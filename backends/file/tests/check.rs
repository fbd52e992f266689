//! What a check finds in the log beyond the records in it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::Oid;
use durum_core::check::check_within;
use durum_core::store::{Batch, LocalStore, Store as _, StoreOptions};
use durum_file::FileBackend;

/// Bytes of the operation before the data: checksum, table, key, prior, length, and the record's head.
const HEAD_BYTES: usize = 23;
const DATA: &[u8] = b"what it is changed to";

fn open(path: &Path) -> durum_core::Result<LocalStore> {
    LocalStore::open(Arc::new(FileBackend), path, &StoreOptions::default())
}

/// The file that holds the data, and where.
fn place(dir: &Path) -> (PathBuf, usize) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(DATA.len()).position(|window| window == DATA) {
                return (path, at);
            }
        }
    }
    panic!("the data is nowhere");
}

/// Loads verify the record; what stands around it in the log is needed by cleaning and after a crash, and is
/// found to be damaged as long as there is time for a backup.
#[test]
fn damage_around_an_intact_record_is_found() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store");
    let options = StoreOptions::default();
    let store = LocalStore::create(Arc::new(FileBackend), &path, &options).unwrap();
    store.new_oids(durum_core::SessionId::EMBEDDED, 2).unwrap();
    let commit = |batch| store.commit(batch, store.durability()).unwrap();
    let mut batch = Batch::new();
    batch.create(Oid::ROOT, "root", [Oid(1)]);
    batch.create(Oid(1), "what it was", []);
    commit(batch);
    let mut batch = Batch::new();
    batch.update(Oid(1), DATA, []);
    commit(batch);
    drop(store);
    let memory = 8 << 20;
    let sound = check_within(&open(&path).unwrap(), false, memory).unwrap();
    assert_eq!(sound.errors, []);
    let (file, at) = place(&path);
    let bytes = std::fs::read(&file).unwrap();
    for position in at - HEAD_BYTES..at {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let checked = open(&path).and_then(|store| check_within(&store, false, memory));
        let found = checked.map_or(true, |report| !report.errors.is_empty());
        assert!(found, "damage {} bytes before the data", at - position);
        std::fs::write(&file, &bytes).unwrap();
    }
}
