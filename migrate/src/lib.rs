//! Streaming copies between Durum's stores and foreign formats, and backups, in constant memory.

#![forbid(unsafe_code)]

pub mod backup;
mod channel;
mod destination;
pub mod durus;
mod input;
mod note;
mod offsets;
mod options;
mod pace;
mod parcel;
mod pickle;
mod pipeline;
mod plan;
mod rate;
mod rejects;
mod reuse;
#[cfg(test)]
mod scratch;
mod source;
mod verify;
mod walk;
pub mod zodb;

pub use options::{MigrateOptions, OnError, Verify};
pub use pipeline::{Difference, Outcome, Progress, migrate};
pub use plan::{Plan, plan};
