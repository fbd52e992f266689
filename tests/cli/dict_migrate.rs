//! `durum dict migrate`.

use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::dict::with_input;
use crate::kit::{Home, engines};

const COUNT: usize = 3000;

/// A store with two classes, of which one has histories.
fn two_classes(home: &Home, url: &str) {
    let mut lines = String::new();
    for class in ["person", "thing"] {
        let index = json!({ "name": "born", "field": "born", "type": "int", "many": false });
        let class = json!({ "class": { "name": class, "indexes": [index] } });
        lines.push_str(&format!("{class}\n"));
    }
    for round in 0..2 {
        for number in 0..COUNT {
            let fields =
                json!({ "born": number % 100, "text": format!("{round} {number} ").repeat(9) });
            let line = json!({ "class": "person", "key": format!("p{number}"), "fields": fields });
            lines.push_str(&format!("{line}\n"));
        }
    }
    lines.push_str(&format!(
        "{}\n",
        json!({ "class": "thing", "key": "one", "fields": {} })
    ));
    let (code, _, said) = with_input(home, &["dict", "import", url], lines);
    assert_eq!(code, 0, "{said}");
}

fn export(home: &Home, url: &str) -> String {
    let output = home.command(&["dict", "export", url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn classes_move_between_engines() {
    for engine in engines() {
        let home = Home::new();
        let (from, to) = (
            format!("{}:from", engine.name),
            format!("{}:to", engine.name),
        );
        two_classes(&home, "lmdb:from0");
        home.json(&["dict", "migrate", "lmdb:from0", &from]);
        let moved = home.json(&["dict", "migrate", &from, &to, "--class", "person"]);
        assert_eq!(moved["dictionaries"], COUNT, "{moved}");
        assert_eq!(moved["revisions"], 2 * COUNT);
        assert_eq!(moved["resumed"], false);
        let digest = moved["classes"][0]["digest"].as_str().unwrap();
        assert_eq!(digest.len(), 64);
        let more = home.json(&[
            "dict", "migrate", &from, &to, "--class", "thing", "--verify", "full",
        ]);
        assert_eq!(more["dictionaries"], 1);
        assert_eq!(
            export(&home, "lmdb:from0"),
            export(&home, &to),
            "{}",
            engine.name
        );
        home.refused_when_open(&["dict", "migrate", &from, &to], 4, &["has a class"]);
    }
}

#[test]
fn killed_processes_leave_what_can_be_gone_on_with() {
    let seed = durum_testkit::seed();
    let mut random = Rng::with_seed(seed);
    let home = Home::new();
    two_classes(&home, "lmdb:from");
    for engine in engines() {
        let to = format!("{}:{0}", engine.name);
        let go = ["dict", "migrate", "lmdb:from", &to, "--resume", "--json"];
        let (mut kills, mut resumed) = (0, false);
        loop {
            let mut child = home
                .command(&go)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            if kills < 8 {
                std::thread::sleep(Duration::from_millis(random.u64(0..400)));
                child.kill().unwrap();
                kills += 1;
            }
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                None => {}
                Some(0) => {
                    let moved: Value = serde_json::from_slice(&output.stdout).unwrap();
                    resumed |= moved["resumed"] == true;
                    break;
                }
                code => panic!("seed {seed}, {}: {code:?} {said}", engine.name),
            }
            // A half of a class is nobody's.
            let classes = home.command(&["dict", "classes", &to, "--json"]).output();
            let classes: Value =
                serde_json::from_slice(&classes.unwrap().stdout).unwrap_or(Value::Null);
            for class in classes["classes"].as_array().into_iter().flatten() {
                let name = class["name"].as_str().unwrap();
                let all = home.command(&["dict", "all", &to, name]).output().unwrap();
                assert_eq!(all.status.success(), class["filling"].is_null(), "{class}");
            }
        }
        println!("{}: resumed {resumed}", engine.name);
        assert_eq!(
            export(&home, "lmdb:from"),
            export(&home, &to),
            "seed {seed}, {}",
            engine.name
        );
    }
}

#[test]
fn it_stops_when_its_time_is_over_and_says_how_to_go_on() {
    let home = Home::new();
    two_classes(&home, "lmdb:from");
    let slow = [
        "dict",
        "migrate",
        "lmdb:from",
        "sqlite:to",
        "--rate",
        "20KiB",
    ];
    let run = home.run(&[&slow[..], &["--max-duration", "2s"]].concat());
    assert_eq!(run.code, 8, "{}", run.stderr);
    assert!(
        run.stderr.contains("its time is over") && run.stderr.contains("--resume"),
        "{}",
        run.stderr
    );
    home.refused_when_open(
        &["dict", "get", "sqlite:to", "person", "p1"],
        5,
        &["--resume"],
    );
    home.refused_when_open(
        &["dict", "migrate", "lmdb:from", "sqlite:to"],
        2,
        &["--resume"],
    );
    home.refused_when_open(
        &["dict", "migrate", "lmdb:from", "lmdb:from"],
        2,
        &["the same"],
    );
    home.refused_when_open(
        &["dict", "migrate", "lmdb:absent", "lmdb:new"],
        3,
        &["absent"],
    );
    let moved = home.json(&["dict", "migrate", "lmdb:from", "sqlite:to", "--resume"]);
    assert_eq!(moved["resumed"], true);
    assert_eq!(export(&home, "lmdb:from"), export(&home, "sqlite:to"));
}
