//! Every call fails in turn.

use std::sync::Arc;

use durum_core::ErrorKind;
use durum_core::engine::{Durability, Engine};
use fastrand::Rng;

use super::model::{Model, TINY, apply, apply_to_model, dump, open, random_batch};
use crate::seam::faulty::{Fault, FaultyFileSystem};
use crate::seam::memory::MemoryFileSystem;

/// Commits through the fault; returns whether it happened.
fn survive(seed: u64, fault: Fault, call: usize) -> bool {
    let disk = MemoryFileSystem::default();
    let fs = FaultyFileSystem::new(Arc::new(disk.clone()), fault, call);
    let mut random = Rng::with_seed(seed);
    let mut model = Model::new();
    let Ok(engine) = open(&fs, TINY) else {
        // A database that could not be made can be made after all.
        open(&disk.synced_copy(), TINY).unwrap();
        return true;
    };
    // States that may be found after a failure with an uncertain outcome.
    let mut possible = None;
    for _ in 0..30 {
        let batch = random_batch(&mut random, 10, 60, 150);
        let mut after = model.clone();
        apply_to_model(&mut after, &batch);
        let mut result = apply(&engine, &batch, Durability::Power);
        let full = |error: &durum_core::Error| error.kind() == ErrorKind::Full;
        if result.as_ref().is_err_and(full) {
            assert_eq!(dump(&*engine.snapshot().unwrap()).unwrap(), model);
            result = apply(&engine, &batch, Durability::Power);
            assert!(result.is_ok(), "{fault:?} at {call}: {result:?} after Full");
        }
        if result.is_err() {
            possible = Some(after);
            break;
        }
        model = after;
        if random.u32(..6) == 0 && engine.reclaim(1 << 13).is_err_and(|error| !full(&error)) {
            break;
        }
    }
    let failed = fs.failed();
    drop(engine);
    for left in [
        disk.synced_copy(),
        disk.image(|_| crate::seam::memory::Part::None),
    ] {
        let engine = open(&left, TINY).unwrap_or_else(|error| panic!("{fault:?} {call}: {error}"));
        let found = dump(&*engine.snapshot().unwrap()).unwrap();
        assert!(
            found == model || Some(&found) == possible.as_ref(),
            "{fault:?} at {call}"
        );
    }
    failed
}

#[test]
fn every_call_may_find_a_full_disk() {
    for seed in 0..3 {
        assert!(survive(seed, Fault::Full, 20));
        for call in (0..).take_while(|call| survive(seed, Fault::Full, *call)) {
            let _ = call;
        }
    }
}

#[test]
fn every_call_may_fail() {
    for seed in 0..2 {
        assert!(survive(seed, Fault::Broken, 20));
        let calls = (0..).take_while(|call| survive(seed, Fault::Broken, *call));
        assert!(calls.count() > 100);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let batch = random_batch(&mut Rng::with_seed(5), 10, 60, 150);
    let mut refused = 0;
    for call in 8..40 {
        let disk = MemoryFileSystem::default();
        let fs = FaultyFileSystem::new(Arc::new(disk.clone()), Fault::Broken, call);
        let Ok(engine) = open(&fs, TINY) else {
            continue;
        };
        let mut results = (0..20).map(|_| apply(&engine, &batch, Durability::Power));
        if results.any(|result| result.is_err()) {
            let error = apply(&engine, &batch, Durability::Power).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Poisoned);
            assert_eq!(engine.sync().unwrap_err().kind(), ErrorKind::Poisoned);
            refused += 1;
        }
    }
    assert!(refused > 0);
}
