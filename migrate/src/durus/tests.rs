//! Files built by hand, byte by byte, from the description of the formats.

use std::path::Path;

use durum_core::{ErrorKind, Oid, Result};

use super::{DurusFile, DurusObject, DurusWriter, Format};
use crate::scratch::Scratch;

fn object(oid: u64, refs: &[u64], data: &[u8]) -> DurusObject {
    DurusObject {
        oid: Oid(oid),
        refs: refs.iter().copied().map(Oid).collect(),
        data: data.to_vec(),
    }
}

fn record(oid: u64, refs: &[u64], data: &[u8]) -> Vec<u8> {
    let mut bytes = oid.to_be_bytes().to_vec();
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    refs.iter().for_each(|oid| bytes.extend(oid.to_be_bytes()));
    bytes
}

fn sized8(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

fn sized4(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn shelf_entry(oid: u64, refs: &[u64], data: &[u8]) -> Vec<u8> {
    sized8(&[oid.to_be_bytes().to_vec(), record(oid, refs, data)].concat())
}

/// A Shelf with objects 0 and 2 in the first transaction (so that 1 and 3 are holes), then 2 again
/// and 5, then 5 again.
fn shelf() -> Vec<u8> {
    let entries = [
        shelf_entry(0, &[5, 2, 2, 0], b"root"),
        shelf_entry(2, &[], b"old"),
    ];
    let mut bytes = b"SHELF-1\n".to_vec();
    bytes.extend(sized8(&entries.concat()));
    let map = bytes.len() as u64;
    let words = [16, map + 3, 16 + entries[0].len() as u64, map + 1];
    let words: Vec<u8> = words
        .iter()
        .flat_map(|word| (*word as u16).to_be_bytes())
        .collect();
    let dimensions = [2_u64.to_be_bytes(), 4_u64.to_be_bytes()].concat();
    bytes.extend(sized8(&[dimensions, words].concat()));
    bytes.extend(sized8(
        &[shelf_entry(2, &[0], b"new"), shelf_entry(5, &[], b"a")].concat(),
    ));
    bytes.extend(sized8(&shelf_entry(5, &[2], b"five")));
    bytes
}

/// The same objects in the other format; the index is left out, as a reader does not need it.
fn dfs20() -> Vec<u8> {
    let mut bytes = b"DFS20\0".to_vec();
    bytes.extend([0; 8]);
    bytes.extend(sized4(&record(0, &[5, 2, 2, 0], b"root")));
    bytes.extend(sized4(&record(2, &[], b"old")));
    bytes.extend([0; 4]);
    let index = bytes.len() as u64;
    bytes[6..14].copy_from_slice(&index.to_be_bytes());
    bytes.extend(sized8(b"index"));
    bytes.extend(sized4(&record(2, &[0], b"new")));
    bytes.extend(sized4(&record(5, &[], b"a")));
    bytes.extend([0; 4]);
    bytes.extend(sized4(&record(5, &[2], b"five")));
    bytes.extend([0; 4]);
    bytes
}

fn expected() -> Vec<DurusObject> {
    vec![
        object(0, &[2, 5], b"root"),
        object(2, &[0], b"new"),
        object(5, &[2], b"five"),
    ]
}

impl Scratch {
    fn open(&self, bytes: &[u8]) -> Result<DurusFile> {
        let path = self.path("bytes");
        std::fs::write(&path, bytes).unwrap();
        DurusFile::open(path)
    }

    fn read(&self, bytes: &[u8]) -> Result<Vec<DurusObject>> {
        self.open(bytes)?.objects().collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[test]
fn the_latest_versions_are_read_in_order() {
    let scratch = Scratch::new();
    for (format, bytes) in [(Format::Shelf, shelf()), (Format::Dfs20, dfs20())] {
        let file = scratch.open(&bytes).unwrap();
        assert_eq!(file.format(), format);
        assert_eq!((file.object_count(), file.data_bytes()), (3, 11));
        assert_eq!(
            (file.file_bytes(), file.torn_bytes()),
            (bytes.len() as u64, 0)
        );
        let objects: Vec<_> = file.objects().map(Result::unwrap).collect();
        assert_eq!(objects, expected());
        let later: Vec<_> = file
            .objects_from(Oid(1))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(later, expected()[1..]);
        assert_eq!(file.load(Oid(2)).unwrap(), Some(expected()[1].clone()));
        assert_eq!(file.load(Oid(3)).unwrap(), None);
        assert_eq!(file.load(Oid(6)).unwrap(), None);
    }
}

#[test]
fn what_is_no_durus_file_is_unreadable() {
    let scratch = Scratch::new();
    let kind = |path: &Path| DurusFile::open(path).unwrap_err().kind();
    assert_eq!(kind(&scratch.path("missing")), ErrorKind::NotFound);
    assert_eq!(kind(scratch.directory.path()), ErrorKind::Unreadable);
    for (bytes, said) in [
        (&b""[..], "empty"),
        (b"PK\x03\x04 and so on and on", "PK\\x03\\x04"),
        (b"SHELF-2\n", "SHELF-2"),
    ] {
        let error = scratch.open(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable);
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// A file cut anywhere is damaged before its fixed part ends, and otherwise torn: what is read is the
/// state after some number of its transactions.
#[test]
fn a_file_cut_anywhere_is_damaged_or_torn() {
    let scratch = Scratch::new();
    let first = vec![object(0, &[2, 5], b"root"), object(2, &[], b"old")];
    let mut second = expected();
    second[2] = object(5, &[], b"a");
    for bytes in [shelf(), dfs20()] {
        let mut seen = [0; 3];
        for end in 0..bytes.len() {
            match scratch.open(&bytes[..end]) {
                Err(error) => {
                    let kind = if end < 8 {
                        ErrorKind::Unreadable
                    } else {
                        ErrorKind::Damaged
                    };
                    assert!(seen == [0; 3], "{end}: {error}");
                    assert!(error.kind() == kind || end < 14, "{end}: {error}");
                }
                Ok(file) => {
                    let objects: Vec<_> = file.objects().map(Result::unwrap).collect();
                    let states = [&first, &second, &expected()];
                    let state = states.iter().position(|state| **state == objects).unwrap();
                    assert!(seen[state] > 0 || file.torn_bytes() < 4, "{end}");
                    seen[state] += 1;
                }
            }
        }
        assert!(seen[0] > 1 && seen[1] > 1 && seen[2] == 0, "{seen:?}");
    }
}

#[test]
fn torn_bytes_are_those_after_the_last_whole_transaction() {
    let scratch = Scratch::new();
    for bytes in [shelf(), dfs20()] {
        for junk in [&b"?"[..], b"junk of more than eight bytes", &[0xff; 40]] {
            let file = scratch.open(&[&bytes[..], junk].concat()).unwrap();
            assert_eq!(file.torn_bytes(), junk.len() as u64);
            assert_eq!(file.object_count(), 3);
        }
    }
}

/// Durus writes a Shelf's transactions behind a length of zero, which it replaces at the end.
#[test]
fn a_shelf_writer_that_was_killed_leaves_a_torn_end() {
    let scratch = Scratch::new();
    let mut bytes = shelf();
    bytes.extend([0; 8]);
    let whole = bytes.len();
    bytes.extend(shelf_entry(0, &[2], b"unfinished"));
    bytes.extend(shelf_entry(7, &[5, 2], b"unfinished too"));
    for end in whole..=bytes.len() {
        let file = scratch.open(&bytes[..end]).unwrap();
        assert_eq!(file.torn_bytes(), (end - whole) as u64);
        assert_eq!(
            file.objects().map(Result::unwrap).collect::<Vec<_>>(),
            expected()
        );
    }
}

#[test]
fn damage_before_whole_transactions_is_no_torn_end() {
    let scratch = Scratch::new();
    let bytes = shelf();
    let transaction = bytes.len() - (8 + 40) - (8 + 39 + 29);
    // Of the transaction before the last: its length made larger and smaller; of its first entry,
    // the length and the OID.
    for at in [6, 7, 15, 23].map(|byte| transaction + byte) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let kind = scratch.read(&damaged).map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::Damaged), "byte {at}");
    }
}

/// Every bit of every byte: whatever comes of it, it is an answer.
#[test]
fn flipped_bits_never_panic_and_what_is_read_is_plausible() {
    let scratch = Scratch::new();
    for bytes in [shelf(), dfs20()] {
        let mut refused = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                match scratch.read(&flipped) {
                    Ok(objects) => assert!(objects.is_sorted_by_key(|object| object.oid)),
                    Err(error) => {
                        let kind = error.kind();
                        assert!(matches!(kind, ErrorKind::Damaged | ErrorKind::Unreadable));
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > bytes.len(), "{refused}");
    }
}

#[test]
fn random_bytes_in_a_file_never_panic() {
    let scratch = Scratch::new();
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    let mut read = 0;
    for round in 0..2000 {
        let mut bytes = if round % 2 == 0 { shelf() } else { dfs20() };
        for _ in 0..random.usize(1..4) {
            let at = random.usize(8..bytes.len() - 8);
            let numbers = [0, u64::MAX, random.u64(..), random.u64(..300)];
            let number = random.choice(numbers).unwrap();
            let width = random.usize(1..9);
            bytes[at..at + width].copy_from_slice(&number.to_be_bytes()[8 - width..]);
        }
        match scratch.read(&bytes) {
            Ok(_) => read += 1,
            Err(error) => assert!(matches!(
                error.kind(),
                ErrorKind::Damaged | ErrorKind::Unreadable
            )),
        }
    }
    assert!((1..2000).contains(&read), "{read}");
}

#[test]
fn two_oids_of_one_entry_that_differ_are_damage() {
    let scratch = Scratch::new();
    let mut bytes = shelf();
    // The last byte of the OID in the record of the first entry.
    bytes[16 + 8 + 8 + 7] = 9;
    let error = scratch.open(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error
            .to_string()
            .contains("of object 0, its record of object 9"),
        "{error}"
    );
}

#[test]
fn an_offset_map_that_contradicts_the_entries_is_damage() {
    let scratch = Scratch::new();
    let bytes = shelf();
    let first_length = u64::from_be_bytes(*bytes[8..].first_chunk().unwrap());
    let words = 16 + first_length as usize + 24;
    // A wrong offset, a hole in place of an offset, an offset in place of a hole.
    for (slot, word) in [(0_usize, 17_u16), (2, 0xffff), (1, 16), (3, 16)] {
        let mut wrong = bytes.clone();
        wrong[words + 2 * slot..][..2].copy_from_slice(&word.to_be_bytes());
        let error = scratch.open(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(
            error.to_string().contains(&format!("object {slot}")),
            "{error}"
        );
    }
    // All bits set is an unused slot, too.
    let mut blank = bytes;
    blank[words + 2..words + 4].fill(0xff);
    assert_eq!(scratch.read(&blank).unwrap(), expected());
}

#[test]
fn oids_from_two_to_the_63_are_refused_by_name() {
    let scratch = Scratch::new();
    let huge = 1 << 63;
    for entry in [shelf_entry(huge, &[], b""), shelf_entry(0, &[huge], b"")] {
        let bytes = [shelf(), sized8(&entry)].concat();
        let error = scratch.read(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable);
        assert!(error.to_string().contains("9223372036854775808"), "{error}");
    }
}

#[test]
fn a_file_that_durus_has_open_is_in_use() {
    let scratch = Scratch::new();
    let file = scratch.open(&shelf()).unwrap();
    assert_eq!(
        DurusFile::open(scratch.path("bytes"))
            .unwrap()
            .object_count(),
        3
    );
    drop(file);
    let writer = std::fs::File::open(scratch.path("bytes")).unwrap();
    writer.lock().unwrap();
    let error = DurusFile::open(scratch.path("bytes")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
}

fn write(format: Format, path: &Path, objects: &[DurusObject]) -> Result<u64> {
    let mut writer = DurusWriter::create(path, format)?;
    objects.iter().try_for_each(|object| writer.push(object))?;
    let written = writer.finish()?;
    assert_eq!(written.objects, objects.len() as u64);
    assert_eq!(written.file_bytes, path.metadata().unwrap().len());
    Ok(written.file_bytes)
}

const FORMATS: [Format; 3] = Format::ALL;

#[test]
fn what_is_written_is_read_again() {
    let scratch = Scratch::new();
    let mut random = fastrand::Rng::with_seed(durum_testkit::seed());
    for count in [0, 1, 2, 1000, 6000] {
        let mut oid = random.u64(..2);
        let mut objects = Vec::new();
        for _ in 0..count {
            let refs: Vec<_> = (0..random.u64(..4))
                .map(|n| 3 * n + random.u64(..3))
                .collect();
            let refs: Vec<_> = refs.into_iter().filter(|target| *target != oid).collect();
            let data: Vec<_> = (0..random.usize(..99)).map(|_| random.u8(..)).collect();
            objects.push(object(oid, &refs, &data));
            oid += random.u64(1..5);
        }
        for format in FORMATS {
            let path = scratch.path(&format!("{}-{count}", format.name()));
            write(format, &path, &objects).unwrap();
            let file = DurusFile::open(&path).unwrap();
            assert_eq!((file.format(), file.torn_bytes()), (format, 0));
            let read: Vec<_> = file.objects().map(Result::unwrap).collect();
            assert!(read == objects, "{format:?}, {count} objects");
            let bytes: usize = objects.iter().map(|object| object.data.len()).sum();
            assert_eq!(file.data_bytes(), bytes as u64);
        }
    }
}

#[test]
fn references_are_put_in_order_and_large_objects_go_through() {
    let scratch = Scratch::new();
    let data = vec![7; 3 << 20];
    for format in FORMATS {
        let path = scratch.path(format.name());
        write(format, &path, &[object(4, &[9, 4, 1, 9], &data)]).unwrap();
        let read = DurusFile::open(&path).unwrap().load(Oid(4)).unwrap();
        assert!(read == Some(object(4, &[1, 9], &data)));
    }
}

#[test]
fn a_destination_that_exists_is_left_alone() {
    let scratch = Scratch::new();
    for format in FORMATS {
        let path = scratch.path(format.name());
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(
            write(format, &path, &[]).unwrap_err().kind(),
            ErrorKind::Exists
        );

        let late = scratch.path(&format!("late-{}", format.name()));
        let mut writer = DurusWriter::create(&late, format).unwrap();
        writer.push(&object(0, &[], b"")).unwrap();
        std::fs::write(&late, "mine").unwrap();
        assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Exists);
        for path in [path, late] {
            assert_eq!(std::fs::read(path).unwrap(), b"mine");
        }
    }
    assert_eq!(scratch.names().len(), 6, "{:?}", scratch.names());
    let nowhere = scratch.path("missing/file");
    assert_eq!(
        write(Format::Shelf, &nowhere, &[]).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
}

#[test]
fn an_unfinished_file_leaves_nothing() {
    let scratch = Scratch::new();
    for format in FORMATS {
        let path = scratch.path("unfinished");
        let mut writer = DurusWriter::create(&path, format).unwrap();
        writer.push(&object(1, &[], b"x")).unwrap();
        assert_eq!(scratch.names().len(), 1);
        assert!(!path.exists());
        for oid in [0, 1, 1 << 63] {
            let error = writer.push(&object(oid, &[], b"x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
        drop(writer);
        assert_eq!(scratch.names(), [""; 0], "{format:?}");
    }
}

#[test]
fn sparse_oids_go_into_the_other_formats() {
    let scratch = Scratch::new();
    let sparse = [object(0, &[1 << 40], b"x"), object(1 << 40, &[0], b"y")];
    let error = write(Format::Shelf, &scratch.path("shelf"), &sparse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("?format=dfs20"), "{error}");
    for format in [Format::Dfs20, Format::Sqlite] {
        let path = scratch.path(format.name());
        write(format, &path, &sparse).unwrap();
        let file = DurusFile::open(&path).unwrap();
        let read: Vec<_> = file.objects().map(Result::unwrap).collect();
        assert_eq!(read, sparse);
    }
}

/// The words of the map have just the width that its largest one needs.
#[test]
fn the_offset_map_grows_with_the_file() {
    let scratch = Scratch::new();
    for bytes in [10, 180, 300, 65_400, 66_000, 17 << 20] {
        let path = scratch.path(&bytes.to_string());
        let objects = [object(0, &[3], &vec![0; bytes]), object(3, &[0], b"end")];
        write(Format::Shelf, &path, &objects).unwrap();
        let file = DurusFile::open(&path).unwrap();
        assert!(file.objects().map(Result::unwrap).eq(objects), "{bytes}");
    }
}
