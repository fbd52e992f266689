//! Streaming copies between Durum's stores and foreign formats, in constant memory.

#![forbid(unsafe_code)]

mod channel;
mod destination;
pub mod durus;
mod input;
mod offsets;
mod pickle;
mod pipeline;
#[cfg(test)]
mod scratch;
mod source;
mod verify;
pub mod zodb;

pub use pipeline::{MigrateOptions, Outcome, Progress, Verify, migrate};
