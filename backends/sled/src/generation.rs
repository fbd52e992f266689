//! The count of batches, in the tree and beside it, by which lost data is noticed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use durum_core::{Error, IoResultExt as _, Result};

use crate::NAME;

/// The row in the tree; its first byte is no table's number.
pub(crate) const ROW: &[u8] = &[u8::MAX];

const FILE: &str = "generation";
const FILE_NEW: &str = "generation.new";

/// Reads the count that the database had at least reached, if one was ever written.
pub(crate) fn reached(dir: &Path) -> Result<Option<u64>> {
    const READ: &str = "read the count of batches";
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(error, READ).with_path(path)),
    };
    match decode(&bytes) {
        Some(count) => Ok(Some(count)),
        None => Err(Error::damaged(READ, "it is not eight bytes")
            .with_engine(NAME)
            .with_path(path)),
    }
}

/// Writes the count of a database that is durable; as a whole or not at all.
pub(crate) fn write(dir: &Path, count: u64) -> Result<()> {
    const WRITE: &str = "write the count of batches";
    let (path, new) = (dir.join(FILE), dir.join(FILE_NEW));
    let mut file = File::create(&new).during(WRITE, &new)?;
    file.write_all(&encode(count))
        .and_then(|()| file.sync_all())
        .during(WRITE, &new)?;
    fs::rename(&new, &path).during(WRITE, &path)?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .during(WRITE, dir)
}

/// The count as bytes.
pub(crate) fn encode(count: u64) -> [u8; 8] {
    count.to_be_bytes()
}

/// The count that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Compares what the database holds with what it had reached.
pub(crate) fn check(found: Option<u64>, reached: Option<u64>, dir: &Path) -> Result<u64> {
    let found = found.unwrap_or(0);
    if found < reached.unwrap_or(0) {
        return Err(
            Error::damaged("open the database", "batches that were durable are missing")
                .with_engine(NAME)
                .with_path(dir)
                .hint("Restore the store from a backup."),
        );
    }
    Ok(found)
}
