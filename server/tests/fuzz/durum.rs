//! Sessions of Durum's own protocol, version 2.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use fastrand::Rng;

use crate::Protocol;
use crate::subject::{REQUEST_BYTES_MAX, REQUEST_OBJECTS_MAX};

/// Requests by the bytes that they begin with.
const HELLO: u8 = 1;
const SNAPSHOT: u8 = 3;
const RELEASE: u8 = 4;
const LOAD: u8 = 5;
const SCAN: u8 = 6;
const CHANGES: u8 = 7;
const COMMIT: u8 = 8;
const NEW_OIDS: u8 = 9;
const BEGIN: u8 = 10;
const END: u8 = 11;
const OUTCOME: u8 = 12;
const KINDS: u8 = 25;
/// OIDs that are remembered.
const OTHERS_MAX: usize = 64;

/// What a session knows.
#[derive(Debug, Default)]
pub(crate) struct Durum {
    /// OIDs that it may create.
    own: Vec<u64>,
    /// OIDs that there may be.
    others: Vec<u64>,
}

impl Protocol for Durum {
    fn begin(&mut self, stream: &mut UnixStream, draw: &mut Rng) {
        let count = draw.u32(1..8);
        let mut request = b"V\0\0\0\x02".to_vec();
        frame(
            &mut request,
            7,
            NEW_OIDS,
            &[&[0; 8], &count.to_be_bytes()[..]],
        );
        stream.write_all(&request).unwrap();
        let mut answer = vec![0; 4 + 9 + 4 + 8 * count as usize];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[8..13], [0, 0, 0, 7, 0], "{}", answer.escape_ascii());
        self.others.append(&mut self.own);
        let oids = answer[17..]
            .chunks(8)
            .map(|oid| u64::from_be_bytes(oid.try_into().unwrap()));
        self.own.extend(oids);
        while self.others.len() > OTHERS_MAX {
            let place = draw.usize(..self.others.len());
            self.others.swap_remove(place);
        }
    }

    fn sound(&self, draw: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        let mut new = self.own.clone();
        for number in 0..draw.u32(1..12) {
            let snapshot = draw.u32(..3).to_be_bytes();
            let oid = self.oid(draw).to_be_bytes();
            match draw.u8(..14) {
                0 => frame(&mut out, number, HELLO + draw.u8(..2), &[]),
                1 => frame(&mut out, number, SNAPSHOT, &[&draw.u32(1..4).to_be_bytes()]),
                2 => frame(&mut out, number, RELEASE, &[&draw.u32(1..4).to_be_bytes()]),
                3 => {
                    let oids: Vec<u8> = (0..draw.usize(..20))
                        .flat_map(|_| self.oid(draw).to_be_bytes())
                        .collect();
                    frame(&mut out, number, LOAD, &[&snapshot, &oids]);
                }
                4 => frame(
                    &mut out,
                    number,
                    SCAN,
                    &[&snapshot, &oid, &draw.u32(..9000).to_be_bytes()],
                ),
                5 => {
                    let since = draw.u64(..40).to_be_bytes();
                    let (wait, count) = (draw.u32(..3).to_be_bytes(), draw.u32(..50).to_be_bytes());
                    frame(&mut out, number, CHANGES, &[&since, &wait, &count]);
                }
                6 => frame(&mut out, number, BEGIN, &[]),
                7 => frame(&mut out, number, END, &[&draw.u64(..20).to_be_bytes()]),
                8 => frame(&mut out, number, OUTCOME, &[&[draw.u8(..); 16]]),
                // Sync, collect, give back, digest, check, dictionary.
                9 => frame(&mut out, number, 13 + draw.u8(..2), &[]),
                10 => match draw.u8(..3) {
                    0 => frame(&mut out, number, 16, &[&snapshot]),
                    1 => frame(&mut out, number, 17, &[]),
                    _ => frame(&mut out, number, 18, &[&[0; 8]]),
                },
                _ => {
                    let body = self.commit(&mut new, draw);
                    frame(&mut out, number, COMMIT, &[&body]);
                }
            }
        }
        out
    }

    fn soup(&self, draw: &mut Rng) -> Vec<u8> {
        let mut out = b"V\0\0\0\x02".to_vec();
        for number in 0..draw.u32(1..20) {
            let mut body = Vec::new();
            for _ in 0..draw.usize(..6) {
                match draw.u8(..4) {
                    0 => body.extend(self.oid(draw).to_be_bytes()),
                    1 => body.extend(draw.u32(..40).to_be_bytes()),
                    2 => body.extend(draw.choice(self.limits()).unwrap()),
                    _ => body.push(draw.u8(..)),
                }
            }
            frame(&mut out, number, draw.u8(..=KINDS), &[&body]);
        }
        out
    }

    fn limits(&self) -> Vec<Vec<u8>> {
        let objects = REQUEST_OBJECTS_MAX;
        let bytes = REQUEST_BYTES_MAX as u32;
        let words = [
            0,
            1,
            4,
            5,
            9,
            1 << 31,
            u32::MAX,
            objects,
            objects + 1,
            bytes,
            bytes + 1,
        ];
        let mut limits: Vec<Vec<u8>> = words.map(|word| word.to_be_bytes().to_vec()).into();
        for oid in [0, 1, 1 << 63, (1 << 63) - 1, u64::MAX] {
            limits.push(u64::to_be_bytes(oid).to_vec());
        }
        limits
    }
}

impl Durum {
    /// One that there may be.
    fn oid(&self, draw: &mut Rng) -> u64 {
        let known = match draw.u8(..4) {
            0 => None,
            1 => draw.choice(&self.others),
            _ => draw.choice(&self.own),
        };
        known.copied().unwrap_or_else(|| draw.u64(..40))
    }

    /// A commit in which all lengths are right.
    fn commit(&self, new: &mut Vec<u64>, draw: &mut Rng) -> Vec<u8> {
        let mut out = vec![u8::from(draw.u8(..4) == 0)];
        out.extend(draw.u64(..9).to_be_bytes());
        out.extend([0; 8]);
        // As durable as memory is, mostly.
        out.push(draw.u8(..12).saturating_sub(8));
        out.extend((0..16).map(|_| draw.u8(..3)));
        out.push(draw.choice([0, 1, 2, 3, 255]).unwrap());
        let expects = u32::from(draw.u8(..8) == 0);
        out.extend(expects.to_be_bytes());
        for _ in 0..expects {
            out.extend(self.oid(draw).to_be_bytes());
            out.extend(draw.u64(..9).to_be_bytes());
        }
        let count = draw.u32(1..5);
        out.extend(count.to_be_bytes());
        let mut written = vec![0];
        for _ in 0..count {
            let (oid, mark) = match new.pop() {
                Some(oid) if draw.u8(..4) > 0 => (oid, 1 << 63),
                // The root, which may have to be created; or any.
                _ if draw.u8(..4) > 0 => (0, draw.choice([0, 1 << 63]).unwrap()),
                _ => (self.oid(draw), 0),
            };
            out.extend((oid | mark).to_be_bytes());
            let refs: Vec<u64> = (0..draw.usize(..4))
                .map(|_| *draw.choice(&written).unwrap())
                .collect();
            out.extend((refs.len() as u32).to_be_bytes());
            out.extend(refs.iter().flat_map(|oid| oid.to_be_bytes()));
            let data: Vec<u8> = (0..draw.usize(..100)).map(|_| draw.u8(..)).collect();
            out.extend((data.len() as u32).to_be_bytes());
            out.extend(data);
            written.push(oid);
        }
        out
    }
}

fn frame(out: &mut Vec<u8>, number: u32, kind: u8, body: &[&[u8]]) {
    let length: usize = body.iter().map(|part| part.len()).sum();
    out.extend((length as u32 + 5).to_be_bytes());
    out.extend(number.to_be_bytes());
    out.push(kind);
    body.iter().for_each(|part| out.extend(*part));
}
