//! The power is lost. What was synchronized stays, and any part of the rest.

use durum_core::engine::Durability;

use super::{Recording, Report, Suite};
use crate::acks::Heard;
use crate::disk::Disk;
use crate::image::{Survivors, write_image};
use crate::journal::Event;
use crate::process::Orders;
use crate::workload::Job;

/// How many random images are built for an operation when everything is tried.
const DRAWS_EXHAUSTIVE: u64 = 4;

/// What the power left: the strict image, with all that was not synchronized lost, and random ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerReport {
    /// With the strict images.
    pub strict: Report,
    /// With the random ones.
    pub random: Report,
}

impl PowerReport {
    /// Fails the test unless nothing went wrong.
    ///
    /// # Panics
    /// When something went wrong, with a list of it.
    pub fn assert_clean(&self) {
        let mut both = self.strict.clone();
        both.merge(self.random.clone());
        both.assert_clean();
    }

    /// Fails the test unless losses were found, by images of both sorts.
    ///
    /// # Panics
    /// When they were not: then the suite would find nothing, whatever was lost.
    pub fn assert_losses(&self) {
        for (report, sort) in [(&self.strict, "strict"), (&self.random, "random")] {
            let (found, tries) = (report.failures.len(), report.tries);
            println!("{sort} images: losses in {found} of {tries}");
            assert!(found > 0, "no {sort} image of {tries} shows a loss");
        }
    }
}

impl Suite {
    /// Loses the power after operations of a recorded run.
    pub fn power_loss(&self) -> PowerReport {
        self.lose_power(false)
    }

    /// The same on a disk that ignores synchronization.
    pub fn power_loss_without_syncs(&self) -> PowerReport {
        self.lose_power(true)
    }

    fn lose_power(&self, deaf: bool) -> PowerReport {
        let recording = self.record();
        let shares = shares(&self.choose(recording.operations));
        let strict = Suite::for_all(&shares, |share, report| {
            self.images(&recording, share, deaf, &|_| vec![Survivors::None], report);
        });
        let draws = if self.is_exhaustive() {
            DRAWS_EXHAUSTIVE
        } else {
            1
        };
        let random = |point: u64| -> Vec<Survivors> {
            let seed = |draw| self.seed ^ (point * DRAWS_EXHAUSTIVE + draw);
            (0..draws).map(|draw| Survivors::Some(seed(draw))).collect()
        };
        let random = Suite::for_all(&shares, |share, report| {
            self.images(&recording, share, deaf, &random, report);
        });
        PowerReport { strict, random }
    }

    /// Builds and checks images at some points of a recording.
    fn images(
        &self,
        recording: &Recording,
        points: &[u64],
        deaf: bool,
        survivors: &dyn Fn(u64) -> Vec<Survivors>,
        report: &mut Report,
    ) {
        let disk = Disk::new(deaf);
        play_to(
            &recording.events,
            disk,
            points,
            &mut |disk, heard, number| {
                for survivors in survivors(number) {
                    let bounds = heard.bounds(self.commits);
                    self.image(disk, number, survivors, bounds, report);
                }
            },
        );
    }

    fn image(
        &self,
        disk: &Disk,
        number: u64,
        survivors: Survivors,
        bounds: (u64, u64),
        report: &mut Report,
    ) {
        report.tries += 1;
        let mut scratch = self.scratch();
        let job = Job {
            root: scratch.path("image"),
            ..scratch.job.clone()
        };
        write_image(disk, survivors, &job.root).expect("an image");
        let untouched = self.is_kept().then(|| scratch.copy_of(&job, "untouched"));
        let checked = self.programs.check(&job, bounds, 1, &Orders::default());
        let known = report.failures.len();
        report.expect_success(&checked, || {
            format!("after operation {number}, {survivors:?}")
        });
        if untouched.is_some() && report.failures.len() > known {
            println!(
                "after operation {number}, {survivors:?}: kept {}",
                scratch.keep()
            );
        }
    }
}

/// Plays a recording on `disk` and calls `visit` after the operations `points`, which ascend.
pub(super) fn play_to(
    events: &[Event],
    mut disk: Disk,
    points: &[u64],
    visit: &mut dyn FnMut(&Disk, &Heard, u64),
) {
    let (mut heard, mut number) = (Heard::default(), 0);
    let mut events = events.iter().peekable();
    let mut points = points.iter().copied().peekable();
    while let Some(event) = events.next() {
        disk.play(event);
        number += u64::from(event.is_numbered());
        if let Event::Ack(lines) = event {
            heard.hear(lines, Durability::Power);
        }
        // The power fails just before the next operation: acknowledgements count until then.
        if events.peek().is_some_and(|next| !next.is_numbered()) {
            continue;
        }
        if points.next_if_eq(&number).is_some() {
            visit(&disk, &heard, number);
        }
    }
}

/// Shares out points among threads: each plays the recording for itself and stops at its own.
pub(super) fn shares(points: &[u64]) -> Vec<Vec<u64>> {
    let parts = std::thread::available_parallelism().map_or(2, usize::from);
    let share = |part| points.iter().copied().skip(part).step_by(parts).collect();
    (0..parts).map(share).collect()
}
