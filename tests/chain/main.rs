//! The main job: a Durus file through every engine and back, by the program.
//!
//! A random test prints its seed; `DURUM_TEST_SEED` repeats it. `DURUM_TEST_OBJECTS` sets the size:
//! `DURUM_TEST_OBJECTS=1000000 cargo test --release --test chain -- --nocapture`.
//!
//! These tests start programs, and no other tests are in their process: a program that is being started
//! has the open files of the process, locks of stores included.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use durum_core::Oid;
use durum_migrate::durus::{DurusObject, DurusWriter, Format};
use durum_testkit::{durus_python, names, run_python, seed};
use serde_json::Value;

/// The engines on the way. Those that take the most memory, fjall and sled, are not next to each other.
const ENGINES: &[&str] = &[
    "lmdb",
    "fjall",
    "redb",
    "sqlite",
    "sled",
    "file",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
];
/// What every step may need at its peak.
const PEAK_BYTES_MAX: u64 = 120_000_000;

/// Runs the program and reads what it prints.
fn durum(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_durum"));
    let output = command.args(arguments).arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "durum {arguments:?}: {}: {errors}",
        output.status
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Migrates in a process of its own, with all references intact.
fn migrate(from: &str, to: &str) -> (Value, u64) {
    let told = durum(&["migrate", from, to]);
    let number = |key: &str| {
        told[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no {key}: {told}"))
    };
    let (peak, seconds) = (number("peak_memory"), told["seconds"].as_f64().unwrap());
    let scheme = |url: &str| url.split_once(':').unwrap().0.to_owned();
    println!(
        "{:>6} -> {:6} {:>9} objects {:>7.0}/s, peak {:>4} MB",
        scheme(from),
        scheme(to),
        number("objects"),
        number("objects") as f64 / seconds,
        peak / 1_000_000
    );
    assert_eq!(
        (number("dangling"), number("torn_bytes")),
        (0, 0),
        "{from} to {to}"
    );
    (told, peak)
}

/// Migrates within the bound of memory.
fn step(from: &str, to: &str) -> Value {
    let (told, peak) = migrate(from, to);
    assert!(peak < PEAK_BYTES_MAX, "{from} to {to} took {peak} bytes");
    told
}

fn contents(told: &Value) -> (u64, String) {
    (
        told["objects"].as_u64().unwrap(),
        told["digest"].as_str().unwrap().to_owned(),
    )
}

fn url(scheme: &str, directory: &Path, name: &str) -> String {
    format!("{scheme}:{}", directory.join(name).display())
}

/// What the original Durus says of a file.
struct Original {
    python: PathBuf,
}

impl Original {
    fn ask(&self, script: &str, file: &Path) -> Value {
        serde_json::from_str(&run_python(&self.python, script, &[file])).unwrap()
    }
}

/// durus → lmdb → fjall → redb → sqlite → sled → file (→ rocksdb) → durus: the digest is the same each time and
/// the same as the original Durus's; it opens the result in all of its formats and walks through all of it.
#[test]
fn a_durus_file_through_every_engine_and_back() {
    let Some(python) = durus_python() else { return };
    let original = Original { python };
    let objects = std::env::var("DURUM_TEST_OBJECTS").unwrap_or_else(|_| "100000".to_owned());
    let directory = tempfile::tempdir().unwrap();
    let [first, last, dfs20, sqlite] = ["first.durus", "last.durus", "dfs20.durus", "sqlite.durus"]
        .map(|name| directory.path().join(name));
    let seed = seed().to_string();
    let arguments = [
        first.to_str().unwrap(),
        "--objects",
        &objects,
        "--seed",
        &seed,
    ]
    .map(str::to_owned);
    run_python(&original.python, "make_graph.py", &arguments);
    let expected = contents(&original.ask("durus_digest.py", &first));
    assert_eq!(expected.0, objects.parse::<u64>().unwrap());

    let mut source = url("durus", directory.path(), "first.durus");
    for engine in ENGINES {
        let destination = url(engine, directory.path(), engine);
        assert_eq!(contents(&step(&source, &destination)), expected, "{engine}");
        source = destination;
    }
    assert_eq!(
        contents(&step(
            &source,
            &url("durus", directory.path(), "last.durus")
        )),
        expected
    );
    for other in ["dfs20.durus?format=dfs20", "sqlite.durus?format=sqlite"] {
        let other = url("durus", directory.path(), other);
        assert_eq!(contents(&step(&source, &other)), expected);
    }

    // By processes that did not write them.
    for engine in ENGINES {
        let told = durum(&["digest", &url(engine, directory.path(), engine)]);
        assert_eq!(contents(&told), expected, "{engine}");
    }
    let walked = original.ask("walk.py", &first);
    for file in [&last, &dfs20, &sqlite] {
        assert_eq!(contents(&original.ask("durus_digest.py", file)), expected);
        assert_eq!(original.ask("walk.py", file), walked, "{}", file.display());
    }
    assert_eq!(
        walked["objects"].as_u64(),
        Some(expected.0),
        "all can be reached"
    );
    let mut all = vec!["dfs20.durus", "first.durus", "last.durus", "sqlite.durus"];
    all.extend(ENGINES.iter().copied());
    all.sort_unstable();
    assert_eq!(names(directory.path()), all, "nothing else is left behind");
}

/// The bytes of all files below a directory.
fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes_below(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    bytes.sum()
}

/// What a step may need; `None` where that is not for us to bound.
///
/// The files of LMDB and of the flat-file engine are mapped into memory: what was read of them counts
/// as the process's until the system wants the memory for something else. What sled takes grows with
/// its stores, however small its cache is made.
fn allowed(engines: &[&str], directory: &Path) -> Option<u64> {
    let mapped = engines
        .iter()
        .filter(|engine| ["lmdb", "file"].contains(engine));
    let bytes = mapped.map(|engine| bytes_below(&directory.join(engine)));
    (!engines.contains(&"sled")).then(|| PEAK_BYTES_MAX + bytes.sum::<u64>())
}

/// Ten thousand, a hundred thousand, a million objects: the peak stays below the same bound, but for
/// what [`allowed`] says. The test of 100,000 real objects above holds every engine to it.
/// `cargo test --release --test migration -- --ignored --nocapture memory`
#[test]
#[ignore = "takes minutes: a million objects through every engine"]
fn memory_does_not_grow_with_the_store() {
    for count in [10_000, 100_000, 1_000_000] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("first");
        let mut writer = DurusWriter::create(&file, Format::Shelf).unwrap();
        for oid in 0..count {
            let mut refs = [(oid + 1) % count, oid * 7 % count].map(Oid).to_vec();
            durum_core::record::normalize_refs(Oid(oid), &mut refs);
            let data = vec![oid as u8; 120];
            let oid = Oid(oid);
            writer.push(&DurusObject { oid, refs, data }).unwrap();
        }
        writer.finish().unwrap();
        let mut source = url("durus", directory.path(), "first");
        let mut digests = Vec::new();
        let reverse = ENGINES.iter().rev().copied();
        for scheme in reverse.chain(["durus"]) {
            let destination = url(scheme, directory.path(), scheme);
            let (told, peak) = migrate(&source, &destination);
            let engines = [&source, &destination].map(|url| url.split(':').next().unwrap());
            let allowed = allowed(&engines, directory.path()).unwrap_or(u64::MAX);
            assert!(
                peak < allowed,
                "{source} to {destination}: {peak}, {allowed} are allowed"
            );
            digests.push(contents(&told));
            source = destination;
        }
        assert!(
            digests.iter().all(|found| *found == digests[0]),
            "{digests:?}"
        );
    }
}
