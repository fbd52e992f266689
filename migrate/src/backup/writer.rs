//! Writing a stream: header, blocks, end.

use std::io::Write;

use durum_core::{Error, Result};

use super::WRITE;
use super::format::{BlockHead, END_NUMBER, Header, Summary, Totals};

/// Zstandard's default: at this level it is about as fast as the digest that is computed beside it.
const LEVEL: i32 = 3;

/// A stream that is being written.
pub(super) struct StreamWriter<'a> {
    out: &'a mut (dyn Write + Send),
    header: Header,
    number: u64,
    bytes: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl<'a> StreamWriter<'a> {
    /// Begins a stream.
    pub(super) fn new(header: Header, out: &'a mut (dyn Write + Send)) -> Result<StreamWriter<'a>> {
        let compressor = zstd::bulk::Compressor::new(LEVEL).map_err(failed)?;
        let mut writer = StreamWriter {
            out,
            header,
            number: 0,
            bytes: 0,
            compressor,
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Appends a block of entries.
    pub(super) fn block(&mut self, plain: &[u8]) -> Result<()> {
        let compressed = self.compressor.compress(plain).map_err(failed)?;
        let stored = match compressed.len() < plain.len() {
            true => &compressed,
            false => plain,
        };
        let head = BlockHead {
            is_end: false,
            plain: plain.len() as u32,
            stored: stored.len() as u32,
        };
        self.put(&head.encode(self.number, stored))?;
        self.put(stored)?;
        self.number += 1;
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(mut self, totals: Totals) -> Result<Summary> {
        let content = totals.encode();
        let head = BlockHead {
            is_end: true,
            plain: content.len() as u32,
            stored: content.len() as u32,
        };
        self.put(&head.encode(END_NUMBER, &content))?;
        self.put(&content)?;
        self.out.flush().map_err(failed)?;
        Ok(Summary {
            header: self.header,
            totals,
            file_bytes: self.bytes,
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::io(error, WRITE)
}
