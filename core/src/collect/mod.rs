//! Prompt garbage collection, cycles included, at a cost in proportion to the garbage.
//!
//! Each object has an *anchor*: one referrer through which the root reaches it. Anchors form a forest:
//! following them from any object ends at the root, at an object that a session has pinned, or at an
//! *orphan*, and all orphans stand in one persistent queue. So an empty queue, with nothing condemned,
//! proves that there is no garbage, and collecting is mending that certificate:
//! - Removing a reference that is no anchor costs nothing further. Removing an anchor queues an orphan
//!   (module `link`).
//! - An orphan without referrers is garbage. One with a referrer whose chain of anchors ends well
//!   (module `climb`) is anchored to that. Else it is suspect, together with what is anchored to it, and what
//!   remains closed under "who refers to me" is garbage, cyclic or not (module `search`).
//! - Deletion rests on a local check alone: every referrer of every member is a member, and none is the
//!   root or pinned (module `resolve`). Sets too large for one write are written down, condemned by one small
//!   write, and deleted a part at a time (modules `condemn` and `delete`).
//!
//! Kin: Ramalingam and Reps's incremental algorithms; TCRC (Ashwin and others, "Garbage Collection in
//! Object Oriented Databases Using Transactional Cyclic Reference Counting", VLDB 1997); back tracing
//! (Maheshwari and Liskov, "Collecting Cyclic Distributed Garbage by Back Tracing", PODC 1997).

mod beneath;
mod budget;
pub(crate) mod bulk;
mod climb;
mod condemn;
mod delete;
mod frontier;
pub(crate) mod graph;
mod link;
#[cfg(test)]
mod model;
mod oid_set;
mod reach;
mod resolve;
pub(crate) mod rows;
mod search;
pub(crate) mod spill;
mod word_stack;

use serde::Serialize;

pub use budget::{Budget, Counters, Histogram};
pub(crate) use delete::remove;
pub(crate) use link::{Change, Committer, Hold};
pub use oid_set::OidSet;
pub(crate) use reach::reach_watched;
pub use reach::{Reached, RootWalk, reach, reach_with};
pub(crate) use resolve::{Collector, Progress};

/// What a collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Objects.
    pub objects: u64,
    /// Bytes of their stored records.
    pub bytes: u64,
}
