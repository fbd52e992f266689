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
//! its removal may be durable first; or a copy, where the system refuses second names.

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
/// A copy of a page table that is being made.
pub(crate) const COPY: &str = "unfinished.table";

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
        link(dir, &table, &kept)?;
    } else if let Some(kept) = files(dir, KEPT)?.pop() {
        let table = dir.join(name(&kept).trim_start_matches(KEPT));
        link(dir, &kept, &table)?;
    }
    sync(dir)
}

/// Gives `from` the second name `to`, if that is not there.
fn link(dir: &Path, from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == Io::AlreadyExists => Ok(()),
        // The file system has no second names, or this user may not give any.
        Err(error) if is_refused(&error) => copy(dir, from, to),
        linked => linked.during(OPEN, to),
    }
}

fn is_refused(error: &std::io::Error) -> bool {
    let kinds = [Io::Unsupported, Io::PermissionDenied, Io::TooManyLinks];
    kinds.contains(&error.kind())
}

/// Makes `to` a copy of `from`, which has that name only once all of it is durable.
fn copy(dir: &Path, from: &Path, to: &Path) -> Result<()> {
    let unfinished = dir.join(COPY);
    fs::copy(from, &unfinished).during(OPEN, &unfinished)?;
    sync(&unfinished)?;
    fs::rename(&unfinished, to).during(OPEN, to)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_page_table_is_kept_and_comes_back_also_where_it_has_to_be_copied() {
        for is_linked in [true, false] {
            let place = tempfile::tempdir().unwrap();
            let dir = place.path();
            let (table, kept) = (dir.join("snap.07"), dir.join("kept.snap.07"));
            fs::write(&table, b"a table").unwrap();
            // A copy that another process did not finish.
            fs::write(dir.join(COPY), b"much more than the table").unwrap();
            match is_linked {
                true => keep_table(dir).unwrap(),
                false => copy(dir, &table, &kept).unwrap(),
            }
            keep_table(dir).unwrap();
            fs::remove_file(&table).unwrap();
            assert_eq!(fs::read(&kept).unwrap(), b"a table");
            keep_table(dir).unwrap();
            assert_eq!(fs::read(&table).unwrap(), b"a table");
        }
    }
}
