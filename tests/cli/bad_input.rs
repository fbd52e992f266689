//! What cannot work is refused with the right exit code, and nothing is changed.

use crate::kit::{Home, engines, open, sample, store};

/// A directory in which nobody can create anything, the superuser included.
const UNWRITABLE: &str = "/proc";

#[test]
fn urls_that_name_nothing() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    let (name, path) = url.split_once(':').unwrap();
    for command in ["stat", "digest", "check", "gc", "init"] {
        home.refused(
            &[command, path],
            2,
            &["no scheme", &format!("Did you mean `{url}`?")],
        );
        home.refused(&[command, "nowhere"], 2, &["no scheme", "SCHEME:PATH"]);
        home.refused(&[command, &format!("{name}:")], 2, &["no path"]);
        home.refused(&[command, "lmbd:x"], 2, &["Did you mean `lmdb`?"]);
        home.refused(&[command, "durus:x"], 2, &["not a store", "migrate"]);
        home.refused(&[command, "durus+tcp://localhost"], 2, &["HOST:PORT"]);
    }
    home.refused(&["get", path, "1"], 2, &["no scheme"]);
    home.refused(&["migrate", &url, "copy"], 2, &["no scheme"]);
    home.refused(&["migrate", "copy", &url], 2, &["no scheme"]);
    home.refused(&["migrate", &url], 2, &["DST"]);
}

/// Where one process has the store, and nobody else could read it.
#[test]
fn reads_that_cannot_be_served() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    let reads = ["serve", &url, "--listen", "127.0.0.1:0", "--read-listen"];
    let serve = |more: &[&'static str]| [&reads[..], more].concat();
    home.refused(
        &serve(&["127.0.0.1:0"]),
        2,
        &["serve reads", "one process only"],
    );
    home.refused(&serve(&["nowhere"]), 2, &["`nowhere`"]);
    let metrics = ["serve", &url, "--read-metrics", "127.0.0.1:0"];
    home.refused(&metrics, 2, &["none for reads", "`read_listen`"]);
    assert_eq!(home.json(&["stat", &url])["objects"], 4);
}

/// A build without an engine says how to get it.
#[test]
#[cfg(not(feature = "rocksdb"))]
fn an_engine_that_was_left_out_of_the_build() {
    let home = Home::new();
    let feature = ["rocksdb", "--features rocksdb"];
    home.refused(&["init", "rocksdb:new"], 2, &feature);
    home.refused(&["stat", "rocksdb:new"], 2, &feature);
    home.refused(&["migrate", "file:old", "rocksdb:new"], 2, &feature);
}

#[test]
fn sources_that_are_missing_or_something_else() {
    for engine in engines() {
        let home = Home::new();
        std::fs::write(home.path("file"), b"text").unwrap();
        std::fs::create_dir(home.path("dir")).unwrap();
        for place in ["nothing", "file", "dir", "nothing/below"] {
            let url = format!("{}:{place}", engine.name);
            for command in ["stat", "digest", "check", "gc"] {
                home.refused(&[command, &url], 3, &[place]);
            }
            home.refused(&["get", &url, "0"], 3, &[place]);
            home.refused(
                &["migrate", &url, &format!("{}:copy", engine.name)],
                3,
                &[place],
            );
        }
        let copy = format!("{}:copy", engine.name);
        home.refused(&["migrate", "durus:nothing", &copy], 3, &["nothing"]);
        home.refused(&["migrate", "durus:file", &copy], 3, &["file"]);
    }
}

#[test]
fn oids_that_do_not_exist_or_make_no_sense() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let large = (1u64 << 63) - 1;
        for oid in [4, 1_000_000_000, large] {
            home.refused_when_open(
                &["get", &url, &oid.to_string()],
                1,
                &[&format!("object {oid}")],
            );
        }
        for text in ["9223372036854775808", "x", "", "1.0", "0x1"] {
            home.refused(&["get", &url, text], 2, &["not a decimal number"]);
        }
    }
}

#[test]
fn destinations_that_are_not_empty() {
    for engine in engines() {
        let home = Home::new();
        let source = format!("durus:{}", sample().display());
        store(&home, engine.name);
        std::fs::write(home.path("occupied"), b"precious").unwrap();
        std::fs::create_dir(home.path("dir")).unwrap();
        std::fs::write(home.path("dir/file"), b"precious").unwrap();
        for place in [engine.name, "occupied", "dir"] {
            let url = format!("{}:{place}", engine.name);
            home.refused(&["init", &url], 4, &[place]);
            home.refused(&["migrate", &source, &url], 4, &[place]);
            home.refused(&["tour", "--dir", place], 4, &["--dir"]);
        }
        home.refused(&["migrate", &source, "durus:occupied"], 4, &["occupied"]);
        home.refused(&["migrate", &source, "durus:dir"], 4, &["dir"]);
    }
}

#[test]
fn destinations_that_cannot_be_written() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let before = home.json(&["digest", &url]);
        for place in [format!("{UNWRITABLE}/durum"), "no/such/parent".to_owned()] {
            home.refused(&["init", &format!("{}:{place}", engine.name)], 4, &[]);
            home.refused_when_open(
                &["migrate", &url, &format!("{}:{place}", engine.name)],
                4,
                &[],
            );
            home.refused_when_open(&["migrate", &url, &format!("durus:{place}")], 4, &[]);
            home.refused(&["tour", "--dir", &place], 4, &["--dir"]);
        }
        assert_eq!(home.json(&["digest", &url]), before);
    }
}

#[test]
fn a_store_of_another_engine() {
    let home = Home::new();
    let engines = engines();
    for engine in &engines {
        store(&home, engine.name);
    }
    for (engine, other) in engines.iter().zip(engines.iter().cycle().skip(1)) {
        let wrong = format!("{}:{}", other.name, engine.name);
        let right = format!("{0}:{0}", engine.name);
        for command in ["stat", "digest", "check", "gc"] {
            home.refused(&[command, &wrong], 2, &[&right]);
        }
        home.refused(
            &["migrate", &wrong, &format!("{}:copy", other.name)],
            2,
            &[&right],
        );
    }
}

#[test]
fn two_processes_at_once() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let held = open(&home, engine.name);
        let holder = format!("process {}", std::process::id());
        let copy = format!("{}:copy", engine.name);
        for command in ["stat", "digest", "check", "gc"] {
            home.refused(&[command, &url], 5, &[&holder]);
        }
        home.refused(&["get", &url, "0"], 5, &[&holder]);
        home.refused(&["migrate", &url, &copy], 5, &[&holder]);
        // As a destination it is just not free.
        let source = format!("durus:{}", sample().display());
        home.refused(&["migrate", &source, &url], 4, &[engine.name]);
        home.refused(&["init", &url], 4, &[engine.name]);
        drop(held);
        assert_eq!(home.run(&["stat", &url]).code, 0);
    }
}

#[test]
fn an_engine_that_keeps_nothing_is_not_initialised() {
    let home = Home::new();
    for backend in durum_backends::registry().iter() {
        let offered = backend.capabilities();
        if !offered.persistent {
            home.refused(
                &["init", &format!("{}:", offered.name)],
                2,
                &["keeps nothing"],
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let home = Home::new();
    let odd = OsStr::from_bytes(b"lmdb:\xff\xfe");
    let run = home.run(&[OsStr::new("stat"), odd]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.starts_with("durum: "), "{}", run.stderr);
}
