//! Files built by hand, byte by byte, from the description of the format.

use durum_core::{ErrorKind, Oid, Result};
use serde_json::Value;

use super::{LeftOut, ZodbFile};
use crate::durus::DurusObject;
use crate::scratch::Scratch;

/// A file that is put together, with the offset of each object's last record.
struct Builder {
    bytes: Vec<u8>,
    tid: u64,
    last: std::collections::BTreeMap<u64, u64>,
    /// Where something can be damaged that is not noticed: OIDs and data.
    soft: Vec<std::ops::Range<usize>>,
}

/// What a record holds.
enum Body<'b> {
    Data(&'b [u8]),
    Back(u64),
}

impl Builder {
    fn new() -> Builder {
        Builder {
            bytes: b"FS30".to_vec(),
            tid: 0x0400_0000_0000_0000,
            last: std::collections::BTreeMap::new(),
            soft: Vec::new(),
        }
    }

    /// Adds a transaction; gives the offsets of its records.
    fn transaction(
        &mut self,
        status: u8,
        texts: [&[u8]; 3],
        records: &[(u64, Body<'_>)],
    ) -> Vec<u64> {
        self.tid += 0x1234_5678;
        let start = self.bytes.len();
        self.bytes.extend(self.tid.to_be_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.push(status);
        texts
            .iter()
            .for_each(|text| self.bytes.extend((text.len() as u16).to_be_bytes()));
        texts.iter().for_each(|text| self.bytes.extend(*text));
        let mut offsets = Vec::new();
        for (oid, body) in records {
            let at = self.bytes.len();
            let previous = self.last.insert(*oid, at as u64).unwrap_or(0);
            offsets.push(at as u64);
            self.soft.push(at..at + 8);
            for number in [*oid, self.tid, previous, start as u64] {
                self.bytes.extend(number.to_be_bytes());
            }
            self.bytes.extend([0; 2]);
            match body {
                Body::Data(data) => {
                    self.bytes.extend((data.len() as u64).to_be_bytes());
                    self.soft
                        .push(self.bytes.len()..self.bytes.len() + data.len());
                    self.bytes.extend(*data);
                }
                Body::Back(back) => {
                    self.bytes.extend([0; 8]);
                    self.bytes.extend(back.to_be_bytes());
                }
            }
        }
        let length = ((self.bytes.len() - start) as u64).to_be_bytes();
        self.bytes[start + 8..start + 16].copy_from_slice(&length);
        self.bytes.extend(length);
        if status == b'u' {
            records
                .iter()
                .for_each(|(oid, _)| assert!(self.last.remove(oid).is_some()));
        }
        offsets
    }

    fn plain(&mut self, records: &[(u64, &[u8])]) -> Vec<u64> {
        let records: Vec<_> = records
            .iter()
            .map(|(oid, data)| (*oid, Body::Data(data)))
            .collect();
        self.transaction(b' ', [b"user", b"", b""], &records)
    }
}

/// An object's data: a class, and a state that refers to these.
fn data(refs: &[u64]) -> Vec<u8> {
    let mut data = b"\x80\x03cmodule\nClass\nq\x00.\x80\x03(".to_vec();
    for target in refs {
        data.extend([b"C\x08", &target.to_be_bytes()[..], b"h\x00\x86Q"].concat());
    }
    data.extend(b"t.");
    data
}

fn object(oid: u64, refs: &[u64], data: &[u8]) -> DurusObject {
    DurusObject {
        oid: Oid(oid),
        refs: refs.iter().copied().map(Oid).collect(),
        data: data.to_vec(),
    }
}

impl Scratch {
    fn zodb(&self, bytes: &[u8]) -> Result<ZodbFile> {
        std::fs::write(self.path("Data.fs"), bytes).unwrap();
        ZodbFile::open_with(self.path("Data.fs"), Some(self.directory.path()), 0)
    }

    fn zodb_objects(&self, bytes: &[u8]) -> Result<Vec<DurusObject>> {
        self.zodb(bytes)?.objects().collect()
    }

    fn zodb_fails(&self, bytes: &[u8], kind: ErrorKind, said: &str) {
        let error = self.zodb_objects(bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// All that can be in a file: what was packed, changes, an undo of an undo, an object that ceased to
/// exist and one that came back, a transaction of the status `u`. Also the state after each transaction.
fn sample() -> (Builder, Vec<(usize, Vec<DurusObject>)>) {
    let mut file = Builder::new();
    let mut states = vec![(4, Vec::new())];
    let old = data(&[2, 1, 2, 0]);
    let [one, two, new] = [data(&[]), data(&[0x77]), data(&[1])];
    let first = file.transaction(
        b'p',
        [b"user", b"some description", b"extension"],
        &[
            (0, Body::Data(&old)),
            (1, Body::Data(&one)),
            (2, Body::Data(&one)),
        ],
    );
    let mut now = vec![
        object(0, &[1, 2], &old),
        object(1, &[], &one),
        object(2, &[], &one),
    ];
    states.push((file.bytes.len(), now.clone()));
    let changed = file.plain(&[(0, &new), (5, &two), (2, &two)]);
    now = vec![
        object(0, &[1], &new),
        object(1, &[], &one),
        object(2, &[0x77], &two),
        object(5, &[0x77], &two),
    ];
    states.push((file.bytes.len(), now.clone()));
    file.transaction(b'u', [b""; 3], &[(9, Body::Data(&one))]);
    states.push((file.bytes.len(), now.clone()));
    let undone = file.transaction(
        b' ',
        [b"", b"undo", b""],
        &[
            (0, Body::Back(first[0])),
            (2, Body::Back(first[2])),
            (5, Body::Back(0)),
        ],
    );
    now = vec![
        object(0, &[1, 2], &old),
        object(1, &[], &one),
        object(2, &[], &one),
    ];
    states.push((file.bytes.len(), now.clone()));
    file.transaction(
        b' ',
        [b""; 3],
        &[
            (0, Body::Back(changed[0])),
            (2, Body::Back(undone[1])),
            (1, Body::Back(0)),
        ],
    );
    now = vec![object(0, &[1], &new), object(2, &[], &one)];
    states.push((file.bytes.len(), now.clone()));
    file.plain(&[(1, &two)]);
    now.insert(1, object(1, &[0x77], &two));
    states.push((file.bytes.len(), now));
    (file, states)
}

#[test]
fn the_current_revisions_are_read_in_order() {
    let scratch = Scratch::new();
    let (mut sample, states) = sample();
    let expected = &states.last().unwrap().1;
    for magic in [b"FS30", b"FS21"] {
        sample.bytes[..4].copy_from_slice(magic);
        let file = scratch.zodb(&sample.bytes).unwrap();
        assert_eq!((file.object_count(), file.torn_bytes()), (3, 0));
        assert_eq!(file.file_bytes(), sample.bytes.len() as u64);
        let read: Vec<_> = file.objects().map(Result::unwrap).collect();
        assert_eq!(&read, expected);
        let later = file.objects_from(Oid(1)).unwrap().map(Result::unwrap);
        assert_eq!(later.collect::<Vec<_>>(), expected[1..]);
        assert_eq!(file.load(Oid(2)).unwrap().as_ref(), expected.last());
        assert_eq!(file.load(Oid(5)).unwrap(), None);
    }
    assert_eq!(scratch.zodb_objects(b"FS30").unwrap(), []);
}

#[test]
fn a_file_cut_anywhere_is_torn() {
    let scratch = Scratch::new();
    let (sample, states) = sample();
    for end in 4..=sample.bytes.len() {
        let (whole_end, expected) = states.iter().rfind(|(at, _)| *at <= end).unwrap();
        let file = scratch.zodb(&sample.bytes[..end]).unwrap();
        assert_eq!(file.torn_bytes(), (end - whole_end) as u64, "{end}");
        let read: Vec<_> = file.objects().map(Result::unwrap).collect();
        assert_eq!(&read, expected, "{end}");
    }
    for end in 0..4 {
        scratch.zodb_fails(&sample.bytes[..end], ErrorKind::Unreadable, "");
    }
}

/// A changed byte is noticed, unless it is in data or in an OID, or makes no difference; a transaction
/// is left out only where it is the last.
#[test]
fn every_damaged_byte_is_noticed_or_makes_no_difference() {
    let scratch = Scratch::new();
    let (sample, states) = sample();
    let [.., (late_at, _), (last_at, before), (_, expected)] = &states[..] else {
        panic!()
    };
    let mut noticed = 0;
    for at in 0..sample.bytes.len() {
        for change in [0xff, 1, b' ' ^ b'c'] {
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= change;
            let soft = sample.soft.iter().any(|range| range.contains(&at));
            match scratch.zodb(&bytes).and_then(|file| {
                let objects: Vec<_> = file.objects().collect::<Result<_>>()?;
                Ok((objects, file.torn_bytes()))
            }) {
                Ok((objects, 0)) => assert!(soft || &objects == expected, "{at} {change:#x}"),
                Ok((objects, _)) => {
                    assert!(at >= *last_at && &objects == before, "{at} {change:#x}");
                }
                Err(error) => {
                    noticed += 1;
                    let kind = error.kind();
                    let beyond = soft && kind == ErrorKind::Unreadable;
                    let magic = at < 4 && kind == ErrorKind::Unreadable;
                    assert!(
                        beyond || magic || kind == ErrorKind::Damaged,
                        "{at}: {error}"
                    );
                    // The same with a torn end, which leaves nothing whole behind the damage where
                    // that is late.
                    if !soft && at >= 4 && change != 1 {
                        let torn = scratch.zodb_objects(&bytes[..bytes.len() - 3]);
                        assert!(torn.is_err() || at >= *late_at, "{at} {change:#x}");
                    }
                }
            }
        }
    }
    assert!(noticed > sample.bytes.len(), "{noticed}");
}

#[test]
fn what_is_wrong_is_named() {
    let scratch = Scratch::new();
    for (bytes, said) in [
        (&b""[..], "empty"),
        (b"FS", "begins with \"FS\""),
        (b"FS20 and so on", "FS20"),
        (b"SHELF-1\n", "SHEL"),
    ] {
        scratch.zodb_fails(bytes, ErrorKind::Unreadable, said);
    }
    let fails = |records: &[(u64, &[u8])], kind, said: &str| {
        let mut file = Builder::new();
        file.plain(records);
        scratch.zodb_fails(&file.bytes, kind, said);
    };
    let good = data(&[]);
    fails(&[(1 << 63, &good)], ErrorKind::Unreadable, "2^63");
    let beyond = data(&[u64::MAX]);
    fails(&[(3, &beyond)], ErrorKind::Unreadable, "object 3");
    fails(&[(0, &good), (3, b"N.")], ErrorKind::Damaged, "(object 3)");
    fails(&[(3, b"N.C\x03abcQ.")], ErrorKind::Damaged, "eight bytes");
    fails(&[(3, b"N.]NaQ.")], ErrorKind::Damaged, "unknown kind");
    fails(&[(3, b"N.\xff.")], ErrorKind::Damaged, "unknown opcode");

    let mut file = Builder::new();
    file.plain(&[(1, &good)]);
    let other = file.plain(&[(2, &good)]);
    file.transaction(b' ', [b""; 3], &[(1, Body::Back(other[0]))]);
    scratch.zodb_fails(&file.bytes, ErrorKind::Damaged, "no record of object 1");
}

#[test]
fn other_references_are_counted() {
    let scratch = Scratch::new();
    let oid = b"C\x08\0\0\0\0\0\0\0\x07";
    let state = [
        b"(]q\x01(U\x01w",
        &oid[..],
        b"\x85eQ]",
        oid,
        b"aQ]q\x02(U\x01mU\x02db",
        oid,
        b"N\x87eQ(U\x01nU\x02db",
        oid,
        b"\x86lQ",
        oid,
        b"Qt.",
    ];
    let mut file = Builder::new();
    file.plain(&[
        (0, &[b"cmodule\nClass\n.".to_vec(), state.concat()].concat()),
        (1, b"\x80\x03cZODB.blob\nBlob\nq\x00.N."),
    ]);
    let file = scratch.zodb(&file.bytes).unwrap();
    let mut objects = file.objects();
    assert_eq!(objects.next().unwrap().unwrap().refs, [Oid(7)]);
    objects.by_ref().for_each(|object| drop(object.unwrap()));
    let left_out = LeftOut {
        weak: 2,
        cross_database: 2,
        blobs: 1,
    };
    assert_eq!(objects.left_out(), left_out);
}

#[test]
fn a_storage_in_use_is_left_alone() {
    let scratch = Scratch::new();
    let (sample, _) = sample();
    let lock_path = scratch.path("Data.fs.lock");
    let lock = std::fs::File::create(&lock_path).unwrap();
    lock.lock().unwrap();
    scratch.zodb_fails(&sample.bytes, ErrorKind::InUse, "open with ZODB");
    lock.unlock().unwrap();
    let open = scratch.zodb(&sample.bytes).unwrap();
    assert!(lock.try_lock().is_err());
    drop(open);
    lock.try_lock().unwrap();
    assert_eq!(std::fs::read(lock_path).unwrap(), b"");
}

/// What Python's picklers write is read as they wrote it. `DURUM_TEST_PICKLED` sets the number.
#[test]
fn references_are_those_that_were_pickled() {
    let Some(python) = durum_testkit::zodb_python() else {
        return;
    };
    let count = std::env::var("DURUM_TEST_PICKLED").unwrap_or_else(|_| "2000".into());
    let seed = durum_testkit::seed().to_string();
    let printed = durum_testkit::run_python(&python, "zodb_pickles.py", &[seed, count]);
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut file = Builder::new();
    for (oid, line) in lines.iter().enumerate() {
        let bytes = durum_testkit::unhex(line[0].as_str().unwrap());
        file.plain(&[(oid as u64, &bytes)]);
    }
    let scratch = Scratch::new();
    let file = scratch.zodb(&file.bytes).unwrap();
    let (mut objects, mut before) = (file.objects(), LeftOut::default());
    for (oid, line) in lines.iter().enumerate() {
        let object = objects.next().unwrap().unwrap();
        let refs = line[1].as_array().unwrap().iter();
        let refs: Vec<Oid> = refs
            .map(|target| Oid(target.as_u64().unwrap()))
            .filter(|target| target.0 != oid as u64)
            .collect();
        assert_eq!(object.refs, refs, "{}", line[0]);
        let now = objects.left_out();
        let others = [
            now.weak - before.weak,
            now.cross_database - before.cross_database,
        ];
        assert_eq!(others.map(Value::from), [line[2].clone(), line[3].clone()]);
        before = now;
    }
    assert!(objects.next().is_none());
    assert!(before.weak > 0 && before.cross_database > 0);
}
