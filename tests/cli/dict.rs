//! `durum dict`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::kit::Home;

const STORE: &str = "lmdb:people";

/// A class with three people, of which one was changed.
fn people(home: &Home) {
    let class = [
        "dict",
        "define",
        STORE,
        "person",
        "--index",
        "born:int",
        "--index",
        "tags:string:many",
    ];
    home.json(&class);
    for (key, fields) in [
        (
            "ada",
            r#"{"name": "Ada", "born": 1815, "tags": ["maths", "poetry"]}"#,
        ),
        (
            "grace",
            r#"{"name": "Grace", "born": 1906, "tags": ["maths"]}"#,
        ),
        ("edith", r#"{"name": "Edith", "born": 1883}"#),
        (
            "ada",
            r#"{"name": "Ada Lovelace", "born": 1815, "tags": ["maths", "poetry"]}"#,
        ),
    ] {
        let put = home.json(&["dict", "put", STORE, "person", key, fields]);
        assert_eq!(put["revision"].as_str().unwrap().len(), 34);
    }
}

fn keys(found: &Value) -> Vec<&str> {
    let list = found["dictionaries"].as_array().unwrap();
    list.iter()
        .map(|each| each["key"].as_str().unwrap())
        .collect()
}

/// What a healer that goes on for ever says first.
fn heal_for_ever(home: &Home) -> Value {
    use std::io::BufRead as _;
    let args = [
        "dict", "heal", STORE, "--every", "1h", "--rate", "1000", "--json",
    ];
    let mut healer = home.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = healer.stdout.take().unwrap();
    std::io::BufReader::new(stdout)
        .read_line(&mut line)
        .unwrap();
    assert!(healer.try_wait().unwrap().is_none(), "it has ended: {line}");
    healer.kill().unwrap();
    healer.wait().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Runs it with this on standard input.
pub(crate) fn with_input(
    home: &Home,
    args: &[&str],
    input: impl AsRef<[u8]>,
) -> (i32, String, String) {
    use std::io::Write as _;
    let mut child = home
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn dictionaries_are_written_found_and_deleted() {
    let home = Home::new();
    people(&home);
    let ada = home.json(&["dict", "get", STORE, "person", "ada"]);
    assert_eq!(
        ada["fields"],
        json!({"name": "Ada Lovelace", "born": 1815, "tags": ["maths", "poetry"]})
    );
    assert_eq!(
        (&ada["deleted"], &ada["concurrent"]),
        (&json!(false), &json!([]))
    );
    let history = home.json(&["dict", "history", STORE, "person", "ada"]);
    let first = &history["revisions"][1];
    assert_eq!(first["fields"]["name"], "Ada");
    assert_eq!(
        history["revisions"][0]["parents"],
        json!([first["revision"]])
    );
    let at = |when: &str| {
        home.run(&[
            "dict", "get", STORE, "person", "ada", "--at", when, "--json",
        ])
    };
    let then: Value =
        serde_json::from_slice(&at(first["revision"].as_str().unwrap()).stdout).unwrap();
    assert_eq!(then["fields"]["name"], "Ada");
    assert_eq!(at("2001-01-01T00:00:00Z").code, 1);
    assert_eq!(at("yesterday").code, 2);

    let select = |rest: &[&str]| {
        let found = home.json(&[&["dict", "select", STORE, "person"], rest].concat());
        keys(&found)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        select(&["born", "--from", "1815", "--below", "1906"]),
        ["ada", "edith"]
    );
    assert_eq!(
        select(&["born", "--above", "1815", "--to", "1906"]),
        ["edith", "grace"]
    );
    assert_eq!(select(&["born", "--limit", "1"]), ["ada"]);
    assert_eq!(select(&["born", "--from", "-5", "--to", "1815"]), ["ada"]);
    assert_eq!(select(&["tags", "--equals", "maths"]), ["ada", "grace"]);
    assert_eq!(select(&["tags", "--prefix", "po"]), ["ada"]);
    assert_eq!(
        keys(&home.json(&["dict", "all", STORE, "person", "--from", "b"])),
        ["edith", "grace"]
    );

    home.json(&["dict", "delete", STORE, "person", "grace"]);
    assert_eq!(home.run(&["dict", "get", STORE, "person", "grace"]).code, 1);
    assert_eq!(
        home.run(&["dict", "delete", STORE, "person", "grace"]).code,
        1
    );
    assert_eq!(
        keys(&home.json(&["dict", "all", STORE, "person"])),
        ["ada", "edith"]
    );
    assert_eq!(
        keys(&home.json(&["dict", "all", STORE, "person", "--deleted"])),
        ["ada", "edith", "grace"]
    );
    assert_eq!(home.run(&["check", STORE]).code, 0);
}

#[test]
fn changes_go_on_at_a_marker_and_concurrent_revisions_are_merged() {
    let home = Home::new();
    people(&home);
    let changes = home.json(&["dict", "changes", STORE, "person"]);
    let list = changes["changes"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    let marker = list[2]["marker"].as_str().unwrap();
    let rest = home.json(&["dict", "changes", STORE, "person", "--since", marker]);
    assert_eq!(rest["changes"].as_array().unwrap()[..], list[3..]);
    assert_eq!(
        home.run(&["dict", "changes", STORE, "person", "--since", "x"])
            .code,
        2
    );

    let end = home.json(&["dict", "marker", STORE, "person"]);
    assert_eq!(end["marker"], list[3]["marker"]);

    let seen = list[1]["revision"].as_str().unwrap();
    for fields in [
        r#"{"name": "Grace", "born": 1906, "rank": 1}"#,
        r#"{"name": "Grace Hopper", "born": 1906}"#,
    ] {
        home.json(&[
            "dict", "put", STORE, "person", "grace", fields, "--after", seen,
        ]);
    }
    let grace = home.json(&["dict", "get", STORE, "person", "grace"]);
    assert_eq!(grace["concurrent"].as_array().unwrap().len(), 1);
    assert_eq!(heal_for_ever(&home)["classes"]["person"]["merged"], 1);
    let healed = home.json(&["dict", "heal", STORE]);
    assert_eq!(healed["classes"]["person"]["merged"], 0);
    let grace = home.json(&["dict", "get", STORE, "person", "grace"]);
    assert_eq!(
        grace["fields"],
        json!({"name": "Grace Hopper", "born": 1906, "rank": 1})
    );
    assert_eq!(grace["concurrent"], json!([]));
}

#[test]
fn what_is_exported_is_imported_elsewhere_as_it_was() {
    let home = Home::new();
    people(&home);
    home.json(&["dict", "delete", STORE, "person", "edith"]);
    let odd = r#"{"b": {"$bytes": "AP8="}, "f": {"$float": "NaN"}, "i": 1, "x": 1.0, "m": {"$map": {"$map": null}}}"#;
    home.json(&[
        "dict",
        "define",
        STORE,
        "other",
        "--history",
        "5",
        "--merge",
        "latest",
    ]);
    home.json(&["dict", "put", STORE, "other", "é /\n", odd]);
    let exported = home.run(&["dict", "export", STORE]);
    assert_eq!(exported.code, 0);
    for engine in ["sqlite", "file"] {
        let copy = format!("{engine}:copy-{engine}");
        let (code, said, why) = with_input(
            &home,
            &["dict", "import", &copy, "--json"],
            &exported.stdout,
        );
        assert_eq!(code, 0, "{why}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (&said["classes"], &said["added"], &said["known"]),
            (&json!(2), &json!(6), &json!(0))
        );
        assert_eq!(home.run(&["dict", "export", &copy]).stdout, exported.stdout);
        // Once more is as well.
        let (_, said, _) = with_input(
            &home,
            &["dict", "import", &copy, "--json"],
            &exported.stdout,
        );
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["added"], &said["known"]), (&json!(0), &json!(6)));
        assert_eq!(
            home.run(&["dict", "classes", &copy]).stdout,
            home.run(&["dict", "classes", STORE]).stdout
        );
        let one = home.run(&["dict", "export", &copy, "other"]).stdout;
        assert_eq!(one.split(|byte| *byte == b'\n').count() - 1, 2);
    }
    let plain = "{\"class\": \"person\", \"key\": \"new\", \"fields\": {\"born\": 2000}}\n\n";
    let (code, ..) = with_input(&home, &["dict", "import", STORE], plain);
    assert_eq!(code, 0);
    assert_eq!(
        home.json(&["dict", "get", STORE, "person", "new"])["fields"],
        json!({"born": 2000})
    );
}

#[test]
fn mistakes_are_told() {
    let home = Home::new();
    people(&home);
    let long = "k".repeat(256);
    for (args, code, why) in [
        (&["put", STORE, "person", "k", "[]"][..], 2, "JSON object"),
        (&["put", STORE, "person", "k", "{"], 2, "not JSON"),
        (
            &["put", STORE, "person", "k", r#"{"born": "x"}"#],
            2,
            "`born`",
        ),
        (&["put", STORE, "person", &long, "{}"], 2, "256"),
        (
            &["put", STORE, "person", "k", "{}", "--after", "x"],
            2,
            "revision",
        ),
        (&["put", STORE, "nobody", "k", "{}"], 3, "durum dict define"),
        (&["get", STORE, "person"], 2, "durum dict"),
        (&["get", "lmdb:absent", "person", "k"], 3, "absent"),
        (
            &["get", "garage:absent", "person", "k"],
            3,
            "durum node invite --client",
        ),
        (&["select", STORE, "person", "age"], 2, "It has born, tags"),
        (
            &["select", STORE, "person", "born", "--equals", "x"],
            2,
            "integer",
        ),
        (
            &["select", STORE, "person", "born", "--prefix", "1"],
            2,
            "beginning",
        ),
        (&["define", STORE, "a b"], 2, "name of a class"),
        (&["define", STORE, "c", "--index", "i"], 2, "NAME:TYPE"),
        (
            &["define", STORE, "c", "--index", "i:int:lots"],
            2,
            "NAME:TYPE",
        ),
        (&["define", STORE, "c", "--history", "some"], 2, "30d"),
        (&["define", STORE, "c", "--history", "500ms"], 2, "newest"),
        (&["define", STORE, "c", "--merge", "best"], 2, "latest"),
        (&["define", STORE, "c", "--offline", "some"], 2, "refuse"),
        (&["define", STORE, "c", "--copies", "0"], 2, "copies"),
        (
            &["all", "garage:absent?colour=red", "person"],
            2,
            "copy=URL",
        ),
        (
            &["define", STORE, "person", "--drop-index", "age"],
            2,
            "It has born, tags",
        ),
        (&["history", STORE, "person", "nobody"], 1, "nobody"),
    ] {
        let output = home.run(&[&["dict"], args].concat());
        assert_eq!(output.code, code, "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn lines_that_cannot_be_imported_change_nothing() {
    let home = Home::new();
    people(&home);
    let before = home.run(&["dict", "export", STORE]).stdout;
    for (line, why) in [
        ("x", "line 1"),
        (r#"{"class": "person", "key": "k"}"#, "neither"),
        (
            r#"{"class": "person", "key": "k", "fields": {}, "more": 1}"#,
            "more",
        ),
        (r#"{"class": "nobody", "key": "k", "fields": {}}"#, "nobody"),
        (r#"{"class": {"name": "c", "colour": 1}}"#, "colour"),
    ] {
        let (code, _, said) = with_input(&home, &["dict", "import", STORE], line);
        assert_ne!(code, 0, "{line}");
        assert!(said.contains(why), "{line}: {said}");
    }
    assert_eq!(home.run(&["dict", "export", STORE]).stdout, before);
}
