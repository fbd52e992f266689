//! Streaming copies between Durum's stores and foreign formats, and backups, in constant memory.

#![forbid(unsafe_code)]

pub mod backup;
mod beside;
mod changes;
mod channel;
mod destination;
#[cfg(feature = "dictionaries")]
pub mod dictionaries;
pub mod durus;
mod durus_server;
mod ending;
mod follow;
mod input;
mod note;
mod offsets;
mod options;
mod pace;
mod parcel;
mod phases;
mod pickle;
mod pipeline;
mod plan;
mod rate;
mod rejects;
mod reuse;
mod room;
#[cfg(test)]
mod scratch;
mod source;
mod sum;
mod takeover;
mod verify;
mod walk;
pub mod zodb;

pub use options::{MigrateOptions, OnError, Verify};
pub use phases::Phases;
pub use pipeline::{Difference, Outcome, Progress, migrate, migrate_open};
pub use plan::{Plan, plan};
