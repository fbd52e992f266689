//! Which database counts, and how many batches it had at least reached: the file `current`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use durum_core::{Error, IoResultExt as _, Result};

use crate::NAME;
use crate::error::damaged;

const FILE: &str = "current";
const FILE_NEW: &str = "current.new";
const PREFIX: &str = "database-";

const READ: &str = "find the database";
const WRITE: &str = "note the state of the database";
const REMOVE: &str = "remove what a compaction left";
const SYNC: &str = "sync the database";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// The directory of the database that counts.
    pub(crate) database: PathBuf,
    /// How many batches it held when this was written.
    pub(crate) reached: u64,
}

impl Current {
    /// Reads the file in `dir`; `None` where `dir` is empty.
    pub(crate) fn read(dir: &Path) -> Result<Option<Current>> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut entries = fs::read_dir(dir).during(READ, dir)?;
                return match entries.next() {
                    None => Ok(None),
                    Some(_) => Err(damaged(READ, "the file is missing").with_path(path)),
                };
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(Error::io(error, READ).with_engine(NAME).with_path(path)),
        };
        let found = parse(&text).map(|(number, reached)| Current {
            database: numbered(dir, number),
            reached,
        });
        match found {
            Some(found) if found.database.is_dir() => Ok(Some(found)),
            Some(_) => Err(damaged(READ, "the directory that it names is missing").with_path(path)),
            None => Err(damaged(READ, "it does not name a database").with_path(path)),
        }
    }

    /// The first database of `dir`.
    pub(crate) fn first(dir: &Path) -> Current {
        Current {
            database: numbered(dir, 1),
            reached: 0,
        }
    }

    /// A directory for the database after this one.
    pub(crate) fn next(&self, dir: &Path) -> PathBuf {
        let number = self
            .database
            .file_name()
            .and_then(|name| number(name.to_str()?));
        numbered(dir, number.unwrap_or(0) + 1)
    }

    /// Writes the file, durably, as a whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let (path, new) = (dir.join(FILE), dir.join(FILE_NEW));
        let name = self.database.file_name().unwrap_or_default();
        let text = format!("{} {}\n", name.to_string_lossy(), self.reached);
        let mut file = File::create(&new).during(WRITE, &new)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .during(WRITE, &new)?;
        fs::rename(&new, &path).during(WRITE, &path)?;
        sync(dir)
    }

    /// Removes all in `dir` but this database.
    pub(crate) fn remove_others(&self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir).during(REMOVE, dir)? {
            let path = entry.during(REMOVE, dir)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let removed = if name == FILE_NEW {
                fs::remove_file(&path)
            } else if number(&name).is_some() && path != self.database {
                fs::remove_dir_all(&path)
            } else {
                continue;
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(error, REMOVE).with_engine(NAME).with_path(path));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let (name, reached) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((number(name)?, reached.parse().ok()?))
}

fn numbered(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Syncs all files below `dir`, and the directories that name them.
pub(crate) fn sync_all(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).during(SYNC, dir)? {
        let path = entry.during(SYNC, dir)?.path();
        match path.is_dir() {
            true => sync_all(&path)?,
            false => sync(&path)?,
        }
    }
    sync(dir)
}

/// Syncs a file or directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_all().during(SYNC, path),
        // fjall's threads remove files.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(error, SYNC).with_engine(NAME).with_path(path)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::ErrorKind;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        assert_eq!(Current::read(dir).unwrap(), None);
        let mut current = Current::first(dir);
        fs::create_dir(&current.database).unwrap();
        current.reached = 17;
        current.write(dir).unwrap();
        assert_eq!(Current::read(dir).unwrap(), Some(current.clone()));
        let next = current.next(dir);
        assert_eq!(next, dir.join("database-2"));
        fs::create_dir(&next).unwrap();
        current.remove_others(dir).unwrap();
        assert!(!next.exists() && current.database.exists());
        for bad in [
            "",
            "database-1",
            "database-1 x\n",
            "database-1 17",
            "x 1\n",
            "database-7 1\n",
        ] {
            fs::write(dir.join(FILE), bad).unwrap();
            let error = Current::read(dir).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{bad}: {error}");
        }
        fs::remove_file(dir.join(FILE)).unwrap();
        assert_eq!(Current::read(dir).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
