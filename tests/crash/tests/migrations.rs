//! A migration that is stopped anywhere, and resumed, comes to the same as one that was not; what is
//! half-made never opens.
//!
//! By default each pair of engines is stopped at a sample of its file operations. `DURUM_CRASH=500` tries
//! so many, and `DURUM_CRASH=exhaustive` all. `DURUM_TEST_SEED=...` repeats a run.

use durum_crash::process::Programs;
use durum_crash::suite::Suite;

const ENGINES: &[&str] = &[
    "file",
    "fjall",
    "lmdb",
    "redb",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    "sled",
    "sqlite",
];

fn suite(from: &str, to: &str, points: usize) -> Suite {
    of(format!("migrate-{from}-{to}"), points)
}

fn of(subject: String, points: usize) -> Suite {
    let points =
        match std::env::var("DURUM_CRASH").as_deref() {
            Err(_) => Some(points),
            Ok("exhaustive") => None,
            Ok(number) => Some(number.parse().unwrap_or_else(|_| {
                panic!("DURUM_CRASH is a number or `exhaustive`, not {number}")
            })),
        };
    Suite {
        programs: Programs::find(env!("CARGO_BIN_EXE_crash_workload")),
        // As in `engines`.
        journal: subject.contains("rocksdb"),
        subject,
        seed: durum_testkit::seed(),
        commits: 10,
        points,
    }
}

/// Where the disk fails or is full.
#[test]
fn failing() {
    for to in ENGINES {
        suite("file", to, 12).fail().assert_clean();
    }
}

/// While the source grows, and it has grown when the migration is resumed.
#[test]
fn killed_while_following() {
    for to in ENGINES {
        of(format!("follow-{to}"), 16).kill().assert_clean();
    }
}

/// The same where power is lost, and on disks that fail.
#[test]
fn following_on_bad_days() {
    for to in ["file", "lmdb", "sqlite"] {
        of(format!("follow-{to}"), 12).power_loss().assert_clean();
        of(format!("follow-{to}"), 12).fail().assert_clean();
    }
}

macro_rules! destinations {
    ($($engine:ident)*) => {$(
        mod $engine {
            use super::{ENGINES, suite};

            #[test]
            fn killed_from_every_engine() {
                for from in ENGINES {
                    // There are as many pairs as the square of the engines: few moments of each, and others in
                    // each run.
                    let report = suite(from, stringify!($engine), 3).kill();
                    println!("{from} to {}: {} kills", stringify!($engine), report.tries);
                    report.assert_clean();
                }
            }

            #[test]
            fn power_loss() {
                suite("file", stringify!($engine), 24).power_loss().assert_clean();
            }

            #[test]
            fn power_loss_after_kill() {
                suite("file", stringify!($engine), 12).power_loss_after_kill().assert_clean();
            }
        }
    )*};
}

destinations!(file fjall lmdb redb sled sqlite);

#[cfg(feature = "rocksdb")]
destinations!(rocksdb);
