//! The harness itself: it finds the mistakes of small stores that have one, and none in those that
//! have none.

use durum_crash::process::Programs;
use durum_crash::suite::Suite;

/// A suite that tries every operation of a short run.
fn suite(subject: &str) -> Suite {
    Suite {
        programs: Programs::find(env!("CARGO_BIN_EXE_crash_workload")),
        subject: subject.to_owned(),
        seed: durum_testkit::seed(),
        commits: 16,
        points: Some(1000),
        journal: false,
    }
}

#[test]
fn correct_logs_are_found_correct() {
    suite("toy-log").kill().assert_clean();
    suite("toy-log").power_loss().assert_clean();
    suite("toy-log").power_loss_twice().assert_clean();
    suite("toy-log").power_loss_after_kill().assert_clean();
    suite("toy-swap").kill().assert_clean();
    suite("toy-swap").power_loss().assert_clean();
    suite("toy-swap").power_loss_twice().assert_clean();
    suite("toy-swap").power_loss_after_kill().assert_clean();
}

#[test]
fn correct_toys_withstand_a_failing_disk() {
    for toy in ["toy-log", "toy-swap"] {
        let report = suite(toy).fail();
        report.assert_clean();
        assert!(report.reported > report.tries / 2, "{report:?}");
    }
}

#[test]
fn without_syncs_everything_is_lost() {
    suite("toy-log").power_loss_without_syncs().assert_losses();
    suite("toy-swap").power_loss_without_syncs().assert_losses();
}

#[test]
fn a_missing_sync_of_the_file_is_found() {
    suite("toy-log-unsynced").power_loss().assert_losses();
    suite("toy-swap-unsynced").power_loss().assert_losses();
    suite("toy-log-unsynced").kill().assert_clean();
}

#[test]
fn a_missing_sync_of_the_directory_is_found() {
    suite("toy-log-unnamed").power_loss().assert_losses();
    suite("toy-swap-unnamed").power_loss().assert_losses();
    suite("toy-swap-unnamed").kill().assert_clean();
}

#[test]
fn torn_writes_are_found() {
    // Most unsynchronized writes are lost or kept as a whole: it takes some to see one torn.
    let suite = Suite {
        commits: 100,
        ..suite("toy-log-unchecked")
    };
    assert!(!suite.power_loss().random.failures.is_empty());
}

#[test]
fn overwriting_in_place_is_found_by_a_kill() {
    assert!(!suite("toy-swap-in-place").kill().failures.is_empty());
}

#[test]
fn acknowledging_what_is_in_the_process_is_found_by_a_kill() {
    assert!(!suite("toy-log-buffered").kill().failures.is_empty());
}

#[test]
fn going_on_after_a_failed_sync_is_found() {
    let report = suite("toy-log-careless").fail();
    assert!(
        report
            .failures
            .iter()
            .all(|failure| failure.contains("a loss of power"))
    );
    assert!(!report.failures.is_empty());
}

/// On a file system with a journal it does not get that far.
#[test]
fn going_on_after_a_failed_sync_of_the_directory_is_found() {
    let strict = suite("toy-swap-careless");
    let journal = Suite {
        journal: true,
        ..strict.clone()
    };
    let report = strict.fail();
    let is_loss = |failure: &String| failure.contains("a loss of power");
    assert!(report.failures.iter().all(is_loss), "{report:?}");
    assert!(!report.failures.is_empty());
    journal.fail().assert_clean();
}

#[test]
fn relying_on_what_is_not_durable_is_found_by_a_loss_of_power_after_a_kill() {
    // What a loss of power leaves is drawn: about one seed in ten leaves what hides the mistake.
    let first = suite("toy-log-trusting");
    let found = (0..8).any(|more| {
        let suite = Suite {
            commits: 60,
            seed: first.seed.wrapping_add(more),
            ..first.clone()
        };
        !suite.power_loss_after_kill().failures.is_empty()
    });
    assert!(found);
}
