//! `durum backup` and `durum restore` from end to end.

use std::fs;
use std::process::Stdio;

use durum_core::Oid;
use durum_core::store::{Batch, Store as _};
use serde_json::json;

use crate::kit::{
    Home, SAMPLE_DIGEST, SAMPLE_OBJECTS, engines, has_keys, open, run, sample, store,
};

const BACKUP_KEYS: [&str; 9] = [
    "objects",
    "bytes",
    "digest",
    "tid",
    "from_tid",
    "deleted",
    "seconds",
    "store_id",
    "file_bytes",
];
const RESTORE_KEYS: [&str; 7] = [
    "objects", "bytes", "digest", "tid", "seconds", "store_id", "dangling",
];

#[test]
fn the_sample_through_backups_of_every_engine() {
    let home = Home::new();
    let mut from = format!("durus:{}", sample().display());
    for engine in engines() {
        let name = engine.name;
        let (url, file) = (format!("{name}:{name}"), format!("{name}.backup"));
        if from.starts_with("durus:") {
            home.json(&["migrate", &from, &url]);
        } else {
            let done = home.json(&["restore", &from, &url]);
            has_keys(&done, &RESTORE_KEYS);
            assert_eq!(done["digest"], json!(SAMPLE_DIGEST), "{url}");
            assert_eq!(done["proven"], json!(true), "{url}");
            assert_eq!(home.run(&["check", &url]).code, 0, "{url}");
        }
        let done = home.json(&["backup", &url, &file]);
        has_keys(&done, &BACKUP_KEYS);
        assert_eq!(
            (&done["digest"], &done["objects"], &done["from_tid"]),
            (&json!(SAMPLE_DIGEST), &json!(SAMPLE_OBJECTS), &json!(null)),
            "{url}"
        );
        let length = fs::metadata(home.path(&file)).unwrap().len();
        assert_eq!(done["file_bytes"], json!(length));
        assert_eq!(home.json(&["digest", &url])["digest"], json!(SAMPLE_DIGEST));
        from = file;
    }
}

/// A full backup of a store, then two increments: with a change, and with a collection.
fn chain(home: &Home) -> (String, [String; 3], Vec<u64>) {
    let engine = engines()[0].name;
    let url = store(home, engine);
    let files = ["full", "one", "two"].map(str::to_owned);
    let mut tids = vec![
        home.json(&["backup", &url, "full"])["tid"]
            .as_u64()
            .unwrap(),
    ];
    for (refs, file, since) in [(&[2][..], "one", "full"), (&[], "two", "one")] {
        let held = open(home, engine);
        let mut batch = Batch::new();
        batch.update(Oid(1), file, refs.iter().copied().map(Oid));
        held.commit(batch, held.durability()).unwrap();
        held.collect().unwrap();
        drop(held);
        let done = home.json(&["backup", &url, file, "--since", since, "--verify"]);
        assert_eq!(done["from_tid"], json!(tids.last()));
        let whole = home.json(&["digest", &url]);
        assert_eq!(done["store_digest"], whole["digest"], "{file}");
        tids.push(done["tid"].as_u64().unwrap());
    }
    (url, files, tids)
}

#[test]
fn increments_and_every_point_of_them() {
    let home = Home::new();
    let (url, [full, one, two], tids) = chain(&home);
    let engine = engines()[0].name;
    for (number, tid) in tids.iter().enumerate() {
        let copy = format!("{engine}:copy-{number}");
        let done = home.json(&[
            "restore",
            &full,
            &one,
            &two,
            &copy,
            "--at",
            &tid.to_string(),
        ]);
        assert_eq!(
            (&done["tid"], &done["backups"]),
            (&json!(tid), &json!(number + 1))
        );
        assert_eq!(home.json(&["stat", &copy])["tid"], json!(tid));
    }
    let last = format!("{engine}:copy-2");
    assert_eq!(home.json(&["digest", &last]), home.json(&["digest", &url]));
    // By number, from any commit that the log has.
    let since = home.json(&["backup", &url, "other", "--since", &tids[0].to_string()]);
    assert_eq!(since["store_digest"], json!(null));
    assert!(since["deleted"].as_u64().unwrap() >= 2, "{since}");
    let done = home.json(&["restore", &full, "other", &format!("{engine}:by-number")]);
    assert_eq!(
        (&done["objects"], &done["proven"]),
        (&json!(2), &json!(false))
    );

    let list = home.json(&["restore", "--list", &full, &one, &two]);
    assert_eq!(list["problem"], json!(null));
    let kinds: Vec<&str> = (0..3)
        .map(|at| list["backups"][at]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["full", "increment", "increment"]);
    let text = home.run(&["restore", "--list", &one, &full]).text();
    assert!(
        text.contains("make no store") && text.contains("increment"),
        "{text}"
    );
    let checked = home.json(&["restore", "--check", &full, &one, &two]);
    assert_eq!(checked["proven"], json!(true));
    assert_eq!(checked["store_id"], json!(null));

    let to = format!("{engine}:never");
    home.refused(
        &["restore", &full, &one, &to, "--at", "999"],
        2,
        &["999", &format!("{}, {}", tids[0], tids[1])],
    );
    home.refused(&["restore", &one, &to], 2, &["full backup"]);
    home.refused(&["restore", &full, &two, &to], 2, &["missing"]);
    home.refused(&["restore", &full, &two, &one, &to], 2, &["missing"]);
    home.refused(&["restore", &full, &full, &to], 2, &["another full"]);
    // What was restored is another store.
    home.refused_when_open(
        &["backup", &last, "never", "--since", &two],
        2,
        &["a new one", "full backup"],
    );
    home.refused_when_open(
        &["backup", &url, "never", "--since", "999"],
        1,
        &["999", "full backup"],
    );
    home.refused_when_open(
        &["backup", &last, "never", "--since", "0"],
        1,
        &["full backup"],
    );
}

#[test]
fn what_exists_is_replaced_on_request_only() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        fs::write(home.path("saved"), b"precious").unwrap();
        home.refused_when_open(&["backup", &url, "saved"], 4, &["saved", "--force"]);
        home.refused_when_open(&["backup", &url, engine.name, "--force"], 4, &["no file"]);
        home.refused_when_open(&["backup", &url, "none/saved"], 4, &["none"]);
        home.json(&["backup", &url, "saved", "--force"]);
        home.refused(&["restore", "saved", &url], 4, &[engine.name]);
        fs::write(home.path("occupied"), b"precious").unwrap();
        home.refused(
            &["restore", "saved", &format!("{}:occupied", engine.name)],
            4,
            &["occupied"],
        );
    }
}

#[test]
fn standard_input_and_output() {
    let home = Home::new();
    let engine = engines()[0].name;
    let url = store(&home, engine);
    let streamed = home.run(&["backup", &url, "-"]);
    assert_eq!(streamed.code, 0, "{}", streamed.stderr);
    assert!(
        streamed.stderr.contains("Backed up 4 objects"),
        "{}",
        streamed.stderr
    );
    fs::write(home.path("saved"), &streamed.stdout).unwrap();
    let copy = format!("{engine}:copy");
    let input = fs::File::open(home.path("saved")).unwrap();
    let restored = run(home
        .command(&["restore", "-", &copy, "--json"])
        .stdin(input));
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert_eq!(
        restored.json()["digest"],
        home.json(&["digest", &url])["digest"]
    );

    // The result is beside the data, and so is what goes wrong.
    let with_json = home.run(&["backup", &url, "-", "--json"]);
    assert_eq!(with_json.stdout, streamed.stdout);
    let object: serde_json::Value = serde_json::from_str(with_json.stderr.trim_end()).unwrap();
    has_keys(&object, &BACKUP_KEYS);
    let failed = home.run(&["backup", &format!("{engine}:missing"), "-", "--json"]);
    assert_eq!((failed.code, failed.stdout.len()), (3, 0));
    let object = failed.stderr.lines().last().unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!(object["error"]["kind"], json!("not_found"));

    let file = fs::File::create(home.path("redirected")).unwrap();
    assert_eq!(
        run(home.command(&["backup", &url, "-"]).stdout(file)).code,
        0
    );
    assert_eq!(fs::read(home.path("redirected")).unwrap(), streamed.stdout);

    // A stream that stops too early.
    fs::write(
        home.path("cut"),
        &streamed.stdout[..streamed.stdout.len() - 1],
    )
    .unwrap();
    let input = fs::File::open(home.path("cut")).unwrap();
    let never = format!("{engine}:never");
    let cut = run(home.command(&["restore", "-", &never]).stdin(input));
    assert_eq!(cut.code, 7, "{}", cut.stderr);
    assert!(cut.stderr.contains("standard input"), "{}", cut.stderr);
    assert!(!home.path("never").exists());
    home.refused(&["restore", "-", &never], 7, &["cut off"]);
    home.refused(&["restore", "saved", "-", &never], 2, &["standard input"]);
    home.refused(&["restore", "--list", "-"], 2, &["standard input"]);
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_takes_the_stream() {
    let home = Home::new();
    let url = store(&home, engines()[0].name);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let stopped = run(home.command(&["backup", &url, "-"]).stdout(full));
    assert_eq!(stopped.code, 5, "{}", stopped.stderr);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command(&["backup", &url, "-"]);
    let stopped = run(command.stdout(Stdio::from(writer)));
    assert_eq!(
        stopped.code, 1,
        "a backup that nobody has: {}",
        stopped.stderr
    );
}

#[test]
fn damage_is_named() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        home.json(&["backup", &url, "good"]);
        let good = fs::read(home.path("good")).unwrap();
        let copy = format!("{}:copy", engine.name);
        for at in [0, 20, 100, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(home.path("bad"), &bad).unwrap();
            home.refused(&["restore", "bad", &copy], 7, &["bad", "at byte"]);
            home.refused(&["restore", "--check", "bad"], 7, &["bad", "at byte"]);
            fs::write(home.path("bad"), &good[..at]).unwrap();
            home.refused(&["restore", "bad", &copy], 7, &["bad", "at byte"]);
        }
        fs::write(home.path("text"), "no backup at all, but text".repeat(9)).unwrap();
        home.refused(&["restore", "text", &copy], 3, &["text", "no backup"]);
        home.refused(&["restore", "missing", &copy], 3, &["missing"]);
        home.refused(&["restore", "--list", "text"], 3, &["text"]);
        home.refused_when_open(&["backup", &url, "never", "--since", "text"], 3, &["text"]);
        home.refused_when_open(&["backup", &url, "never", "--since", "none"], 3, &["none"]);
    }
}

#[test]
fn a_store_that_is_in_use_or_something_else() {
    for engine in engines() {
        let home = Home::new();
        let url = store(&home, engine.name);
        let held = open(&home, engine.name);
        home.refused_when_open(
            &["backup", &url, "never"],
            5,
            &[&std::process::id().to_string()],
        );
        drop(held);
        home.json(&["backup", &url, "saved"]);
    }
    let home = Home::new();
    home.refused(&["backup", "durus:x", "saved"], 2, &["not a store"]);
    home.refused(&["backup", "lmdb:x"], 2, &["FILE"]);
    home.refused(&["restore"], 2, &[]);
    home.refused(&["restore", "lmdb:x"], 2, &["restore FILE... URL"]);
    home.refused(&["restore", "saved", "nonsense"], 2, &["no scheme"]);
}

/// More than 100 MiB of data pass in a fraction of that.
#[cfg(target_os = "linux")]
#[test]
fn large_stores_pass_in_little_memory() {
    use durum_core::Tid;
    use durum_core::config::StoreSettings;
    use durum_core::record::{Codecs, Payload};

    const OBJECTS: u64 = 40_000;
    let home = Home::new();
    let settings = StoreSettings::new("sqlite", home.path("large")).without_collection();
    let staged = durum_backends::registry().stage(&settings).unwrap();
    let mut importer = staged.importer().unwrap();
    let (mut draw, mut data) = (fastrand::Rng::with_seed(1), vec![0; 3000]);
    let codecs = Codecs::default();
    for oid in 0..OBJECTS {
        draw.fill(&mut data);
        let refs: Vec<Oid> = (oid + 1..OBJECTS).take(3).map(Oid).collect();
        importer
            .push(Oid(oid), Tid(1), &refs, Payload::plain(&data), &codecs)
            .unwrap();
    }
    importer.finish(Tid(1), Oid(OBJECTS)).unwrap();
    drop(staged.publish().unwrap());
    let bounded = |done: &serde_json::Value| {
        let peak = done["peak_memory"].as_u64().unwrap();
        assert!(peak < 40 << 20, "{peak} bytes for {}", done["bytes"]);
        println!("peak: {} KiB, {} s", peak >> 10, done["seconds"]);
    };
    let done = home.json(&["backup", "sqlite:large", "saved"]);
    assert!(done["file_bytes"].as_u64().unwrap() > 100 << 20);
    bounded(&done);
    bounded(&home.json(&["backup", "sqlite:large", "more", "--since", "1", "--verify"]));
    let restored = home.json(&["restore", "saved", "more", "sqlite:copy"]);
    assert_eq!(restored["digest"], done["digest"]);
    bounded(&restored);
    bounded(&home.json(&["restore", "--check", "saved", "more"]));
}
