//! Reading and writing Durus files takes no memory per object.
//!
//! Alone in its program: the peak memory of the process is what is measured.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used)]

use durum_core::Oid;
use durum_migrate::durus::{Dfs20Writer, DurusFile, DurusObject, ShelfWriter, SqliteWriter};
use durum_testkit::peak_kib;

/// At 16 bytes each in memory, so many would show.
const OBJECTS: u64 = 3_000_000;

/// What the process may need at its peak.
const PEAK_KIB_MAX: u64 = 32 << 10;

fn object(number: u64) -> DurusObject {
    DurusObject {
        oid: Oid(number * 2),
        refs: vec![Oid(number * 7 % OBJECTS * 2 + 1)],
        data: number.to_be_bytes().to_vec(),
    }
}

#[test]
fn three_million_objects_fit_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let paths = [
        directory.path().join("shelf"),
        directory.path().join("dfs20"),
        directory.path().join("sqlite"),
    ];
    let mut shelf = ShelfWriter::create(&paths[0]).unwrap();
    let mut dfs20 = Dfs20Writer::create(&paths[1]).unwrap();
    let mut sqlite = SqliteWriter::create(&paths[2]).unwrap();
    for number in 0..OBJECTS {
        shelf.push(&object(number)).unwrap();
        dfs20.push(&object(number)).unwrap();
        sqlite.push(&object(number)).unwrap();
    }
    shelf.finish().unwrap();
    dfs20.finish().unwrap();
    sqlite.finish().unwrap();
    for path in &paths {
        let file = DurusFile::open_with(path, Some(directory.path()), 8 << 20).unwrap();
        assert_eq!(file.object_count(), OBJECTS);
        let objects = file.objects().map(Result::unwrap);
        assert!(objects.eq((0..OBJECTS).map(object)));
    }
    assert!(peak_kib() < PEAK_KIB_MAX, "{} KiB", peak_kib());
    println!("peak: {} KiB", peak_kib());
}
