//! Against the original Durus 4.3: its files are read as it reads them, and it reads and changes ours.
//!
//! Needs Python 3; see `durum_testkit::durus_python`.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use std::path::{Path, PathBuf};

use durum_core::Oid;
use durum_migrate::durus::{DurusFile, DurusObject, DurusWriter, Format};
use durum_testkit::durus_python;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kit::{Bench, parse_object};

/// The formats that Durus opens again without harm: of an SQLite database it hands out the largest OID
/// once more.
const FORMATS: [Format; 2] = [Format::Shelf, Format::Dfs20];
const ALL_FORMATS: [Format; 3] = [Format::Shelf, Format::Dfs20, Format::Sqlite];

fn bench() -> Option<Bench> {
    Bench::new(durus_python())
}

impl Bench {
    fn json(&self, script: &str, file: &Path) -> Value {
        serde_json::from_str(&self.run(script, file, &[])).unwrap()
    }

    /// A sample of `make_sample.py`.
    fn sample(&self, format: Format, options: &[&str]) -> PathBuf {
        let path = self.path(&format!("{}{}.durus", format.name(), options.concat()));
        let options = [&["--format", format.name()], options].concat();
        self.run("make_sample.py", &path, &options);
        path
    }

    /// What the original Durus finds in a file.
    fn original(&self, file: &Path) -> Vec<DurusObject> {
        let dump = self.run("dump_objects.py", file, &[]);
        let parse = |line| parse_object(&serde_json::from_str(line).unwrap());
        dump.lines().map(parse).collect()
    }
}

fn ours(path: &Path) -> Vec<DurusObject> {
    let file = DurusFile::open(path).unwrap();
    assert_eq!(file.torn_bytes(), 0);
    let objects: Vec<_> = file.objects().map(Result::unwrap).collect();
    assert_eq!(objects.len() as u64, file.object_count());
    objects
}

fn write(format: Format, path: &Path, objects: &[DurusObject]) {
    let mut writer = DurusWriter::create(path, format).unwrap();
    objects
        .iter()
        .for_each(|object| writer.push(object).unwrap());
    writer.finish().unwrap();
}

/// The digest of a store's contents; the sum is kept as bytes, least significant first.
fn digest(objects: &[DurusObject]) -> String {
    let mut sum = [0_u8; 32];
    for object in objects {
        let mut hash = Sha256::new();
        hash.update(object.oid.0.to_be_bytes());
        hash.update((object.refs.len() as u32).to_be_bytes());
        object
            .refs
            .iter()
            .for_each(|oid| hash.update(oid.0.to_be_bytes()));
        hash.update(&object.data);
        let mut carry = 0;
        for (byte, added) in sum.iter_mut().zip(hash.finalize().iter().rev()) {
            carry += u16::from(*byte) + u16::from(*added);
            *byte = carry as u8;
            carry >>= 8;
        }
    }
    sum.iter().rev().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_of_the_original_are_read_as_it_reads_them() {
    let Some(bench) = bench() else { return };
    for format in ALL_FORMATS {
        for options in [&[][..], &["--more"], &["--pack"], &["--pack", "--more"]] {
            let path = bench.sample(format, options);
            let objects = ours(&path);
            assert_eq!(DurusFile::open(&path).unwrap().format(), format);
            assert!(objects == bench.original(&path), "{}", path.display());
            let said = bench.json("durus_digest.py", &path);
            assert_eq!(said["objects"], objects.len());
            assert_eq!(said["digest"], digest(&objects));
        }
    }
}

/// A pack leaves holes, and a commit after it fills some.
#[test]
fn the_samples_have_holes_and_superseded_versions() {
    let Some(bench) = bench() else { return };
    let packed = ours(&bench.sample(Format::Shelf, &["--pack"]));
    let holes = packed.last().unwrap().oid.0 + 1 - packed.len() as u64;
    assert!(holes > 50, "{holes}");
    let unpacked = DurusFile::open(bench.sample(Format::Dfs20, &[])).unwrap();
    assert!(unpacked.file_bytes() > 2 * unpacked.data_bytes());
}

#[test]
fn files_of_ours_are_read_walked_and_changed_by_the_original() {
    let Some(bench) = bench() else { return };
    let source = bench.sample(Format::Shelf, &["--pack"]);
    let objects = ours(&source);
    let walked = bench.json("walk.py", &source);
    assert_eq!(walked["objects"], objects.len());
    for format in ALL_FORMATS {
        let path = bench.path(&format!("ours.{}", format.name()));
        write(format, &path, &objects);
        assert!(bench.original(&path) == objects, "{format:?}");
        assert_eq!(bench.json("walk.py", &path), walked);
        if !FORMATS.contains(&format) {
            continue;
        }

        let changed = bench.json("change.py", &path);
        let now = ours(&path);
        assert!(now == bench.original(&path), "{format:?}");
        assert_eq!(changed["objects"], now.len());
        assert_eq!(now.len(), objects.len() + 200);
        let first = changed["created"][0].as_u64().unwrap();
        let largest = objects.last().unwrap().oid.0;
        // New objects go into the holes of a Shelf's map: the original has followed our ring.
        assert_eq!(first < largest, format == Format::Shelf, "{first}");
    }
}

/// Every hole of a map is handed out once, and then the OIDs beyond the map.
#[test]
fn holes_of_our_maps_are_all_used_up() {
    let Some(bench) = bench() else { return };
    let root = ours(&bench.sample(Format::Shelf, &[])).swap_remove(0);
    let lone = |oid: u64| DurusObject {
        oid: Oid(oid),
        refs: Vec::new(),
        data: root.data.clone(),
    };
    for oids in [&[0][..], &[0, 1], &[0, 60], &[0, 1, 2, 90, 91, 150]] {
        let objects: Vec<_> = oids.iter().map(|oid| lone(*oid)).collect();
        let path = bench.path("holes.durus");
        write(Format::Shelf, &path, &objects);
        let created = change_empty_root(&bench, &path);
        let expected: Vec<_> = (0..).filter(|oid| !oids.contains(oid)).take(200).collect();
        assert_eq!(created, expected, "{oids:?}");
        std::fs::remove_file(path).unwrap();
    }
}

/// Runs `new_oids.py`: the OIDs that the original hands out on a file, sorted.
fn change_empty_root(bench: &Bench, path: &Path) -> Vec<u64> {
    let created = bench.json("new_oids.py", path);
    created
        .as_array()
        .unwrap()
        .iter()
        .map(|oid| oid.as_u64().unwrap())
        .collect()
}

#[test]
fn an_empty_file_of_ours_is_an_empty_database() {
    let Some(bench) = bench() else { return };
    for format in FORMATS {
        let path = bench.path(&format!("empty.{}", format.name()));
        write(format, &path, &[]);
        assert_eq!(bench.original(&path), []);
        // The first client creates the root, which is object 0.
        assert_eq!(bench.json("change.py", &path)["objects"], 201);
        assert_eq!(ours(&path)[0].oid, Oid::ROOT);
    }
}

#[test]
fn large_oids_and_offsets_survive_the_index() {
    let Some(bench) = bench() else { return };
    let oids = [
        0,
        127,
        128,
        255,
        256,
        65_535,
        1 << 31,
        0xffee_ddcc_bbaa,
        Oid::MAX.0,
    ];
    let objects = oids.map(|oid| DurusObject {
        oid: Oid(oid),
        refs: vec![Oid(oid ^ 1)],
        data: vec![0xee; 40],
    });
    for format in [Format::Dfs20, Format::Sqlite] {
        let path = bench.path(&format!("large.{}", format.name()));
        write(format, &path, &objects);
        assert_eq!(bench.original(&path), objects);
    }
}

#[test]
fn a_graph_of_twenty_thousand_objects_goes_there_and_back() {
    let Some(bench) = bench() else { return };
    let path = bench.path("graph.shelf");
    bench.run(
        "make_graph.py",
        &path,
        &["--objects", "20000", "--seed", "7"],
    );
    let objects = ours(&path);
    assert_eq!(objects.len(), 20_000);
    let said = bench.json("durus_digest.py", &path);
    assert_eq!(said["digest"], digest(&objects));
    for format in ALL_FORMATS {
        let copy = bench.path(&format!("copy.{}", format.name()));
        write(format, &copy, &objects);
        assert_eq!(bench.json("durus_digest.py", &copy), said);
        assert_eq!(bench.json("walk.py", &copy)["objects"], 20_000);
    }
}

/// Our reader stops where the original's repair cuts.
#[test]
fn an_original_that_is_killed_in_a_commit_loses_that_commit() {
    let Some(bench) = bench() else { return };
    for format in FORMATS {
        for writes in ["1", "3", "4", "30"] {
            let path = bench.path(&format!("torn{writes}.{}", format.name()));
            let options = ["--format", format.name(), "--writes", writes];
            bench.run("torn.py", &path, &options);
            let file = DurusFile::open(&path).unwrap();
            assert!(
                file.torn_bytes() > 0 || writes == "2",
                "{format:?}, {writes}"
            );
            let objects: Vec<_> = file.objects().map(Result::unwrap).collect();
            drop(file);
            bench.run("repair.py", &path, &[]);
            assert!(objects == ours(&path), "{format:?}, {writes}");
            let before = path.with_extension(format!("{}.before", format.name()));
            assert!(objects == bench.original(&before), "{format:?}, {writes}");
        }
    }
}

/// The sample in the repository, which needs no Python to be read.
#[test]
fn the_sample_has_the_digest_that_the_original_computes() {
    let path = durum_testkit::workspace().join("samples/debian.durus");
    let objects = ours(&path);
    assert_eq!(objects.len(), 3961);
    let computed = "0de8e4d0b8fcf2d4c1948e9d7aa982dba1d2354f16309d0f491844d9765d61f6";
    assert_eq!(digest(&objects), computed);
    if let Some(bench) = bench() {
        assert_eq!(bench.json("durus_digest.py", &path)["digest"], computed);
        assert_eq!(bench.json("walk.py", &path)["objects"], 3961);
    }
}
