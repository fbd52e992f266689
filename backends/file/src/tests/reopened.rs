//! The process ends, or a sync fails, and the same machine goes on: the next process finds in the
//! system's cache what may be nowhere else. Then the power is lost.

use std::sync::Arc;

use durum_core::engine::{Durability, Engine};
use fastrand::Rng;

use super::model::{Model, TINY, apply, apply_to_model, dump, open, random_batch};
use crate::seam::FileSystem;
use crate::seam::faulty::{Fault, FaultyFileSystem};
use crate::seam::memory::{MemoryFileSystem, Part};

/// What stops the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It is killed before this call.
    Kill(usize),
    /// A sync fails after so many others.
    FailedSync(usize),
}

/// Commits until something fails or the number is reached; what the engine holds then, unless the
/// outcome of the last one is uncertain, in which case both states are returned.
fn commit_some(
    fs: &(impl FileSystem + Clone + 'static),
    random: &mut Rng,
    mut model: Model,
    commits: usize,
) -> Vec<Model> {
    let Ok(engine) = open(fs, TINY) else {
        return vec![model];
    };
    for _ in 0..commits {
        let batch = random_batch(random, 10, 60, 120);
        let durability = [Durability::Process, Durability::Power][random.usize(..2)];
        let mut after = model.clone();
        apply_to_model(&mut after, &batch);
        if apply(&engine, &batch, durability).is_err() {
            return vec![model, after];
        }
        model = after;
        let more = match random.u32(..8) {
            0 => engine.checkpoint(),
            1 | 2 => engine.reclaim(1 << random.u32(9..14)).map(|_| ()),
            _ => Ok(()),
        };
        if more.is_err() {
            break;
        }
    }
    vec![model]
}

/// Lets one process stop and another go on, and takes the power away when what that one committed is
/// acknowledged as durable. Returns whether the stop came before the first one's end.
fn go_on_after(seed: u64, stop: Stop) -> bool {
    let disk = MemoryFileSystem::default();
    let mut random = Rng::with_seed(seed);
    let (stopped, possible) = match stop {
        Stop::Kill(call) => {
            let fs = FaultyFileSystem::new(Arc::new(disk.clone()), Fault::Stop, call);
            let possible = commit_some(&fs, &mut random, Model::new(), 30);
            (fs.failed(), possible)
        }
        Stop::FailedSync(after) => {
            disk.fail_sync(after);
            let possible = commit_some(&disk, &mut random, Model::new(), 30);
            (disk.mend_syncs(), possible)
        }
    };
    let engine = open(&disk, TINY).unwrap_or_else(|error| panic!("seed {seed}, {stop:?}: {error}"));
    let mut model = dump(&*engine.snapshot().unwrap()).unwrap();
    assert!(possible.contains(&model), "seed {seed}, {stop:?}");
    for last in [false, false, true] {
        let batch = random_batch(&mut random, 10, 60, 120);
        apply(&engine, &batch, Durability::Power).unwrap();
        apply_to_model(&mut model, &batch);
        let image = disk.image(|_| Part::None);
        let found = open(&image, TINY).and_then(|engine| dump(&*engine.snapshot()?));
        let found = found.unwrap_or_else(|error| panic!("seed {seed}, {stop:?}: {error}"));
        assert!(found == model, "seed {seed}, {stop:?}: lost");
        if !last {
            engine.reclaim(1 << 20).unwrap();
            engine.checkpoint().unwrap();
        }
    }
    stopped
}

#[test]
fn what_a_killed_process_left_unsynced_is_durable_with_the_next_commit() {
    for seed in 0..4 {
        let calls = (1..).take_while(|call| go_on_after(seed, Stop::Kill(*call)));
        assert!(calls.count() > 100);
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_durable_with_the_next_commit() {
    for seed in 0..8 {
        let syncs = (0..).take_while(|after| go_on_after(seed, Stop::FailedSync(*after)));
        assert!(syncs.count() > 20);
    }
}
