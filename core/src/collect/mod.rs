//! Deleting what the root can no longer reach.
//!
//! This is a mark-and-sweep in bounded memory: it visits every object that can be reached, and stops
//! commits while it runs. The record format and the tables have room for the anchors, referrers and
//! queues of prompt collection, whose cost is in proportion to the garbage.

pub(crate) mod bulk;
mod frontier;
mod oid_set;
mod reach;
pub(crate) mod rows;
mod sweep;
mod word_stack;

use serde::Serialize;

pub use oid_set::OidSet;
pub use reach::{Reached, reach};
pub(crate) use sweep::mark_and_sweep;

/// What a collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Objects.
    pub objects: u64,
    /// Bytes of their stored records.
    pub bytes: u64,
}
