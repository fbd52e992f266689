//! What a suite found.

use crate::process::{End, Outcome};

/// The result of a mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many faults were tried.
    pub tries: u64,
    /// In how many of them the workload reported an error.
    pub reported: u64,
    /// The faults after which the workload did not end and had to be killed. What it left is checked
    /// like what any other kill leaves.
    pub hangs: Vec<String>,
    /// What went wrong after a fault, in words.
    pub failures: Vec<String>,
}

/// How many failures a message lists before it only counts them.
const FAILURES_SHOWN_MAX: usize = 12;

impl Report {
    pub(super) fn merge(&mut self, other: Report) {
        self.tries += other.tries;
        self.reported += other.reported;
        self.hangs.extend(other.hangs);
        self.failures.extend(other.failures);
    }

    /// Takes in a check: anything but success is a failure.
    pub(super) fn expect_success(&mut self, outcome: &Outcome, what: impl Fn() -> String) {
        if outcome.end != End::Exit(0) {
            self.failure(outcome, what());
        }
    }

    pub(super) fn failure(&mut self, outcome: &Outcome, what: String) {
        let said: Vec<&str> = outcome.said.lines().take(5).collect();
        self.failures
            .push(format!("{what}: {:?}: {}", outcome.end, said.join(" / ")));
    }

    /// Fails the test unless nothing went wrong, in at least one try.
    ///
    /// # Panics
    /// When something went wrong, with a list of it.
    pub fn assert_clean(&self) {
        assert!(self.hangs.is_empty(), "it hung: {:?}", self.hangs);
        assert!(self.tries > 0, "nothing was tried");
        assert!(self.failures.is_empty(), "{}", self.describe());
        println!("{} tries, {} errors reported", self.tries, self.reported);
    }

    /// What went wrong, in lines.
    pub fn describe(&self) -> String {
        let mut failures = self.failures.clone();
        failures.sort();
        let shown = failures
            .iter()
            .take(FAILURES_SHOWN_MAX)
            .map(|line| format!("\n  {line}"));
        format!(
            "{} failures in {} tries:{}",
            failures.len(),
            self.tries,
            shown.collect::<String>()
        )
    }
}
