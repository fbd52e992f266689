//! Stores that move to a server and back: whole, interrupted and gone on with.

// A test that cannot go on says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use durum_core::check::check;
use durum_core::engine::Registry;
use durum_core::record::{Codecs, Payload};
use durum_core::{ErrorKind, Oid, Result, Tid};
use durum_database::Server;
use durum_lmdb::LmdbBackend;
use durum_migrate::{MigrateOptions, Outcome, Progress, Verify, migrate};
use durum_postgres::PostgresBackend;
use durum_testkit::seed;

/// Objects, unless `DURUM_TEST_OBJECTS` says more.
const OBJECTS: u64 = 20_000;
const DATA_BYTES: usize = 200;

fn registry() -> Registry {
    Registry::new().with(LmdbBackend).with(PostgresBackend)
}

/// Fills a store with objects of which each refers to the next and to two others anywhere.
fn fill(registry: &Registry, url: &str, objects: u64, data_bytes: usize) {
    let mut random = fastrand::Rng::with_seed(seed());
    let settings = registry.parse_store(url).unwrap().without_collection();
    let staged = registry.stage(&settings).unwrap();
    let mut importer = staged.importer().unwrap();
    let (codecs, mut data) = (Codecs::default(), vec![0; data_bytes]);
    for number in 0..objects {
        let mut refs = vec![
            Oid((number + 1) % objects),
            Oid(random.u64(..objects)),
            Oid(random.u64(..objects)),
        ];
        refs.sort_unstable();
        refs.dedup();
        refs.retain(|oid| oid.0 != number);
        random.fill(&mut data);
        importer
            .push(Oid(number), Tid(1), &refs, Payload::plain(&data), &codecs)
            .unwrap();
    }
    importer.finish(Tid(1), Oid::ROOT).unwrap();
    drop(staged.publish().unwrap());
}

/// Stops after so many objects.
struct StopAfter {
    stop: Arc<AtomicBool>,
    objects: u64,
    done: AtomicU64,
}

impl Progress for StopAfter {
    fn begin(&self, _phase: &'static str, _total: Option<u64>) {}

    fn advance(&self, objects: u64, _bytes: u64) {
        if self.done.fetch_add(objects, Ordering::Relaxed) + objects >= self.objects {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn run(registry: &Registry, from: &str, to: &str, stop_after: u64) -> Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = MigrateOptions {
        verify: Verify::Digest,
        resume: true,
        stop: stop.clone(),
        ..MigrateOptions::default()
    };
    let progress = StopAfter {
        stop,
        objects: stop_after,
        done: AtomicU64::new(0),
    };
    let parse = |url| registry.parse(url).unwrap();
    migrate(registry, &parse(from), &parse(to), &options, &progress)
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

#[test]
fn a_store_moves_to_a_server_and_back() {
    let Some(server) = Server::start() else {
        return;
    };
    let objects = std::env::var("DURUM_TEST_OBJECTS").map_or(OBJECTS, |text| text.parse().unwrap());
    let registry = registry();
    let home = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("lmdb:{}", home.path().join(name).display());
    let there = format!("postgres:{}", server.address("test"));
    fill(&registry, &url("from"), objects, DATA_BYTES);

    let error = run(&registry, &url("from"), &there, objects / 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    // What is half there is no store.
    let settings = registry.parse_store(&there).unwrap();
    assert_eq!(
        registry.open(&settings).unwrap_err().kind(),
        ErrorKind::NotFound
    );

    let mut digests = Vec::new();
    for (from, to) in [(url("from"), there.clone()), (there.clone(), url("back"))] {
        let began = Instant::now();
        let moved = run(&registry, &from, &to, u64::MAX).unwrap();
        println!(
            "{} objects, {:.1} s, {} MiB at most, resumed {}",
            moved.objects,
            began.elapsed().as_secs_f64(),
            peak_mib(),
            moved.resumed,
        );
        assert_eq!(moved.objects, objects);
        digests.push(moved.digest.unwrap());
    }
    assert_eq!(digests[0], digests[1]);
    let error = run(&registry, &url("from"), &there, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
    let store = registry.open(&settings).unwrap();
    let report = check(&store, false).unwrap();
    assert_eq!((report.objects, report.errors), (objects, vec![]));
}

/// Objects that are several batches.
const LARGE: (u64, usize) = (20_000, 2_000);

/// Kills the server, and starts it again, after so many objects of a phase.
struct KillAfter<'a> {
    server: Mutex<&'a mut Server>,
    phase: &'static str,
    objects: u64,
    now: Mutex<(&'static str, u64)>,
    killed: AtomicBool,
}

impl Progress for KillAfter<'_> {
    fn begin(&self, phase: &'static str, _total: Option<u64>) {
        *self.now.lock().unwrap() = (phase, 0);
        self.advance(0, 0);
    }

    fn advance(&self, objects: u64, _bytes: u64) {
        let (phase, done) = &mut *self.now.lock().unwrap();
        *done += objects;
        if *phase == self.phase
            && *done >= self.objects
            && !self.killed.swap(true, Ordering::Relaxed)
        {
            let mut server = self.server.lock().unwrap();
            server.kill();
            server.run();
        }
    }
}

/// A server, and a store in it that is to be what `from` is.
struct Copied<'a> {
    registry: &'a Registry,
    server: &'a Server,
    home: &'a str,
    from: &'a str,
    schema: &'a str,
}

impl Copied<'_> {
    /// That it is, and a whole store.
    fn verify(&self) {
        let there = there(self.server, self.schema);
        let to = |name: &str| format!("{}/{}-{name}", self.home, self.schema);
        let copied = run(self.registry, self.from, &to("copied"), u64::MAX).unwrap();
        let back = run(self.registry, &there, &to("back"), u64::MAX).unwrap();
        assert_eq!(copied.digest, back.digest);
        let settings = self.registry.parse_store(&there).unwrap();
        let report = check(&self.registry.open(&settings).unwrap(), false).unwrap();
        assert_eq!((report.objects, report.errors), (LARGE.0, vec![]));
        let keyless = format!(
            "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = '{}'::regnamespace \
             AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)",
            self.schema
        );
        assert_eq!(self.server.number("test", &keyless), Some(2));
    }
}

fn there(server: &Server, schema: &str) -> String {
    format!("postgres:{}?schema={schema}", server.address("test"))
}

#[test]
fn a_migration_goes_on_after_its_server_was_killed() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let (registry, home) = (registry(), tempfile::tempdir().unwrap());
    let home = format!("lmdb:{}", home.path().display());
    let from = format!("{home}/from");
    fill(&registry, &from, LARGE.0, LARGE.1);
    // So that what nobody waits for is written late.
    server.sql("test", "ALTER SYSTEM SET wal_writer_delay = '10s'");
    let points = [
        ("copy", 6_000),
        ("copy", 9_000),
        ("copy", 16_000),
        ("link", 0),
        ("link", 10_000),
        ("verify", 0),
    ];
    for (number, (phase, objects)) in points.into_iter().enumerate() {
        let schema = format!("killed_{number}");
        let there = there(&server, &schema);
        let options = MigrateOptions {
            verify: Verify::Digest,
            resume: true,
            ..MigrateOptions::default()
        };
        let progress = KillAfter {
            server: Mutex::new(&mut server),
            phase,
            objects,
            now: Mutex::default(),
            killed: AtomicBool::new(false),
        };
        let parse = |url: &str| registry.parse(url).unwrap();
        let moved = migrate(
            &registry,
            &parse(&from),
            &parse(&there),
            &options,
            &progress,
        );
        assert!(progress.killed.load(Ordering::Relaxed));
        // Whether anything was lost depends on what the server had written.
        if let Err(error) = moved {
            println!("{phase}, {objects}: {error}");
            let settings = registry.parse_store(&there).unwrap();
            let opened = registry.open(&settings);
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotFound);
            let moved = run(&registry, &from, &there, u64::MAX).unwrap();
            println!("resumed {}", moved.resumed);
        }
        let (registry, server, home, from) = (&registry, &server, &*home, &*from);
        let copied = Copied {
            registry,
            server,
            home,
            from,
            schema: &schema,
        };
        copied.verify();
    }
}

/// Tells this program that it is to migrate and to be killed: from where and to where.
const CHILD: [&str; 2] = ["DURUM_TEST_FROM", "DURUM_TEST_TO"];

#[test]
fn a_migration_that_is_killed_goes_on() {
    let registry = registry();
    if let [Ok(from), Ok(to)] = CHILD.map(std::env::var) {
        run(&registry, &from, &to, u64::MAX).unwrap();
        return;
    }
    let Some(server) = Server::start() else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let home = format!("lmdb:{}", home.path().display());
    let (from, there) = (format!("{home}/from"), there(&server, "durum"));
    fill(&registry, &from, LARGE.0, LARGE.1);
    let schema = "SELECT max(nspname) FROM pg_namespace WHERE nspname LIKE 'durum.new-%'";
    for more in [1, 2, 1, 3, 2] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "a_migration_that_is_killed_goes_on",
            "--test-threads=1",
        ]);
        child
            .envs(CHILD.into_iter().zip([&from, &there]))
            .stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        let mut first = None;
        loop {
            let ended = child.try_wait().unwrap();
            let name = server.sql("test", schema);
            let sql = format!("SELECT batch FROM \"{name}\".writer");
            // It has just got its name, or is just being made.
            let batch = server.number("test", &sql).filter(|_| !name.is_empty());
            let begun = *first.get_or_insert(batch.unwrap_or_default());
            if ended.is_some() || batch.is_some_and(|batch| batch >= begun + more) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let rows = |table| {
            let sql = format!(
                "SELECT count(*) FROM \"{}\".{table}",
                server.sql("test", schema)
            );
            server.number("test", &sql)
        };
        println!(
            "{:?} objects, {:?} referrers",
            rows("objects"),
            rows("referrers")
        );
    }
    let settings = registry.parse_store(&there).unwrap();
    if registry.open(&settings).is_err() {
        assert!(run(&registry, &from, &there, u64::MAX).unwrap().resumed);
    }
    let copied = Copied {
        registry: &registry,
        server: &server,
        home: &home,
        from: &from,
        schema: "durum",
    };
    copied.verify();
}
