//! `durum migrate` from end to end.

use serde_json::json;

use crate::kit::{Home, SAMPLE_DIGEST, SAMPLE_OBJECTS, engines, has_keys, sample, store};

#[test]
fn the_sample_goes_through_every_engine_and_back() {
    let home = Home::new();
    let mut from = format!("durus:{}", sample().display());
    let stops = engines()
        .into_iter()
        .map(|engine| format!("{0}:{0}", engine.name));
    let files = [
        "durus:back.durus".to_owned(),
        "durus:old.durus?format=dfs20".to_owned(),
        "durus:lite.durus?format=sqlite".to_owned(),
        "durus:again.durus".to_owned(),
    ];
    for to in stops.chain(files) {
        let done = home.json(&["migrate", &from, &to]);
        has_keys(
            &done,
            &[
                "objects",
                "bytes",
                "seconds",
                "digest",
                "resumed",
                "peak_memory",
            ],
        );
        assert_eq!(done["digest"], json!(SAMPLE_DIGEST), "{from} -> {to}");
        assert_eq!(
            (&done["objects"], &done["resumed"]),
            (&json!(SAMPLE_OBJECTS), &json!(false))
        );
        let peak = done["peak_memory"].as_u64().unwrap();
        assert!(
            peak > 1 << 20 && peak < 100_000_000,
            "{from} -> {to}: {peak} bytes"
        );
        if !to.starts_with("durus:") {
            assert_eq!(
                home.json(&["digest", &to])["digest"],
                json!(SAMPLE_DIGEST),
                "{to}"
            );
            assert_eq!(home.run(&["check", &to]).code, 0, "{to}");
        }
        from = to.split('?').next().unwrap().to_owned();
    }
}

#[test]
fn less_verification_on_request() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    for how in ["none", "count"] {
        let to = format!("{}:{how}", engines()[0].name);
        let done = home.json(&["migrate", &url, &to, "--verify", how]);
        assert_eq!(
            (&done["objects"], &done["digest"]),
            (&json!(4), &json!(null))
        );
        assert_eq!(home.json(&["digest", &to]), home.json(&["digest", &url]));
    }
    let copy = format!("{}:copy", engines()[0].name);
    home.refused(
        &["migrate", &url, &copy, "--verify", "digset"],
        2,
        &["digest"],
    );
}

#[test]
fn onto_itself_it_is_refused() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let run = home.run(&["migrate", &url, &url]);
        assert!(matches!(run.code, 2 | 4), "{}", run.stderr);
        assert_eq!(home.json(&["stat", &url])["objects"], json!(4));
    }
}

#[test]
fn progress_stays_off_standard_output() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    let run = home.run(&["migrate", &url, "durus:copy"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.text().starts_with("Copied 4 objects"), "{}", run.text());
}
