//! Reading ZODB's files takes no memory per object.
//!
//! Alone in its program: the peak memory of the process is what is measured.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use durum_core::Oid;
use durum_migrate::zodb::ZodbFile;
use durum_testkit::peak_kib;

/// At 16 bytes each in memory, so many would show.
const OBJECTS: u64 = 2_000_000;

/// Each transaction has so many, and so has the last, which gives the first ones new states.
const PER_TRANSACTION: u64 = 50_000;

/// What the process may need at its peak.
const PEAK_KIB_MAX: u64 = 32 << 10;

/// The offset of an object's first record.
fn record_at(number: u64, record_bytes: u64) -> u64 {
    let transactions = number / PER_TRANSACTION;
    4 + transactions * 31 + 23 + number * record_bytes
}

/// A class, and a state that refers to one other object.
fn data(number: u64) -> Vec<u8> {
    let target = (number * 7 % OBJECTS).to_be_bytes();
    [b"cm\nC\n.(U\x08", &target[..], b"cm\nC\ntQ."].concat()
}

fn write(path: &Path) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    out.write_all(b"FS30").unwrap();
    let record_bytes = 42 + data(0).len() as u64;
    let length = 23 + PER_TRANSACTION * record_bytes;
    let transactions = OBJECTS / PER_TRANSACTION;
    for turn in 0..=transactions {
        let start = 4 + turn * (length + 8);
        let tid = 0x0400_0000_0000_0000 + turn;
        out.write_all(&tid.to_be_bytes()).unwrap();
        out.write_all(&length.to_be_bytes()).unwrap();
        out.write_all(b" \0\0\0\0\0\0").unwrap();
        let first = turn % transactions * PER_TRANSACTION;
        for number in first..first + PER_TRANSACTION {
            let previous = match turn == transactions {
                true => record_at(number, record_bytes),
                false => 0,
            };
            for word in [number, tid, previous, start] {
                out.write_all(&word.to_be_bytes()).unwrap();
            }
            let data = data(number);
            out.write_all(&[0; 2]).unwrap();
            out.write_all(&(data.len() as u64).to_be_bytes()).unwrap();
            out.write_all(&data).unwrap();
        }
        out.write_all(&length.to_be_bytes()).unwrap();
    }
    out.flush().unwrap();
}

#[test]
fn two_million_objects_fit_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Data.fs");
    write(&path);
    let file = ZodbFile::open_with(&path, Some(directory.path()), 8 << 20).unwrap();
    assert_eq!((file.object_count(), file.torn_bytes()), (OBJECTS, 0));
    for (number, object) in (0..).zip(file.objects()) {
        let object = object.unwrap();
        let target = number * 7 % OBJECTS;
        assert_eq!(object.oid, Oid(number));
        assert!(
            object
                .refs
                .iter()
                .eq((target != number).then_some(&Oid(target)))
        );
        assert!(object.data == data(number));
    }
    assert!(peak_kib() < PEAK_KIB_MAX, "{} KiB", peak_kib());
    println!("peak: {} KiB", peak_kib());
}
