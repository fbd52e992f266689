//! The engines withstand kills, failing disks and losses of power; and on a disk that ignores
//! synchronization they do not, so that it is known what these tests can find.
//!
//! By default each mode tries a sample of the operations of a short run. What is tried follows from a
//! seed that is printed; `DURUM_TEST_SEED=...` repeats it. Every operation of a longer run, in all
//! variants, is tried by
//!
//! ```text
//! DURUM_CRASH=exhaustive cargo test -p durum-crash --test engines
//! ```
//! and a sample of 500 of them by `DURUM_CRASH=500`. `DURUM_CRASH_COMMITS=10` makes the longer run
//! shorter: on SQLite, which writes most often, all of it takes an hour otherwise.
//!
//! With `--features rocksdb` RocksDB is among the engines.
//!
//! `DURUM_CRASH_KEEP=1` keeps the directories in which something went wrong and prints where.

use durum_crash::process::Programs;
use durum_crash::suite::Suite;

/// A suite for `engine` that tries `points` operations, or what `DURUM_CRASH` says.
fn suite(engine: &str, points: usize) -> Suite {
    let (commits, points) = match std::env::var("DURUM_CRASH").as_deref() {
        Err(_) => (14, Some(points)),
        Ok("exhaustive") => (long_run(), None),
        Ok(number) => (
            long_run(),
            Some(number.parse().unwrap_or_else(|_| {
                panic!("DURUM_CRASH is a number or `exhaustive`, not {number}")
            })),
        ),
    };
    Suite {
        programs: Programs::find(env!("CARGO_BIN_EXE_crash_workload")),
        subject: engine.to_owned(),
        seed: durum_testkit::seed(),
        commits,
        points,
        journal: has_journal(engine),
    }
}

/// RocksDB's threads synchronize one directory. Where that fails for one of them the others are not told, go on and
/// synchronize it themselves: what the first one was to make durable would be missing on a file system that reports a
/// failure only once. There is none: see the crate's documentation.
fn has_journal(engine: &str) -> bool {
    engine.contains("rocksdb")
}

/// The operations that each mode tries by default.
fn points(subject: &str) -> usize {
    match subject {
        // It makes its journals 64 MiB long at once, which makes the images large.
        it if it.contains("fjall") => 24,
        _ => 36,
    }
}

/// The commits of a longer run.
fn long_run() -> u64 {
    match std::env::var("DURUM_CRASH_COMMITS") {
        Err(_) => 40,
        Ok(number) => number
            .parse()
            .unwrap_or_else(|_| panic!("DURUM_CRASH_COMMITS is a number, not {number}")),
    }
}

macro_rules! modes {
    ($subject:expr) => {
        use crate::{points, suite};

        #[test]
        fn kill() {
            suite($subject, points($subject)).kill().assert_clean();
        }

        #[test]
        fn fail() {
            let report = suite($subject, points($subject)).fail();
            report.assert_clean();
            assert!(
                report.reported > report.tries / 3,
                "errors go unreported: {report:?}"
            );
        }

        #[test]
        fn power_loss() {
            suite($subject, points($subject))
                .power_loss()
                .assert_clean();
        }

        #[test]
        fn power_loss_twice() {
            suite($subject, points($subject))
                .power_loss_twice()
                .assert_clean();
        }

        #[test]
        fn power_loss_after_kill() {
            suite($subject, points($subject))
                .power_loss_after_kill()
                .assert_clean();
        }

        #[test]
        fn control() {
            let mut suite = suite($subject, 20);
            // A sample shows it; there is no more to learn from the rest.
            suite.points = Some(20);
            suite.power_loss_without_syncs().assert_losses();
        }
    };
}

/// Tests of each engine alone (rows in tables), and of a store on it (a graph of objects).
macro_rules! engines {
    ($($engine:ident)*) => {$(
        mod $engine {
            mod engine {
                modes!(stringify!($engine));
            }
            mod store {
                modes!(concat!("store-", stringify!($engine)));
            }
        }
    )*};
}

engines!(file fjall lmdb redb sled sqlite);

/// fjall with tables so small that its threads write and merge them meanwhile.
mod fjall_small_tables {
    modes!("fjall?memtable_size=4KiB");
}

/// fjall with batches that are ingested though they are small.
mod fjall_ingested {
    modes!("fjall?bulk_size=256");
}

#[cfg(feature = "rocksdb")]
engines!(rocksdb);

/// RocksDB with tables as small as it makes them, so that its threads write and merge them meanwhile.
#[cfg(feature = "rocksdb")]
mod rocksdb_small_tables {
    modes!("rocksdb?write_buffer_size=4KiB");
}

/// RocksDB with batches that are ingested though they are small.
#[cfg(feature = "rocksdb")]
mod rocksdb_ingested {
    modes!("rocksdb?bulk_size=256");
}
