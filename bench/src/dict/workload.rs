//! What is done with dictionaries, in the order in which it is done.

use serde::{Deserialize, Serialize};

/// What is done with dictionaries. The order is that in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DictWorkload {
    /// Most dictionaries are put, many by each call.
    PutBatches,
    /// Some more are put one by one, each there durably before the next.
    Put,
    /// The others are put one by one by each of several writers at once.
    PutAtOnce,
    /// Some are given a new revision one by one: read, changed, written.
    Update,
    /// The same by several writers at once.
    UpdateAtOnce,
    /// A tenth is given a new revision, many by each call.
    UpdateBatches,
    /// Dictionaries are read by random keys.
    Get,
    /// The same by several readers at once.
    GetAtOnce,
    /// Updated ones are read as they were before.
    GetAt,
    /// All revisions of updated ones are read.
    History,
    /// Ten dictionaries of one string are looked for.
    SelectEqual,
    /// A hundred integers are looked for, by a range.
    SelectRange,
    /// A thousand dictionaries are looked for by the beginning of their string.
    SelectPrefix,
    /// About a hundred are looked for by one of the many values that they have.
    SelectMany,
    /// All are read.
    All,
    /// Some are deleted one by one.
    Delete,
    /// A tenth is deleted, many by each call.
    DeleteBatches,
    /// All that are left are read.
    AllLeft,
}

impl DictWorkload {
    /// All that there are.
    pub const ALL: [DictWorkload; 18] = [
        DictWorkload::PutBatches,
        DictWorkload::Put,
        DictWorkload::PutAtOnce,
        DictWorkload::Update,
        DictWorkload::UpdateAtOnce,
        DictWorkload::UpdateBatches,
        DictWorkload::Get,
        DictWorkload::GetAtOnce,
        DictWorkload::GetAt,
        DictWorkload::History,
        DictWorkload::SelectEqual,
        DictWorkload::SelectRange,
        DictWorkload::SelectPrefix,
        DictWorkload::SelectMany,
        DictWorkload::All,
        DictWorkload::Delete,
        DictWorkload::DeleteBatches,
        DictWorkload::AllLeft,
    ];

    /// Its name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            DictWorkload::PutBatches => "put-batches",
            DictWorkload::Put => "put",
            DictWorkload::PutAtOnce => "put-at-once",
            DictWorkload::Update => "update",
            DictWorkload::UpdateAtOnce => "update-at-once",
            DictWorkload::UpdateBatches => "update-batches",
            DictWorkload::Get => "get",
            DictWorkload::GetAtOnce => "get-at-once",
            DictWorkload::GetAt => "get-at",
            DictWorkload::History => "history",
            DictWorkload::SelectEqual => "select-equal",
            DictWorkload::SelectRange => "select-range",
            DictWorkload::SelectPrefix => "select-prefix",
            DictWorkload::SelectMany => "select-many",
            DictWorkload::All => "all",
            DictWorkload::Delete => "delete",
            DictWorkload::DeleteBatches => "delete-batches",
            DictWorkload::AllLeft => "all-left",
        }
    }

    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self {
            DictWorkload::History => "revisions",
            _ => "dictionaries",
        }
    }

    /// What is timed besides the whole: a call, or the time until the first result is there.
    pub const fn timed(self) -> &'static str {
        match self {
            DictWorkload::PutBatches
            | DictWorkload::UpdateBatches
            | DictWorkload::DeleteBatches => "batch",
            DictWorkload::SelectEqual
            | DictWorkload::SelectRange
            | DictWorkload::SelectPrefix
            | DictWorkload::SelectMany
            | DictWorkload::All
            | DictWorkload::AllLeft => "first",
            _ => "call",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_json_and_the_order_is_that_of_the_list() {
        assert!(DictWorkload::ALL.is_sorted());
        for workload in DictWorkload::ALL {
            assert_eq!(serde_json::json!(workload), workload.name());
        }
    }
}
