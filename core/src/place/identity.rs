//! The identity record of a store: a small text file that a person can read.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, IoResultExt as _, Result};
use crate::id::StoreId;

pub(super) const FILE: &str = "identity";
/// The first line, by which a store is recognised.
const MAGIC: &str = "# Durum store. Do not edit.";
const FORMAT: u32 = 1;

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The engine that it lies on.
    pub engine: String,
    /// Its random identity.
    pub store_id: StoreId,
}

#[derive(Serialize, Deserialize)]
struct Text {
    format: u32,
    engine: String,
    store_id: String,
}

impl Identity {
    /// Reads the identity of the store at `path`.
    ///
    /// # Errors
    /// `NotFound` where there is nothing, `Unreadable` where there is no store or one of a newer
    /// format, `Damaged` where the record makes no sense.
    pub fn read(path: &Path) -> Result<Identity> {
        const DOING: &str = "open the store";
        let metadata = fs::metadata(path).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::io(error, DOING).with_path(path);
            if missing {
                error.because("there is nothing at this path")
            } else {
                error
            }
        })?;
        let foreign = |why: &str| {
            Error::new(ErrorKind::Unreadable, DOING)
                .with_path(path)
                .because(why.to_owned())
        };
        if !metadata.is_dir() {
            return Err(foreign("it is a file, and a store is a directory")
                .hint("Name a Durus file as `durus:PATH`."));
        }
        let text = match fs::read_to_string(path.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(foreign("this directory is not a Durum store"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Error::damaged(DOING, "its identity file is not text").with_path(path));
            }
            Err(error) => return Err(Error::io(error, DOING).with_path(path)),
        };
        Identity::parse(&text).map_err(|error| error.with_path(path))
    }

    fn parse(text: &str) -> Result<Identity> {
        const DOING: &str = "read the store's identity";
        let bad = |what: String| {
            Error::damaged(DOING, what).hint("Restore the file `identity` from a backup.")
        };
        let body = text
            .strip_prefix(MAGIC)
            .ok_or_else(|| bad("its first line is not that of a store".to_owned()))?;
        let text: Text = toml::from_str(body).map_err(|error| bad(error.message().to_owned()))?;
        if text.format != FORMAT {
            let found = text.format;
            return Err(Error::new(ErrorKind::Unreadable, DOING)
                .because(format!(
                    "its format is {found}, and this version reads format {FORMAT}"
                ))
                .hint("Use the version of Durum that wrote it, or a newer one."));
        }
        let store_id = text
            .store_id
            .parse()
            .map_err(|error: Error| bad(error.to_string()))?;
        Ok(Identity {
            engine: text.engine,
            store_id,
        })
    }

    /// Writes the identity into the directory `path` and makes the file durable.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        const DOING: &str = "write the store's identity";
        let (engine, id) = (&self.engine, self.store_id);
        let text =
            format!("{MAGIC}\nformat = {FORMAT}\nengine = \"{engine}\"\nstore_id = \"{id}\"\n");
        // One may be there that was cut off, or that is only in the system's cache; it is not lost before
        // the new one is there.
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(FILE))
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.set_len(text.len() as u64)?;
                file.sync_all()
            });
        written.during(DOING, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_and_damage_is_named() {
        let home = tempfile::tempdir().unwrap();
        let identity = Identity {
            engine: "lmdb".to_owned(),
            store_id: StoreId([3; 16]),
        };
        identity.write(home.path()).unwrap();
        assert_eq!(Identity::read(home.path()).unwrap(), identity);
        let text = fs::read_to_string(home.path().join(FILE)).unwrap();
        for (bad, kind) in [
            (
                text.replace("format = 1", "format = 2"),
                ErrorKind::Unreadable,
            ),
            (text.replace("# Durum", "# Duram"), ErrorKind::Damaged),
            (text.replace("0303", "zz"), ErrorKind::Damaged),
            (text[..text.len() - 20].to_owned(), ErrorKind::Damaged),
        ] {
            assert_eq!(Identity::parse(&bad).unwrap_err().kind(), kind, "{bad}");
        }
    }
}
