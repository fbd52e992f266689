//! What must not pass for a copy, and that nothing is left of it.

use std::fs;
use std::path::{Path, PathBuf};

use durum_core::engine::{Durability, Key, Op, Registry, Table};
use durum_core::{ErrorKind, Oid};
use durum_migrate::Verify;
use durum_migrate::durus::{DurusObject, DurusWriter, Format};
use durum_testkit::{names, seed};
use fastrand::Rng;
use tempfile::TempDir;

use crate::kept::{Flaw, NAME, registry_with};
use crate::sample::{contents, digest, import, object, open, persistent, run, text};

/// Two directories, so that what appears beside a destination is seen.
struct Bench {
    registry: Registry,
    sources: TempDir,
    destinations: TempDir,
}

impl Bench {
    fn new(flaw: Flaw) -> Bench {
        let [sources, destinations] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Bench {
            registry: registry_with(flaw),
            sources,
            destinations,
        }
    }

    fn source(&self, engine: &str, name: &str) -> String {
        format!("{engine}:{}", self.sources.path().join(name).display())
    }

    fn destination(&self, scheme: &str) -> String {
        format!(
            "{scheme}:{}",
            self.destinations.path().join("copy").display()
        )
    }

    /// Every kind of destination.
    fn schemes(&self) -> Vec<&'static str> {
        let mut all = persistent(&self.registry);
        all.push("durus");
        all
    }

    /// There may be an unfinished store, which does not open; it is removed.
    fn nothing_finished(&self, engine: &str) {
        for name in names(self.destinations.path()) {
            assert!(name.starts_with(".copy.new-"), "{name}");
            let path = self.destinations.path().join(name);
            let url = format!("{engine}:{}", path.display());
            let settings = self.registry.parse_store(&url).unwrap();
            let error = self.registry.open(&settings).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
            fs::remove_dir_all(path).unwrap();
        }
    }

    fn nothing_appeared(&self) {
        assert_eq!(names(self.destinations.path()), [""; 0]);
    }
}

/// Objects of 5 MB together, so that some are written before the last is read.
fn large(draw: &mut Rng) -> Vec<durum_core::record::Object> {
    let object = |oid| object(oid, &[(oid + 1) % 500], &text(draw, 10_000));
    (0..500).map(object).collect()
}

fn damage(registry: &Registry, url: &str, oid: Oid, draw: &mut Rng) {
    let store = open(registry, url);
    let mut stored = Vec::new();
    let key = Key::from(oid.0);
    let view = store.raw_engine().snapshot().unwrap();
    assert!(
        view.get(Table::Objects, key, &mut |value| stored = value.to_vec())
            .unwrap()
    );
    drop(view);
    let at = draw.usize(0..stored.len());
    stored[at] ^= draw.u8(1..=255);
    println!("byte {at} of {} of object {oid}", stored.len());
    let op = Op::Put {
        table: Table::Objects,
        key,
        value: &stored,
    };
    let level: Durability = crate::sample::best(&store);
    store
        .while_quiet(|engine| engine.apply(&[op], level))
        .unwrap();
}

/// A damaged record anywhere in the source stops the copy, to every destination; the source stays
/// as it is.
#[test]
fn a_damaged_source_makes_no_destination() {
    let mut draw = Rng::with_seed(seed());
    let bench = Bench::new(Flaw::None);
    let objects = large(&mut draw);
    for engine in persistent(&bench.registry) {
        let source = bench.source(engine, engine);
        import(&bench.registry, &source, &objects);
        // The last: everything else was on its way already.
        let oid = Oid(if draw.bool() { 499 } else { draw.u64(0..500) });
        damage(&bench.registry, &source, oid, &mut draw);
        let before = names(bench.sources.path());
        for scheme in bench.schemes() {
            for verify in [Verify::None, Verify::Digest] {
                let to = bench.destination(scheme);
                let error = run(&bench.registry, &source, &to, verify).unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::Damaged,
                    "{source} to {to}: {error}"
                );
                assert_eq!(error.oids(), [oid], "{source} to {to}: {error}");
                bench.nothing_finished(scheme);
                assert_eq!(names(bench.sources.path()), before);
            }
        }
    }
}

fn durus_file(path: &Path, format: Format, objects: &[DurusObject]) {
    let mut writer = DurusWriter::create(path, format).unwrap();
    objects
        .iter()
        .for_each(|object| writer.push(object).unwrap());
    writer.finish().unwrap();
}

fn durus_objects(count: u64) -> Vec<DurusObject> {
    let object = |oid| DurusObject {
        oid: Oid(oid),
        refs: vec![Oid(oid + 1)],
        data: vec![7; 99],
    };
    (0..count).map(object).collect()
}

/// What a killed Durus leaves at the end is no damage; it is left out and counted. A file that breaks
/// off within what it had confirmed is damaged.
#[test]
fn a_torn_end_is_left_out_and_counted_and_damage_is_refused() {
    let bench = Bench::new(Flaw::None);
    // A transaction begins with its length, in 8 bytes or in 4.
    let formats = [(Format::Shelf, "shelf", 8), (Format::Dfs20, "dfs20", 4)];
    for (format, name, length_bytes) in formats {
        let file: PathBuf = bench.sources.path().join(name);
        let source = format!("durus:{}", file.display());
        durus_file(&file, format, &durus_objects(100));
        let whole = fs::read(&file).unwrap();
        let copy = bench.source(NAME, &format!("{name}-copy"));
        let good = run(&bench.registry, &source, &copy, Verify::Digest).unwrap();
        // One reference, of the last object, leads nowhere.
        assert_eq!((good.objects, good.torn_bytes, good.dangling), (100, 0, 1));

        // A transaction that says that it is longer than what is left.
        let length = 512_u64.to_be_bytes();
        let torn = [&length[8 - length_bytes..], &[1; 40]].concat();
        fs::write(&file, [&whole[..], &torn].concat()).unwrap();
        for scheme in bench.schemes() {
            let to = bench.destination(scheme);
            let outcome = run(&bench.registry, &source, &to, Verify::Digest).unwrap();
            assert_eq!(outcome.torn_bytes, torn.len() as u64, "{to}");
            assert_eq!(
                (outcome.objects, outcome.digest),
                (100, good.digest),
                "{to}"
            );
            let path = bench.destinations.path().join("copy");
            fs::remove_dir_all(&path)
                .or_else(|_| fs::remove_file(&path))
                .unwrap();
        }
        assert_eq!(
            fs::read(&file).unwrap(),
            [&whole[..], &torn].concat(),
            "the source is as it was"
        );

        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        for scheme in bench.schemes() {
            let to = bench.destination(scheme);
            let error = run(&bench.registry, &source, &to, Verify::Digest).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{to}: {error}");
            bench.nothing_appeared();
        }
    }
}

/// Whatever lies at the destination stays as it is: a store, a file, a directory with something in it.
#[test]
fn what_exists_is_not_touched() {
    let bench = Bench::new(Flaw::None);
    let source = bench.source(NAME, "source");
    import(&bench.registry, &source, &[object(0, &[], b"new")]);
    let path = bench.destinations.path().join("copy");
    let refused = |scheme: &str| {
        let to = bench.destination(scheme);
        let error = run(&bench.registry, &source, &to, Verify::Digest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists, "{to}: {error}");
        assert_eq!(names(bench.destinations.path()), ["copy"], "{to}");
    };
    for engine in persistent(&bench.registry) {
        let to = bench.destination(engine);
        import(
            &bench.registry,
            &to,
            &[object(0, &[1], b"old"), object(1, &[], b"old")],
        );
        let store = open(&bench.registry, &to);
        let before = digest(&store);
        refused(engine);
        drop(store);
        bench.schemes().into_iter().for_each(refused);
        let store = open(&bench.registry, &to);
        assert_eq!(digest(&store), before, "{to}");
        drop(store);
        fs::remove_dir_all(&path).unwrap();
    }
    fs::write(&path, b"somebody's notes").unwrap();
    bench.schemes().into_iter().for_each(refused);
    assert_eq!(fs::read(&path).unwrap(), b"somebody's notes");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("notes"), b"more").unwrap();
    bench.schemes().into_iter().for_each(refused);
    assert_eq!(names(&path), ["notes"]);
    let store = open(&bench.registry, &source);
    assert_eq!(contents(&store), [object(0, &[], b"new")]);
}

/// An engine that stores something else than it was given does not pass verification.
#[test]
fn what_the_destination_gets_wrong_is_found_and_removed() {
    let oid = Oid(3);
    let flaws = [
        (Flaw::Lose(oid), Verify::Count, ErrorKind::Mismatch),
        (Flaw::Lose(oid), Verify::Digest, ErrorKind::Mismatch),
        (Flaw::Alter(oid), Verify::Digest, ErrorKind::Mismatch),
        (Flaw::Unlink(oid), Verify::Digest, ErrorKind::Mismatch),
        (Flaw::Flip(oid), Verify::Digest, ErrorKind::Damaged),
    ];
    let objects: Vec<_> = (0..9)
        .map(|oid| object(oid, &[(oid + 1) % 9], b"data"))
        .collect();
    for (flaw, verify, kind) in flaws {
        let bench = Bench::new(flaw);
        for engine in persistent(&bench.registry)
            .into_iter()
            .filter(|engine| *engine != NAME)
        {
            let source = bench.source(engine, &format!("{engine}-{flaw:?}-{verify:?}"));
            import(&bench.registry, &source, &objects);
            let to = bench.destination(NAME);
            let found = run(&bench.registry, &source, &to, verify).map(|outcome| outcome.objects);
            let error = found.expect_err(&format!("{flaw:?}, {verify:?}"));
            assert_eq!(error.kind(), kind, "{flaw:?}: {error}");
            bench.nothing_appeared();
        }
    }
}

#[test]
fn an_object_that_the_destination_cannot_hold_is_named() {
    let mut draw = Rng::with_seed(seed());
    let bench = Bench::new(Flaw::Small(2000));
    let mut objects: Vec<_> = (0..600)
        .map(|oid| object(oid, &[0], &text(&mut draw, 900)))
        .collect();
    objects[0].refs.clear();
    objects[577].data = std::iter::repeat_with(|| draw.u8(..)).take(3000).collect();
    for engine in persistent(&bench.registry)
        .into_iter()
        .filter(|engine| *engine != NAME)
    {
        let source = bench.source(engine, engine);
        import(&bench.registry, &source, &objects);
        for codec in ["none", "zstd", "zstd-dict"] {
            let to = format!("{}?compression={codec}", bench.destination(NAME));
            let error = run(&bench.registry, &source, &to, Verify::Digest).unwrap_err();
            assert_eq!(
                (error.kind(), error.oids()),
                (ErrorKind::TooLarge, &[Oid(577)][..])
            );
            bench.nothing_appeared();
        }
    }
}

/// References to what does not exist are the source's, and stay as they are: counted, each of them.
#[test]
fn dangling_references_are_copied_and_counted() {
    let bench = Bench::new(Flaw::None);
    let objects = [
        object(0, &[2, 3, 9], b"root"),
        object(2, &[0, 1, 7, 1 << 40], b"to the middle, and beyond the end"),
        object(9, &[2], b"leaf"),
    ];
    for engine in persistent(&bench.registry) {
        let source = bench.source(engine, engine);
        import(&bench.registry, &source, &objects);
        for scheme in bench.schemes() {
            let copy = bench.source(scheme, &format!("{engine}-{scheme}"));
            let outcome = run(&bench.registry, &source, &copy, Verify::Digest).unwrap();
            assert_eq!(
                (outcome.objects, outcome.dangling),
                (3, 4),
                "{source} to {copy}"
            );
            if scheme == "durus" {
                let back = bench.source(NAME, &format!("{engine}-back"));
                let again = run(&bench.registry, &copy, &back, Verify::Digest).unwrap();
                assert_eq!((again.dangling, again.digest), (4, outcome.digest));
                assert_eq!(contents(&open(&bench.registry, &back)), objects);
            } else {
                assert_eq!(contents(&open(&bench.registry, &copy)), objects);
            }
        }
    }
}

/// Errors of the two sides are told apart: what is missing, what cannot be written to, and both the
/// same.
#[test]
fn wrong_places_are_refused() {
    let bench = Bench::new(Flaw::None);
    let source = bench.source(NAME, "source");
    import(&bench.registry, &source, &[object(0, &[], b"root")]);
    for scheme in bench.schemes() {
        let missing = bench.source(scheme, "missing");
        let to = bench.destination(scheme);
        let error = run(&bench.registry, &missing, &to, Verify::Digest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}: {error}");
        let nowhere = format!("{}/below/nowhere", to);
        let error = run(&bench.registry, &source, &nowhere, Verify::Digest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{nowhere}: {error}");
        bench.nothing_appeared();
    }
    let error = run(&bench.registry, &source, &source, Verify::Digest).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    let text = "not a store of any kind";
    let file = bench.sources.path().join("text");
    fs::write(&file, text).unwrap();
    for scheme in bench.schemes() {
        let from = format!("{scheme}:{}", file.display());
        let to = bench.destination(NAME);
        let error = run(&bench.registry, &from, &to, Verify::Digest).unwrap_err();
        let refused = [ErrorKind::Unreadable, ErrorKind::Damaged].contains(&error.kind());
        assert!(refused, "{from}: {error}");
        bench.nothing_appeared();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}
