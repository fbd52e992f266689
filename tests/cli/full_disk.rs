//! A migration to a disk that runs full, by a library that is loaded into the program; see
//! `tests/crash`.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use durum_crash::journal;
use fastrand::Rng;
use serde_json::json;

use crate::kit::{Home, SAMPLE_DIGEST, engines, sample, spawn};

/// After this time a program is taken to hang.
const HANGS: Duration = Duration::from_secs(60);

/// How many moments are tried for each pair of engines; as many as `DURUM_FULL_DISKS` says, if it does.
const POINTS: usize = 1;

fn points() -> usize {
    let number = std::env::var("DURUM_FULL_DISKS").ok();
    number.map_or(POINTS, |number| number.parse().unwrap())
}

/// The library, which cargo builds for `durum-crash`.
fn library() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_durum"));
    let library = program
        .with_file_name("deps")
        .join("libdurum_crash_shim.so");
    assert!(
        library.exists(),
        "cargo has not built {}",
        library.display()
    );
    library
}

/// Migrates into `root`, where the library does what the variable says; the exit code, and what was said.
fn migrate(
    home: &Home,
    sides: (&str, &str),
    root: &Path,
    (variable, value): (&str, &str),
) -> (Option<i32>, String) {
    let mut command = home.command(&["migrate", sides.0, sides.1]);
    command
        .env("LD_PRELOAD", library())
        .env("DURUM_FAULT_ROOT", root)
        .env(variable, value)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    let begun = Instant::now();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if begun.elapsed() > HANGS => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{sides:?}, {value}: it hangs");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

#[test]
fn a_migration_to_a_full_disk_is_gone_on_with() {
    let mut draw = Rng::with_seed(durum_testkit::seed());
    let home = Home::new();
    let place = |name: &str| {
        fs::create_dir_all(home.path(name)).unwrap();
        home.path(name).canonicalize().unwrap()
    };
    let durus = format!("durus:{}", sample().display());
    let names: Vec<&str> = engines().iter().map(|engine| engine.name).collect();
    for engine in &names {
        let from = format!("{engine}:from-{engine}");
        home.json(&["migrate", &durus, &from, "--verify", "none"]);
    }
    for to in &names {
        // How many file operations there are is a matter of the destination alone.
        let root = place("counted");
        let (copy, journal) = (
            format!("{to}:{}/copy", root.display()),
            home.path("journal"),
        );
        let record = ("DURUM_FAULT_RECORD", journal.to_str().unwrap());
        let (code, said) = migrate(&home, (&durus, &copy), &root, record);
        assert_eq!(code, Some(0), "{copy}: {said}");
        let operations = journal::count(&journal::read(&journal).unwrap());
        fs::remove_dir_all(&root).unwrap();
        fs::remove_file(&journal).unwrap();
        for engine in &names {
            let from = format!("{engine}:from-{engine}");
            for _ in 0..points() {
                let root = place("full");
                let at = draw.u64(1..operations);
                let how = if draw.bool() { "SHORT" } else { "ENOSPC" };
                run_full(&home, (&from, to), &root, &format!("fail:{at}+:{how}"));
                fs::remove_dir_all(&root).unwrap();
            }
            assert_eq!(
                home.json(&["digest", &from])["digest"],
                json!(SAMPLE_DIGEST)
            );
        }
    }
}

/// Migrates where the disk is full from some moment on, and again when there is room.
fn run_full(home: &Home, (from, to): (&str, &str), root: &Path, fault: &str) {
    let copy = format!("{to}:{}/copy", root.display());
    let what = format!("{from} to {to}, {fault}");
    println!("{what}");
    let (code, said) = migrate(home, (from, &copy), root, ("DURUM_FAULT", fault));
    // Where it succeeds, what failed at last was of no consequence.
    if code != Some(0) {
        let is_there = root.join("copy").exists();
        assert_eq!(is_there, said.contains("in its place,"), "{what}: {said}");
        assert_eq!(code, Some(5), "{what}: {said}");
        assert!(said.contains("Make room"), "{what}: {said}");
        if !is_there {
            let done = home.json(&["migrate", from, &copy, "--resume"]);
            assert_eq!(done["digest"], json!(SAMPLE_DIGEST), "{what}");
        }
    }
    let digest = &home.json(&["digest", &copy])["digest"];
    assert_eq!(digest, &json!(SAMPLE_DIGEST), "{what}");
    assert_eq!(home.run(&["check", &copy]).code, 0, "{what}");
    assert_eq!(fs::read_dir(root).unwrap().count(), 1, "{what}");
}
