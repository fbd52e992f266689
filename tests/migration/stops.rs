//! A migration that is told to stop does so in every phase, and is gone on with.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::check::{FindingKind, check};
use durum_core::engine::Registry;
use durum_core::record::Object;
use durum_core::{ErrorKind, Result};
use durum_migrate::{MigrateOptions, OnError, Outcome, Progress, Verify, migrate};
use durum_testkit::{names, seed};
use fastrand::Rng;

use crate::sample::{digest, import, object, open, persistent, text};

/// Tells the migration to stop when it has come to a phase, and how far the phases got.
#[derive(Default)]
struct Stopper {
    stop: Arc<AtomicBool>,
    at: &'static str,
    phase: Cell<&'static str>,
    done: Cell<u64>,
    total: Cell<Option<u64>>,
}

impl Stopper {
    fn at(phase: &'static str) -> Stopper {
        Stopper {
            at: phase,
            ..Stopper::default()
        }
    }

    /// A phase is over: all of it was told of.
    fn over(&self) {
        if let Some(total) = self.total.get() {
            assert_eq!(self.done.get(), total, "{}", self.phase.get());
        }
    }
}

impl Progress for Stopper {
    fn begin(&self, phase: &'static str, total: Option<u64>) {
        self.over();
        self.phase.set(phase);
        self.total.set(total);
        self.done.set(0);
        if phase == self.at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn advance(&self, objects: u64, _bytes: u64) {
        self.done.set(self.done.get() + objects);
    }
}

/// A case: what is done, and the phase at which it stops.
struct Case {
    verify: Verify,
    reachable_only: bool,
    phase: &'static str,
}

fn run(
    registry: &Registry,
    (from, to): (&str, &str),
    case: &Case,
    stopper: &Stopper,
) -> Result<Outcome> {
    let options = MigrateOptions {
        verify: case.verify,
        reachable_only: case.reachable_only,
        resume: true,
        stop: Arc::clone(&stopper.stop),
        threads: 1,
        ..MigrateOptions::default()
    };
    let parse = |url| registry.parse(url).unwrap();
    migrate(registry, &parse(from), &parse(to), &options, stopper)
}

/// Objects of some batches, in a ring.
fn ring(draw: &mut Rng) -> Vec<Object> {
    let data = |draw: &mut Rng| text(draw, 3000);
    let object = |oid| object(oid, &[(oid + 1) % 400, 5000 + oid], &data(draw));
    (0..400).map(object).collect()
}

#[test]
fn every_phase_can_be_stopped_and_gone_on_with() {
    let mut draw = Rng::with_seed(seed());
    let registry = durum_backends::registry();
    let home = tempfile::tempdir().unwrap();
    let url = |engine: &str, name: &str| format!("{engine}:{}", home.path().join(name).display());
    let from = url("file", "from");
    import(&registry, &from, &ring(&mut draw));
    let expected = digest(&open(&registry, &from));
    let case = |phase, verify, reachable_only| Case {
        verify,
        reachable_only,
        phase,
    };
    for engine in persistent(&registry) {
        let cases = [
            case("walk", Verify::Digest, true),
            case("copy", Verify::Digest, false),
            case("resume", Verify::Digest, false),
            case("link", Verify::Digest, false),
            case("verify", Verify::Digest, false),
            case("verify", Verify::Count, false),
            case("verify", Verify::Full, false),
        ];
        for (number, case) in cases.into_iter().enumerate() {
            let to = url(engine, &format!("{engine}-{number}"));
            let sides = (&*from, &*to);
            if case.phase == "resume" {
                let stopper = Stopper::at("copy");
                run(&registry, sides, &case, &stopper).unwrap_err();
            }
            let what = format!("{to}: {} with {:?}", case.phase, case.verify);
            let stopper = Stopper::at(case.phase);
            let error = run(&registry, sides, &case, &stopper).expect_err(&what);
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{what}: {error}");
            assert_eq!(stopper.phase.get(), case.phase, "{what}");
            let kept = error.to_string().contains("--resume");
            assert_eq!(kept, case.phase != "walk", "{what}: {error}");

            let stopper = Stopper::default();
            let done = run(&registry, sides, &case, &stopper).expect(&what);
            stopper.over();
            assert_eq!(done.resumed, case.phase != "walk", "{what}");
            assert_eq!((done.objects, done.dangling), (400, 400), "{what}");
            let copy = open(&registry, &to);
            assert_eq!(digest(&copy), expected, "{what}");
            let report = check(&copy, false).unwrap();
            let mut findings = report.errors.iter();
            let wrong = findings.find(|it| it.kind != FindingKind::Dangling);
            assert_eq!(wrong, None, "{what}");
        }
    }
    let left = names(home.path());
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

/// A source that does not open leaves no directory for what is rejected.
#[test]
fn the_directory_of_rejects_waits_for_the_source() {
    let registry = durum_backends::registry();
    let home = tempfile::tempdir().unwrap();
    let parse = |name: &str| {
        let url = format!("file:{}", home.path().join(name).display());
        registry.parse(&url).unwrap()
    };
    let options = MigrateOptions {
        on_error: OnError::Skip(Some(home.path().join("rejects"))),
        ..MigrateOptions::default()
    };
    let error = migrate(&registry, &parse("none"), &parse("to"), &options, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(names(home.path()), [""; 0]);
}
