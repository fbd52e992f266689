//! The file `CURRENT`, which names the manifest that counts.
//!
//! When RocksDB is opened it writes a new manifest, syncs that, renames a new `CURRENT` to its place, and only
//! then syncs the directory. A file system may keep the rename and lose the manifest's name, if the power is lost
//! in between; ext4 and XFS do not. Nothing was removed by then, so that the manifest before is still
//! there, with all that it names: it counts.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use durum_core::{Error, IoResultExt as _, Result};

use crate::NAME;
use crate::error::damaged;

/// Without it RocksDB would make a new database, and remove what is left of the old one.
const FILE: &str = "CURRENT";
const FILE_NEW: &str = "CURRENT.new";
const PREFIX: &str = "MANIFEST-";

const FIND: &str = "find the manifest";

/// Makes sure that `dir` has a manifest that counts.
///
/// # Errors
/// `Damaged` where it has none.
pub(crate) fn mend(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(FIND, "the file is missing").with_path(path));
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(Error::io(error, FIND).with_engine(NAME).with_path(path)),
    };
    let named = text.strip_suffix('\n').unwrap_or_default();
    if !named.starts_with(PREFIX) {
        return Err(damaged(FIND, "it does not name a manifest").with_path(path));
    }
    if dir.join(named).exists() {
        return Ok(());
    }
    let Some(before) = newest(dir)? else {
        return Err(damaged(FIND, "the manifest that it names is missing").with_path(path));
    };
    tracing::info!(path = %dir.display(), before, "the last opening was not completed");
    write(dir, &before)
}

/// The name of the manifest with the largest number.
fn newest(dir: &Path) -> Result<Option<String>> {
    let mut newest: Option<(u64, String)> = None;
    for entry in fs::read_dir(dir).during(FIND, dir)? {
        let name = entry.during(FIND, dir)?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix(PREFIX).and_then(|it| it.parse().ok());
        if let Some(number) = number {
            newest = newest.max(Some((number, name.into_owned())));
        }
    }
    Ok(newest.map(|(_, name)| name))
}

/// Writes the file, durably, as a whole or not at all.
fn write(dir: &Path, name: &str) -> Result<()> {
    let new: PathBuf = dir.join(FILE_NEW);
    let mut file = File::create(&new).during(FIND, &new)?;
    file.write_all(format!("{name}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .during(FIND, &new)?;
    fs::rename(&new, dir.join(FILE)).during(FIND, &new)?;
    sync(dir)
}

/// Syncs a file or directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .during(FIND, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::ErrorKind;
    use durum_core::engine::{Backend as _, Options};

    use super::*;
    use crate::RocksdbBackend;

    #[test]
    fn the_manifest_before_counts_where_the_new_one_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        let open = || RocksdbBackend.open(dir, &Options::default());
        drop(open().unwrap());
        let named = fs::read_to_string(dir.join(FILE)).unwrap();
        fs::write(dir.join(FILE), "MANIFEST-009999\n").unwrap();
        mend(dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join(FILE)).unwrap(), named);
        drop(open().unwrap());
        let manifest = newest(dir).unwrap().unwrap();
        fs::remove_file(dir.join(manifest)).unwrap();
        assert_eq!(open().unwrap_err().kind(), ErrorKind::Damaged);
        for bad in ["", "MANIFEST-000001", "noise\n"] {
            fs::write(dir.join(FILE), bad).unwrap();
            assert_eq!(mend(dir).unwrap_err().kind(), ErrorKind::Damaged, "{bad}");
        }
        fs::remove_file(dir.join(FILE)).unwrap();
        assert_eq!(open().unwrap_err().kind(), ErrorKind::Damaged);
    }
}
