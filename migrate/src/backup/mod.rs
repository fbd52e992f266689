//! Backups: streams from which a store can be built again, full or incremental by commits.
//!
//! [`Backup`] writes a stream from an open store, while others go on using it; [`restore`] builds a store
//! from a full backup and increments that follow it, and [`check`] does all of that but for the store.
//! `docs/BACKUP_FORMAT.md` has the layout and its reasons.
//!
//! All streams list objects by ascending OID, so that any number of them is merged in one pass, in memory
//! that depends on the number of streams alone (about half a MiB each) and on the largest object.

mod chain;
mod entries;
mod file;
mod format;
mod merge;
mod reader;
mod restore;
mod take;
mod writer;

#[cfg(test)]
mod tests;

pub use chain::choose;
pub use file::{Input, OutputFile};
pub use format::{Header, Summary, Totals};
pub use restore::{Restored, check, restore};
pub use take::Backup;

/// What is being done, for errors.
const READ: &str = "read a backup";
/// What is being done, for errors.
const WRITE: &str = "write a backup";
