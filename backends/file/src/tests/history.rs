//! Random histories with checkpoints, cleaning, closing and dying in them.

use std::path::Path;
use std::sync::Arc;

use durum_core::engine::{Durability, Engine, EngineSnapshot};

use super::model::{Model, TINY, apply, apply_to_model, check, dump, open, random_batch, seeded};
use crate::config::Config;
use crate::engine::FileEngine;
use crate::seam::memory::MemoryFileSystem;
use crate::seam::{FileSystem, RealFileSystem};

#[test]
fn equals_a_map_in_memory_with_tiny_segments() {
    let mut random = seeded(11);
    let fs = MemoryFileSystem::default();
    let mut engine = open(&fs, TINY).unwrap();
    let mut model = Model::new();
    for round in 0..1500 {
        let batch = random_batch(&mut random, 12, 300, 60);
        let durability = Durability::ALL[random.usize(..3)];
        apply(&engine, &batch, durability).unwrap();
        apply_to_model(&mut model, &batch);
        match random.u32(..40) {
            0 => {
                drop(engine);
                engine = open(&fs, TINY).unwrap();
            }
            // The process dies: nothing is closed, and what was written is still there.
            1 => {
                let left = fs.synced_copy();
                let survivor = open(&left, TINY).unwrap();
                check(&survivor, &model, &mut random);
            }
            2 => {
                engine.reclaim(1 << random.u32(9..15)).unwrap();
            }
            3 => engine.checkpoint().unwrap(),
            // The index is lost.
            4 => {
                let left = fs.synced_copy();
                left.remove(Path::new("/db/index/rows.idx")).unwrap();
                let rebuilt = open(&left, TINY).unwrap();
                check(&rebuilt, &model, &mut random);
            }
            _ => {}
        }
        if round % 25 == 0 {
            check(&engine, &model, &mut random);
        }
    }
    check(&engine, &model, &mut random);
}

#[test]
fn equals_a_map_on_the_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let mut random = seeded(12);
    let config = Config {
        segment_bytes: 16 << 10,
        checkpoint_bytes: 8 << 10,
    };
    let mut engine = FileEngine::open(&fs, dir.path(), config).unwrap();
    let mut model = Model::new();
    let mut kept: Vec<(Box<dyn EngineSnapshot>, Model)> = Vec::new();
    for round in 0..600 {
        let batch = random_batch(&mut random, 40, 600, 100);
        let durability = Durability::ALL[random.usize(..2)];
        apply(&engine, &batch, durability).unwrap();
        apply_to_model(&mut model, &batch);
        match random.u32(..30) {
            0 => {
                kept.clear();
                drop(engine);
                engine = FileEngine::open(&fs, dir.path(), config).unwrap();
            }
            1 | 2 => {
                engine.reclaim(1 << 15).unwrap();
            }
            3 => kept.push((engine.snapshot().unwrap(), model.clone())),
            4 if kept.len() > 4 => {
                let (snapshot, model) = kept.swap_remove(random.usize(..kept.len()));
                assert_eq!(dump(&*snapshot).unwrap(), model);
            }
            _ => {}
        }
        if round % 20 == 0 {
            check(&engine, &model, &mut random);
        }
    }
    for (snapshot, model) in kept {
        assert_eq!(dump(&*snapshot).unwrap(), model);
    }
}

#[test]
fn readers_see_whole_states_while_others_write() {
    use durum_core::engine::{Key, Op, Table};
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let engine = FileEngine::open(&fs, dir.path(), TINY).unwrap();
    let put_all = |round: u64| {
        let value = round.to_le_bytes();
        let put = |key| Op::Put {
            table: Table::Objects,
            key: Key::from(key),
            value: &value,
        };
        let ops: Vec<_> = (0..64).map(put).collect();
        engine.apply(&ops, Durability::Process).unwrap();
    };
    put_all(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..400 {
                        let found = dump(&*engine.snapshot().unwrap()).unwrap();
                        assert_eq!(found.len(), 64);
                        let first = found.values().next();
                        assert!(found.values().all(|value| Some(value) == first));
                    }
                })
            })
            .collect();
        for round in 1.. {
            put_all(round);
            if round % 7 == 0 {
                engine.reclaim(1 << 13).unwrap();
            }
            if readers
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                break;
            }
        }
    });
}
