//! Whatever happens while a backup is made or restored: under its name there is nothing, or all of it.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use durum_core::digest::Digest;
use durum_core::record::{Codecs, Payload};
use durum_core::store::Store as _;
use durum_core::{Oid, Tid};
use durum_crash::disk::Disk;
use durum_crash::image::{Survivors, write_image};
use durum_crash::journal::{self, Event};
use durum_crash::process::{End, Orders, Outcome, Programs};
use durum_migrate::backup::{Input, check};
use durum_testkit::{names, seed};
use fastrand::Rng;
use tempfile::TempDir;

const ENGINES: &[&str] = &[
    "file",
    "fjall",
    "lmdb",
    "redb",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    "sled",
    "sqlite",
];

/// What can happen at an operation; `+`: and at all later ones.
const FAULTS: [&str; 7] = [
    "kill:#",
    "kill-half:#",
    "fail:#:ENOSPC",
    "fail:#+:ENOSPC",
    "fail:#:EIO",
    "fail:#+:EIO",
    "fail:#:SHORT",
];
/// How many faults are tried in a restoration to each engine; `DURUM_CRASH=exhaustive` tries all, at all
/// operations.
const TRIES: usize = 12;

/// A child that one test starts has the locks of stores that another has open, until it has become the
/// other program. So there is one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A store and a backup of it, beside a root for each try.
struct Scratch {
    _alone: MutexGuard<'static, ()>,
    dir: TempDir,
    programs: Programs,
    digest: Digest,
    tries: u64,
}

impl Scratch {
    /// A store of some megabytes, so that the backup takes several writes.
    fn new() -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch {
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
            dir,
            programs: Programs::find(env!("CARGO_BIN_EXE_crash_backup")),
            digest: Digest::default(),
            tries: 0,
        };
        let registry = durum_backends::registry();
        let settings = registry.parse_store(&scratch.source()).unwrap();
        let staged = registry.stage(&settings.without_collection()).unwrap();
        let mut importer = staged.importer().unwrap();
        let (mut draw, mut data) = (Rng::with_seed(1), vec![0; 2000]);
        for oid in 0..500 {
            draw.fill(&mut data);
            let refs: Vec<Oid> = (oid + 1..500).take(2).map(Oid).collect();
            let payload = Payload::plain(&data);
            importer
                .push(Oid(oid), Tid(3), &refs, payload, &Codecs::default())
                .unwrap();
            scratch.digest.add(Oid(oid), refs.into_iter(), &data);
        }
        importer.finish(Tid(3), Oid(500)).unwrap();
        drop(staged.publish().unwrap());
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        // Canonical, as the shim wants it.
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn source(&self) -> String {
        format!("file:{}", self.path("source").display())
    }

    /// A new directory in which everything is watched.
    fn root(&mut self) -> PathBuf {
        self.tries += 1;
        let root = self.path(&format!("root-{}", self.tries));
        std::fs::create_dir(&root).unwrap();
        root
    }

    fn backup(&self, root: &Path, orders: &Orders) -> Outcome {
        let file = root.join("file").display().to_string();
        self.programs
            .start(&["backup", &self.source(), &file], root, orders)
    }

    fn restore(&self, file: &Path, engine: &str, root: &Path, orders: &Orders) -> Outcome {
        let url = format!("{engine}:{}", root.join("store").display());
        let file = file.display().to_string();
        self.programs.start(&["restore", &file, &url], root, orders)
    }

    /// Runs it without a fault; what it did.
    fn record(&mut self, work: impl Fn(&Scratch, &Path, &Orders) -> Outcome) -> Vec<Event> {
        let root = self.root();
        let journal = self.path(&format!("journal-{}", self.tries));
        let orders = Orders {
            fault: None,
            record: Some(journal.clone()),
        };
        let outcome = work(self, &root, &orders);
        assert_eq!(outcome.end, End::Exit(0), "{}", outcome.said);
        let events = journal::read(&journal).unwrap();
        let mut disk = Disk::new(false);
        events.iter().for_each(|event| disk.play(event));
        let mapped = |name: &str| name == "lock.mdb" || name.ends_with("-shm");
        let missed = durum_crash::image::difference(&disk, &root, mapped);
        assert_eq!(missed, None, "something escapes the shim");
        events
    }

    /// Whether there is a backup, which then has to be whole.
    fn is_backed_up(&self, root: &Path, what: &str) -> bool {
        let file = root.join("file");
        if !file.exists() {
            return false;
        }
        let input = Input::open(&file).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = check(vec![input], None, &()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.digest, self.digest, "{what}");
        true
    }

    /// Whether there is a store, which then has to be whole.
    fn is_restored(&self, engine: &str, root: &Path, what: &str) -> bool {
        let path = root.join("store");
        if !path.exists() {
            return false;
        }
        let registry = durum_backends::registry();
        let url = format!("{engine}:{}", path.display());
        let settings = registry.parse_store(&url).unwrap().without_collection();
        let store = registry
            .open(&settings)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = Digest::of(&*store.snapshot().unwrap()).unwrap();
        assert_eq!(found, self.digest, "{what}");
        true
    }
}

fn orders(fault: &str, point: u64) -> Orders {
    Orders {
        fault: Some(fault.replace('#', &point.to_string())),
        record: None,
    }
}

#[test]
fn a_backup_is_whole_or_not_there() {
    let mut scratch = Scratch::new();
    let events = scratch.record(|scratch, root, orders| scratch.backup(root, orders));
    let operations = journal::count(&events);
    assert!(operations > 6, "{operations}");
    let mut reported = 0;
    for point in 1..=operations {
        for fault in FAULTS {
            let root = scratch.root();
            let what = format!("{fault} {point}: {}", journal::describe(&events, point));
            let outcome = scratch.backup(&root, &orders(fault, point));
            let is_there = scratch.is_backed_up(&root, &what);
            match outcome.end {
                End::Exit(0) => assert!(is_there, "{what}"),
                End::Exit(code) if fault.contains("ENOSPC") && !is_there => {
                    assert_eq!(code, 5, "{what}: {}", outcome.said);
                    reported += 1;
                }
                End::Exit(_) | End::Killed => {}
                end => panic!("{what}: {end:?}"),
            }
            // Where removing fails as well, there is nothing to be done.
            if outcome.end != End::Killed && !is_there && !fault.contains('+') {
                assert_eq!(names(&root), [""; 0], "{what}");
            }
            // The next one makes good what a kill has left.
            let again = scratch.backup(&root, &Orders::default());
            let expected = if is_there { 4 } else { 0 };
            assert_eq!(again.end, End::Exit(expected), "{what}: {}", again.said);
            assert!(scratch.is_backed_up(&root, &what));
            assert_eq!(names(&root), ["file"], "{what}");
            std::fs::remove_dir_all(root).unwrap();
        }
    }
    assert!(reported > 5, "full disks went unnoticed: {reported}");
}

/// What the power leaves after each operation. On a disk that ignores synchronization it leaves less than
/// all: this test can find what it looks for.
#[test]
fn a_backup_survives_a_loss_of_power() {
    let mut draw = Rng::with_seed(seed());
    let mut scratch = Scratch::new();
    let events = scratch.record(|scratch, root, orders| scratch.backup(root, orders));
    let last = events.iter().filter(|event| event.is_numbered()).count();
    for deaf in [false, true] {
        let mut disk = Disk::new(deaf);
        let mut number = 0;
        for event in &events {
            disk.play(event);
            number += usize::from(event.is_numbered());
            for survivors in [Survivors::None, Survivors::Some(draw.u64(..))] {
                let root = scratch.path(&format!("image-{deaf}-{number}-{}", draw.u64(..)));
                write_image(&disk, survivors, &root).unwrap();
                let what = format!("{survivors:?} after operation {number}");
                let strict = survivors == Survivors::None;
                if deaf {
                    assert!(!strict || names(&root).is_empty(), "{what}");
                } else {
                    let is_there = scratch.is_backed_up(&root, &what);
                    assert!(
                        is_there || number < last,
                        "{what}: a finished backup is lost"
                    );
                }
                std::fs::remove_dir_all(root).unwrap();
            }
        }
    }
}

#[test]
fn a_store_is_restored_whole_or_not_at_all() {
    let mut draw = Rng::with_seed(seed());
    let mut scratch = Scratch::new();
    let made = scratch.root();
    let outcome = scratch.backup(&made, &Orders::default());
    assert_eq!(outcome.end, End::Exit(0), "{}", outcome.said);
    let file = made.join("file");
    let exhaustive = std::env::var("DURUM_CRASH").as_deref() == Ok("exhaustive");
    for engine in ENGINES {
        let events =
            scratch.record(|scratch, root, orders| scratch.restore(&file, engine, root, orders));
        let operations = journal::count(&events);
        // sled can wait for ever for a write that failed.
        let faults = if *engine == "sled" {
            &FAULTS[..2]
        } else {
            &FAULTS[..]
        };
        let mut tries: Vec<(u64, &str)> = (1..=operations)
            .flat_map(|point| faults.iter().map(move |fault| (point, *fault)))
            .collect();
        if !exhaustive {
            draw.shuffle(&mut tries);
            tries.truncate(TRIES);
        }
        for (point, fault) in tries {
            let root = scratch.root();
            let operation = journal::describe(&events, point);
            let what = format!("{engine}, {fault} {point} of {operations}: {operation}");
            let outcome = scratch.restore(&file, engine, &root, &orders(fault, point));
            let is_there = scratch.is_restored(engine, &root, &what);
            match outcome.end {
                End::Exit(0) => assert!(is_there, "{what}"),
                End::Exit(_) | End::Killed => {}
                end => panic!("{what}: {end:?}"),
            }
            let again = scratch.restore(&file, engine, &root, &Orders::default());
            let expected = if is_there { 4 } else { 0 };
            assert_eq!(again.end, End::Exit(expected), "{what}: {}", again.said);
            assert!(scratch.is_restored(engine, &root, &what), "{what}");
            assert_eq!(names(&root), ["store"], "{what}");
            std::fs::remove_dir_all(root).unwrap();
        }
    }
}
