//! Loss of power at every call, with every subset of what was not synced.

use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Durability, Engine, Key, Table};
use fastrand::Rng;

use super::model::{Batch, Model, TINY, apply, apply_to_model, dump, open, ops, random_batch};
use crate::config::Config;
use crate::seam::FileSystem;
use crate::seam::faulty::{Fault, FaultyFileSystem};
use crate::seam::memory::{MemoryFileSystem, Part};

/// Whether a history has values that are given up as soon as they are dead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Small,
    Large,
}

/// Commits until the plan stops it; returns the model after each commit that was begun (the first is
/// empty), and how many of them must survive.
fn run(
    fs: &FaultyFileSystem,
    random: &mut Rng,
    commits: usize,
    values: Values,
) -> (Vec<Model>, usize) {
    let mut states = vec![Model::new()];
    let mut promised = 0;
    let config = match values {
        Values::Small => TINY,
        // Several large values in a segment, and one that is larger.
        Values::Large => Config {
            segment_bytes: 300 << 10,
            ..TINY
        },
    };
    let Ok(engine) = open(fs, config) else {
        return (states, promised);
    };
    for _ in 0..commits {
        let mut batch = random_batch(random, 10, 60, 120);
        if values == Values::Large {
            let length = (64 << 10) + random.usize(..20 << 10);
            let large = (random.u32(..4) > 0).then(|| vec![random.u8(1..); length]);
            batch.insert((Table::Objects, Key::from(random.u64(..3))), large);
        }
        let mut model = states.last().unwrap().clone();
        apply_to_model(&mut model, &batch);
        states.push(model);
        let durability = if random.u32(..3) == 0 {
            Durability::Process
        } else {
            Durability::Power
        };
        if apply(&engine, &batch, durability).is_err() {
            break;
        }
        if durability == Durability::Power {
            promised = states.len() - 1;
        }
        let more = match random.u32(..10) {
            0 => engine.checkpoint(),
            1 | 2 => engine.reclaim(1 << random.u32(9..14)).map(|_| ()),
            _ => Ok(()),
        };
        if more.is_err() {
            break;
        }
    }
    (states, promised)
}

/// The parts of `count` unsynced changes to try: every subset where there are few, and each write torn
/// with all and with none of the others.
fn cases(count: usize, random: &mut Rng) -> Vec<Vec<Part>> {
    let mut cases = Vec::new();
    let part = |on: bool| if on { Part::All } else { Part::None };
    if count <= 10 {
        for mask in 0..1_usize << count {
            cases.push((0..count).map(|at| part(mask >> at & 1 == 1)).collect());
        }
    } else {
        for length in 0..=count {
            cases.push((0..count).map(|at| part(at < length)).collect());
        }
        for _ in 0..50 {
            cases.push((0..count).map(|_| part(random.bool())).collect());
        }
    }
    for torn in 0..count {
        for half in [Part::FirstHalf, Part::SecondHalf] {
            for others in [Part::All, Part::None] {
                let mut case = vec![others; count];
                case[torn] = half;
                cases.push(case);
            }
        }
    }
    cases
}

/// What is wrong with an image, if anything is: as it is, and without its index.
fn judge(image: &MemoryFileSystem, states: &[Model], promised: usize) -> Result<(), String> {
    let bare = image.synced_copy();
    judge_one(image, states, promised)?;
    if bare.remove(Path::new("/db/index/rows.idx")).is_ok() {
        judge_one(&bare, states, promised).map_err(|error| format!("without index: {error}"))?;
    }
    Ok(())
}

fn judge_one(image: &MemoryFileSystem, states: &[Model], promised: usize) -> Result<(), String> {
    let engine = open(image, TINY).map_err(|error| format!("does not open: {error}"))?;
    let found = dump(&*engine.snapshot().unwrap()).map_err(|error| error.to_string())?;
    let Some(reached) = states.iter().rposition(|model| *model == found) else {
        return Err("shows a state that never was".to_owned());
    };
    if reached < promised {
        return Err(format!("shows commit {reached} of {promised}"));
    }
    // And it can be written on: the same again after one more commit and a clean end.
    let mut model = found;
    let batch = random_batch(&mut Rng::with_seed(1), 5, 60, 50);
    engine
        .apply(&ops(&batch), Durability::Power)
        .map_err(|error| format!("cannot be written: {error}"))?;
    apply_to_model(&mut model, &batch);
    let killed = open(&image.synced_copy(), TINY).map_err(|error| format!("again: {error}"))?;
    if dump(&*killed.snapshot().unwrap()).unwrap() != model {
        return Err("loses what is written after recovery".to_owned());
    }
    Ok(())
}

/// Runs a history up to each call in turn; returns how many images were tried, and the first complaint.
fn lose_power_everywhere(
    seed: u64,
    commits: usize,
    step: usize,
    fault: Fault,
    values: Values,
) -> (usize, Option<String>) {
    let mut images = 0;
    let mut random = Rng::with_seed(seed + 1);
    for call in (seed as usize % step..).step_by(step) {
        let disk = MemoryFileSystem::default();
        let under: Arc<dyn FileSystem> = match fault {
            Fault::IgnoreSyncs => Arc::new(FaultyFileSystem::new(Arc::new(disk.clone()), fault, 0)),
            _ => Arc::new(disk.clone()),
        };
        let fs = FaultyFileSystem::new(under, Fault::Stop, call);
        let (states, promised) = run(&fs, &mut Rng::with_seed(seed), commits, values);
        if !fs.failed() {
            assert!(values == Values::Small || disk.punched() > 0);
            break;
        }
        for case in cases(disk.unsynced(), &mut random) {
            images += 1;
            let image = disk.image(|at| case[at]);
            if let Err(complaint) = judge(&image, &states, promised) {
                return (images, Some(format!("call {call}, {case:?}: {complaint}")));
            }
        }
    }
    (images, None)
}

#[test]
fn no_acknowledged_commit_is_lost() {
    let mut images = 0;
    for seed in 0..3 {
        let (tried, complaint) = lose_power_everywhere(seed, 24, 1, Fault::Stop, Values::Small);
        assert_eq!(complaint, None, "seed {seed}");
        images += tried;
    }
    println!("{images} images");
    assert!(images > 1000);
}

/// Longer histories, in which more is cleaned; calls by sample. `DURUM_TEST_ROUNDS` makes it a soak.
#[test]
fn no_acknowledged_commit_is_lost_in_longer_histories() {
    let rounds = std::env::var("DURUM_TEST_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    for seed in 100..100 + rounds {
        let (images, complaint) = lose_power_everywhere(seed, 150, 307, Fault::Stop, Values::Small);
        println!("seed {seed}: {images} images");
        assert_eq!(complaint, None, "seed {seed}");
    }
}

/// Values are torn in every way, when they are written and when they are given up.
#[test]
fn no_acknowledged_commit_is_lost_with_large_values() {
    let rounds = std::env::var("DURUM_TEST_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    for seed in 200..200 + rounds {
        let (images, complaint) = lose_power_everywhere(seed, 30, 3, Fault::Stop, Values::Large);
        println!("seed {seed}: {images} images");
        assert_eq!(complaint, None, "seed {seed}");
        assert!(images > 300);
    }
}

#[test]
fn power_may_go_while_space_is_given_back() {
    let start = MemoryFileSystem::default();
    let engine = open(&start, TINY).unwrap();
    let mut model = Model::new();
    for keys in [0..1500, 0..2900, 1500..4000] {
        // Puts, then deletes of most of them.
        let row = |key: u64| (Table::Objects, Key::from(key));
        let value = |key: u64| (key >= 4000 || model.is_empty()).then(|| vec![key as u8; 9]);
        let batch: Batch = keys.map(|key| (row(key), value(key))).collect();
        apply(&engine, &batch, Durability::Power).unwrap();
        apply_to_model(&mut model, &batch);
        engine.checkpoint().unwrap();
        if model.len() == 1500 {
            let more: Batch = (1500..4100)
                .map(|key| (row(key), Some(vec![1; 9])))
                .collect();
            apply(&engine, &more, Durability::Power).unwrap();
            apply_to_model(&mut model, &more);
        }
    }
    drop(engine);
    let (mut images, mut random) = (0, Rng::with_seed(1));
    let pages = |fs: &MemoryFileSystem| {
        let index = fs.open(Path::new("/db/index/rows.idx")).unwrap();
        index.len().unwrap() / 4096
    };
    let before = pages(&start);
    for call in (3..).step_by(37) {
        let disk = start.synced_copy();
        let fs = FaultyFileSystem::new(Arc::new(disk.clone()), Fault::Stop, call);
        let given_back = open(&fs, TINY).and_then(|engine| {
            while engine.reclaim(1 << 16)?.more {}
            Ok(())
        });
        if given_back.is_ok() {
            assert!(
                pages(&disk) < before,
                "{before} pages became {}",
                pages(&disk)
            );
            break;
        }
        for case in cases(disk.unsynced(), &mut random) {
            images += 1;
            let complaint = judge(&disk.image(|at| case[at]), std::slice::from_ref(&model), 0);
            assert_eq!(complaint, Ok(()), "call {call}, {case:?}");
        }
    }
    println!("{images} images");
    assert!(images > 20, "{images}");
}

#[test]
fn the_control_that_ignores_syncs_fails() {
    let (_, complaint) = lose_power_everywhere(0, 24, 1, Fault::IgnoreSyncs, Values::Small);
    assert!(complaint.is_some());
}
