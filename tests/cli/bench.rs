//! `durum bench`: what has to be so on every machine. Times are not looked at.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kit::{Home, engines, has_keys};

/// What every row has, whether it applies to the workload or not.
const KEYS: [&str; 14] = [
    "engine",
    "workload",
    "objects",
    "commits",
    "collected",
    "reads_mean",
    "reads_p50",
    "reads_p99",
    "reads_max",
    "reads_per_garbage",
    "pause_ms_p99",
    "age_commits_max",
    "bytes_ratio",
    "gone_ms",
];

fn rows<'a>(report: &'a Value, workload: &str) -> Vec<&'a Value> {
    let rows = report["rows"].as_array().unwrap().iter();
    let found: Vec<&Value> = rows.filter(|row| row["workload"] == workload).collect();
    assert_eq!(found.len(), 2, "{workload}: two sizes");
    assert!(found[0]["objects"].as_u64() < found[1]["objects"].as_u64());
    found
}

#[test]
fn the_cost_of_collection_is_counted() {
    let home = Home::new();
    let arguments = ["bench", "gc", "--quick", "--engines", "memory"];
    let report = home.json(&arguments);
    has_keys(&report, &["rows", "seed", "machine"]);
    for row in report["rows"].as_array().unwrap() {
        has_keys(row, &KEYS);
        assert_eq!(row["engine"], "memory");
    }
    // A composite part of 20 atomic ones is 82 objects: collected in its own commit, and as cheaply
    // in a large graph as in a small one.
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{row}"));
    let reads = rows(&report, "oo7-small").into_iter().map(|row| {
        let commits = row["commits"].as_u64().unwrap();
        assert_eq!(row["collected"], json!(82 * commits), "{row}");
        assert_eq!(row["age_commits_max"], 0, "{row}");
        let reads = number(row, "reads_per_garbage");
        assert!(
            reads >= 1.0 && reads <= 3.0 * (1.0 + number(row, "degree")),
            "{row}"
        );
        assert!(number(row, "reads_p50") <= number(row, "reads_p99"));
        assert!(number(row, "reads_p99") <= number(row, "reads_max"));
        reads
    });
    let reads: Vec<f64> = reads.collect();
    assert!((reads[0] - reads[1]).abs() < 0.5, "{reads:?}");
    // What makes no garbage and no second referrer is written as if there were no collector.
    for workload in ["update", "insert"] {
        for row in rows(&report, workload) {
            assert_eq!(
                (&row["collected"], &row["bytes_ratio"]),
                (&json!(0), &json!(1.0)),
                "{row}"
            );
        }
    }
    for workload in ["folder", "cycle"] {
        for row in rows(&report, workload) {
            assert_eq!(row["collected"], row["garbage"], "{row}");
            assert!(number(row, "reads_per_garbage") >= 1.0, "{row}");
            assert!(row["gone_ms"].is_number() && row["reads_p99"].is_null());
        }
    }
}

#[test]
fn the_table_names_what_was_measured() {
    let home = Home::new();
    let arguments = [
        "bench",
        "gc",
        "--engines",
        "memory",
        "--objects",
        "500,1000",
    ];
    let chosen = ["--workloads", "share,cycle", "--seed", "5", "--quick"];
    let text = home.run(&[&arguments[..], &chosen[..]].concat()).text();
    for part in ["Seed 5", "share", "cycle", "memory", "reads mean", "gone"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("churn"), "{text}");
}

#[test]
fn unknown_engines_and_workloads_are_refused() {
    let home = Home::new();
    let refused = |arguments: &[&str], hint: &str| {
        home.refused(
            &[&["bench", "gc", "--quick"], arguments].concat(),
            2,
            &[hint],
        );
    };
    refused(&["--engines", "lmdp"], "lmdb");
    refused(&["--workloads", "cycles"], "cycle");
    refused(&["--objects", "3"], "16");
    refused(&["--objects", "many"], "many");
}

/// `durum bench migrate`: every pair of engines, the same objects everywhere, and memory where the system
/// tells of it.
#[test]
fn migrations_between_all_engines_are_measured() {
    let home = Home::new();
    let report = home.json(&["bench", "migrate", "--quick"]);
    has_keys(
        &report,
        &["rows", "loads", "size", "verify", "seed", "machine"],
    );
    let names: BTreeSet<&str> = engines()
        .iter()
        .filter(|engine| engine.persistent)
        .map(|engine| engine.name)
        .collect();
    let rows = report["rows"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let pairs = rows
        .iter()
        .map(|row| (text(row, "source"), text(row, "destination")));
    let pairs: BTreeSet<(String, String)> = pairs.collect();
    assert_eq!(
        (pairs.len(), rows.len()),
        (names.len().pow(2), names.len().pow(2))
    );
    assert_eq!(report["loads"].as_array().unwrap().len(), names.len());
    for row in rows {
        for key in ["source", "destination"] {
            assert!(names.contains(&*text(row, key)), "{row}");
        }
        assert_eq!(
            (&row["objects"], row["digest"].as_str().unwrap().len()),
            (&json!(20_000), 64)
        );
        assert_eq!(row["digest"], rows[0]["digest"]);
        // About 200 bytes each.
        assert!((3_900_000..4_100_000).contains(&row["bytes"].as_u64().unwrap()));
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        for key in [
            "per_second",
            "raw_seconds",
            "ratio_to_raw",
            "raw_disk_bytes",
            "disk_bytes",
        ] {
            assert!(number(key) > 0.0, "{key}: {row}");
        }
        // What is read back while it is linked may take no time of its own.
        assert!(number("copy_seconds") <= number("seconds"), "{row}");
        assert!(
            number("disk_bytes") >= number("bytes") && number("raw_disk_bytes") >= number("bytes")
        );
        let parts = row["phases"].as_object().unwrap().values();
        let sum: f64 = parts.map(|part| part.as_f64().unwrap()).sum();
        assert!(sum > 0.0 && sum <= number("seconds") + 0.01, "{row}");
        if cfg!(target_os = "linux") {
            for key in [
                "peak_anonymous",
                "peak_mapped",
                "raw_peak_anonymous",
                "cpu_seconds",
            ] {
                assert!(number(key) > 0.0, "{key}: {row}");
            }
            assert!(number("peak_memory") >= number("peak_anonymous"), "{row}");
        }
    }
    let left = std::fs::read_dir(home.path(".")).unwrap().count();
    assert_eq!(left, 0, "nothing is left behind");
}

#[test]
fn the_table_of_migrations_names_what_was_measured() {
    let home = Home::new();
    let engine = engines()
        .into_iter()
        .find(|engine| engine.persistent)
        .unwrap();
    let few = [
        "--engines",
        engine.name,
        "--objects",
        "100,200",
        "--seed",
        "5",
    ];
    let how = ["--verify", "count", "--size", "0", "--rounds", "2"];
    let text = home
        .run(&[&["bench", "migrate"][..], &few, &how].concat())
        .text();
    for part in [
        "Seed 5",
        engine.name,
        "objects of 0 bytes",
        "verified by count",
        "raw",
        "link",
        "200",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let refused = |arguments: &[&str], hint: &str| {
        home.refused(&[&["bench", "migrate"], arguments].concat(), 2, &[hint]);
    };
    refused(&["--engines", "lmdp"], "lmdb");
    refused(&["--engines", "memory"], "keeps nothing");
    refused(&["--objects", "3"], "16");
}

/// What every row of typed objects has.
const TYPED_KEYS: [&str; 10] = [
    "workload",
    "system",
    "engine",
    "served",
    "per_second",
    "unit",
    "spread",
    "rates",
    "memory",
    "mapped",
];

/// What is measured of whom.
fn typed_rows(durus: bool, zodb: bool) -> BTreeSet<([String; 3], bool)> {
    let mut subjects = vec![
        ("durum", "file", false),
        ("durum", "memory", false),
        ("durum", "memory", true),
        ("raw", "file", false),
    ];
    if durus {
        subjects.extend([
            ("durus", "FileStorage2", false),
            ("durus", "FileStorage", true),
        ]);
    }
    if zodb {
        subjects.push(("zodb", "FileStorage", false));
    }
    let objects = ["store", "read-cold", "change", "records", "delete-half"];
    let tree = ["build", "lookup", "range", "scan", "insert"].map(|what| format!("tree-{what}"));
    let mut expected = BTreeSet::new();
    for (system, engine, served) in subjects {
        let of_tree = tree.iter().map(String::as_str);
        for workload in objects
            .into_iter()
            .filter(|_| system != "raw")
            .chain(of_tree)
        {
            expected.insert(([system, engine, workload].map(str::to_owned), served));
        }
    }
    expected
}

#[test]
fn typed_objects_are_measured_beside_those_of_others() {
    let home = Home::new();
    let mut arguments = vec!["bench", "objects", "--engines", "file,memory"];
    arguments.extend(["--served", "memory", "--rounds", "2", "--cache", "1"]);
    arguments.extend(["--objects", "301", "--entries", "1234"]);
    let (durus, zodb) = (durum_testkit::durus_python(), durum_testkit::zodb_python());
    for (option, python) in [("--durus", &durus), ("--zodb", &zodb)] {
        if let Some(python) = python {
            arguments.extend([option, python.to_str().unwrap()]);
        }
    }
    let report = home.json(&arguments);
    let keys = ["rows", "figures", "objects", "entries", "cache"];
    let more = ["sync_per_second", "seed", "machine"];
    has_keys(&report, &[&keys[..], &more].concat());
    assert_eq!(report["cache"], 1 << 20);
    let mut found = BTreeSet::new();
    for row in report["rows"].as_array().unwrap() {
        has_keys(row, &TYPED_KEYS);
        assert!(row["per_second"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["rates"].as_array().unwrap().len(), 2, "{row}");
        let key = ["system", "engine", "workload"].map(|key| row[key].as_str().unwrap().to_owned());
        assert!(
            found.insert((key, row["served"].as_bool().unwrap())),
            "{row} twice"
        );
    }
    let expected = typed_rows(durus.is_some(), zodb.is_some());
    assert_eq!(found, expected);
    for figure in report["figures"].as_array().unwrap() {
        let keys = [
            "workload", "engine", "served", "over", "value", "at_least", "at_most", "reached",
        ];
        has_keys(figure, &keys);
        assert!(figure["value"].as_f64().unwrap() > 0.0, "{figure}");
    }
    // Nothing is left, and only what there is can be asked for.
    assert_eq!(durum_testkit::names(&home.path(".")), Vec::<String>::new());
    home.refused(&["bench", "objects", "--engines", "lmdp"], 2, &["lmdb"]);
    home.refused(&["bench", "objects", "--served", "lmdp"], 2, &["lmdb"]);
    home.refused(&["bench", "part", "{}"], 2, &["missing field"]);
    let broken = [
        "bench",
        "objects",
        "--quick",
        "--engines",
        "memory",
        "--durus",
        "/bin/false",
    ];
    home.refused(&broken, 1, &["/bin/false"]);
}

/// What every row of a server has.
const SERVER_KEYS: [&str; 11] = [
    "server",
    "protocol",
    "workload",
    "clients",
    "idle",
    "per_second",
    "unit",
    "spread",
    "processor_us",
    "conflicts",
    "rates",
];

#[test]
fn the_server_is_measured_beside_durus() {
    let home = Home::new();
    let mut arguments = vec!["bench", "server", "--quick", "--engines", "file,memory"];
    arguments.extend(["--seconds", "0.02", "--rounds", "2", "--idle", "20"]);
    let python = durum_testkit::durus_python();
    if let Some(python) = &python {
        arguments.extend(["--durus", python.to_str().unwrap()]);
    }
    let report = home.json(&arguments);
    let keys = ["rows", "figures", "objects", "size", "sync_per_second"];
    has_keys(&report, &[&keys[..], &["seed", "machine"]].concat());
    let mut found = BTreeSet::new();
    for row in report["rows"].as_array().unwrap() {
        has_keys(row, &SERVER_KEYS);
        assert!(row["per_second"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["rates"].as_array().unwrap().len(), 2, "{row}");
        let key = ["server", "protocol", "workload"];
        let key = key.map(|key| row[key].as_str().unwrap().to_owned());
        let numbers = ["clients", "idle"].map(|key| row[key].as_u64().unwrap());
        assert!(found.insert((key, numbers)), "{row} twice");
    }
    let servers = ["file", "memory"]
        .into_iter()
        .chain(python.iter().map(|_| "durus"));
    for server in servers {
        for (workload, clients, idle) in [
            ("load", 1, 0),
            ("load-many", 1, 0),
            ("load-many", 2, 0),
            ("pipelined", 1, 0),
            ("commit", 1, 0),
            ("commit", 16, 0),
            ("beside-idle", 1, 0),
            ("beside-idle", 1, 20),
        ] {
            for protocol in ["durus 1", "durum 2"] {
                let key = [server, protocol, workload].map(str::to_owned);
                let is_there = found.contains(&(key, [clients, idle]));
                let expected = match (protocol, workload) {
                    ("durus 1", "beside-idle") => server != "durus",
                    ("durus 1", _) => workload != "pipelined",
                    _ => server != "durus" && workload != "beside-idle",
                };
                assert_eq!(is_there, expected, "{server} {protocol} {workload}");
            }
        }
    }
    let round_trip = ["none", "none", "round-trip"].map(str::to_owned);
    assert!(found.contains(&(round_trip, [1, 0])));
    let figures = report["figures"].as_array().unwrap();
    for figure in figures {
        has_keys(
            figure,
            &[
                "server", "figure", "value", "at_least", "at_most", "reached",
            ],
        );
        assert!(figure["value"].as_f64().unwrap() > 0.0, "{figure}");
    }
    assert_eq!(figures.len(), if python.is_some() { 16 } else { 8 });
    // Nothing is left, and only what there is can be asked for.
    assert_eq!(durum_testkit::names(&home.path(".")), Vec::<String>::new());
    let refused = |arguments: &[&str], hint: &str| {
        home.refused(&[&["bench", "server"], arguments].concat(), 2, &[hint]);
    };
    refused(&["--engines", "lmdp"], "lmdb");
    refused(&["--workloads", "loads"], "Did you mean `load`?");
    refused(&["--seconds", "0"], "between");
}
