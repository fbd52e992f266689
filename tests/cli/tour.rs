//! `durum tour`.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::kit::{Home, SAMPLE_DIGEST, SAMPLE_OBJECTS, engines, has_keys, run};

#[test]
fn it_shows_moves_proves_collects_and_leaves_a_store() {
    let home = Home::new();
    let tour = home.json(&["tour"]);
    assert_eq!(tour["objects"], json!(SAMPLE_OBJECTS));
    assert_eq!(tour["references"], json!(27063));
    assert_eq!(tour["collected"], json!(200));
    let digests = tour["digests"].as_object().unwrap();
    assert_eq!(
        digests.len(),
        engines().len() + 1,
        "every engine and the Durus file"
    );
    digests
        .values()
        .for_each(|digest| assert_eq!(digest, SAMPLE_DIGEST));
    let rows = tour["rows"].as_array().unwrap();
    for engine in engines() {
        let measured = rows
            .iter()
            .filter(|row| row["engine"] == engine.name)
            .count();
        assert_eq!(
            measured, 4,
            "import, commit, load and scan on {}",
            engine.name
        );
    }
    for row in rows {
        has_keys(row, &["engine", "workload", "per_second", "unit", "spread"]);
        assert!(row["per_second"].as_f64() > Some(0.0), "{row}");
    }
    assert!(tour["seconds"].as_f64().unwrap() < 60.0, "{tour}");
    let url = tour["store"].as_str().unwrap();
    assert_eq!(
        home.json(&["stat", url])["objects"],
        json!(SAMPLE_OBJECTS - 200)
    );
    assert_eq!(home.json(&["check", url])["unreachable"], json!(0));
    for engine in engines()
        .iter()
        .filter(|engine| !url.starts_with(engine.name))
    {
        let url = format!("{0}:durum-tour/{0}", engine.name);
        assert_eq!(
            home.json(&["digest", &url])["digest"],
            json!(SAMPLE_DIGEST),
            "{url}"
        );
    }
    let mut left: Vec<String> = std::fs::read_dir(home.path("durum-tour"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = vec!["back.durus", "debian.durus"];
    expected.extend(engines().iter().map(|engine| engine.name));
    expected.sort_unstable();
    assert_eq!(left, expected);
    home.refused(&["tour"], 4, &["durum-tour", "--dir"]);
    the_original_durus_reads_it(&home, url);
}

/// The state that the tour wrote is the one that Durus would have written.
fn the_original_durus_reads_it(home: &Home, url: &str) {
    let Some(python) = durum_testkit::durus_python() else {
        return;
    };
    home.json(&["migrate", url, "durus:after.durus"]);
    let script = "
import sys
from durus.connection import Connection
from durus.file_storage import FileStorage
root = Connection(FileStorage(sys.argv[1], readonly=True)).get_root()
print(sorted(root['systems'].keys()), len(root['systems']['minimal']['installed']))
";
    let mut command = Command::new(python);
    let found = run(command
        .stdout(Stdio::piped())
        .args(["-c", script])
        .arg(home.path("after.durus")));
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert_eq!(found.text(), "['minimal', 'object database'] 60\n");
}

#[test]
fn what_it_recommends_can_be_pasted_into_a_shell() {
    let home = Home::new();
    let tour = home.run(&["tour", "--dir", "my tour"]);
    assert_eq!(tour.code, 0, "{}", tour.stderr);
    let text = tour.text();
    assert!(text.contains(SAMPLE_DIGEST), "{text}");
    for engine in engines() {
        assert!(text.contains(engine.name), "{text}");
    }
    let (_, last) = text.split_once("Go on from here").unwrap();
    let commands: Vec<&str> = last
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(commands.len() >= 4, "{text}");
    for command in commands {
        let mut shell = Command::new("sh");
        let done = run(shell
            .stdout(Stdio::piped())
            .args(["-c", command])
            .current_dir(home.path(".")));
        assert_eq!(done.code, 0, "{command}: {}", done.stderr);
    }
}

#[test]
fn an_empty_directory_will_do() {
    let home = Home::new();
    std::fs::create_dir(home.path("empty")).unwrap();
    let tour = home.json(&["tour", "--dir", "empty", "--quiet"]);
    has_keys(&tour, &["dir", "store", "digest", "next", "peak_memory"]);
    assert!(home.path("empty/debian.durus").is_file());
}
