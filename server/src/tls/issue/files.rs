//! The files of certificates.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use rcgen::KeyPair;

use super::DOING;

/// Only the owner reads and writes it.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, which all may see.
    pub certificate: PathBuf,
    /// Its key, which only its owner sees.
    pub key: PathBuf,
}

impl Files {
    /// `NAME.pem` and `NAME.key` in a directory.
    pub fn of(dir: &Path, name: &str) -> Files {
        Files {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        }
    }

    pub(super) fn must_be_absent(&self, hint: &str) -> Result<()> {
        for path in [&self.certificate, &self.key] {
            if path.symlink_metadata().is_ok() {
                return Err(Error::new(ErrorKind::Exists, DOING)
                    .with_path(path)
                    .because("it exists already")
                    .hint(hint));
            }
        }
        Ok(())
    }

    /// Writes both under other names first: what is there is whole, and what was there stays where
    /// something fails. A server that reads both between the two renames keeps those it has.
    pub(super) fn write(&self, certificate: &str, key: &KeyPair) -> Result<()> {
        let new_key = Unfinished::write(&self.key, SECRET, &key.serialize_pem())?;
        let new_certificate = Unfinished::write(&self.certificate, PUBLIC, certificate)?;
        new_key.finish(&self.key)?;
        new_certificate.finish(&self.certificate)
    }
}

/// A file under a hidden name, which goes with this.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    fn write(path: &Path, mode: u32, text: &str) -> Result<Unfinished> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let create = || {
            // Its mode is as it is to be before there is anything in it.
            let mut options = File::options();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&hidden)?;
            let unfinished = Unfinished(hidden.clone());
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(unfinished)
        };
        create().during(DOING, &hidden)
    }

    fn finish(self, path: &Path) -> Result<()> {
        fs::rename(&self.0, path).during(DOING, path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has another name by now, if all went well.
        let _ = fs::remove_file(&self.0);
    }
}
