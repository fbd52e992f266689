//! The modes: each runs a subject against a fault at many operations and reports what went wrong.

mod fail;
mod kill;
mod power;
mod report;
mod twice;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use durum_core::engine::Durability;
use tempfile::TempDir;

use crate::acks::Heard;
use crate::disk::Disk;
use crate::image;
use crate::journal::{self, Event};
use crate::process::{End, Orders, Outcome, Programs};
use crate::workload::Job;
pub use power::PowerReport;
pub use report::Report;

/// What to test, and how much of it.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The programs to start.
    pub programs: Programs,
    /// The name of an engine or a toy.
    pub subject: String,
    /// Determines the data, the choice of operations and what survives a loss of power.
    pub seed: u64,
    /// How many commits a run makes.
    pub commits: u64,
    /// How many operations to try; `None` for all, in all variants.
    pub points: Option<usize>,
    /// Whether the file system is one with a journal, which brings nothing to the device any more once it
    /// could not do so with a directory: as ext4, XFS and Btrfs, which end all writing then. Otherwise it goes
    /// on, and what it was to do is never done, which is harder on an engine.
    pub journal: bool,
}

/// A run without any fault that was recorded.
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
    pub(crate) operations: u64,
}

impl Suite {
    /// A directory for one try, with an empty root in it.
    fn scratch(&self) -> Scratch {
        let dir = tempfile::Builder::new().prefix("durum-crash-").tempdir();
        let dir = dir.expect("a temporary directory");
        let job = Job {
            // Canonical, as the shim wants it.
            root: dir.path().canonicalize().expect("a path").join("root"),
            subject: self.subject.clone(),
            seed: self.seed,
            commits: self.commits,
        };
        std::fs::create_dir(&job.root).expect("a new directory");
        Scratch { dir, job }
    }

    /// Runs everything once without a fault, and records it.
    ///
    /// # Panics
    /// When it fails even so, or when the journal does not account for what is on the disk: then
    /// something escapes the shim, and all other results would mean nothing.
    fn record(&self) -> Recording {
        let scratch = self.scratch();
        let orders = Orders {
            fault: None,
            record: Some(scratch.path("journal")),
        };
        let outcome = self
            .programs
            .run(&scratch.job, &scratch.path("acks"), &orders);
        assert_eq!(
            outcome.end,
            End::Exit(0),
            "without a fault: {}",
            outcome.said
        );
        let events = journal::read(&scratch.path("journal")).expect("a journal");
        let mut disk = Disk::new(false);
        events.iter().for_each(|event| disk.play(event));
        let missed = image::difference(&disk, &scratch.job.root, is_mapped);
        assert_eq!(missed, None, "something escapes the shim");
        let all = (self.commits, self.commits);
        let outcome = self
            .programs
            .check(&scratch.job, all, 2, &Orders::default());
        assert_eq!(
            outcome.end,
            End::Exit(0),
            "without a fault: {}",
            outcome.said
        );
        let operations = journal::count(&events);
        Recording { events, operations }
    }

    /// The operations to try, out of this many: all, or one at random out of each of as many equal
    /// parts as there are points.
    fn choose(&self, operations: u64) -> Vec<u64> {
        let all = 1..=operations;
        let Some(points) = self
            .points
            .map(|points| points as u64)
            .filter(|n| *n < operations)
        else {
            return all.collect();
        };
        let mut random = fastrand::Rng::with_seed(self.seed);
        let part = |index: u64| 1 + index * operations / points;
        (0..points)
            .map(|index| random.u64(part(index)..part(index + 1)))
            .collect()
    }

    /// Whether directories in which something went wrong are to be kept.
    fn is_kept(&self) -> bool {
        std::env::var_os("DURUM_CRASH_KEEP").is_some()
    }

    /// Whether every variant is to be tried at every operation.
    fn is_exhaustive(&self) -> bool {
        self.points.is_none()
    }

    /// Does `work` for all items, on as many threads as there are processors.
    fn for_all<T: Sync>(items: &[T], work: impl Fn(&T, &mut Report) + Sync) -> Report {
        let (next, total) = (AtomicUsize::new(0), Mutex::new(Report::default()));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut report = Report::default();
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(item, &mut report);
                    }
                    total
                        .lock()
                        .expect("no thread panics holding it")
                        .merge(report);
                });
            }
        });
        total.into_inner().expect("no thread panics holding it")
    }

    /// Checks what a run left behind, with all levels from `needed` on counted as acknowledged.
    fn check(&self, scratch: &Scratch, needed: Durability, more: u64) -> Outcome {
        let heard = Heard::read(&scratch.path("acks"), needed);
        let bounds = heard.bounds(self.commits);
        self.programs
            .check(&scratch.job, bounds, more, &Orders::default())
    }
}

/// Files that engines change through memory maps, and build anew when they open: the journal cannot
/// know their content.
fn is_mapped(name: &str) -> bool {
    name == "lock.mdb" || name.ends_with("-shm")
}

/// The directory of one try.
struct Scratch {
    dir: TempDir,
    job: Job,
}

impl Scratch {
    /// The path of a file beside the root.
    fn path(&self, name: &str) -> std::path::PathBuf {
        let parent = self
            .job
            .root
            .parent()
            .expect("the root is in the scratch directory");
        parent.join(name)
    }

    /// A second root, which holds what the first one holds now.
    fn copy(&self, name: &str) -> Job {
        self.copy_of(&self.job, name)
    }

    /// A further root, which holds what that of `job` holds now.
    fn copy_of(&self, job: &Job, name: &str) -> Job {
        let root = self.path(name);
        copy_tree(&job.root, &root).expect("a copy of the root");
        Job {
            root,
            ..job.clone()
        }
    }

    /// Keeps the directory, for somebody to look at; says where it is.
    fn keep(&mut self) -> String {
        self.dir.disable_cleanup(true);
        self.dir.path().display().to_string()
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &target)?,
            false => std::fs::copy(entry.path(), &target).map(drop)?,
        }
    }
    Ok(())
}
