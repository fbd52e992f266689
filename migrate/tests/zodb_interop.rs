//! Against ZODB 6.4: files of its FileStorage are read as it reads them.
//!
//! Needs Python 3; see `durum_testkit::zodb_python`.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod kit;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use durum_core::{ErrorKind, Oid, Result};
use durum_migrate::durus::DurusObject;
use durum_migrate::zodb::{LeftOut, ZodbFile};
use durum_testkit::{python_script, zodb_python};
use serde_json::Value;

use crate::kit::{Bench, parse_object};

fn bench() -> Option<Bench> {
    Bench::new(zodb_python())
}

impl Bench {
    /// A sample of `zodb_sample.py`.
    fn sample(&self, options: &[&str]) -> PathBuf {
        let path = self.path(&format!("Data{}.fs", options.concat()));
        self.run("zodb_sample.py", &path, options);
        path
    }

    /// What ZODB finds in a file: the objects, and a summary.
    fn original(&self, file: &Path) -> (Vec<DurusObject>, Value) {
        let dump = self.run("zodb_dump.py", file, &[]);
        let mut lines: Vec<Value> = dump
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let summary = lines.pop().unwrap();
        (lines.iter().map(parse_object).collect(), summary)
    }
}

fn ours(path: &Path) -> (Vec<DurusObject>, LeftOut) {
    let file = ZodbFile::open(path).unwrap();
    let mut objects = file.objects();
    let all: Vec<_> = objects.by_ref().map(Result::unwrap).collect();
    assert_eq!(all.len() as u64, file.object_count());
    (all, objects.left_out())
}

#[test]
fn files_are_read_as_zodb_reads_them() {
    let Some(bench) = bench() else { return };
    for options in [&[][..], &["--pack"], &["--pack", "--more"], &["--small"]] {
        let path = bench.sample(options);
        let before = std::fs::read(&path).unwrap();
        let (objects, left_out) = ours(&path);
        let (original, summary) = bench.original(&path);
        assert!(objects == original, "{options:?}");
        assert_eq!(summary["objects"], objects.len());
        if !summary["iterated"].is_null() {
            assert_eq!(summary["iterated"], objects.len());
        }
        assert_eq!(summary["weak"], left_out.weak, "{options:?}");
        assert_eq!(summary["cross_database"], left_out.cross_database);
        let large = !options.contains(&"--small");
        assert_eq!(left_out.blobs, u64::from(large));
        assert_eq!(ZodbFile::open(&path).unwrap().torn_bytes(), 0);
        assert!(!large || left_out.weak > 0 && left_out.cross_database > 0);
        assert!(std::fs::read(&path).unwrap() == before);
        // Something is garbage before the file is packed, and nothing afterwards.
        if options.len() < 2 && large {
            let garbage = objects.len() - reachable(&objects);
            assert_eq!(garbage == 0, options == ["--pack"], "{garbage}");
        }
    }
}

/// How many objects the root reaches.
fn reachable(objects: &[DurusObject]) -> usize {
    let find = |oid: &Oid| objects.binary_search_by_key(oid, |object| object.oid).ok();
    let mut seen = vec![false; objects.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if !std::mem::replace(&mut seen[at], true) {
            todo.extend(objects[at].refs.iter().filter_map(find));
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

#[test]
fn a_transaction_that_was_not_finished_is_torn() {
    let Some(bench) = bench() else { return };
    let path = bench.sample(&["--unfinished"]);
    let file = ZodbFile::open(&path).unwrap();
    assert!(file.torn_bytes() > 60, "{}", file.torn_bytes());
    assert_eq!(file.load(Oid(9000)).unwrap(), None);
    assert!(ours(&path).0 == bench.original(&path).0);
}

#[test]
fn a_storage_is_open_here_or_there() {
    let Some(bench) = bench() else { return };
    let path = bench.sample(&["--small"]);
    let mut holder = Command::new(&bench.python)
        .arg(python_script("zodb_hold.py"))
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = BufReader::new(holder.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    assert_eq!(said, "open\n");
    assert_eq!(ZodbFile::open(&path).unwrap_err().kind(), ErrorKind::InUse);
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());

    let file = ZodbFile::open(&path).unwrap();
    assert_eq!(bench.run("zodb_hold.py", &path, &[]), "locked\n");
    drop(file);
    assert_eq!(bench.run("zodb_hold.py", &path, &[]), "open\n");
}

/// Every byte of a file damaged in turn, and every length that a file can be cut to: an error, a torn
/// end, other data, or no difference.
#[test]
fn a_damaged_file_is_an_error_or_nearly_the_same() {
    let Some(bench) = bench() else { return };
    let path = bench.sample(&["--small"]);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() < 4000, "{}", bytes.len());
    let (expected, _) = ours(&path);
    let damaged = bench.path("damaged.fs");
    let read = |bytes: &[u8]| -> Result<(Vec<DurusObject>, u64)> {
        std::fs::write(&damaged, bytes).unwrap();
        let file = ZodbFile::open(&damaged)?;
        let objects = file.objects().collect::<Result<_>>()?;
        Ok((objects, file.torn_bytes()))
    };
    let (mut same, mut other, mut torn, mut failed) = (0, 0, 0, 0);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        match read(&changed) {
            Ok((_, 1..)) => torn += 1,
            Ok((objects, 0)) if objects == expected => same += 1,
            Ok((objects, 0)) => {
                assert_eq!(objects.len(), expected.len(), "{at}");
                other += 1;
            }
            Err(error) => {
                let unreadable = at < 4 || error.to_string().contains("2^63");
                let kind = error.kind();
                assert!(
                    kind == ErrorKind::Damaged || unreadable && kind == ErrorKind::Unreadable,
                    "{at}: {error}"
                );
                failed += 1;
            }
        }
    }
    println!("same {same}, other {other}, torn {torn}, failed {failed}");
    assert!(torn < 30 && failed > bytes.len() / 2);
    for end in 4..bytes.len() {
        let (objects, torn) = read(&bytes[..end]).unwrap();
        assert!(objects.len() <= expected.len() + 1 && torn < end as u64);
    }
}
