//! The process is killed. What it had written stays in the page cache, and nothing else.

use durum_core::engine::Durability;

use super::{Report, Scratch, Suite};
use crate::acks::Heard;
use crate::journal;
use crate::process::{End, Orders};

/// Out of how many kills one is followed by kills of the recovery.
const RECOVERY_STEP: u64 = 6;
/// How many kills of a recovery are tried, unless everything is.
const RECOVERY_POINTS_MAX: usize = 3;

impl Suite {
    /// Kills the workload at operations of its run, and for some of them also the next opening.
    pub fn kill(&self) -> Report {
        let mut tries = Vec::new();
        for (index, point) in self
            .choose(self.record().operations)
            .into_iter()
            .enumerate()
        {
            for half in [false, true] {
                if self.is_exhaustive() || half == (index % 2 == 1) {
                    tries.push((point, half, index as u64 % RECOVERY_STEP == 1));
                }
            }
        }
        Suite::for_all(&tries, |&(point, half, again), report| {
            let name = if half { "kill-half" } else { "kill" };
            self.kill_at(&format!("{name}:{point}"), again, report);
        })
    }

    fn kill_at(&self, fault: &str, again: bool, report: &mut Report) {
        report.tries += 1;
        let mut scratch = self.scratch();
        let orders = Orders {
            fault: Some(fault.to_owned()),
            record: Some(scratch.path("journal")),
        };
        let outcome = self
            .programs
            .run(&scratch.job, &scratch.path("acks"), &orders);
        // Threads of an engine can make a run shorter than the recorded one.
        if !matches!(outcome.end, End::Killed | End::Exit(0)) {
            report.failure(&outcome, format!("{fault}, the workload"));
            return;
        }
        let known = report.failures.len();
        if again {
            self.kill_recovery(&scratch, fault, report);
        }
        let checked = self.check(&scratch, Durability::Process, 2);
        report.expect_success(&checked, || {
            let events = journal::read(&scratch.path("journal")).unwrap_or_default();
            format!("{fault}, after {}", journal::describe(&events, u64::MAX))
        });
        if report.failures.len() > known && self.is_kept() {
            println!("{fault}: kept {}", scratch.keep());
        }
    }

    /// Kills the opening after a kill, at some of its operations, and opens once more.
    fn kill_recovery(&self, scratch: &Scratch, fault: &str, report: &mut Report) {
        let heard = Heard::read(&scratch.path("acks"), Durability::Process);
        let bounds = heard.bounds(self.commits);
        let recorded = scratch.copy("recorded");
        let orders = Orders {
            fault: None,
            record: Some(scratch.path("recovery")),
        };
        let outcome = self.programs.check(&recorded, bounds, 0, &orders);
        if outcome.end != End::Exit(0) {
            // The check of the original says it better.
            return;
        }
        let events = journal::read(&scratch.path("recovery")).unwrap_or_default();
        let mut some = self.clone();
        some.points = self.points.map(|_| RECOVERY_POINTS_MAX);
        for point in some.choose(journal::count(&events)) {
            report.tries += 1;
            let job = scratch.copy(&format!("recovery-{point}"));
            let orders = Orders {
                fault: Some(format!("kill-half:{point}")),
                record: None,
            };
            let outcome = self.programs.check(&job, bounds, 0, &orders);
            let what = || format!("{fault}, then kill-half:{point} of the opening");
            if !matches!(outcome.end, End::Killed | End::Exit(0)) {
                report.failure(&outcome, what());
            }
            let outcome = self.programs.check(&job, bounds, 1, &Orders::default());
            report.expect_success(&outcome, what);
        }
    }
}
