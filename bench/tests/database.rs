//! A benchmark of a database that fails in the middle leaves nothing in it.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use durum_bench::database::{DatabaseSettings, run};
use durum_database::Server;

#[test]
fn schemas_are_dropped_after_a_failure() {
    let Some(server) = Server::shared() else {
        return;
    };
    let settings = DatabaseSettings {
        url: format!("postgres:{}", server.address("test")),
        workloads: Vec::new(),
        delays: vec![Duration::ZERO],
        objects: DatabaseSettings::OBJECTS_MIN,
        size: DatabaseSettings::SIZE,
        migrated: 0,
        time: Duration::ZERO,
        rounds: 1,
        raw: true,
        seed: DatabaseSettings::SEED,
        program: "nowhere".into(),
    };
    let schemas = || {
        let sql =
            "SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, 'durum_bench_')";
        let found = server.sql("test", sql);
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let dir = tempfile::tempdir().unwrap();
    let registry = durum_backends::registry();
    let failed = run(&registry, dir.path(), &settings, &|line| {
        if line.contains("delay") {
            let found = schemas();
            assert_eq!(found.len(), 2, "{found:?}");
            let raw = found.iter().find(|name| name.contains("raw")).unwrap();
            server.sql("test", &format!("DROP TABLE \"{raw}\".objects"));
        }
    });
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("objects"), "{error}");
    assert_eq!(schemas(), Vec::<String>::new());
    assert_eq!(durum_testkit::names(dir.path()), Vec::<String>::new());
}
