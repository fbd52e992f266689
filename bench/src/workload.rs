//! What is done to an engine.

use serde::Serialize;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A bulk load of objects into a new store, until it is there durably.
    Import,
    /// A scan of all objects that verifies each.
    Scan,
    /// Loads of single objects, drawn at random from all, in one snapshot.
    Load,
    /// The same by all cores at once, with a snapshot each.
    LoadThreads,
    /// Loads of one object after the other, in one snapshot.
    LoadSequential,
    /// The same by all cores at once, with a snapshot each.
    LoadSequentialThreads,
    /// Loads drawn at random from a hundredth of the objects, in one snapshot.
    LoadHot,
    /// The same, with a copy of each object.
    LoadHotOwned,
    /// Loads drawn at random from all, each in a snapshot of its own.
    LoadAlone,
    /// Loads drawn at random from all, right after opening, nothing of which is in the page cache.
    LoadCold,
    /// Commits that change one object, one after another, at the engine's best durability.
    Commit,
    /// The same by four committers at once.
    #[serde(rename = "commit_4_at_once")]
    Commit4AtOnce,
    /// The same by sixteen committers at once.
    #[serde(rename = "commit_16_at_once")]
    Commit16AtOnce,
    /// Commits that change ten objects, one after another, at the engine's best durability.
    #[serde(rename = "commit_10")]
    Commit10,
    /// The same by four committers at once.
    #[serde(rename = "commit_10_4_at_once")]
    Commit10x4AtOnce,
    /// The same by sixteen committers at once.
    #[serde(rename = "commit_10_16_at_once")]
    Commit10x16AtOnce,
    /// Updates of objects drawn at random, by a thousand, which are not waited for.
    Update,
    /// Deletions of leaves by taking their referrers' references away, until all is collected.
    Delete,
    /// Opening after a clean close.
    Open,
    /// Opening after the process was killed while it committed.
    OpenKilled,
    /// A migration from the flat file into the engine, verified.
    MigrateIn,
    /// A migration from the engine into the flat file, verified.
    MigrateOut,
    /// Appends of a few bytes to a file, each confirmed by the disk.
    Sync,
}

/// What a ratio to the engine alone compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Elapsed time: where the disk is what is waited for.
    Time,
    /// Processor time.
    ProcessorTime,
}

impl Workload {
    /// All that engines are measured at, in the order in which that is done.
    pub const ALL: [Workload; 22] = [
        Workload::Import,
        Workload::Scan,
        Workload::Load,
        Workload::LoadThreads,
        Workload::LoadSequential,
        Workload::LoadSequentialThreads,
        Workload::LoadHot,
        Workload::LoadHotOwned,
        Workload::LoadAlone,
        Workload::Commit,
        Workload::Commit4AtOnce,
        Workload::Commit16AtOnce,
        Workload::Commit10,
        Workload::Commit10x4AtOnce,
        Workload::Commit10x16AtOnce,
        Workload::Update,
        Workload::MigrateOut,
        Workload::MigrateIn,
        Workload::Open,
        Workload::OpenKilled,
        Workload::LoadCold,
        Workload::Delete,
    ];

    /// What a tour of a few seconds shows.
    pub const FEW: [Workload; 4] = [
        Workload::Import,
        Workload::Scan,
        Workload::Load,
        Workload::Commit,
    ];

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Import => "import",
            Workload::Scan => "scan",
            Workload::Load => "load",
            Workload::LoadThreads => "load_threads",
            Workload::LoadSequential => "load_sequential",
            Workload::LoadSequentialThreads => "load_sequential_threads",
            Workload::LoadHot => "load_hot",
            Workload::LoadHotOwned => "load_hot_owned",
            Workload::LoadAlone => "load_alone",
            Workload::LoadCold => "load_cold",
            Workload::Commit => "commit",
            Workload::Commit4AtOnce => "commit_4_at_once",
            Workload::Commit16AtOnce => "commit_16_at_once",
            Workload::Commit10 => "commit_10",
            Workload::Commit10x4AtOnce => "commit_10_4_at_once",
            Workload::Commit10x16AtOnce => "commit_10_16_at_once",
            Workload::Update => "update",
            Workload::Delete => "delete",
            Workload::Open => "open",
            Workload::OpenKilled => "open_killed",
            Workload::MigrateIn => "migrate_in",
            Workload::MigrateOut => "migrate_out",
            Workload::Sync => "sync",
        }
    }

    /// What is done, in a few words for people.
    pub fn title(self) -> &'static str {
        match self {
            Workload::Import => "Bulk load",
            Workload::Scan => "Full scan",
            Workload::Load => "Random loads",
            Workload::LoadThreads => "Random loads, all cores",
            Workload::LoadSequential => "Sequential loads",
            Workload::LoadSequentialThreads => "Sequential loads, all cores",
            Workload::LoadHot => "Random loads, hot set",
            Workload::LoadHotOwned => "Random loads, hot set, copied",
            Workload::LoadAlone => "Random loads, a snapshot each",
            Workload::LoadCold => "Random loads, cold",
            Workload::Commit => "Durable commits of 1 object",
            Workload::Commit4AtOnce => "Durable commits of 1, 4 at once",
            Workload::Commit16AtOnce => "Durable commits of 1, 16 at once",
            Workload::Commit10 => "Durable commits of 10 objects",
            Workload::Commit10x4AtOnce => "Durable commits of 10, 4 at once",
            Workload::Commit10x16AtOnce => "Durable commits of 10, 16 at once",
            Workload::Update => "Updates, not waited for",
            Workload::Delete => "Deletes, collected",
            Workload::Open => "Opening after a close",
            Workload::OpenKilled => "Opening after a kill",
            Workload::MigrateIn => "Migration from the flat file",
            Workload::MigrateOut => "Migration to the flat file",
            Workload::Sync => "Syncs of the disk",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Workload::Open | Workload::OpenKilled => "openings",
            Workload::Sync => "syncs",
            _ if self.committers().is_some() => "commits",
            _ => "objects",
        }
    }

    /// How many committers there are at once, and how many objects each changes in a commit.
    pub fn committers(self) -> Option<(usize, usize)> {
        match self {
            Workload::Commit => Some((1, 1)),
            Workload::Commit4AtOnce => Some((4, 1)),
            Workload::Commit16AtOnce => Some((16, 1)),
            Workload::Commit10 => Some((1, 10)),
            Workload::Commit10x4AtOnce => Some((4, 10)),
            Workload::Commit10x16AtOnce => Some((16, 10)),
            _ => None,
        }
    }

    /// Whether it writes, and durably.
    pub fn is_durable(self) -> bool {
        self.committers().is_some() || self == Workload::Import
    }

    /// What is compared with the engine alone.
    pub fn compared(self) -> Compared {
        match self {
            Workload::LoadThreads
            | Workload::LoadSequentialThreads
            | Workload::LoadCold
            | Workload::Open
            | Workload::OpenKilled => Compared::Time,
            _ if self.committers().is_some() => Compared::Time,
            _ => Compared::ProcessorTime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for workload in Workload::ALL.into_iter().chain([Workload::Sync]) {
            let json = serde_json::to_value(workload).unwrap();
            assert_eq!(json, workload.name());
        }
        let mut names: Vec<_> = Workload::ALL.iter().map(|it| it.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Workload::ALL.len());
    }
}
