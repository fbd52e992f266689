//! `durum.toml`: found, obeyed, and its mistakes named.

use durum_core::engine::OptionKind;
use serde_json::json;

use crate::kit::{Home, engines, run, store};

fn configure(home: &Home, text: &str) {
    std::fs::write(home.path("durum.toml"), text).unwrap();
}

#[test]
fn without_a_url_it_is_the_store_of_the_configuration() {
    for engine in engines() {
        let home = Home::new();
        store(&home, engine.name);
        configure(
            &home,
            &format!("[store]\nbackend = \"{0}\"\npath = \"{0}\"", engine.name),
        );
        assert_eq!(home.json(&["stat"])["engine"], json!(engine.name));
        assert_eq!(home.json(&["get", "1"])["refs"], json!([2]));
        assert_eq!(home.json(&["digest"])["objects"], json!(4));
        assert_eq!(home.json(&["check"])["objects"], json!(4));
        assert_eq!(home.json(&["gc"])["collected"], json!(1));
    }
}

#[test]
fn a_store_that_nobody_named_is_explained() {
    let home = Home::new();
    for command in ["stat", "digest", "check", "gc"] {
        home.refused(&[command], 3, &["store of the configuration", "durum init"]);
    }
    home.refused(&["get", "0"], 3, &["store of the configuration"]);
}

#[test]
fn the_file_is_found_by_argument_then_variable_then_directory() {
    let home = Home::new();
    let name = engines()[0].name;
    for place in ["argument", "variable"] {
        std::fs::create_dir(home.path(place)).unwrap();
        let text = format!("[store]\nbackend = \"{name}\"\npath = \"there\"");
        std::fs::write(home.path(place).join("other.toml"), text).unwrap();
    }
    configure(
        &home,
        &format!("[store]\nbackend = \"{name}\"\npath = \"here\""),
    );
    // A relative path is relative to the file that has it.
    home.json(&["init"]);
    assert!(home.path("here").is_dir());
    let mut command = home.command(&["init"]);
    assert_eq!(
        run(command.env("DURUM_CONFIG", "variable/other.toml")).code,
        0
    );
    assert!(home.path("variable/there").is_dir());
    let mut command = home.command(&["--config", "argument/other.toml", "init"]);
    assert_eq!(
        run(command.env("DURUM_CONFIG", "variable/other.toml")).code,
        0
    );
    assert!(home.path("argument/there").is_dir());
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    for (text, parts) in [
        (
            "[store]\nbackand = \"lmdb\"",
            &["`store.backand`", "Did you mean `backend`?"][..],
        ),
        ("[stroe]", &["`stroe`", "Did you mean `store`?"]),
        ("[store]\npath = 7", &["`store.path`", "string"]),
        ("[store]\nbackend = true", &["`store.backend`", "string"]),
        ("store = []", &["`store`", "table"]),
        ("[store.options]\nx = 1.5", &["store.options.x"]),
        (
            "[store]\ndurability = \"powr\"",
            &["`durability`", "Did you mean `power`?"],
        ),
        ("[store]\ncompression = \"zst\"", &["`compression`", "zstd"]),
        (
            "[store]\nbackend = \"lmbd\"",
            &["`lmbd`", "Did you mean `lmdb`?"],
        ),
        ("[store\n", &["line 1"]),
    ] {
        let home = Home::new();
        configure(&home, text);
        home.refused(&["stat"], 2, parts);
        home.refused(&["init"], 2, parts);
    }
    let home = Home::new();
    home.refused(&["--config", "no.toml", "stat"], 2, &["no.toml"]);
    configure(&home, "[store]\nbackand = \"lmdb\"");
    // A mistake is told even where the configuration would not have been needed.
    home.refused(&["init", "lmdb:x"], 2, &["Did you mean `backend`?"]);
    home.refused(
        &["migrate", "durus:a", "lmdb:x"],
        2,
        &["Did you mean `backend`?"],
    );
    home.refused(&["tour"], 2, &["Did you mean `backend`?"]);
}

#[test]
fn engine_options_are_checked_by_the_engine() {
    for backend in durum_backends::registry().iter() {
        let name = backend.capabilities().name;
        let home = Home::new();
        let location = match backend.remote() {
            Some(_) => "//127.0.0.1:1/x",
            None => "x",
        };
        let url = |option: &str| format!("{name}:{location}?{option}");
        home.refused(
            &["stat", &url("no_such_option=1")],
            2,
            &[name, "`no_such_option`"],
        );
        home.refused(
            &["stat", &url("durability=sometimes")],
            2,
            &["`sometimes`", "process"],
        );
        for spec in backend.options() {
            let misspelt = format!("{}s=1", spec.name);
            let meant = format!("Did you mean `{}`?", spec.name);
            home.refused(&["stat", &url(&misspelt)], 2, &[&meant]);
            if spec.kind == OptionKind::File {
                continue; // A file may have any name.
            }
            let bad = format!("{}=%40%40", spec.name);
            home.refused(&["stat", &url(&bad)], 2, &["`@@`", spec.name, "It takes"]);
        }
    }
}

#[test]
fn the_log_level_is_checked() {
    let home = Home::new();
    let wrong = run(home.command(&["engines"]).env("DURUM_LOG", "debgu"));
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("Did you mean `debug`?"),
        "{}",
        wrong.stderr
    );
    assert_eq!(
        run(home.command(&["engines"]).env("DURUM_LOG", "debug")).code,
        0
    );
    assert_eq!(home.run(&["-vv", "engines"]).code, 0);
    assert_eq!(home.run(&["-v", "--quiet", "engines"]).code, 2);
}
