//! Locking out the programs that write to a followed file, once they have let go of it.
//!
//! Durus locks the file itself, and lets go of it for moments while it packs: it closes the old file, renames
//! it, and locks it again, then does the same with the new one, `FILE.pack`. Whoever took the lock in such a
//! moment would make it fail with the database under another name. So it is not tried while there is a
//! `FILE.pack`, nor on a file that was not there before. ZODB locks a file `FILE.lock`, which stays.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::input::{Input, lock_shared};
use crate::source::{Files, Source};

const DOING: &str = "lock what is followed";

/// Keeps others from writing to a file as long as it lives. Where ZODB has never locked a file there is
/// nothing to be locked: then only what the file looks like tells.
#[derive(Debug)]
pub(crate) struct Takeover {
    _locks: Vec<File>,
}

impl Source {
    /// Whether nobody writes to the source any more. A file is locked if it can be, and stays so.
    ///
    /// # Errors
    /// `Unreadable` for a lock that cannot be opened, so that nobody knows.
    pub(crate) fn take_over(&mut self) -> Result<bool> {
        if self.takeover.is_some() {
            return Ok(true);
        }
        let takeover = match &self.files {
            Files::Store { still, .. } => {
                return Ok(still.load(std::sync::atomic::Ordering::Acquire));
            }
            Files::Durus(file) => match file.input() {
                Some(input) => take(input, &[input.path().to_path_buf()])?,
                None => None,
            },
            Files::Zodb(file) => take(file.input(), &locks_of_zodb(file.input().path())?)?,
            Files::DurusServer(_) => None,
        };
        self.takeover = takeover;
        Ok(self.takeover.is_some())
    }

    /// Refuses a file that was written to since it was looked at last.
    ///
    /// # Errors
    /// `InUse`.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let input = match &self.files {
            Files::Store { .. } | Files::DurusServer(_) => None,
            Files::Durus(file) => file.input(),
            Files::Zodb(file) => Some(file.input()),
        };
        if input.map_or(Ok(true), Input::is_as_it_was)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InUse, "follow the source to its end")
            .because("a program has written to it after the last round")
            .hint("Stop that program first."))
    }
}

fn take(input: &Input, locks: &[PathBuf]) -> Result<Option<Takeover>> {
    if is_packed(input.path()) {
        return Ok(None);
    }
    let mut held = Vec::new();
    for path in locks {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.during(DOING, path)?,
        };
        // The lock of a file that another has replaced says nothing.
        if path == input.path() && !input.is(&file)? {
            return Ok(None);
        }
        if !lock_shared(&file) {
            return Ok(None);
        }
        held.push(file);
    }
    let now = match File::open(input.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        now => now.during(DOING, input.path())?,
    };
    let same = input.is(&now)? && !is_packed(input.path());
    Ok(same.then_some(Takeover { _locks: held }))
}

/// Whether a new file is being made, and is about to take this one's place.
fn is_packed(path: &Path) -> bool {
    beside(path, ".pack").exists()
}

/// The locks that a program of ZODB may hold, which depends on the name that it knows the file by.
fn locks_of_zodb(path: &Path) -> Result<Vec<PathBuf>> {
    let real = std::fs::canonicalize(path).during(DOING, path)?;
    let mut locks = vec![beside(path, ".lock")];
    if real != path {
        locks.push(beside(&real, ".lock"));
    }
    Ok(locks)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
