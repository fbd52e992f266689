//! What is done to a database.

use durum_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::DOING;

/// Objects that are loaded by one call.
pub(super) const BATCH: usize = 100;
/// Those that commit at once.
pub(super) const COMMITTERS: usize = 16;

/// What is done to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseWorkload {
    /// A bulk load into a new store until it is there durably, with the collector's tables; beside a `COPY`.
    Import,
    /// All objects, each verified; beside a `COPY`.
    Scan,
    /// Single objects at random in one snapshot.
    Load,
    /// The same by a hundred.
    LoadMany,
    /// Durable commits that change one object.
    #[serde(rename = "update_1")]
    Update1,
    /// Ten.
    #[serde(rename = "update_10")]
    Update10,
    /// A hundred.
    #[serde(rename = "update_100")]
    Update100,
    /// A thousand.
    #[serde(rename = "update_1000")]
    Update1000,
    /// Durable commits that change one object, by sixteen at once.
    #[serde(rename = "update_1_16_at_once")]
    Update1x16AtOnce,
    /// Durable commits that add one object, to which one that is changed refers.
    #[serde(rename = "create_1")]
    Create1,
    /// Ten.
    #[serde(rename = "create_10")]
    Create10,
    /// A hundred.
    #[serde(rename = "create_100")]
    Create100,
    /// A thousand.
    #[serde(rename = "create_1000")]
    Create1000,
    /// Nearly half of all objects, by taking the references to them away, until all are collected; beside a
    /// client that is told what to delete.
    Delete,
}

/// What a commit does to its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Update,
    Create,
}

impl DatabaseWorkload {
    /// All, in the order of measuring.
    pub const ALL: [DatabaseWorkload; 14] = [
        DatabaseWorkload::Import,
        DatabaseWorkload::Scan,
        DatabaseWorkload::Load,
        DatabaseWorkload::LoadMany,
        DatabaseWorkload::Update1,
        DatabaseWorkload::Update10,
        DatabaseWorkload::Update100,
        DatabaseWorkload::Update1000,
        DatabaseWorkload::Update1x16AtOnce,
        DatabaseWorkload::Create1,
        DatabaseWorkload::Create10,
        DatabaseWorkload::Create100,
        DatabaseWorkload::Create1000,
        DatabaseWorkload::Delete,
    ];

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            DatabaseWorkload::Import => "import",
            DatabaseWorkload::Scan => "scan",
            DatabaseWorkload::Load => "load",
            DatabaseWorkload::LoadMany => "load_many",
            DatabaseWorkload::Update1 => "update_1",
            DatabaseWorkload::Update10 => "update_10",
            DatabaseWorkload::Update100 => "update_100",
            DatabaseWorkload::Update1000 => "update_1000",
            DatabaseWorkload::Update1x16AtOnce => "update_1_16_at_once",
            DatabaseWorkload::Create1 => "create_1",
            DatabaseWorkload::Create10 => "create_10",
            DatabaseWorkload::Create100 => "create_100",
            DatabaseWorkload::Create1000 => "create_1000",
            DatabaseWorkload::Delete => "delete",
        }
    }

    /// The workload of that name.
    ///
    /// # Errors
    /// `Usage` where there is none.
    pub fn named(name: &str) -> Result<DatabaseWorkload> {
        let mut all = DatabaseWorkload::ALL.into_iter();
        all.find(|it| it.name() == name).ok_or_else(|| {
            let names = DatabaseWorkload::ALL.map(DatabaseWorkload::name);
            Error::new(ErrorKind::Usage, DOING)
                .because(format!("there is no workload `{name}`"))
                .hint(durum_core::config::suggest(name, &names, "workloads"))
        })
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            _ if self.commit().is_some() => "commits",
            _ => "objects",
        }
    }

    /// What a commit does, to how many objects, and how many commit at once.
    pub(super) fn commit(self) -> Option<(Commit, usize, usize)> {
        match self {
            DatabaseWorkload::Update1 => Some((Commit::Update, 1, 1)),
            DatabaseWorkload::Update10 => Some((Commit::Update, 10, 1)),
            DatabaseWorkload::Update100 => Some((Commit::Update, 100, 1)),
            DatabaseWorkload::Update1000 => Some((Commit::Update, 1000, 1)),
            DatabaseWorkload::Update1x16AtOnce => Some((Commit::Update, 1, COMMITTERS)),
            DatabaseWorkload::Create1 => Some((Commit::Create, 1, 1)),
            DatabaseWorkload::Create10 => Some((Commit::Create, 10, 1)),
            DatabaseWorkload::Create100 => Some((Commit::Create, 100, 1)),
            DatabaseWorkload::Create1000 => Some((Commit::Create, 1000, 1)),
            _ => None,
        }
    }

    /// Whether it is done for some time, and not once: then a delay is added as well.
    pub(super) fn is_repeated(self) -> bool {
        !matches!(
            self,
            DatabaseWorkload::Import | DatabaseWorkload::Scan | DatabaseWorkload::Delete
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        for workload in DatabaseWorkload::ALL {
            let json = serde_json::to_value(workload).unwrap();
            assert_eq!(json, workload.name());
            assert_eq!(DatabaseWorkload::named(workload.name()).unwrap(), workload);
        }
        let error = DatabaseWorkload::named("lode").unwrap_err();
        assert!(error.to_string().contains("load"), "{error}");
    }
}
