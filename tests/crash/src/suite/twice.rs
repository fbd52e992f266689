//! The power is lost after something else happened before: the process was killed, or the power was
//! lost already. What recovery relies upon has to be durable then, not just readable.

use std::path::Path;

use durum_core::engine::Durability;

use super::power::{play_to, shares};
use super::{Report, Scratch, Suite};
use crate::acks::Heard;
use crate::disk::Disk;
use crate::image::{Survivors, write_image};
use crate::journal::{self, Event};
use crate::process::{End, Orders};
use crate::workload::Job;

/// Out of how many operations one is taken for the first fault.
const FIRST_STEP: usize = 5;
/// How many operations are tried for the loss of power after it, unless everything is.
const SECOND_POINTS_MAX: usize = 4;
/// How many commits are made between the two, at least.
const COMMITS_BETWEEN: u64 = 3;

impl Suite {
    /// Loses the power after some operations of a recorded run, and again after operations of the run
    /// that goes on from there.
    pub fn power_loss_twice(&self) -> Report {
        let recording = self.record();
        let points = self.choose(recording.operations);
        let points: Vec<u64> = points.into_iter().step_by(FIRST_STEP).collect();
        Suite::for_all(&shares(&points), |share, report| {
            play_to(
                &recording.events,
                Disk::new(false),
                share,
                &mut |disk, heard, number| {
                    self.lose_again(disk, number, heard.bounds(self.commits), report);
                },
            );
        })
    }

    /// Kills the workload at some operations, and loses the power after operations of the run that
    /// goes on from there. What was written before the kill and not synchronized can be read then,
    /// and be lost.
    pub fn power_loss_after_kill(&self) -> Report {
        let points = self.choose(self.record().operations);
        let points: Vec<u64> = points.into_iter().step_by(FIRST_STEP).collect();
        Suite::for_all(&points, |point, report| {
            let mut scratch = self.scratch();
            let orders = Orders {
                fault: Some(format!("kill:{point}")),
                record: Some(scratch.path("killed")),
            };
            self.programs
                .run(&scratch.job, &scratch.path("acks"), &orders);
            let events = journal::read(&scratch.path("killed")).expect("a journal");
            let (mut disk, mut heard) = (Disk::new(false), Heard::default());
            for event in &events {
                disk.play(event);
                if let Event::Ack(lines) = event {
                    heard.hear(lines, Durability::Power);
                }
            }
            let before = format!(
                "kill:{point}, after {}",
                journal::describe(&events, u64::MAX)
            );
            let bounds = heard.bounds(self.commits);
            let root = scratch.job.root.clone();
            self.go_on(&mut scratch, &root, disk, (before, bounds), report);
        })
    }

    /// Goes on from what the first loss left.
    fn lose_again(&self, disk: &Disk, number: u64, bounds: (u64, u64), report: &mut Report) {
        let mut scratch = self.scratch();
        let root = scratch.path("first");
        let first = self.draw(number);
        write_image(disk, first, &root).expect("an image");
        let left = Disk::load(&root).expect("the image can be read");
        let before = format!("after operation {number}, {first:?}");
        self.go_on(&mut scratch, &root, left, (before, bounds), report);
    }

    /// Makes more commits on what the first fault left in `root`, and loses the power at some of the
    /// operations. `disk` is the root's state; `before` says what happened, and how many commits
    /// there are.
    fn go_on(
        &self,
        scratch: &mut Scratch,
        root: &Path,
        disk: Disk,
        (before, bounds): (String, (u64, u64)),
        report: &mut Report,
    ) {
        let commits = bounds.1 + COMMITS_BETWEEN;
        let job = Job {
            root: root.to_path_buf(),
            commits,
            ..scratch.job.clone()
        };
        let orders = Orders {
            fault: None,
            record: Some(scratch.path("journal")),
        };
        let outcome = self.programs.run(&job, &scratch.path("more-acks"), &orders);
        if outcome.end != End::Exit(0) {
            report.tries += 1;
            report.failure(&outcome, format!("{before}, going on"));
            return;
        }
        let events = journal::read(&scratch.path("journal")).expect("a journal");
        let mut some = self.clone();
        some.points = self.points.map(|_| SECOND_POINTS_MAX);
        let points = some.choose(journal::count(&events));
        play_to(&events, disk, &points, &mut |disk, heard, number| {
            report.tries += 1;
            let root = scratch.path(&format!("image-{number}"));
            let job = Job {
                root,
                ..job.clone()
            };
            let survivors = self.draw(number);
            write_image(disk, survivors, &job.root).expect("an image");
            let untouched = format!("untouched-{number}");
            let untouched = self.is_kept().then(|| scratch.copy_of(&job, &untouched));
            let known = report.failures.len();
            let low = bounds.0.max(heard.durable);
            let high = bounds.1.max(heard.returned) + 1;
            let checked = self
                .programs
                .check(&job, (low, high), 1, &Orders::default());
            report.expect_success(&checked, || {
                let operation = journal::describe(&events, number);
                format!("{before}, then after operation {number} ({operation}), {survivors:?}")
            });
            if untouched.is_some() && report.failures.len() > known {
                println!(
                    "{before}, then after operation {number}, {survivors:?}: kept {}",
                    scratch.keep()
                );
            }
        });
    }

    /// Which changes survive, by turns none and some.
    fn draw(&self, number: u64) -> Survivors {
        match number % 3 {
            0 => Survivors::None,
            _ => Survivors::Some(self.seed ^ number),
        }
    }
}
