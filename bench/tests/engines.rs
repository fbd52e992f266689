//! The comparison covers every engine that is compiled in. It says nothing about how fast they are.

use std::cell::RefCell;
use std::time::Duration;

use durum_bench::{Settings, Workload, compare};

const TINY: Settings = Settings {
    objects: 50,
    rounds: 2,
    commit_time: Duration::ZERO,
    load_time: Duration::ZERO,
};

#[test]
fn every_engine_is_measured_at_every_workload_and_nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let registry = durum_backends::registry();
    let lines = RefCell::new(Vec::new());
    let tell = |line: &str| lines.borrow_mut().push(line.to_owned());
    let comparison = compare(&registry, directory.path(), &TINY, &tell).unwrap();

    let found: Vec<_> = comparison
        .rows
        .iter()
        .map(|row| (row.engine.as_str(), row.workload))
        .collect();
    let workloads = [
        Workload::Import,
        Workload::Commit,
        Workload::Load,
        Workload::Scan,
    ];
    let expected: Vec<_> = registry
        .names()
        .into_iter()
        .flat_map(|name| workloads.map(|it| (name, it)))
        .collect();
    assert_eq!(found, expected);
    for row in &comparison.rows {
        assert!(
            row.per_second.is_finite() && row.per_second > 0.0,
            "{row:?}"
        );
        assert!(row.spread.is_finite() && row.spread >= 0.0, "{row:?}");
        let capabilities = registry.get(&row.engine).unwrap().capabilities();
        let writes = matches!(row.workload, Workload::Import | Workload::Commit);
        let best = capabilities.durability.last().copied();
        assert_eq!(row.durability, best.filter(|_| writes), "{row:?}");
        let on_disk = capabilities.persistent && row.workload == Workload::Import;
        assert_eq!(
            row.disk_bytes.is_some_and(|bytes| bytes > 0),
            on_disk,
            "{row:?}"
        );
    }
    assert!(comparison.sync_per_second > 0.0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let mut order = registry.names();
    order.extend(registry.names().iter().rev());
    let named = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let told: Vec<String> = lines.borrow().iter().map(named).collect();
    assert_eq!(told, order, "the order alternates");
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = compare(&durum_backends::registry(), &missing, &TINY, &|_| {})
        .map(drop)
        .unwrap_err();
    assert_eq!(error.path(), Some(missing.as_path()));
}
