//! What is done with typed objects.

use serde::{Deserialize, Serialize};

/// What is done with typed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypedWorkload {
    /// Objects are added below a tree, a thousand by a commit.
    Store,
    /// All are visited by the tree, after the store was opened and what the system had of its files in memory
    /// was dropped.
    ReadCold,
    /// Commits change ten objects each.
    Change,
    /// The records of the store are read, whatever they are.
    Records,
    /// Half of the objects are taken from the tree, until they are gone from the store.
    DeleteHalf,
    /// A tree of numbers is built from sorted entries, in the way that is quickest.
    TreeBuild,
    /// Entries of it are looked up by random keys.
    TreeLookup,
    /// A hundred entries from a random key on are visited.
    TreeRange,
    /// All entries are visited.
    TreeScan,
    /// Entries are inserted with random keys, a thousand by a commit.
    TreeInsert,
}

impl TypedWorkload {
    /// Its name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            TypedWorkload::Store => "store",
            TypedWorkload::ReadCold => "read-cold",
            TypedWorkload::Change => "change",
            TypedWorkload::Records => "records",
            TypedWorkload::DeleteHalf => "delete-half",
            TypedWorkload::TreeBuild => "tree-build",
            TypedWorkload::TreeLookup => "tree-lookup",
            TypedWorkload::TreeRange => "tree-range",
            TypedWorkload::TreeScan => "tree-scan",
            TypedWorkload::TreeInsert => "tree-insert",
        }
    }

    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self {
            TypedWorkload::Store | TypedWorkload::ReadCold | TypedWorkload::DeleteHalf => "objects",
            TypedWorkload::Change => "commits",
            TypedWorkload::Records => "records",
            TypedWorkload::TreeLookup => "lookups",
            TypedWorkload::TreeBuild
            | TypedWorkload::TreeRange
            | TypedWorkload::TreeScan
            | TypedWorkload::TreeInsert => "entries",
        }
    }
}
