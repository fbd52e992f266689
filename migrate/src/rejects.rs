//! Objects that could not be read and are left out.

use std::fs;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};

use crate::options::OnError;
use crate::parcel::Reject;

const DOING: &str = "write down a rejected object";
/// The system's number for an error of reading, on Linux and others alike.
const EIO: i32 = 5;

/// Whether an error of reading keeps one object from being copied, and not the rest: its bytes are wrong,
/// or the disk does not give them. Which object that is it has to say.
pub(crate) fn is_of_an_object(error: &Error) -> bool {
    !error.oids().is_empty()
        && match error.kind() {
            ErrorKind::Damaged => true,
            // A device that is gone, or a file server that does not answer, is no object's fault.
            ErrorKind::Io => system_error(error) == Some(EIO),
            _ => false,
        }
}

fn system_error(error: &Error) -> Option<i32> {
    use std::error::Error as _;
    let cause = error.source()?.downcast_ref::<std::io::Error>()?;
    cause.raw_os_error()
}

/// Where they are written down.
#[derive(Debug)]
pub(crate) struct Rejects(Option<PathBuf>);

impl Rejects {
    /// Makes the directory, if one is asked for.
    pub(crate) fn new(on_error: &OnError) -> Result<Rejects> {
        let OnError::Skip(Some(dir)) = on_error else {
            return Ok(Rejects(None));
        };
        fs::create_dir_all(dir).during(DOING, dir)?;
        Ok(Rejects(Some(dir.clone())))
    }

    /// Writes them down, each in files of its own, so that doing it again does no harm.
    pub(crate) fn write(&self, rejects: &[Reject]) -> Result<()> {
        for reject in rejects {
            tracing::warn!(oid = %reject.oid, error = %reject.error, "an object is left out");
            if let Some(dir) = &self.0 {
                write(dir, reject)?;
            }
        }
        Ok(())
    }
}

fn write(dir: &Path, reject: &Reject) -> Result<()> {
    let file = |kind: &str| dir.join(format!("{}.{kind}", reject.oid.0));
    if let Some(stored) = &reject.stored {
        let path = file("record");
        fs::write(&path, stored).during(DOING, &path)?;
    }
    let path = file("txt");
    fs::write(&path, format!("{}\n", reject.error)).during(DOING, &path)
}
