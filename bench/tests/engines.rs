//! The comparison covers every engine that is compiled in. It says nothing about how fast they are.

use std::cell::RefCell;
use std::time::Duration;

use durum_bench::{Settings, Workload, compare, page};

/// Everything that needs no other process.
fn tiny() -> Settings {
    let alone = |workload: &Workload| {
        !matches!(
            workload,
            Workload::MigrateIn | Workload::MigrateOut | Workload::OpenKilled
        )
    };
    Settings {
        workloads: Workload::ALL.into_iter().filter(alone).collect(),
        objects: vec![40, 300],
        rounds: 2,
        commit_time: Duration::ZERO,
        load_time: Duration::ZERO,
        raw: true,
        memory: false,
        ..Settings::full()
    }
}

#[test]
fn every_engine_is_measured_at_every_workload_and_nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let registry = durum_backends::registry().in_directories();
    let lines = RefCell::new(Vec::new());
    let tell = |line: &str| lines.borrow_mut().push(line.to_owned());
    let settings = tiny();
    let comparison = compare(&registry, directory.path(), &settings, &tell).unwrap();

    let found: Vec<_> = comparison
        .rows
        .iter()
        .map(|row| (row.objects, row.engine.as_str(), row.workload))
        .collect();
    let on_disk_only = [Workload::Open, Workload::LoadCold];
    let mut expected = Vec::new();
    for objects in &settings.objects {
        for name in registry.names() {
            let persistent = registry.get(name).unwrap().capabilities().persistent;
            for workload in Workload::ALL {
                let possible = persistent || !on_disk_only.contains(&workload);
                if possible && settings.workloads.contains(&workload) {
                    expected.push((*objects, name, workload));
                }
            }
        }
    }
    expected.push((0, "disk", Workload::Sync));
    assert_eq!(found, expected);
    for row in comparison.rows.iter().filter(|row| row.objects > 0) {
        assert!(
            row.per_second.is_finite() && row.per_second > 0.0,
            "{row:?}"
        );
        assert!(row.spread.is_finite() && row.spread >= 0.0, "{row:?}");
        let capabilities = registry.get(&row.engine).unwrap().capabilities();
        let best = capabilities.durability.last().copied();
        assert_eq!(
            row.durability,
            best.filter(|_| row.workload.is_durable()),
            "{row:?}"
        );
        let on_disk = capabilities.persistent && row.workload == Workload::Import;
        assert_eq!(
            row.disk_bytes.is_some_and(|bytes| bytes > 0),
            on_disk,
            "{row:?}"
        );
        let alone = capabilities.persistent;
        assert_eq!(row.raw_per_second.is_some(), alone, "{row:?}");
        assert!(!row.version.is_empty());
    }
    assert!(comparison.sync_per_second > 0.0);
    for store in comparison.stores.iter().filter(|it| it.engine != "memory") {
        assert!(store.live_bytes > store.live_bytes_left, "{store:?}");
        assert!(store.disk_loaded > Some(0) && store.raw_disk_loaded > Some(0));
        assert!(store.disk_collected > Some(0), "{store:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let mut order = registry.names();
    order.extend(registry.names().iter().rev());
    order.extend(order.clone());
    let named = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let told: Vec<String> = lines.borrow().iter().map(named).collect();
    assert_eq!(told, order, "the order alternates");
    check_page(&page(&comparison));
}

fn check_page(html: &str) {
    for (name, title) in [
        ("engines", "Engines compared"),
        ("advice", "Take "),
        ("bars", "Random loads, all cores"),
        ("curves", "<polyline"),
        ("growth", "Growth"),
    ] {
        assert!(html.contains(title), "{name}: {title}");
    }
    // It needs nothing from elsewhere.
    assert!(!html.contains("http") && !html.contains("NaN") && !html.contains("inf"));
}

#[test]
fn what_cannot_be_measured_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let registry = durum_backends::registry().in_directories();
    let error = compare(&registry, &missing, &tiny(), &|_| {}).unwrap_err();
    assert_eq!(error.path(), Some(missing.as_path()));
    let settings = Settings {
        engines: vec!["lmdp".to_owned()],
        ..tiny()
    };
    let error = compare(&registry, directory.path(), &settings, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("lmdb"), "{error}");
}
