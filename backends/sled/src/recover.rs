//! Opening in two steps: what sled does in one does not outlast a loss of power.
//!
//! When it opens a database, sled reads the log, writes its page table into a new file `snap.*`, removes
//! the one before, and then overwrites with zeros the segments that the new table does not need. It does
//! not sync the directory in between. If the power is lost then, the zeros can be there and the new table
//! not: the log cannot be read without the segments, and batches that were durable are gone.
//!
//! So sled is stopped in between, and the directory synced. After the table, and before the segments, sled
//! removes files of large values from beyond the end of the log, and gives up where it cannot: a directory
//! with such a name is in its way. Until the new table is durable the old one has a second name, since
//! its removal may be durable first.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};

use crate::engine::sync;

/// sled's directory of large values.
pub(crate) const BLOBS: &str = "blobs";
/// The directory that stops sled; it lies in [`BLOBS`], and its name is the last that one there can have.
const STOP: &str = "9223372036854775807";
/// What sled's page tables are called, the position in the log aside.
pub(crate) const TABLE: &str = "snap.";
/// The second name of a page table begins with this, and goes on with the first one.
pub(crate) const KEPT: &str = "kept.";

const OPEN: &str = "open the database";

/// What stops sled, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Stop {
    dir: PathBuf,
}

impl Stop {
    /// Makes sled stop in the middle of opening the database in `dir`.
    pub(crate) fn set(dir: &Path) -> Result<Stop> {
        keep_table(dir)?;
        let path = dir.join(BLOBS).join(STOP);
        let stop = Stop {
            dir: dir.to_owned(),
        };
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(stop),
            Err(error) => Err(error).during(OPEN, &path),
        }
    }

    /// Whether it was this that stopped sled.
    pub(crate) fn has_worked(error: &sled::Error) -> bool {
        // Which of the two it is depends on the system. One that has another cause comes again.
        matches!(error, sled::Error::Io(error)
            if matches!(error.kind(), Io::IsADirectory | Io::PermissionDenied))
    }

    /// Makes the new page table durable and lets sled go on.
    pub(crate) fn lift(self) -> Result<()> {
        sync(&self.dir)?;
        for path in files(&self.dir, KEPT)? {
            fs::remove_file(&path).during(OPEN, &path)?;
        }
        let path = self.dir.join(BLOBS).join(STOP);
        let removed = fs::remove_dir(&path).during(OPEN, &path);
        std::mem::forget(self);
        removed
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        // Left there it does no harm but to others than this backend.
        let _error = fs::remove_dir(self.dir.join(BLOBS).join(STOP));
    }
}

/// Gives the newest page table its second name, or its first one back.
fn keep_table(dir: &Path) -> Result<()> {
    if let Some(table) = files(dir, TABLE)?.pop() {
        let kept = dir.join(format!("{KEPT}{}", name(&table)));
        match fs::hard_link(&table, &kept) {
            Err(error) if error.kind() == Io::AlreadyExists => {}
            // A file system without second names; most such keep to the order of changes.
            Err(error) if matches!(error.kind(), Io::Unsupported | Io::PermissionDenied) => {}
            linked => linked.during(OPEN, &kept)?,
        }
    } else if let Some(kept) = files(dir, KEPT)?.pop() {
        let table = dir.join(name(&kept).trim_start_matches(KEPT));
        fs::hard_link(&kept, &table).during(OPEN, &table)?;
    }
    sync(dir)
}

/// Removes what sled leaves behind when it is killed while it writes a page table: it takes the unfinished
/// file for a finished one, and then never opens again. The log has everything.
pub(crate) fn remove_unfinished_tables(dir: &Path) -> Result<()> {
    for path in files(dir, TABLE)? {
        if path
            .extension()
            .is_some_and(|extension| extension == "generating")
        {
            fs::remove_file(&path).during(OPEN, &path)?;
        }
    }
    Ok(())
}

/// The files in `dir` whose names begin with `prefix`, in the order of their names.
fn files(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).during(OPEN, dir)? {
        let path = entry.during(OPEN, dir)?.path();
        if name(&path).starts_with(prefix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
