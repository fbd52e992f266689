//! `durum bench database`, on a real PostgreSQL. What is found is checked by the benchmark itself.

use std::collections::BTreeSet;

use durum_database::Server;
use serde_json::Value;

use crate::kit::{Home, has_keys};

const ROW_KEYS: [&str; 15] = [
    "workload",
    "delay_ms",
    "per_second",
    "unit",
    "spread",
    "rates",
    "processor_us",
    "latency",
    "round_trips",
    "raw_per_second",
    "raw_processor_us",
    "raw_latency",
    "raw_round_trips",
    "ratio_to_raw",
    "ratio_spread",
];

/// Those that are done for some time, and of one at a time.
const REPEATED: [&str; 10] = [
    "load",
    "load_many",
    "update_1",
    "update_10",
    "update_100",
    "update_1000",
    "create_1",
    "create_10",
    "create_100",
    "create_1000",
];
const ONCE: [&str; 3] = ["import", "scan", "delete"];
const AT_ONCE: &str = "update_1_16_at_once";
const DELAY_MS: f64 = 20.0;

fn url(server: &Server) -> String {
    format!("postgres:{}", server.address("test"))
}

/// Schemas that a benchmark has left.
fn left(server: &Server, database: &str) -> String {
    let sql = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, 'durum_bench_')";
    server.sql(database, sql)
}

#[test]
fn a_database_is_measured_beside_its_own_client() {
    let Some(server) = Server::shared() else {
        return;
    };
    let home = Home::new();
    let url = url(server);
    let mut arguments = vec!["bench", "database", &url, "--raw", "--rounds", "1"];
    arguments.extend([
        "--objects",
        "2000",
        "--migrated",
        "500",
        "--seconds",
        "0.01",
    ]);
    arguments.extend(["--delays", "0,20ms"]);
    let report = home.json(&arguments);
    has_keys(
        &report,
        &[
            "rows",
            "migrations",
            "figures",
            "links",
            "open_round_trips",
            "server",
            "objects",
            "size",
            "seed",
            "rounds",
            "machine",
        ],
    );
    assert!(report["server"]["server_version"].as_str().is_some());
    assert!(report["open_round_trips"].as_f64() > Some(1.0));
    for link in report["links"].as_array().unwrap() {
        let delay_us = link["delay_ms"].as_f64().unwrap() * 1e3;
        assert!(link["round_trip_us"].as_f64().unwrap() > delay_us, "{link}");
    }
    let mut found = BTreeSet::new();
    for row in report["rows"].as_array().unwrap() {
        check_row(row);
        let with_delay = row["delay_ms"] == DELAY_MS;
        found.insert((row["workload"].as_str().unwrap(), with_delay));
    }
    let both = REPEATED.into_iter().chain([AT_ONCE]);
    let expected = both.flat_map(|name| [(name, false), (name, true)]);
    let expected = expected.chain(ONCE.map(|name| (name, false)));
    assert_eq!(found, expected.collect());
    check_migrations(&report);
    assert_eq!(left(server, "test"), "");
    assert_eq!(durum_testkit::names(&home.path(".")), Vec::<String>::new());
}

fn check_row(row: &Value) {
    has_keys(row, &ROW_KEYS);
    let name = row["workload"].as_str().unwrap();
    for key in ["per_second", "raw_per_second", "ratio_to_raw"] {
        assert!(row[key].as_f64() > Some(0.0), "{key}: {row}");
    }
    let delay_us = row["delay_ms"].as_f64().unwrap() * 1e3;
    for key in ["latency", "raw_latency"] {
        let is_timed = !ONCE.contains(&name);
        assert_eq!(row[key].is_object(), is_timed, "{key}: {row}");
        // The median is known to some hundredths.
        let median = row[key]["p50_us"].as_f64().unwrap_or(f64::MAX);
        assert!(median > delay_us, "{key}: {row}");
    }
    match name {
        AT_ONCE => assert!(row["round_trips"].is_null(), "{row}"),
        // For each object.
        _ if ONCE.contains(&name) => assert!(row["round_trips"].as_f64() > Some(0.0), "{row}"),
        _ => {
            assert!(row["round_trips"].as_f64() >= Some(1.0), "{row}");
            assert_eq!(row["raw_round_trips"], 1.0, "{row}");
        }
    }
}

fn check_migrations(report: &Value) {
    let migrations = report["migrations"].as_array().unwrap();
    let ways = [("lmdb", "postgres"), ("postgres", "lmdb")];
    assert_eq!(migrations.len(), ways.len());
    for (row, (source, destination)) in migrations.iter().zip(ways) {
        assert_eq!(
            (&row["source"], &row["destination"]),
            (&source.into(), &destination.into())
        );
        assert_eq!(row["objects"], 500);
        assert_eq!(row["digest"], migrations[0]["digest"], "{row}");
        assert!(
            row["digest"].is_string() && row["ratio_to_raw"].as_f64() > Some(0.0),
            "{row}"
        );
        assert!(row["disk_bytes"].as_u64() > Some(0), "{row}");
        if cfg!(target_os = "linux") {
            assert!(row["peak_memory"].as_u64() >= row["peak_anonymous"].as_u64());
            assert!(row["peak_anonymous"].as_u64() > Some(0), "{row}");
        }
    }
    assert_eq!(report["figures"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_wanted_can_be_chosen() {
    let Some(server) = Server::shared() else {
        return;
    };
    let home = Home::new();
    let url = url(server);
    let mut arguments = vec!["bench", "database", &url, "--quick", "--objects", "2000"];
    arguments.extend(["--migrated", "0", "--seconds", "0.01", "--delays", "0"]);
    arguments.extend(["--workloads", "load,update_10"]);
    let text = home.run(&arguments).text();
    for part in ["2,000 objects", "load", "update_10", "trips"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["update_100", "import", "Migrations"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let home = Home::new();
    let refused = |arguments: &[&str], code, hint: &str| {
        home.refused(&[&["bench", "database"], arguments].concat(), code, &[hint]);
    };
    refused(&["lmdb:here"], 2, "postgres://USER@HOST:PORT/DATABASE");
    refused(&["postgrez://localhost/test"], 2, "postgres");
    refused(&["postgres:/test"], 2, "names no host");
    refused(
        &["postgres://me@127.0.0.1/test?schema=mine"],
        2,
        "Schemas are made",
    );
    refused(
        &["postgres://me@127.0.0.1/test?sslmode=verify-full"],
        2,
        "plain",
    );
    refused(
        &["postgres://me@127.0.0.1/test", "--workloads", "lode"],
        2,
        "load",
    );
    refused(
        &["postgres://me@127.0.0.1/test", "--delays", "long"],
        2,
        "long",
    );
    refused(
        &["postgres://me@127.0.0.1/test", "--objects", "10"],
        2,
        "2000",
    );
    refused(&["postgres://me@127.0.0.1:1/test"], 3, "connect");
    let Some(server) = Server::shared() else {
        return;
    };
    let url = format!("postgres:{}", server.address("missing"));
    refused(&[&url], 3, "missing");
    // What was begun is gone after a failure, as where there is no place for the other stores.
    // Other tests have schemas in the other database meanwhile.
    server.sql("postgres", "CREATE DATABASE refused");
    let url = format!("postgres:{}", server.address("refused"));
    refused(&[&url, "--dir", "nowhere"], 3, "nowhere");
    assert_eq!(left(server, "refused"), "");
}
