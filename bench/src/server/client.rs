//! A bare socket that speaks Durus's protocol, version 1: as little as possible besides the server is
//! measured.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};

use super::DOING;

/// Nothing takes so long, unless the server hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of a record before its data.
const RECORD_HEAD_BYTES: usize = 12;

/// What is spoken with a server: another protocol is another one of these, for the same server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    /// Its name and version.
    pub(super) name: &'static str,
    pub(super) connect: fn(SocketAddr) -> Result<Box<dyn Speaker>>,
}

/// Durus's, which all servers speak.
pub(super) const DURUS: Protocol = Protocol {
    name: "durus 1",
    connect: |address| Ok(Box::new(Client::connect(address)?)),
};

/// A connection, for what is measured.
pub(super) trait Speaker {
    /// Loads an object.
    fn load(&mut self, oid: u64) -> Result<()>;

    /// Loads objects with one request.
    fn load_many(&mut self, oids: &[u64]) -> Result<()>;

    /// Commits objects; false for a conflict.
    fn commit(&mut self, objects: &[Object]) -> Result<bool>;
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

/// An object to be written.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) oid: u64,
    pub(super) data: Vec<u8>,
    pub(super) refs: Vec<u64>,
}

pub(super) fn failed(error: std::io::Error) -> Error {
    Error::io(error, DOING)
}

/// A connection that waits for nothing but answers.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connected = TcpStream::connect(address).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    connected.map_err(failed)
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Result<Client> {
        Ok(Client {
            stream: BufReader::with_capacity(BUFFER_BYTES, connect(address)?),
            request: Vec::new(),
        })
    }

    /// OIDs for new objects.
    pub(super) fn new_oids(&mut self, count: usize) -> Result<Vec<u64>> {
        let mut oids = Vec::with_capacity(count);
        while oids.len() < count {
            let some = (count - oids.len()).min(usize::from(u8::MAX));
            self.request.extend([b'M', some as u8]);
            self.send()?;
            for _ in 0..some {
                oids.push(u64::from_be_bytes(self.array()?));
            }
        }
        Ok(oids)
    }

    fn loaded(&mut self, oid: u64) -> Result<()> {
        let [status] = self.array()?;
        if status != b'O' {
            let status = char::from(status);
            return Err(unexpected(&format!("`{status}` to a load of object {oid}")));
        }
        let length = u32::from_be_bytes(self.array()?) as usize;
        let found = u64::from_be_bytes(self.array()?);
        if found != oid {
            return Err(unexpected(&format!("object {found} for object {oid}")));
        }
        self.skip(length.saturating_sub(8))
    }

    fn send(&mut self) -> Result<()> {
        let sent = self.stream.get_mut().write_all(&self.request);
        self.request.clear();
        sent.map_err(failed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn skip(&mut self, mut length: usize) -> Result<()> {
        while length > 0 {
            let there = self.stream.fill_buf().map_err(failed)?.len();
            if there == 0 {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let taken = there.min(length);
            self.stream.consume(taken);
            length -= taken;
        }
        Ok(())
    }
}

impl Speaker for Client {
    fn load(&mut self, oid: u64) -> Result<()> {
        self.request.push(b'L');
        self.request.extend(oid.to_be_bytes());
        self.send()?;
        self.loaded(oid)
    }

    fn load_many(&mut self, oids: &[u64]) -> Result<()> {
        self.request.push(b'B');
        self.request.extend((oids.len() as u32).to_be_bytes());
        let oids_bytes = oids.iter().flat_map(|oid| oid.to_be_bytes());
        self.request.extend(oids_bytes);
        self.send()?;
        oids.iter().try_for_each(|oid| self.loaded(*oid))
    }

    fn commit(&mut self, objects: &[Object]) -> Result<bool> {
        self.request.push(b'C');
        self.send()?;
        let invalid = u32::from_be_bytes(self.array()?);
        self.skip(invalid as usize * 8)?;
        let record =
            |object: &Object| RECORD_HEAD_BYTES + object.data.len() + object.refs.len() * 8;
        let total: usize = objects.iter().map(|object| 12 + record(object)).sum();
        self.request.extend((total as u32).to_be_bytes());
        for object in objects {
            let oid = object.oid.to_be_bytes();
            self.request
                .extend((8 + record(object) as u32).to_be_bytes());
            self.request.extend([oid, oid].as_flattened());
            self.request
                .extend((object.data.len() as u32).to_be_bytes());
            self.request.extend(&object.data);
            let refs = object.refs.iter().flat_map(|oid| oid.to_be_bytes());
            self.request.extend(refs);
        }
        self.send()?;
        match self.array()? {
            [b'O'] => Ok(true),
            [b'I'] => Ok(false),
            [other] => Err(unexpected(&format!("{other:#04x} to a commit"))),
        }
    }
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Mismatch, DOING).because(format!("a server answers {what}"))
}
