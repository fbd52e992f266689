//! What runs in the child processes: a series of commits, and the check of what they left behind.
//!
//! Everything follows from a seed, so that a process that knows nothing but the seed can tell whether
//! a store holds what the first so many commits make.

mod engine;
mod graph;
mod live_file;
mod migration;
mod plan;
mod store;
mod subject;
mod toys;

use std::path::{Path, PathBuf};

use durum_core::engine::Durability;

use crate::acks::Acks;
use migration::Migration;
pub(crate) use migration::SOURCE;
pub use plan::{Plan, Rows, value_of};
pub use subject::{Refused, Subject, is_present, open};

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The directory in which everything lies. The store is `store` in it.
    pub root: PathBuf,
    /// What is tested: the name of an engine or a toy.
    pub subject: String,
    /// Determines all data.
    pub seed: u64,
    /// How many commits the store is to hold in the end.
    pub commits: u64,
}

/// How a run ended that was not killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All commits were made.
    Done,
    /// It stopped since something returned an error.
    Refused,
}

/// How often a commit is tried again that failed without changing anything.
const TRIES_MAX: u32 = 3;

/// The durability that commit number `commit` asks for: they alternate, so that weaker commits stand
/// before stronger ones, which must then carry them along.
fn durability_of(commit: u64) -> Durability {
    match commit % 4 {
        0 | 2 => Durability::Power,
        1 => Durability::Process,
        _ => Durability::Relaxed,
    }
}

/// Opens or creates the store and commits until it holds all commits of the job, saying so in `acks`.
/// Half-way it closes and opens the store.
pub fn run(job: &Job, acks: &mut Acks) -> std::io::Result<Ending> {
    if let Some(migration) = Migration::of(job) {
        return migration.run(job, acks);
    }
    let plan = Plan::new(job.seed);
    let mut done = 0;
    for last in [job.commits / 2, job.commits] {
        let mut subject = match open(&job.subject, &job.root) {
            Ok(subject) => subject,
            Err(refused) => {
                eprintln!("opening: {}", refused.reason);
                acks.failed(done, true)?;
                return Ok(Ending::Refused);
            }
        };
        let found = subject.found().expect("the number of commits");
        for commit in found + 1..=last {
            if !commit_with_retries(&mut *subject, &plan, commit, acks)? {
                return Ok(Ending::Refused);
            }
            if let Err(refused) = subject.upkeep(commit) {
                eprintln!("upkeep after commit {commit}: {}", refused.reason);
                acks.failed(commit, true)?;
                return Ok(Ending::Refused);
            }
        }
        done = last;
    }
    Ok(Ending::Done)
}

/// Makes a commit; whether it succeeded in the end.
fn commit_with_retries(
    subject: &mut dyn Subject,
    plan: &Plan,
    commit: u64,
    acks: &mut Acks,
) -> std::io::Result<bool> {
    for _ in 0..TRIES_MAX {
        match subject.commit(plan, commit, durability_of(commit)) {
            Ok(achieved) => {
                acks.committed(commit, achieved)?;
                return Ok(true);
            }
            Err(refused) => {
                eprintln!("commit {commit}: {}", refused.reason);
                acks.failed(commit, refused.unchanged)?;
                if !refused.unchanged {
                    return Ok(false);
                }
                let before = subject.check(plan, commit - 1);
                before.expect("a commit that changed nothing leaves everything as it was");
            }
        }
    }
    Ok(false)
}

/// Checks what a run left behind: that the store opens, holds at least `low` and at most `high`
/// commits, and exactly what these make. Then makes `more` commits and checks again.
pub fn check(job: &Job, (low, high): (u64, u64), more: u64) -> Result<(), String> {
    if let Some(migration) = Migration::of(job) {
        return migration.check(job, low);
    }
    let plan = Plan::new(job.seed);
    if !is_present(&job.root) && low > 0 {
        return Err(format!(
            "{low} commits were acknowledged and the store is not there"
        ));
    }
    if !is_present(&job.root) && more == 0 {
        return Ok(());
    }
    let opened = |what: &str| {
        open(&job.subject, &job.root).map_err(|refused| format!("{what}: {}", refused.reason))
    };
    let mut subject = opened("it does not open")?;
    let found = subject.found()?;
    if !(low..=high).contains(&found) {
        return Err(format!("it holds {found} commits, not {low} to {high}"));
    }
    subject.check(&plan, found)?;
    for commit in found + 1..=found + more {
        let made = subject.commit(&plan, commit, durability_of(commit));
        made.map_err(|refused| format!("commit {commit} afterwards: {}", refused.reason))?;
    }
    if more == 0 {
        return Ok(());
    }
    drop(subject);
    let subject = opened("it does not open a second time")?;
    match subject.found()? {
        again if again == found + more => subject.check(&plan, again),
        again => Err(format!(
            "it held {found} commits, {more} were added, it holds {again}"
        )),
    }
}

/// Where the store lies in the root directory.
pub fn store_path(root: &Path) -> PathBuf {
    root.join("store")
}
