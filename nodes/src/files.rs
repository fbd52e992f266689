//! Files that only their owner reads, and that are there as a whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};

/// The mode of files with secrets.
pub(crate) const SECRET: u32 = 0o600;
const SECRET_DIR: u32 = 0o700;

/// Makes a directory that only its owner enters, with those above it; one that is there stays as it is.
pub(crate) fn make_dir(doing: &'static str, path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(SECRET_DIR);
    builder.create(path).during(doing, path)
}

/// Writes a file, in the place of one that may be there, and makes it durable.
pub(crate) fn write(doing: &'static str, path: &Path, mode: u32, data: &[u8]) -> Result<()> {
    let hidden = hidden(path);
    let writing = || -> io::Result<()> {
        // A process that had this number may have left one.
        let _none = fs::remove_file(&hidden);
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&hidden)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(&hidden, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    };
    let written = writing();
    if written.is_err() {
        let _none = fs::remove_file(&hidden);
    }
    written.during(doing, path)
}

fn hidden(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
