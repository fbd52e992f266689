//! Every command on every engine: what it does and the keys of its JSON.

use durum_core::engine::Durability;
use durum_core::engine::{Key, Op, Table};
use serde_json::json;

use crate::kit::{Home, MARKER, engines, has_keys, open, store};

#[test]
fn init_creates_a_store_without_objects() {
    for engine in engines() {
        let home = Home::new();
        let url = format!("{}:new", engine.name);
        let made = home.json(&["init", &url]);
        has_keys(&made, &["url", "store_id"]);
        assert_eq!(made["url"], json!(url));
        assert_eq!(made["store_id"].as_str().unwrap().len(), 32);
        let stat = home.json(&["stat", &url]);
        assert_eq!(stat["store_id"], made["store_id"]);
        assert_eq!(
            (&stat["objects"], &stat["tid"]),
            (&json!(0), &json!(0)),
            "{stat}"
        );
        let empty = home.json(&["digest", &url]);
        assert_eq!(empty["digest"], json!("0".repeat(64)), "{url}");
        assert_eq!(home.run(&["get", &url, "0"]).code, 1);
    }
}

#[test]
fn engines_says_what_the_registry_says() {
    let home = Home::new();
    let listed = home.json(&["engines"]);
    let listed = listed["engines"].as_array().unwrap();
    let registry = durum_backends::registry();
    assert_eq!(listed.len(), registry.iter().count());
    for (found, backend) in listed.iter().zip(registry.iter()) {
        let offered = backend.capabilities();
        let levels: Vec<&str> = offered
            .durability
            .iter()
            .map(|level| level.name())
            .collect();
        assert_eq!(found["name"], json!(offered.name));
        assert_eq!(found["snapshots"], json!(offered.snapshots));
        assert_eq!(found["durability"], json!(levels));
        assert_eq!(found["compaction"], json!(offered.compaction));
        assert_eq!(
            found["options"].as_array().unwrap().len(),
            backend.options().len()
        );
        has_keys(found, &["version", "reclaim", "persistent"]);
    }
    let text = home.run(&["engines"]).text();
    registry
        .names()
        .iter()
        .for_each(|name| assert!(text.contains(name), "{text}"));
}

#[test]
fn stat_get_and_digest_read_without_changing() {
    let mut digests = Vec::new();
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let stat = home.json(&["stat", &url]);
        for key in [
            "objects",
            "tid",
            "live_bytes",
            "disk_bytes",
            "reclaimable_bytes",
            "garbage_pending",
        ] {
            assert!(stat[key].is_u64(), "{key} of {url}: {stat}");
        }
        assert_eq!(stat["engine"], json!(engine.name));
        assert_eq!((&stat["objects"], &stat["tid"]), (&json!(4), &json!(1)));
        assert!(stat["disk_bytes"].as_u64() > Some(0), "{stat}");

        let data = [MARKER, b"2"].concat();
        let object = home.json(&["get", &url, "2"]);
        let expected = json!({ "oid": 2, "tid": 1, "refs": [1], "size": data.len() });
        assert_eq!(object, expected, "{url}");
        assert_eq!(home.run(&["get", &url, "2", "--data"]).stdout, data);
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            home.json(&["get", &url, "2", "--data"])["data_hex"],
            json!(hex)
        );

        let digest = home.json(&["digest", &url]);
        assert_eq!(digest["objects"], json!(4));
        assert_eq!(digest["digest"].as_str().unwrap().len(), 64);
        digests.push(digest["digest"].clone());
        // Nothing was collected by reading: object 3 is still there.
        assert_eq!(home.json(&["get", &url, "3"])["refs"], json!([]));
    }
    assert!(
        digests.windows(2).all(|pair| pair[0] == pair[1]),
        "{digests:?}"
    );
}

#[test]
fn gc_deletes_what_cannot_be_reached() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let before = home.json(&["check", &url]);
        has_keys(&before, &["objects", "errors", "unreachable", "dangling"]);
        assert_eq!(
            (&before["unreachable"], &before["errors"]),
            (&json!(1), &json!([])),
            "{url}"
        );
        let gc = home.json(&["gc", &url]);
        assert_eq!(gc["collected"], json!(1), "{url}");
        assert!(gc["bytes_freed"].is_u64() && gc["seconds"].is_f64(), "{gc}");
        let after = home.json(&["check", &url]);
        assert_eq!(
            (&after["objects"], &after["unreachable"]),
            (&json!(3), &json!(0)),
            "{url}"
        );
        assert_eq!(home.run(&["get", &url, "3"]).code, 1);
        assert_eq!(home.json(&["gc", &url])["collected"], json!(0));
        let rewritten = home.run(&["gc", &url, "--compact"]);
        assert_eq!(
            rewritten.code,
            if engine.compaction { 0 } else { 2 },
            "{}",
            rewritten.stderr
        );
        assert_eq!(home.json(&["digest", &url])["objects"], json!(3));
    }
}

/// Removes the row of an object behind the store's back.
fn lose(home: &Home, engine: &str, oid: u64) {
    let store = open(home, engine);
    let op = Op::Delete {
        table: Table::Objects,
        key: Key::from(oid),
    };
    store
        .raw_engine()
        .apply(&[op], Durability::Relaxed)
        .unwrap();
}

#[test]
fn check_finds_what_is_missing_and_repair_mends_what_it_can() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        lose(&home, engine.name, 3);
        let found = home.run(&["check", &url, "--json"]);
        assert_eq!(found.code, 6, "{url}");
        let found = found.json();
        let kinds: Vec<&str> = found["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["kind"].as_str().unwrap())
            .collect();
        // Nothing linked to it: its session kept it.
        assert_eq!(kinds, ["pins", "links", "counters"], "{url}");
        let mended = home.json(&["check", &url, "--repair"]);
        assert_eq!(mended["errors"], json!([]));
        assert_eq!(mended["repaired"].as_array().unwrap().len(), 4, "{mended}");
        assert_eq!(home.run(&["check", &url]).code, 0, "{url}");

        lose(&home, engine.name, 2);
        let found = home.run(&["check", &url, "--repair", "--json"]);
        assert_eq!(found.code, 6, "a reference to nothing cannot be mended");
        let found = found.json();
        assert_eq!(found["dangling"], json!(1), "{url}: {found}");
        let dangling = &found["errors"][0];
        assert_eq!(
            (&dangling["oid"], &dangling["kind"]),
            (&json!(1), &json!("dangling"))
        );
        assert!(
            dangling["message"].as_str().unwrap().contains("object 2"),
            "{dangling}"
        );
        // What hangs on the missing object is not taken for garbage.
        assert_eq!(home.json(&["gc", &url])["collected"], json!(0), "{url}");
        assert_eq!(home.json(&["stat", &url])["objects"], json!(2));
    }
}

#[test]
fn completions_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = home.run(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.text().contains("migrate"), "{shell}");
    }
    has_keys(&home.json(&["completions", "bash"]), &["shell", "script"]);
    home.refused(&["completions", "tcsh"], 2, &["zsh"]);
}

#[test]
fn help_and_version_succeed() {
    let home = Home::new();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["migrate", "--help"],
        &["help", "gc"],
    ] {
        let run = home.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!run.stdout.is_empty());
    }
    assert_eq!(home.run::<&str>(&[]).code, 2);
    assert_eq!(home.run(&["stat", "a", "b", "c"]).code, 2);
}
