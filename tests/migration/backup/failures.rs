//! Damaged and foreign backups, full disks, damaged sources: errors, and nothing is left behind.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use durum_core::engine::{Key, Op, Table};
use durum_core::store::{Batch, LocalStore, Store as _, StoreOptions};
use durum_core::{ErrorKind, Oid, SessionId};
use durum_migrate::backup::{Backup, Input, OutputFile, Summary};
use durum_testkit::{names, seed};
use fastrand::Rng;

use super::{Taken, restore_to, take};
use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{best, import, object, open, persistent};

/// A full backup and an increment of a store of a few objects.
fn small(directory: &Path) -> [Taken; 2] {
    let registry = registry_with(Flaw::None);
    let url = format!("{NAME}:{}", directory.join("small").display());
    let objects: Vec<_> = (0..5)
        .map(|oid| object(oid, &[(oid + 1) % 5], b"some data"))
        .collect();
    import(&registry, &url, &objects);
    let store = open(&registry, &url);
    let full = take(&store, None, false);
    let mut batch = Batch::new();
    batch
        .update(Oid(0), *b"changed", [Oid(1), Oid(2)])
        .update(Oid(2), *b"cut", []);
    store.commit(batch, best(&store)).unwrap();
    store.collect().unwrap();
    let increment = take(&store, Some(full.summary.header.tid), true);
    assert!(increment.summary.totals.deleted > 0);
    [full, increment]
}

#[test]
fn no_store_appears_from_a_damaged_backup() {
    let mut draw = Rng::with_seed(seed());
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = registry_with(Flaw::None);
    let url = format!("{NAME}:{}", target.path().join("copy").display());
    let [full, increment] = small(source.path());
    for which in 0..2 {
        let good = [&full.bytes, &increment.bytes][which];
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << draw.u32(..8);
            for bad in [&flipped[..], &good[..at]] {
                let mut chain = [&full.bytes[..], &increment.bytes];
                chain[which] = bad;
                let error = restore_to(&registry, &chain, None, &url).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{which}, {at}: {error}");
                assert_eq!(names(target.path()), [""; 0], "{which}, {at}");
            }
        }
    }
    let chain = [&full.bytes[..], &increment.bytes];
    let done = restore_to(&registry, &chain, None, &url).unwrap();
    assert_eq!(done.digest, increment.digest);
}

#[test]
fn what_the_new_store_gets_wrong_is_found() {
    let source = tempfile::tempdir().unwrap();
    let [full, _] = small(source.path());
    for (flaw, kind) in [
        (Flaw::Lose(Oid(3)), ErrorKind::Mismatch),
        (Flaw::Alter(Oid(3)), ErrorKind::Mismatch),
        (Flaw::Unlink(Oid(3)), ErrorKind::Mismatch),
        (Flaw::Flip(Oid(3)), ErrorKind::Damaged),
        (Flaw::Small(12), ErrorKind::TooLarge),
    ] {
        let target = tempfile::tempdir().unwrap();
        let registry = registry_with(flaw);
        let url = format!("{NAME}:{}", target.path().join("copy").display());
        let error = restore_to(&registry, &[&full.bytes], None, &url).unwrap_err();
        assert_eq!(error.kind(), kind, "{flaw:?}: {error}");
        assert_eq!(names(target.path()), [""; 0], "{flaw:?}");
    }
}

/// A copy of a store's directory has its identity, and goes its own way: only the digest of the whole
/// tells what does not belong together.
#[test]
fn another_history_is_told_by_the_digest() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    for engine in persistent(&registry) {
        let path = |name: &str| directory.path().join(format!("{engine}-{name}"));
        let url = |name: &str| format!("{engine}:{}", path(name).display());
        import(
            &registry,
            &url("a"),
            &[object(0, &[1], b"root"), object(1, &[], b"leaf")],
        );
        if engine == NAME {
            // What it keeps lies in this process, and cannot be copied.
            continue;
        }
        copy_tree(&path("a"), &path("b"));
        let mut taken = Vec::new();
        for name in ["a", "b"] {
            let store = open(&registry, &url(name));
            let commit = |oid| {
                let refs = (oid == Oid::ROOT).then_some(Oid(1));
                let mut batch = Batch::new();
                batch.update(oid, name, refs);
                store.commit(batch, best(&store)).unwrap();
            };
            commit(Oid(1));
            let full = take(&store, None, false);
            let since = full.summary.header.tid;
            commit(Oid::ROOT);
            taken.push((
                full.bytes,
                [true, false].map(|verify| take(&store, Some(since), verify).bytes),
            ));
        }
        let mixed = |which: usize| {
            let chain = [&taken[0].0[..], &taken[1].1[which]];
            restore_to(&registry, &chain, None, &url("mixed"))
        };
        let error = mixed(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{engine}: {error}");
        assert!(!path("mixed").exists(), "{engine}");
        assert!(!mixed(1).unwrap().proven, "{engine}");
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), &target).unwrap()),
        }
    }
}

#[test]
fn a_damaged_source_is_named_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let objects: Vec<_> = (0..500)
        .map(|oid| object(oid, &[(oid + 1) % 500], &[oid as u8; 3000]))
        .collect();
    for engine in persistent(&registry) {
        let url = format!("{engine}:{}", directory.path().join(engine).display());
        import(&registry, &url, &objects);
        let store = open(&registry, &url);
        let op = Op::Put {
            table: Table::Objects,
            key: Key::from(477),
            value: b"this is no record",
        };
        let level = best(&store);
        store
            .while_quiet(|engine| engine.apply(&[op], level))
            .unwrap();
        let target = tempfile::tempdir().unwrap();
        let mut out = OutputFile::create(&target.path().join("file"), false).unwrap();
        let backup = Backup::begin(&store, None).unwrap();
        let error = backup.write(false, &mut out, &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{engine}: {error}");
        assert_eq!(error.oids(), [Oid(477)], "{engine}");
        drop(out);
        assert_eq!(names(target.path()), [""; 0], "{engine}");
    }
}

/// More is changed than the store keeps for snapshots: the backup fails, and the next one succeeds.
#[test]
fn a_backup_that_takes_too_long_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    for verify in [false, true] {
        let options = StoreOptions {
            superseded_bytes_max: 20_000,
            ..StoreOptions::default()
        };
        let path = directory.path().join(verify.to_string());
        let store = LocalStore::create(registry.get(NAME).unwrap(), &path, &options).unwrap();
        let oids = store.new_oids(SessionId::EMBEDDED, 50).unwrap();
        let mut batch = Batch::new();
        batch.create(Oid::ROOT, *b"root", oids.iter().copied());
        for oid in &oids[1..] {
            batch.create(*oid, vec![1; 1000], []);
        }
        let since = store.commit(batch, best(&store)).unwrap().tid;
        // Of an increment without changes only the digest of the whole is outdated.
        let backup = Backup::begin(&store, verify.then_some(since)).unwrap();
        let mut batch = Batch::new();
        for oid in &oids[1..] {
            batch.update(*oid, vec![2; 1000], []);
        }
        store.commit(batch, best(&store)).unwrap();
        let error = backup.write(verify, &mut Vec::new(), &()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooOld, "{error}");
        assert!(
            error.to_string().contains("superseded_bytes_max"),
            "{error}"
        );
        take(&store, None, false);
    }
}

/// Takes so many bytes and then has no more room.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            room => {
                self.0 -= room;
                Ok(room)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_backup_wherever_it_is() {
    let mut draw = Rng::with_seed(seed());
    let directory = tempfile::tempdir().unwrap();
    let registry = registry_with(Flaw::None);
    let url = format!("{NAME}:{}", directory.path().join("store").display());
    let objects: Vec<_> = (0..300)
        .map(|oid| {
            let mut data = vec![0; 10_000];
            draw.fill(&mut data);
            object(oid, &[], &data)
        })
        .collect();
    import(&registry, &url, &objects);
    let store = open(&registry, &url);
    let length = take(&store, None, false).bytes.len();
    let write = |room: usize| {
        let backup = Backup::begin(&store, None).unwrap();
        backup.write(false, &mut Disk(room), &())
    };
    let some = std::iter::repeat_with(|| draw.usize(..length)).take(20);
    for room in [0, 1, 96, length - 1].into_iter().chain(some) {
        let error = write(room).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{room} bytes: {error}");
    }
    assert_eq!(write(length).unwrap().file_bytes, length as u64);
}

#[test]
fn a_file_appears_when_it_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let begin = |force| OutputFile::create(&path, force);
    let mut out = begin(false).unwrap();
    out.write_all(b"first").unwrap();
    assert!(!path.exists());
    // What another one is writing is not what was left behind.
    let other = begin(false).unwrap();
    assert_eq!(names(directory.path()).len(), 2);
    out.complete().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(other.complete().unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(begin(false).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(names(directory.path()), ["file"]);
    for left in [".file.AbCdEf.partial", ".file.more.AbCdEf.partial"] {
        fs::write(directory.path().join(left), b"left behind").unwrap();
    }
    let mut out = begin(true).unwrap();
    out.write_all(b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first");
    out.complete().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    // That of `file.more` is none of ours.
    assert_eq!(
        names(directory.path()),
        [".file.more.AbCdEf.partial", "file"]
    );
    fs::create_dir(directory.path().join("dir")).unwrap();
    let error = OutputFile::create(&directory.path().join("dir"), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    let error = OutputFile::create(&directory.path().join("none/file"), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_file_tells_what_it_is_from_its_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for taken in small(directory.path()) {
        fs::write(&path, &taken.bytes).unwrap();
        assert_eq!(Summary::read(&path).unwrap(), taken.summary);
        assert_eq!(taken.summary.file_bytes, taken.bytes.len() as u64);
        for length in 0..taken.bytes.len() {
            fs::write(&path, &taken.bytes[..length]).unwrap();
            let error = Summary::read(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{length}: {error}");
        }
    }
    let missing = directory.path().join("missing");
    assert_eq!(
        Input::open(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let error = Input::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
}
