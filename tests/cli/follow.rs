//! `durum migrate --follow` from files that programs of Durus and ZODB are working on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use durum_testkit::{durus_python, python_script, run_python, zodb_python};
use serde_json::{Value, json};

use crate::kit::{Home, SAMPLE_DIGEST, engines, sample, spawn};
use crate::zodb::transaction;

/// A program that works on a file until it is told to end.
struct Working {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Working {
    fn begin(python: &Path, script: &str, arguments: &[&str]) -> Working {
        let mut command = Command::new(python);
        command.arg(python_script(script)).args(arguments);
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        Working {
            child,
            input,
            output,
        }
    }

    /// Has it end; how many commits it made and how often it packed.
    fn end(self) -> (u64, u64) {
        let Working {
            mut child,
            input,
            mut output,
        } = self;
        drop(input);
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success());
        let (commits, packs) = said.trim().split_once(' ').unwrap();
        (commits.parse().unwrap(), packs.parse().unwrap())
    }
}

/// Reads what a migration says until that contains `part`.
fn wait_for(child: &mut Child, part: &str) -> String {
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.as_mut().unwrap());
    while !said.contains(part) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    said
}

/// Follows the file while `working` commits, and packs it if it is told to; what came of it.
fn follow(home: &Home, mut working: Working, from: &str, to: &str, pack: bool) -> Value {
    // Without --follow it is in use.
    assert_eq!(home.run(&["migrate", from, to]).code, 5);
    let mut command = home.command(&["migrate", from, to, "--follow", "--json"]);
    let mut migrating = spawn(command.stderr(Stdio::piped()));
    wait_for(&mut migrating, "safe to switch");
    if pack {
        working.input.write_all(b"pack\n").unwrap();
    }
    // It goes on as long as the program does.
    thread::sleep(Duration::from_millis(700));
    assert_eq!(migrating.try_wait().unwrap(), None);
    assert_eq!(home.run(&["stat", to]).code, 3);
    let (commits, packs) = working.end();
    assert!(commits > 20 && packs == u64::from(pack));
    let end = migrating.wait_with_output().unwrap();
    assert!(
        end.status.success(),
        "{}",
        String::from_utf8_lossy(&end.stderr)
    );
    serde_json::from_slice(&end.stdout).unwrap()
}

fn compare(home: &Home, to: &str, done: &Value, original: &Value) {
    for key in ["objects", "digest"] {
        assert_eq!(done[key], original[key], "{to}: {key}");
    }
    assert!(
        done["rounds"].as_u64() > Some(1) && done["followed"].as_u64() > Some(0),
        "{done}"
    );
    assert_eq!(home.json(&["digest", to])["digest"], original["digest"]);
    assert_eq!(home.run(&["check", to]).code, 0, "{to}");
}

#[test]
fn a_durus_file_that_is_worked_on() {
    let Some(python) = durus_python() else { return };
    for (number, engine) in engines().iter().enumerate() {
        let format = ["shelf", "dfs20"][number % 2];
        let home = Home::new();
        let file = home.path("live.durus");
        let arguments = [file.to_str().unwrap(), "--format", format];
        let working = Working::begin(&python, "durus_write_on.py", &arguments);
        let to = format!("{0}:to", engine.name);
        let done = follow(&home, working, "durus:live.durus", &to, number < 2);
        let original = run_python(&python, "durus_digest.py", &[&file]);
        compare(&home, &to, &done, &serde_json::from_str(&original).unwrap());
    }
}

#[test]
fn a_zodb_file_that_is_worked_on() {
    let Some(python) = zodb_python() else { return };
    for (number, engine) in engines().iter().enumerate() {
        let home = Home::new();
        let file = home.path("Data.fs");
        let arguments = [file.to_str().unwrap()];
        let working = Working::begin(&python, "zodb_write_on.py", &arguments);
        let to = format!("{0}:to", engine.name);
        let done = follow(&home, working, "zodb:Data.fs", &to, number == 0);
        let dump = run_python(&python, "zodb_dump.py", &[&file]);
        let original: Value = serde_json::from_str(dump.lines().last().unwrap()).unwrap();
        compare(&home, &to, &done, &original);
    }
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let home = Home::new();
    home.json(&["init", "file:from"]);
    for (arguments, part) in [
        (["durus:copy", "--follow", "--quiet"], "Durus file"),
        (
            ["lmdb:copy", "--follow", "--reachable-only"],
            "--reachable-only",
        ),
    ] {
        home.refused_when_open(
            &[&["migrate", "file:from"][..], &arguments].concat(),
            2,
            &[part],
        );
    }
    // A store is open once: nobody else writes to it, and there is nothing to wait for.
    let done = home.json(&["migrate", "file:from", "lmdb:to", "--follow"]);
    assert_eq!((&done["rounds"], &done["followed"]), (&json!(1), &json!(0)));
}

/// What cannot be read is counted, also when nothing else comes with it; and a lock that somebody else has
/// is waited for, however long it says that it is safe to switch.
#[test]
fn unreadable_objects_are_counted() {
    let home = Home::new();
    let (good, bad) = (b"cm\nC\n.N.", b"cm\nC\n.\xff.");
    let mut bytes = b"FS30".to_vec();
    bytes.extend(transaction(4, &[(0, good), (1, bad), (2, good)]));
    let file = home.path("Data.fs");
    fs::write(&file, &bytes).unwrap();
    let lock = fs::File::create(home.path("Data.fs.lock")).unwrap();
    lock.lock().unwrap();
    let arguments = [
        "migrate",
        "zodb:Data.fs",
        "file:to",
        "--follow",
        "--json",
        "--on-error",
        "skip",
    ];
    let mut migrating = spawn(home.command(&arguments).stderr(Stdio::piped()));
    wait_for(&mut migrating, "safe to switch");
    bytes.extend(transaction(bytes.len() as u64, &[(3, bad)]));
    fs::write(&file, &bytes).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(migrating.try_wait().unwrap(), None);
    drop(lock);
    let end = migrating.wait_with_output().unwrap();
    assert_eq!(
        end.status.code(),
        Some(9),
        "{}",
        String::from_utf8_lossy(&end.stderr)
    );
    let done: Value = serde_json::from_slice(&end.stdout).unwrap();
    let counts = ["objects", "rejects", "followed"].map(|key| done[key].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 0]);
}

/// While Durus packs a file it lets go of it for moments, in which it must not be locked.
#[test]
fn a_file_that_is_being_packed_is_left_alone() {
    let home = Home::new();
    let file = home.path("live.durus");
    fs::copy(sample(), &file).unwrap();
    fs::write(home.path("live.durus.pack"), b"").unwrap();
    let arguments = [
        "migrate",
        "durus:live.durus",
        "file:to",
        "--follow",
        "--json",
    ];
    let mut migrating = spawn(home.command(&arguments).stderr(Stdio::piped()));
    wait_for(&mut migrating, "safe to switch");
    thread::sleep(Duration::from_millis(500));
    let other = fs::File::open(&file).unwrap();
    other.try_lock().unwrap();
    fs::remove_file(home.path("live.durus.pack")).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(migrating.try_wait().unwrap(), None);
    drop(other);
    let end = migrating.wait_with_output().unwrap();
    assert!(
        end.status.success(),
        "{}",
        String::from_utf8_lossy(&end.stderr)
    );
    let done: Value = serde_json::from_slice(&end.stdout).unwrap();
    assert_eq!(done["digest"], json!(SAMPLE_DIGEST));
}
