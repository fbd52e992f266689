//! A client that does everything right, beside all those that do not.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::subject::Subject;

/// Others may commit in between only so often that it comes through in the end.
const TRIES_MAX: u32 = 100;

#[derive(Debug)]
pub(crate) struct Good {
    stream: UnixStream,
    count: u64,
}

impl Good {
    pub(crate) fn new(subject: &Subject) -> Good {
        let mut good = Good {
            stream: subject.connect(),
            count: 0,
        };
        // The root is its own to create.
        assert_eq!(good.new_oid(), 0);
        assert!(good.commit(0, b"", None));
        good.count += 1;
        good
    }

    /// Commits that it has made.
    pub(crate) fn commits(&self) -> u64 {
        self.count
    }

    /// Creates an object, links it from the root, and loads it, after `what` was sent by somebody else. Every
    /// now and then that is another connection.
    pub(crate) fn go_on(&mut self, subject: &Subject, what: &[u8]) {
        if self.count.is_multiple_of(64) {
            self.stream = subject.connect();
        }
        let data = self.count.to_be_bytes();
        let oid = self.new_oid();
        let tries = (0..TRIES_MAX).find(|_| self.commit(oid, &data, Some(0)));
        assert!(tries.is_some(), "no commit after {}", what.escape_ascii());
        self.count += 1;
        // Others can have unlinked it by now, or changed it.
        self.send(&[&b"SL"[..], &oid.to_be_bytes()].concat());
        let invalid = u32::from_be_bytes(self.receive());
        for _ in 0..invalid {
            self.receive::<8>();
        }
        match self.receive() {
            [b'K' | b'I'] => {}
            [status] => {
                assert_eq!(status, b'O', "after {}", what.escape_ascii());
                let mut record = vec![0; u32::from_be_bytes(self.receive()) as usize];
                self.stream.read_exact(&mut record).unwrap();
                assert_eq!(record[..8], oid.to_be_bytes());
            }
        }
    }

    fn new_oid(&mut self) -> u64 {
        self.send(b"N");
        u64::from_be_bytes(self.receive())
    }

    /// Writes an object, and one that refers to it; whether that was committed.
    fn commit(&mut self, oid: u64, data: &[u8], from: Option<u64>) -> bool {
        self.send(b"C");
        let invalid = u32::from_be_bytes(self.receive());
        for _ in 0..invalid {
            self.receive::<8>();
        }
        let mut body = Vec::new();
        let mut object = |oid: u64, data: &[u8], refs: &[u64]| {
            let record = 12 + data.len() + refs.len() * 8;
            body.extend((8 + record as u32).to_be_bytes());
            body.extend(oid.to_be_bytes());
            body.extend(oid.to_be_bytes());
            body.extend((data.len() as u32).to_be_bytes());
            body.extend(data);
            body.extend(refs.iter().flat_map(|oid| oid.to_be_bytes()));
        };
        object(oid, data, &[]);
        if let Some(from) = from {
            object(from, b"good", &[oid]);
        }
        self.send(&[&(body.len() as u32).to_be_bytes()[..], &body].concat());
        self.receive() == *b"O"
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn receive<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}
