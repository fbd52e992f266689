//! `durum bench`: every engine at every workload, alone and below Durum, with the processes that it needs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::kit::{Home, engines, has_keys};

const FEW: [&str; 6] = ["--quick", "--objects", "200", "--rounds", "1", "--raw"];

#[test]
fn every_engine_is_measured_beside_itself_alone() {
    let home = Home::new();
    let page = home.path("page.html");
    let mut arguments = vec!["bench"];
    arguments.extend(FEW);
    let text = page.to_str().unwrap();
    arguments.extend(["--html", text, "--seed", "3"]);
    let report = home.json(&arguments);
    has_keys(
        &report,
        &[
            "rows",
            "stores",
            "sync_per_second",
            "recommendation",
            "sizes",
            "seed",
            "machine",
        ],
    );
    assert_eq!(report["seed"], 3);
    check_rows(report["rows"].as_array().unwrap());
    check_stores(report["stores"].as_array().unwrap());
    let name = report["recommendation"]["engine"].as_str().unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains(&format!("Take {name}")) && html.ends_with("</html>\n"));
    let left: Vec<_> = std::fs::read_dir(home.path("")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the page: {left:?}");
}

fn check_rows(rows: &[Value]) {
    for row in rows {
        has_keys(
            row,
            &[
                "engine",
                "version",
                "workload",
                "objects",
                "per_second",
                "unit",
                "spread",
                "durability",
                "latency",
                "ratio_to_raw",
                "raw_per_second",
                "compared",
            ],
        );
        assert!(row["per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    let of = |engine: &str, key: &'static str| -> BTreeSet<&str> {
        let mine = rows.iter().filter(|row| row["engine"] == engine);
        mine.filter(|row| !row[key].is_null())
            .map(|row| row["workload"].as_str().unwrap())
            .collect()
    };
    let all = of("file", "per_second");
    for workload in [
        "import",
        "load",
        "load_cold",
        "commit_16_at_once",
        "update",
        "delete",
        "open",
        "open_killed",
        "migrate_in",
        "migrate_out",
    ] {
        assert!(all.contains(workload), "{workload}: {all:?}");
    }
    for engine in engines() {
        let (found, alone) = (
            of(engine.name, "per_second"),
            of(engine.name, "ratio_to_raw"),
        );
        if engine.persistent {
            assert_eq!(found, all, "{}", engine.name);
            assert!(
                alone.contains("load") && alone.contains("commit"),
                "{alone:?}"
            );
        } else {
            assert!(found.is_subset(&all) && alone.is_empty());
        }
    }
}

fn check_stores(stores: &[Value]) {
    for store in stores.iter().filter(|store| store["engine"] != "memory") {
        for key in [
            "disk_loaded",
            "disk_changed",
            "disk_collected",
            "raw_disk_loaded",
        ] {
            assert!(store[key].as_u64() > Some(0), "{key}: {store}");
        }
        if cfg!(target_os = "linux") {
            assert!(store["peak_memory"].as_u64() >= store["peak_anonymous"].as_u64());
            assert!(store["raw_peak_anonymous"].as_u64() > Some(0), "{store}");
        }
    }
}

#[test]
fn engines_and_workloads_can_be_chosen() {
    let home = Home::new();
    let few = [
        "--objects",
        "50,100",
        "--workloads",
        "scan,commit_10",
        "--rounds",
        "1",
    ];
    let report = home.json(&[&["bench", "memory", "--engines", "file"][..], &few].concat());
    let found: BTreeSet<(&str, u64, &str)> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap();
            (
                text("engine"),
                row["objects"].as_u64().unwrap(),
                text("workload"),
            )
        })
        .collect();
    let mut expected = BTreeSet::from([("disk", 0, "sync")]);
    for engine in ["memory", "file"] {
        for objects in [50, 100] {
            for workload in ["import", "scan", "commit_10"] {
                expected.insert((engine, objects, workload));
            }
        }
    }
    assert_eq!(found, expected);
    let text = home
        .run(&["bench", "file", "--quick", "--objects", "50"])
        .text();
    for part in [
        "50 objects each",
        "Durable commits of 10",
        "Take file",
        "On the disk",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("engine alone takes"), "{text}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let home = Home::new();
    let refused = |arguments: &[&str], hint: &str| {
        home.refused(&[&["bench"], arguments].concat(), 2, &[hint]);
    };
    refused(&["lmdp"], "lmdb");
    refused(&["--workloads", "dance"], "commit_10");
    refused(&["--objects", "0"], "1..");
    let page = home.path("no/page.html");
    // Before anything is measured.
    home.refused(
        &["bench", "--html", page.to_str().unwrap()],
        3,
        &["page.html"],
    );
    home.refused(
        &["bench", "commit", "file", "missing", "--objects", "20"],
        3,
        &["missing"],
    );
}

#[test]
fn oo7_counts_what_it_always_counts_on_every_engine() {
    let home = Home::new();
    let few = ["--operations", "t1,T8,insert,delete,q7", "--rounds", "1"];
    let report = home.json(&[&["bench", "oo7"][..], &few].concat());
    has_keys(&report, &["rows", "seed", "machine"]);
    let rows = report["rows"].as_array().unwrap();
    for engine in engines() {
        let mine: Vec<(&str, u64)> = rows
            .iter()
            .filter(|row| row["engine"] == engine.name)
            .map(|row| {
                has_keys(
                    row,
                    &["engine", "size", "operation", "cold_ms", "hot_ms", "visits"],
                );
                assert_eq!(row["size"], "small");
                assert!(row["cold_ms"].as_f64() > Some(0.0) && row["hot_ms"].as_f64() > Some(0.0));
                (
                    row["operation"].as_str().unwrap(),
                    row["visits"].as_u64().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("T1", 43_740),
            ("T8", 2632),
            ("insert", 5),
            ("delete", 5),
            ("Q7", 10_000),
        ];
        assert_eq!(mine, expected, "{}", engine.name);
    }
    home.refused(&["bench", "oo7", "--operations", "T5"], 2, &["T2a"]);
    home.refused(&["bench", "oo7", "--engines", "lmdp"], 2, &["lmdb"]);
    let text = home
        .run(&["bench", "oo7", "--engines", "memory", "--operations", "Q1"])
        .text();
    assert!(
        text.contains("memory cold") && text.contains("Q1"),
        "{text}"
    );
}
