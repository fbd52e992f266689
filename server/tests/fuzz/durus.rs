//! Sessions of Durus's protocol, version 1.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use fastrand::Rng;

use crate::Protocol;
use crate::subject::{REQUEST_BYTES_MAX, REQUEST_OBJECTS_MAX};

/// What a session knows.
#[derive(Debug, Default)]
pub(crate) struct Durus {
    /// OIDs that it may create.
    own: Vec<u64>,
    /// OIDs that there may be.
    others: Vec<u64>,
}

/// OIDs that are remembered.
const OTHERS_MAX: usize = 64;

impl Protocol for Durus {
    fn begin(&mut self, stream: &mut UnixStream, draw: &mut Rng) {
        let count = draw.u8(1..8);
        stream.write_all(&[b'M', count]).unwrap();
        self.others.append(&mut self.own);
        for _ in 0..count {
            let mut oid = [0; 8];
            stream.read_exact(&mut oid).unwrap();
            self.own.push(u64::from_be_bytes(oid));
        }
        while self.others.len() > OTHERS_MAX {
            let place = draw.usize(..self.others.len());
            self.others.swap_remove(place);
        }
    }

    fn sound(&self, draw: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        // What it may create it creates, soon or late, and once.
        let mut new = self.own.clone();
        for _ in 0..draw.usize(1..12) {
            match draw.u8(..10) {
                0 => out.push(b'N'),
                1 => out.extend([b'M', draw.u8(..)]),
                2 => out.extend([&b"L"[..], &self.oid(draw).to_be_bytes()].concat()),
                3 => {
                    let oids: Vec<u64> = (0..draw.usize(..20)).map(|_| self.oid(draw)).collect();
                    out.push(b'B');
                    out.extend((oids.len() as u32).to_be_bytes());
                    out.extend(oids.iter().flat_map(|oid| oid.to_be_bytes()));
                }
                4 => out.push(b'S'),
                5 => out.push(b'P'),
                6 => out.extend(b"V\0\0\0\x01"),
                7 => out.extend(b"C\0\0\0\0"),
                _ => {
                    out.push(b'C');
                    self.transaction(&mut new, &mut out, draw);
                }
            }
        }
        if draw.bool() {
            out.push(*draw.choice(b".Q").unwrap());
        }
        out
    }

    fn soup(&self, draw: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..draw.usize(1..20) {
            out.push(*draw.choice(b"VNMLBSCPQ.\x16 ").unwrap());
            for _ in 0..draw.usize(..4) {
                match draw.u8(..4) {
                    0 => out.extend(self.oid(draw).to_be_bytes()),
                    1 => out.extend(draw.u32(..40).to_be_bytes()),
                    2 => out.extend(draw.choice(self.limits()).unwrap()),
                    _ => out.push(draw.u8(..)),
                }
            }
        }
        out
    }

    fn limits(&self) -> Vec<Vec<u8>> {
        let objects = REQUEST_OBJECTS_MAX;
        let bytes = REQUEST_BYTES_MAX as u32;
        let words = [0, 1, 7, 8, 11, 12, 19, 20, 1 << 31, u32::MAX];
        let words = words
            .into_iter()
            .chain([objects, objects + 1, bytes, bytes + 1]);
        let mut limits: Vec<Vec<u8>> = words.map(|word| word.to_be_bytes().to_vec()).collect();
        for oid in [0, 1, 1 << 63, (1 << 63) - 1, u64::MAX] {
            limits.push(u64::to_be_bytes(oid).to_vec());
        }
        limits
    }
}

impl Durus {
    /// One that there may be.
    fn oid(&self, draw: &mut Rng) -> u64 {
        let known = match draw.u8(..4) {
            0 => None,
            1 => draw.choice(&self.others),
            _ => draw.choice(&self.own),
        };
        known.copied().unwrap_or_else(|| draw.u64(..40))
    }

    /// A transaction in which all lengths are right.
    fn transaction(&self, new: &mut Vec<u64>, out: &mut Vec<u8>, draw: &mut Rng) {
        let mut body = Vec::new();
        let mut written = Vec::new();
        for _ in 0..draw.usize(1..5) {
            let oid = match new.pop() {
                Some(oid) if draw.u8(..4) > 0 => oid,
                _ => self.oid(draw),
            };
            // Twice in one is refused.
            if written.contains(&oid) && draw.u8(..8) > 0 {
                continue;
            }
            let mut refs: Vec<u64> = Vec::new();
            for _ in 0..draw.usize(..4) {
                // To what is there already, mostly.
                refs.push(*draw.choice(&written).unwrap_or(&0));
            }
            if draw.u8(..4) == 0 {
                refs.push(self.oid(draw));
            }
            written.push(oid);
            let data: Vec<u8> = (0..draw.usize(..100)).map(|_| draw.u8(..)).collect();
            let record = 12 + data.len() + refs.len() * 8;
            body.extend((8 + record as u32).to_be_bytes());
            body.extend(oid.to_be_bytes());
            body.extend(oid.to_be_bytes());
            body.extend((data.len() as u32).to_be_bytes());
            body.extend(data);
            body.extend(refs.iter().flat_map(|oid| oid.to_be_bytes()));
        }
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(body);
    }
}
