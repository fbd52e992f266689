//! The least that a flat file has to do: a log, and beside it where each record begins.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};

use crate::{DOING, Load, Rows};

const BUFFER_BYTES: usize = 1 << 20;
/// Checksum, length and key of a record.
const HEAD_BYTES: u64 = 16;

/// A log of records with a checksum each, and an index of 16 bytes for each.
pub(crate) struct FileLoad {
    log: Output,
    index: Output,
    position: u64,
}

struct Output {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Output {
    fn create(path: PathBuf) -> Result<Output> {
        let file = File::create_new(&path).during(DOING, &path)?;
        Ok(Output {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).during(DOING, &self.path)
    }

    fn sync(mut self) -> Result<()> {
        self.file.flush().during(DOING, &self.path)?;
        self.file.get_ref().sync_data().during(DOING, &self.path)
    }
}

impl FileLoad {
    pub(crate) fn create(dir: &Path) -> Result<FileLoad> {
        Ok(FileLoad {
            log: Output::create(dir.join("log"))?,
            index: Output::create(dir.join("index"))?,
            position: 0,
        })
    }
}

impl Load for FileLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        for (key, value) in rows.iter() {
            let key = key.to_be_bytes();
            let mut sum = crc32fast::Hasher::new();
            sum.update(&key);
            sum.update(value);
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            self.log.write(&sum.finalize().to_be_bytes())?;
            self.log.write(&length.to_be_bytes())?;
            self.log.write(&key)?;
            self.log.write(value)?;
            self.index.write(&key)?;
            self.index.write(&self.position.to_be_bytes())?;
            self.position += HEAD_BYTES + value.len() as u64;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.log.sync()?;
        self.index.sync()
    }
}
