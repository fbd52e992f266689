//! Streaming copies between Durum's stores and foreign formats, and backups, in constant memory.

#![forbid(unsafe_code)]

pub mod backup;
mod channel;
mod destination;
pub mod durus;
mod pipeline;
mod source;
mod verify;

pub use pipeline::{MigrateOptions, Outcome, Progress, Verify, migrate};
