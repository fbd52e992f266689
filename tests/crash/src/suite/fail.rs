//! The disk fails or is full. The workload has to say so, and the store has to be sound afterwards,
//! also if the power is lost then.

use durum_core::engine::Durability;

use super::{Report, Scratch, Suite};
use crate::acks::Heard;
use crate::disk::Disk;
use crate::image::{Survivors, write_image};
use crate::journal::{self, Event};
use crate::process::{End, Orders};
use crate::workload::Job;

/// What can happen at an operation; `+`: and at all later ones.
const FAULTS: [(&str, &str); 6] = [
    ("", "EIO"),
    ("", "ENOSPC"),
    ("+", "ENOSPC"),
    ("", "SHORT"),
    ("+", "EIO"),
    ("+", "SHORT"),
];

impl Suite {
    /// Lets operations of the run fail, in six ways.
    pub fn fail(&self) -> Report {
        let mut tries = Vec::new();
        let recording = self.record();
        for (index, point) in self.choose(recording.operations).into_iter().enumerate() {
            for (number, (on, errno)) in FAULTS.into_iter().enumerate() {
                if self.is_exhaustive() || number == index % FAULTS.len() {
                    let operation = journal::describe(&recording.events, point);
                    let journal = if self.journal { ":journal" } else { "" };
                    tries.push((format!("fail:{point}{on}:{errno}{journal}"), operation));
                }
            }
        }
        Suite::for_all(&tries, |(fault, operation), report| {
            let known = report.failures.len();
            self.fail_at(fault, report);
            for failure in &mut report.failures[known..] {
                failure.push_str(&format!(" [the operation was: {operation}]"));
            }
        })
    }

    fn fail_at(&self, fault: &str, report: &mut Report) {
        report.tries += 1;
        let mut scratch = self.scratch();
        let orders = Orders {
            fault: Some(fault.to_owned()),
            record: Some(scratch.path("journal")),
        };
        let outcome = self
            .programs
            .run(&scratch.job, &scratch.path("acks"), &orders);
        let heard = Heard::read(&scratch.path("acks"), Durability::Process);
        let known = report.failures.len();
        match outcome.end {
            End::Exit(2) => report.reported += 1,
            End::Exit(0) if heard.returned == self.commits => {
                report.reported += u64::from(heard.errors > 0);
            }
            End::Hung => report.hangs.push(fault.to_owned()),
            _ => report.failure(&outcome, format!("{fault}, the workload")),
        }
        self.lose_power_after(&scratch, fault, report);
        let checked = self.check(&scratch, Durability::Process, 2);
        report.expect_success(&checked, || format!("{fault}, afterwards"));
        if report.failures.len() > known && self.is_kept() {
            println!("{fault}: kept {}", scratch.keep());
        }
    }

    /// Checks what the power would leave if it were lost at the end of the run. What waited for a
    /// synchronization that failed is never written, whatever later ones say: as on Linux.
    fn lose_power_after(&self, scratch: &Scratch, fault: &str, report: &mut Report) {
        let events = journal::read(&scratch.path("journal")).expect("a journal");
        let (mut disk, mut heard) = (Disk::new(false), Heard::default());
        for event in &events {
            disk.play(event);
            if let Event::Ack(lines) = event {
                heard.hear(lines, Durability::Power);
            }
        }
        let job = Job {
            root: scratch.path("image"),
            ..scratch.job.clone()
        };
        write_image(&disk, Survivors::None, &job.root).expect("an image");
        let bounds = heard.bounds(self.commits);
        let checked = self.programs.check(&job, bounds, 1, &Orders::default());
        report.expect_success(&checked, || format!("{fault}, then a loss of power"));
    }
}
