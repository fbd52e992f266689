//! Stores and files that are not what was written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::{Home, MARKER, engines, sample, store};

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Changes a byte in every place where the state of an object is stored; returns their number.
pub(crate) fn flip(dir: &Path, oid: u64) -> usize {
    let state = [MARKER, oid.to_string().as_bytes()].concat();
    let mut flipped = 0;
    for path in files_below(dir) {
        let mut bytes = fs::read(&path).unwrap();
        let found: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(&state))
            .collect();
        for at in &found {
            bytes[at + 3] ^= 0x10;
        }
        if !found.is_empty() {
            fs::write(&path, bytes).unwrap();
            flipped += found.len();
        }
    }
    flipped
}

#[test]
fn a_changed_byte_is_damage_and_a_finding() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        assert!(flip(&home.path(engine.name).join("data"), 2) > 0, "{url}");
        home.refused_when_open(&["digest", &url], 7, &[]);
        home.refused_when_open(&["get", &url, "2"], 7, &[]);
        // The object is in use: a collection has nothing to do with it, but an engine that rewrites its
        // files does.
        let code = home.run(&["gc", &url]).code;
        assert!(code == 0 || code == 7, "{url}: {code}");
        home.refused_when_open(&["migrate", &url, &format!("{}:copy", engine.name)], 7, &[]);
        home.refused_when_open(&["backup", &url, "saved"], 7, &[]);
        let check = home.run(&["check", &url, "--json"]);
        assert_eq!(check.code, 6, "{url}: {}", check.stderr);
        let report = check.json();
        assert_eq!(report["errors"][0]["kind"], "damaged", "{url}: {report}");
        assert!(
            report["errors"][0]["message"].as_str().unwrap().len() > 20,
            "{report}"
        );
        assert_eq!(
            home.run(&["check", &url, "--repair"]).code,
            6,
            "it cannot be mended"
        );
        if report["complete"] == true {
            assert_eq!(report["errors"][0]["oid"], 2, "{url}: {report}");
        }
    }
}

#[test]
fn a_truncated_store_is_damage_and_a_finding() {
    for engine in engines() {
        for keep in [0, 1, 2] {
            let home = Home::new();
            let url = store(&home, engine.name);
            let files = files_below(&home.path(engine.name).join("data"));
            let largest = files
                .iter()
                .max_by_key(|path| path.metadata().unwrap().len())
                .unwrap();
            let length = largest.metadata().unwrap().len() * keep / 3;
            fs::OpenOptions::new()
                .write(true)
                .open(largest)
                .unwrap()
                .set_len(length)
                .unwrap();
            let read = home.run(&["digest", &url]);
            let check = home.run(&["check", &url, "--json"]);
            // An engine may have what it needs elsewhere: then everything is still there.
            if read.code == 0 {
                assert!(
                    read.text().contains("4 objects"),
                    "{url} lost something silently"
                );
                assert_eq!(check.code, 0, "{url}");
                continue;
            }
            assert_eq!(read.code, 7, "{url}, {length} bytes left: {}", read.stderr);
            assert_eq!(
                check.code, 6,
                "{url}, {length} bytes left: {}",
                check.stderr
            );
            assert_eq!(check.json()["errors"][0]["kind"], "damaged", "{url}");
        }
    }
}

#[test]
fn a_store_without_its_parts() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let identity = home.path(engine.name).join("identity");
        let text = fs::read_to_string(&identity).unwrap();
        fs::write(&identity, "nonsense").unwrap();
        home.refused(&["stat", &url], 7, &["identity"]);
        assert_eq!(home.run(&["check", &url]).code, 6);
        fs::write(&identity, text.replace("format = 1", "format = 9")).unwrap();
        home.refused(&["stat", &url], 3, &["format is 9"]);
        fs::write(&identity, text).unwrap();
        fs::remove_dir_all(home.path(engine.name).join("data")).unwrap();
        home.refused(&["stat", &url], 7, &["`data`"]);
        assert_eq!(home.run(&["check", &url]).code, 6);
    }
}

#[test]
fn damaged_durus_files() {
    let home = Home::new();
    let good = fs::read(sample()).unwrap();
    let engine = engines()[0].name;
    let copy = format!("{engine}:copy");
    // The first transaction is not whole: there is nothing that could be read.
    fs::write(home.path("cut"), &good[..good.len() / 2]).unwrap();
    let cut = home.run(&["migrate", "durus:cut", &copy, "--json"]);
    assert!(matches!(cut.code, 3 | 7), "{}", cut.stderr);
    assert!(!home.path("copy").exists());
    // A record's length.
    let mut bad = good.clone();
    bad[8 + 8..8 + 16].fill(0xff);
    fs::write(home.path("bad"), &bad).unwrap();
    home.refused(&["migrate", "durus:bad", &copy], 7, &["bad"]);
    fs::write(home.path("foreign"), b"PK\x03\x04 and so on").unwrap();
    home.refused(&["migrate", "durus:foreign", &copy], 3, &["foreign"]);
    fs::write(home.path("empty"), b"").unwrap();
    home.refused(&["migrate", "durus:empty", &copy], 3, &["empty"]);
}
