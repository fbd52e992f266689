//! `durum bench dict` on engines; on nodes it is in `tests/nodes`. What is found is checked by the benchmark itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::kit::{Home, has_keys};

const ROW_KEYS: [&str; 12] = [
    "workload",
    "home",
    "count",
    "per_second",
    "unit",
    "spread",
    "rates",
    "timed",
    "latency",
    "peak_memory",
    "memory",
    "mapped",
];

/// How many each workload writes or finds of 237 dictionaries; `None` where it depends on what is drawn.
const COUNTS: [(&str, Option<u64>); 18] = [
    ("put-batches", Some(204)),
    ("put", Some(10)),
    ("put-at-once", Some(23)),
    ("update", Some(10)),
    ("update-at-once", Some(23)),
    ("update-batches", Some(23)),
    ("get", Some(237)),
    ("get-at-once", Some(237)),
    ("get-at", Some(23)),
    ("history", Some(46)),
    ("select-equal", None),
    ("select-range", None),
    ("select-prefix", Some(237)),
    ("select-many", None),
    ("all", Some(237)),
    ("delete", Some(10)),
    ("delete-batches", Some(23)),
    ("all-left", Some(204)),
];

#[test]
fn dictionaries_are_measured_on_engines() {
    let home = Home::new();
    let mut arguments = vec!["bench", "dict", "--engines", "lmdb,file", "--rounds", "2"];
    arguments.extend([
        "--dicts",
        "237",
        "--batch",
        "50",
        "--writers",
        "3",
        "--size",
        "30",
    ]);
    let report = home.json(&arguments);
    has_keys(
        &report,
        &[
            "rows",
            "stores",
            "dicts",
            "size",
            "batch",
            "writers",
            "cache",
            "sync_per_second",
            "seed",
            "rounds",
            "machine",
        ],
    );
    let mut found = BTreeSet::new();
    for row in report["rows"].as_array().unwrap() {
        check_row(row);
        found.insert(["home", "workload"].map(|key| row[key].as_str().unwrap()));
    }
    let homes = ["lmdb", "file"];
    let expected = homes
        .into_iter()
        .flat_map(|home| COUNTS.map(|(workload, _)| [home, workload]));
    assert_eq!(found, expected.collect());
    let stores = report["stores"].as_array().unwrap();
    let names: Vec<&str> = stores
        .iter()
        .map(|it| it["home"].as_str().unwrap())
        .collect();
    assert_eq!(names, homes);
    for store in stores {
        has_keys(store, &["home", "dicts", "disk_put", "disk_end", "nodes"]);
        assert!(store["disk_put"].as_u64() > Some(0), "{store}");
        assert_eq!(store["nodes"].as_array().unwrap().len(), 0);
    }
    assert_eq!(durum_testkit::names(&home.path(".")), Vec::<String>::new());
}

fn check_row(row: &Value) {
    has_keys(row, &ROW_KEYS);
    let is_this = |(name, _): &&(&str, Option<u64>)| row["workload"] == *name;
    let (_, count) = COUNTS.iter().find(is_this).unwrap();
    let counted = row["count"].as_u64().unwrap();
    assert!(count.is_none_or(|count| count == counted), "{row}");
    assert!(
        counted > 0 && row["per_second"].as_f64().unwrap() > 0.0,
        "{row}"
    );
    assert_eq!(row["rates"].as_array().unwrap().len(), 2, "{row}");
    assert!(row["latency"]["timed"].as_u64() >= Some(2), "{row}");
    if cfg!(target_os = "linux") {
        assert!(row["peak_memory"].as_u64() > Some(0), "{row}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let home = Home::new();
    for (arguments, hint) in [
        (&["--engines", "lmdp"][..], "lmdb"),
        (&["--engines", "memory"], "keeps nothing"),
        (&["--engines", "none"], "neither an engine nor a node"),
        (&["--on", "lmdb:here"], "garage:DIR"),
        (
            &["--nodes", "3", "--garage", "/bin/true"],
            "cargo install garage",
        ),
        (&["--garage", "/bin/true"], "--nodes"),
        (&["--dicts", "99"], "100"),
    ] {
        home.refused(
            &[&["bench", "dict", "--quick"], arguments].concat(),
            2,
            &[hint],
        );
    }
    home.refused(&["bench", "dict-part", "{}"], 2, &["missing field"]);
}
