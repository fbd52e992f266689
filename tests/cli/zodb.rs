//! `durum migrate` from files of ZODB.

use std::path::PathBuf;

use durum_testkit::{run_python, zodb_python};
use serde_json::{Value, json};

use crate::kit::{Home, engines};

/// A file of one transaction with these objects' data.
fn data_fs(objects: &[(u64, &[u8])]) -> Vec<u8> {
    [b"FS30", &transaction(4, objects)[..]].concat()
}

/// A transaction with new objects of these data at an offset of a file, put together byte by byte.
pub(crate) fn transaction(start: u64, objects: &[(u64, &[u8])]) -> Vec<u8> {
    let tid = 0x0400_0000_0000_0001_u64 + start;
    let mut records = Vec::new();
    for (oid, data) in objects {
        for number in [*oid, tid, 0, start] {
            records.extend(number.to_be_bytes());
        }
        records.extend([0; 2]);
        records.extend((data.len() as u64).to_be_bytes());
        records.extend(*data);
    }
    let length = (23 + records.len() as u64).to_be_bytes();
    let head = [&tid.to_be_bytes()[..], &length, b" ", &[0; 6]].concat();
    [&head[..], &records, &length].concat()
}

/// Object 0, which refers to object 1 and weakly to object 2.
fn two_objects() -> Vec<u8> {
    let root = b"cm\nC\n.(C\x08\0\0\0\0\0\0\0\x01Q](U\x01wC\x08\0\0\0\0\0\0\0\x02\x85eQt.";
    data_fs(&[(0, root), (1, b"cm\nC\n.N.")])
}

fn write(home: &Home, name: &str, bytes: &[u8]) -> PathBuf {
    let path = home.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_sample_of_zodb_goes_into_every_engine() {
    let Some(python) = zodb_python() else { return };
    let home = Home::new();
    let file = home.path("Data.fs");
    let options = [file.to_str().unwrap(), "--pack", "--more"];
    run_python(&python, "zodb_sample.py", &options);
    let dump = run_python(&python, "zodb_dump.py", &[&file]);
    let original: Value = serde_json::from_str(dump.lines().last().unwrap()).unwrap();
    let destinations = engines()
        .into_iter()
        .map(|engine| format!("{0}:{0}", engine.name))
        .chain([
            "durus:shelf".into(),
            "durus:sqlite.durus?format=sqlite".into(),
        ]);
    for to in destinations {
        let done = home.json(&["migrate", "zodb:Data.fs", &to]);
        for (key, told) in [
            ("objects", "objects"),
            ("digest", "digest"),
            ("weak_references", "weak"),
            ("cross_database_references", "cross_database"),
        ] {
            assert_eq!(done[key], original[told], "{to}: {key}");
        }
        assert_eq!(
            (&done["torn_bytes"], &done["blobs"]),
            (&json!(0), &json!(1))
        );
        if !to.starts_with("durus:") {
            assert_eq!(home.run(&["check", &to]).code, 0, "{to}");
            // What was undone left no garbage behind.
            assert_eq!(home.json(&["stat", &to])["objects"], original["objects"]);
        }
    }
}

#[test]
fn what_is_left_out_is_said() {
    let home = Home::new();
    write(&home, "Data.fs", &two_objects());
    let run = home.run(&["migrate", "zodb:Data.fs", "durus:copy"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.text().contains("1 weak reference."), "{}", run.text());
    assert!(!run.text().contains("blob"), "{}", run.text());

    let torn = [&two_objects()[..], b"an unfinished one"].concat();
    write(&home, "torn.fs", &torn);
    let done = home.json(&["migrate", "zodb:torn.fs", "durus:torn"]);
    assert_eq!(
        (&done["objects"], &done["torn_bytes"]),
        (&json!(2), &json!(17))
    );
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let home = Home::new();
    let good = two_objects();
    let file = write(&home, "Data.fs", &good);
    home.refused(&["migrate", "zodb:nothing", "durus:copy"], 3, &["nothing"]);
    home.refused(
        &["migrate", "zodb:Data.fs?format=x", "durus:copy"],
        2,
        &["format"],
    );
    home.refused(
        &["migrate", "zodb:Data.fs", "zodb:copy"],
        2,
        &["not written"],
    );
    home.refused(
        &["migrate", "zodb:nothing", "zodb:copy"],
        2,
        &["not written"],
    );
    home.refused(&["stat", "zodb:Data.fs"], 2, &["not a store", "migrate"]);
    home.refused(&["migrate", "durus:Data.fs", "durus:copy"], 3, &["FS30"]);

    let mut bytes = good.clone();
    bytes[4 + 23 + 8] ^= 1;
    write(&home, "Data.fs", &bytes);
    home.refused(
        &["migrate", "zodb:Data.fs", "durus:copy"],
        7,
        &["byte 27", "object 0"],
    );
    let last = good.len() - 8 - 2;
    let mut bytes = good.clone();
    bytes[last] = 0xff;
    write(&home, "Data.fs", &bytes);
    for to in ["durus:copy", "file:copy"] {
        home.refused(&["migrate", "zodb:Data.fs", to], 7, &["object 1", "pickle"]);
    }
    std::fs::write(&file, b"PK\x03\x04").unwrap();
    home.refused(
        &["migrate", "zodb:Data.fs", "durus:copy"],
        3,
        &["PK", "FS30"],
    );

    std::fs::write(&file, &good).unwrap();
    let lock = std::fs::File::create(home.path("Data.fs.lock")).unwrap();
    lock.lock().unwrap();
    home.refused(&["migrate", "zodb:Data.fs", "durus:copy"], 5, &["ZODB"]);
    drop(lock);
    home.json(&["migrate", "zodb:Data.fs", "durus:copy"]);
    home.refused(&["migrate", "zodb:Data.fs", "durus:copy"], 4, &["copy"]);
}

/// What needs a writer before it can be read is left as it is, with a word on what to do.
#[test]
fn sqlite_files_of_others_are_refused() {
    let home = Home::new();
    write(&home, "Data.fs", &two_objects());
    home.json(&["migrate", "zodb:Data.fs", "durus:lite?format=sqlite"]);
    let mut bytes = std::fs::read(home.path("lite")).unwrap();
    for versions in [[2, 2], [1, 2], [2, 1]] {
        bytes[18..20].copy_from_slice(&versions);
        write(&home, "log", &bytes);
        let refused = ["migrate", "durus:log", "durus:copy"];
        home.refused(&refused, 3, &["journal_mode=DELETE"]);
    }
    bytes[18..20].copy_from_slice(&[1, 1]);
    write(&home, "short", &bytes[..100]);
    home.refused(&["migrate", "durus:short", "durus:copy"], 7, &["short"]);
}
