//! A client of Durus's protocol of a few lines, which can also do what no real one does.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::kit::LONG;

/// A connection, encrypted or not.
#[derive(Debug)]
pub(crate) struct Client(Box<dyn Connection>, Option<SocketAddr>);

/// Where bytes come from and go to.
pub(crate) trait Connection: Read + Write + Debug + Send {}

impl<C: Read + Write + Debug + Send> Connection for C {}

/// What a load answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    Object { data: Vec<u8>, refs: Vec<u64> },
    Missing,
    Invalid,
}

/// An object to be written: its OID, data and references.
pub(crate) type Written<'a> = (u64, &'a [u8], &'a [u64]);

pub(crate) fn object(data: &[u8], refs: &[u64]) -> Loaded {
    let (data, refs) = (data.to_vec(), refs.to_vec());
    Loaded::Object { data, refs }
}

impl Client {
    pub(crate) fn connect(address: &str) -> Client {
        let socket = socket(address);
        let own = socket.local_addr().ok();
        Client(Box::new(socket), own)
    }

    pub(crate) fn over(connection: impl Connection + 'static) -> Client {
        Client(Box::new(connection), None)
    }

    /// Its own, as the server sees it.
    pub(crate) fn address(&self) -> String {
        self.1.unwrap().to_string()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn receive<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.receive())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.receive())
    }

    /// Whether the server has closed the connection; waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        // Where there was something left to be read the kernel resets the connection.
        self.0
            .read(&mut [0])
            .map_or_else(|error| error.raw_os_error() == Some(104), |n| n == 0)
    }

    pub(crate) fn new_oid(&mut self) -> u64 {
        self.send(b"N");
        self.u64()
    }

    pub(crate) fn new_oids(&mut self, count: u8) -> Vec<u64> {
        self.send(&[b'M', count]);
        (0..count).map(|_| self.u64()).collect()
    }

    pub(crate) fn load(&mut self, oid: u64) -> Loaded {
        self.send(&[&b"L"[..], &oid.to_be_bytes()].concat());
        self.loaded(oid)
    }

    pub(crate) fn load_many(&mut self, oids: &[u64]) -> Vec<Loaded> {
        let mut request = vec![b'B'];
        request.extend((oids.len() as u32).to_be_bytes());
        request.extend(oids.iter().flat_map(|oid| oid.to_be_bytes()));
        self.send(&request);
        oids.iter().map(|oid| self.loaded(*oid)).collect()
    }

    fn loaded(&mut self, oid: u64) -> Loaded {
        match self.receive() {
            [b'K'] => return Loaded::Missing,
            [b'I'] => return Loaded::Invalid,
            [status] => assert_eq!(status, b'O'),
        }
        let length = self.u32() as usize;
        assert_eq!(self.u64(), oid);
        let mut data = vec![0; self.u32() as usize];
        self.0.read_exact(&mut data).unwrap();
        let refs = (length - 12 - data.len()) / 8;
        let refs = (0..refs).map(|_| self.u64()).collect();
        Loaded::Object { data, refs }
    }

    fn oids(&mut self) -> Vec<u64> {
        let count = self.u32();
        (0..count).map(|_| self.u64()).collect()
    }

    pub(crate) fn sync(&mut self) -> Vec<u64> {
        self.send(b"S");
        self.oids()
    }

    /// Begins to commit; what has become invalid.
    pub(crate) fn begin(&mut self) -> Vec<u64> {
        self.send(b"C");
        self.oids()
    }

    /// Sends the transaction that was begun; whether it was committed.
    pub(crate) fn end(&mut self, objects: &[Written<'_>]) -> bool {
        self.send(&transaction(objects));
        match self.receive() {
            [b'O'] => true,
            [status] => {
                assert_eq!(status, b'I');
                false
            }
        }
    }

    /// Commits, whatever has become invalid; whether it was committed.
    pub(crate) fn commit(&mut self, objects: &[Written<'_>]) -> bool {
        self.begin();
        self.end(objects)
    }

    /// Commits, if the server does not end the connection; whether it was committed.
    pub(crate) fn try_commit(&mut self, objects: &[Written<'_>]) -> bool {
        self.begin();
        self.send(&transaction(objects));
        let mut answer = [0];
        self.0
            .read_exact(&mut answer)
            .is_ok_and(|()| answer == *b"O")
    }

    pub(crate) fn pack(&mut self) {
        self.send(b"P");
        assert_eq!(self.receive(), [b'O']);
    }
}

pub(crate) fn socket(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    // Nothing here takes so long, unless it has failed.
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// The bytes of a transaction.
pub(crate) fn transaction(objects: &[Written<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (oid, data, refs) in objects {
        let record = 12 + data.len() + refs.len() * 8;
        body.extend((8 + record as u32).to_be_bytes());
        body.extend(oid.to_be_bytes());
        body.extend(oid.to_be_bytes());
        body.extend((data.len() as u32).to_be_bytes());
        body.extend(*data);
        body.extend(refs.iter().flat_map(|target| target.to_be_bytes()));
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}
