//! Damaged files: an error or the right data, never wrong data and never a panic.

use std::path::Path;

use durum_core::ErrorKind;
use durum_core::engine::{Durability, Engine, Key, Table};
use fastrand::Rng;

use super::model::{Model, TINY, apply, apply_to_model, dump, open, random_batch, seeded};
use crate::config::Config;
use crate::seam::FileSystem;
use crate::seam::memory::MemoryFileSystem;

/// A database of several segments, cleanly closed.
fn prepared() -> (MemoryFileSystem, Model) {
    let mut random = Rng::with_seed(3);
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, TINY).unwrap();
    let mut model = Model::new();
    for round in 0..60 {
        let batch = random_batch(&mut random, 10, 80, 80);
        apply(&engine, &batch, Durability::Power).unwrap();
        apply_to_model(&mut model, &batch);
        if round % 9 == 0 {
            engine.reclaim(1 << 13).unwrap();
        }
    }
    drop(engine);
    (fs, model)
}

/// Whether damage was noticed; panics where wrong data is shown.
fn noticed(fs: &MemoryFileSystem, model: &Model, what: &str) -> bool {
    let found = open(fs, TINY).and_then(|engine| dump(&*engine.snapshot()?));
    match found {
        Ok(found) => {
            assert!(found == *model, "{what}: wrong data");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
            true
        }
    }
}

#[test]
fn flipped_bytes_are_noticed_or_harmless() {
    let mut random = seeded(21);
    let (fs, model) = prepared();
    let mut count = 0;
    for path in fs.paths() {
        let bytes = fs.open(&path).unwrap().len().unwrap() as usize;
        // Every byte of the first pages and of one segment, a sample of the rest.
        for at in 0..bytes {
            if at % 4096 >= 96 && random.u32(..8) > 0 {
                continue;
            }
            let copy = fs.synced_copy();
            copy.damage(&path, |bytes| bytes[at] ^= 1 << random.u32(..8));
            count += usize::from(noticed(&copy, &model, &format!("{path:?} byte {at}")));
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn cut_and_missing_files_are_noticed_or_rebuilt() {
    let mut random = seeded(22);
    let (fs, model) = prepared();
    for path in fs.paths() {
        let log = path.extension().is_some_and(|extension| extension == "seg");
        let copy = fs.synced_copy();
        copy.remove(&path).unwrap();
        assert_eq!(noticed(&copy, &model, &format!("{path:?} missing")), log);
        let bytes = fs.open(&path).unwrap().len().unwrap() as usize;
        for _ in 0..20 {
            let copy = fs.synced_copy();
            let length = random.usize(..bytes);
            copy.damage(&path, |bytes| bytes.truncate(length));
            noticed(&copy, &model, &format!("{path:?} cut to {length}"));
        }
    }
}

#[test]
fn damage_before_the_end_of_the_log_is_no_torn_end() {
    // A process died; the log's end is in no index. Its last frame cannot be told from one that was
    // being written, so that one is left out.
    let config = Config {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 1 << 20,
    };
    let fs = MemoryFileSystem::default();
    let live = open(&fs, config).unwrap();
    let head = Path::new("/db/log/00000001.seg");
    let mut model = Model::new();
    for seed in 0..6 {
        let batch = random_batch(&mut Rng::with_seed(seed), 3, 80, 20);
        apply(&live, &batch, Durability::Power).unwrap();
        apply_to_model(&mut model, &batch);
    }
    let killed = fs.synced_copy();
    assert!(!noticed(&killed.synced_copy(), &model, "undamaged"));
    let log = fs.open(head).unwrap();
    let mut bytes = vec![0; log.len().unwrap() as usize];
    log.read_at(&mut bytes, 0).unwrap();
    let mut starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"DFRM"));
    let last = starts.next_back().unwrap();
    for at in 32..last {
        let padding = bytes[at] == 0;
        let copy = killed.synced_copy();
        copy.damage(head, |bytes| bytes[at] ^= 0x10);
        let seen = noticed(&copy, &model, &format!("byte {at}"));
        assert!(seen || padding, "byte {at}");
        // Zeros and a cut are damage too, where a later frame says so.
        let copy = killed.synced_copy();
        copy.damage(head, |bytes| bytes[at..last].fill(0));
        let seen = noticed(&copy, &model, &format!("zeros from {at}"));
        assert!(seen || bytes[at..last].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_is_torn_at_the_end_is_dropped_and_nothing_before_it() {
    let fs = MemoryFileSystem::default();
    let live = open(&fs, TINY).unwrap();
    let head = Path::new("/db/log/00000001.seg");
    let mut random = Rng::with_seed(9);
    let batch = random_batch(&mut random, 3, 80, 20);
    apply(&live, &batch, Durability::Power).unwrap();
    let mut model = Model::new();
    apply_to_model(&mut model, &batch);
    let before = fs.synced_copy();
    apply(
        &live,
        &random_batch(&mut random, 3, 80, 20),
        Durability::Process,
    )
    .unwrap();
    let after = fs.synced_copy();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    before.damage(head, |bytes| old.clone_from(bytes));
    after.damage(head, |bytes| new.clone_from(bytes));
    let start = (0..new.len())
        .find(|at| old.get(*at) != new.get(*at))
        .unwrap();
    let end = (0..new.len())
        .rposition(|at| old.get(at) != new.get(at))
        .unwrap();
    for length in start..end {
        let torn = before.synced_copy();
        torn.damage(head, |bytes| {
            bytes.resize(new.len().max(bytes.len()), 0);
            bytes[start..length].copy_from_slice(&new[start..length]);
        });
        assert!(!noticed(&torn, &model, &format!("torn at {length}")));
    }
}

/// A database of which nearly everything was deleted, and nothing of that given back.
fn mostly_dead(config: Config) -> MemoryFileSystem {
    const COUNT: u64 = 5000;
    let fs = MemoryFileSystem::default();
    let engine = open(&fs, config).unwrap();
    let object = |key| (Table::Objects, Key::from(key));
    for start in (0..COUNT).step_by(20) {
        let puts = (start..start + 20).map(|key| (object(key), Some(vec![7; 50])));
        apply(&engine, &puts.collect(), Durability::Process).unwrap();
    }
    engine.checkpoint().unwrap();
    for start in (0..COUNT).step_by(20) {
        let deletes = (start + 1..start + 20).map(|key| (object(key), None));
        apply(&engine, &deletes.collect(), Durability::Process).unwrap();
    }
    drop(engine);
    fs
}

fn segments(fs: &MemoryFileSystem) -> Vec<std::path::PathBuf> {
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "seg");
    fs.paths().into_iter().filter(is_segment).collect()
}

/// Gives space back until there is no more; the errors, of which none comes twice.
fn reclaim_all(engine: &dyn Engine) -> Vec<String> {
    let mut errors = Vec::new();
    loop {
        match engine.reclaim(1 << 13) {
            Ok(done) if !done.more => return errors,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                assert!(!errors.contains(&error.to_string()), "again: {error}");
                errors.push(error.to_string());
            }
        }
    }
}

#[test]
fn damaged_segments_do_not_keep_others_from_being_given_back() {
    let fs = mostly_dead(TINY);
    let engine = open(&fs, TINY).unwrap();
    let before = segments(&fs);
    let damaged = [&before[3], &before[7], &before[8]];
    for path in damaged {
        fs.damage(path, |bytes| bytes[2000] ^= 1);
    }
    assert_eq!(reclaim_all(&engine).len(), damaged.len());
    let after = segments(&fs);
    assert!(after.len() < before.len() / 2, "{} left", after.len());
    assert!(damaged.iter().all(|path| after.contains(path)));
    engine.apply(&[], Durability::Power).unwrap();
}

#[test]
fn a_damaged_page_of_the_index_is_left_where_it_is_and_ends_no_writing() {
    // Few checkpoints, so that what is left comes to lie behind what was.
    let config = Config {
        checkpoint_bytes: 1 << 20,
        ..TINY
    };
    let fs = mostly_dead(config);
    let index = Path::new("/db/index/rows.idx");
    let pages = fs.open(index).unwrap().len().unwrap() as usize / 4096;
    let mut met = 0;
    for page in 2..pages {
        let copy = fs.synced_copy();
        let engine = open(&copy, config).unwrap();
        copy.damage(index, |bytes| bytes[page * 4096 + 100] ^= 1);
        let first = engine.reclaim(0);
        if first.is_ok() {
            continue;
        }
        met += 1;
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Damaged);
        engine.apply(&[], Durability::Power).unwrap();
        assert_eq!(engine.reclaim(0).unwrap().bytes, 0);
    }
    assert!(met > 0, "of {pages} pages");
}
