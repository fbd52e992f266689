//! A client that lives through the end of its server.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::TcpStream;

use crate::client::{Loaded, Written, transaction};
use crate::kit::LONG;

/// A connection, of which every call can fail.
#[derive(Debug)]
pub(crate) struct Link(TcpStream);

impl Link {
    pub(crate) fn connect(address: &str) -> Result<Link> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        Ok(Link(stream))
    }

    pub(crate) fn new_oid(&mut self) -> Result<u64> {
        self.0.write_all(b"N")?;
        self.u64()
    }

    pub(crate) fn load(&mut self, oid: u64) -> Result<Loaded> {
        self.0
            .write_all(&[&b"L"[..], &oid.to_be_bytes()].concat())?;
        match self.array()? {
            [b'K'] => Ok(Loaded::Missing),
            [b'I'] => Ok(Loaded::Invalid),
            [b'O'] => self.record(),
            [other] => Err(unexpected(other)),
        }
    }

    /// What has become invalid.
    pub(crate) fn sync(&mut self) -> Result<Vec<u64>> {
        self.0.write_all(b"S")?;
        self.oids()
    }

    /// Begins to commit; what has become invalid.
    pub(crate) fn begin(&mut self) -> Result<Vec<u64>> {
        self.0.write_all(b"C")?;
        self.oids()
    }

    /// Gives up what was begun.
    pub(crate) fn give_up(&mut self) -> Result<()> {
        self.0.write_all(&[0; 4])
    }

    /// Sends the transaction that was begun; whether it was committed.
    pub(crate) fn end(&mut self, objects: &[Written<'_>]) -> Result<bool> {
        self.0.write_all(&transaction(objects))?;
        match self.array()? {
            [b'O'] => Ok(true),
            [b'I'] => Ok(false),
            [other] => Err(unexpected(other)),
        }
    }

    fn record(&mut self) -> Result<Loaded> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        let mut record = vec![0; length];
        self.0.read_exact(&mut record)?;
        let word = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap()) as usize;
        let (data, refs) = record[12..].split_at(word(8));
        let refs = refs.chunks(8);
        Ok(Loaded::Object {
            data: data.to_vec(),
            refs: refs
                .map(|oid| u64::from_be_bytes(oid.try_into().unwrap()))
                .collect(),
        })
    }

    fn oids(&mut self) -> Result<Vec<u64>> {
        let count = u32::from_be_bytes(self.array()?);
        (0..count).map(|_| self.u64()).collect()
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn unexpected(answer: u8) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{answer:#04x} is no answer"),
    )
}
