//! The workloads make the garbage that they say, and nothing but that is collected.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use durum_core::engine::Backend;
use durum_core::store::{Collection, Store as _};
use durum_core::{Oid, collect::Budget};
use fastrand::Rng;

use super::plan::Plan;
use super::suite::{self, Kind};
use super::template::{Subject, Template};
use super::{GcSettings, row::GcRow, run};

const ALL_AT_ONCE: Collection = Collection {
    commit: Budget::UNLIMITED,
    worker: None,
    reclaim: false,
};

fn memory() -> Arc<dyn Backend> {
    durum_backends::registry().get("memory").unwrap()
}

fn contents(subject: &Subject) -> BTreeMap<Oid, Vec<Oid>> {
    let snapshot = subject.store.snapshot().unwrap();
    let mut scan = snapshot.scan(Oid::ROOT).unwrap();
    let mut found = BTreeMap::new();
    while let Some(record) = scan.next().unwrap() {
        found.insert(record.oid, record.refs().collect());
    }
    found
}

#[test]
fn every_graph_is_reachable_and_about_as_large_as_asked() {
    let settings = GcSettings::quick();
    for entry in &suite::ALL {
        for objects in [300, 3000] {
            let (graph, _) = suite::build(entry, objects, &settings);
            let template = Template::build(&memory(), Path::new("."), &graph).unwrap();
            let subject = template.open(ALL_AT_ONCE).unwrap();
            let reached = Plan::new(&graph, &subject.store).reached();
            assert_eq!(reached.len() as u64, graph.len(), "{}", entry.name);
            assert_eq!(contents(&subject), reached, "{}", entry.name);
            let most = (objects * 2).max(2500);
            assert!((objects / 2..most).contains(&graph.len()), "{}", entry.name);
        }
    }
}

#[test]
fn each_commit_collects_what_it_cut_off_and_leaves_what_the_root_reaches() {
    let settings = GcSettings::quick();
    for entry in &suite::ALL {
        let (graph, kind) = suite::build(entry, 2000, &settings);
        let Kind::Steps(mut workload) = kind else {
            continue;
        };
        let template = Template::build(&memory(), Path::new("."), &graph).unwrap();
        let subject = template.open(ALL_AT_ONCE).unwrap();
        let mut plan = Plan::new(&graph, &subject.store);
        let mut draw = Rng::with_seed(7);
        let (mut steps, mut collected) = (0, 0);
        while steps < 30 && workload.step(&mut plan, &mut draw).unwrap() {
            let step = plan.take();
            let receipt = subject.commit(step.batch).unwrap();
            let reached = plan.reached();
            let left = contents(&subject);
            assert_eq!(left, reached, "{} after {steps} steps", entry.name);
            if let Some(garbage) = step.garbage {
                assert_eq!(receipt.collected.objects, garbage, "{}", entry.name);
            }
            collected += receipt.collected.objects;
            steps += 1;
        }
        assert!(steps >= 10, "{}: {steps}", entry.name);
        let garbage = ["oo7", "tree-drop", "list", "digraph", "replace"];
        let expected = garbage.iter().any(|name| entry.name.starts_with(name));
        assert_eq!(collected > 0, expected, "{}", entry.name);
    }
}

#[test]
fn counts_depend_on_the_seed_alone() {
    let registry = durum_backends::registry();
    let directory = tempfile::tempdir().unwrap();
    let counts = |row: &GcRow| {
        let reads = (row.reads_mean, row.reads_max, row.engine_reads_mean);
        let bytes = (row.bytes_per_commit, row.bytes_ratio, row.collected);
        (row.workload, reads, bytes, row.climb_max)
    };
    let measure = |seed| {
        let settings = GcSettings {
            engines: vec!["memory".to_owned()],
            workloads: ["oo7-small", "tree-move", "share"]
                .map(str::to_owned)
                .to_vec(),
            sizes: vec![1000],
            commits: 10,
            seed,
            ..GcSettings::quick()
        };
        let report = run(&registry, directory.path(), &settings, &|_| {}).unwrap();
        assert_eq!(report.seed, seed);
        report.rows.iter().map(counts).collect::<Vec<_>>()
    };
    assert_eq!(measure(1), measure(1));
    assert_ne!(measure(1), measure(2));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn unknown_names_are_refused() {
    let registry = durum_backends::registry();
    let refused = |engine: &str, workload: &str| {
        let settings = GcSettings {
            engines: vec![engine.to_owned()],
            workloads: vec![workload.to_owned()],
            ..GcSettings::quick()
        };
        let error = run(&registry, Path::new("."), &settings, &|_| {}).unwrap_err();
        error.to_string()
    };
    assert!(refused("lmbd", "cycle").contains("lmbd"));
    assert!(refused("memory", "cycel").contains("cycel"));
}
