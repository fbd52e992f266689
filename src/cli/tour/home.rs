//! The directory of a tour.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durum_core::config::StoreSettings;
use durum_core::{Error, ErrorKind};

use crate::cli::failure::{Failure, of_destination};

const DOING: &str = "prepare the directory of the tour";

/// A directory that was empty and is this tour's. Unless it is to be kept, it is emptied again.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    created: bool,
    kept: Cell<bool>,
}

impl Home {
    /// Creates the directory, or takes an empty one.
    pub(super) fn claim(path: &Path) -> Result<Home, Failure> {
        let created = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(creation_failure(error, path)),
        };
        if !created && !is_empty_directory(path) {
            return Err(Error::new(ErrorKind::Exists, DOING)
                .with_path(path)
                .because("there is something already, perhaps from an earlier tour")
                .hint("Remove it, or choose another place with `--dir`.")
                .into());
        }
        Ok(Home {
            path: path.to_path_buf(),
            created,
            kept: Cell::new(false),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store on `engine` lies.
    pub(super) fn store(&self, engine: &str) -> StoreSettings {
        StoreSettings::new(engine, self.path.join(engine))
    }

    /// Leaves everything in place.
    pub(super) fn keep(&self) {
        self.kept.set(true);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.kept.get() {
            return;
        }
        // It was empty before: all that is in it is ours.
        let removed = if self.created {
            fs::remove_dir_all(&self.path)
        } else {
            empty(&self.path)
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "left an unfinished tour behind");
        }
    }
}

fn is_empty_directory(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn creation_failure(error: io::Error, path: &Path) -> Failure {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::io(error, DOING)
        .with_path(path)
        .hint("Choose another place with `--dir`; the directory above it has to exist.");
    of_destination(if denied {
        error.with_kind(ErrorKind::ReadOnly)
    } else {
        error
    })
}
