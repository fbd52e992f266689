//! Streams that are not what was written.

use durum_core::digest::Digest;
use durum_core::record::varint;
use durum_core::{Error, ErrorKind, Oid, Result, StoreId, Tid};
use fastrand::Rng;

use super::entries::{Encoder, Entry};
use super::format::{BLOCK_BYTES, BLOCK_HEAD_BYTES, END_BYTES, HEADER_BYTES, Header, Totals};
use super::reader::StreamReader;
use super::writer::StreamWriter;
use super::{Input, Restored, check};

fn header(from: Option<u64>) -> Header {
    Header {
        store_id: StoreId([7; 16]),
        from: from.map(Tid),
        tid: Tid(9),
        high_water: Oid(1 << 63),
    }
}

fn object(oid: u64, refs: &[u64], data: Vec<u8>) -> Entry {
    let refs: Vec<Oid> = refs.iter().copied().map(Oid).collect();
    let mut digest = Digest::default();
    digest.add(Oid(oid), refs.iter().copied(), &data);
    Entry {
        oid: Oid(oid),
        deleted: false,
        tid: Tid(oid % 9 + 1),
        refs,
        data,
        digest,
    }
}

fn stream(header: Header, entries: &[Entry]) -> Vec<u8> {
    let mut blocks = Vec::new();
    let mut encoder = Encoder::new(|block| {
        blocks.push(block);
        true
    });
    for entry in entries {
        assert!(match entry.deleted {
            true => encoder.delete(entry.oid),
            false => encoder.put(
                entry.oid,
                entry.tid,
                entry.refs.iter().copied(),
                &entry.data
            ),
        });
    }
    let mut totals = encoder.finish().unwrap();
    totals.store_digest = header.from.is_none().then_some(totals.digest);
    written(header, &blocks, totals)
}

/// A stream of these blocks, whatever they say.
fn written(header: Header, blocks: &[Vec<u8>], totals: Totals) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = StreamWriter::new(header, &mut out).unwrap();
    for block in blocks {
        writer.block(block).unwrap();
    }
    let summary = writer.finish(totals).unwrap();
    assert_eq!(summary.file_bytes, out.len() as u64);
    out
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Entry>)> {
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let mut reader = StreamReader::new(input, "the backup".into())?;
    let (mut entries, mut entry) = (Vec::new(), Entry::default());
    while reader.next(&mut entry)? {
        entries.push(std::mem::take(&mut entry));
    }
    assert!(reader.totals().is_some());
    Ok((*reader.header(), entries))
}

fn checked(streams: &[&[u8]]) -> Result<Restored> {
    let input = |bytes: &&[u8]| Input::stream("the backup", std::io::Cursor::new(bytes.to_vec()));
    check(streams.iter().map(input).collect(), None, &())
}

fn deletion(oid: u64) -> Entry {
    Entry {
        oid: Oid(oid),
        deleted: true,
        ..Entry::default()
    }
}

/// A number of any length up to so many bits.
fn below(draw: &mut Rng, bits: u32) -> u64 {
    let bits = draw.u32(1..bits);
    draw.u64(..1 << bits)
}

/// Random objects of all sizes, some longer than a block, so that everything is cut somewhere.
fn entries(draw: &mut Rng, count: usize, deletions: bool) -> Vec<Entry> {
    let mut oid = draw.u64(0..2);
    let mut entries = Vec::new();
    for _ in 0..count {
        if deletions && draw.u8(..4) == 0 {
            entries.push(deletion(oid));
        } else {
            let mut refs: Vec<u64> = (0..draw.usize(0..5))
                .map(|_| below(draw, 63))
                .filter(|reference| *reference != oid)
                .collect();
            refs.sort_unstable();
            refs.dedup();
            let length = match draw.u8(..20) {
                0 => draw.usize(..3 * BLOCK_BYTES),
                1..=9 => draw.usize(..3000),
                _ => draw.usize(..40),
            };
            let random = draw.bool();
            let byte = |draw: &mut Rng| if random { draw.u8(..) } else { b'x' };
            let data = (0..length).map(|_| byte(draw)).collect();
            entries.push(object(oid, &refs, data));
        }
        oid += 1 + below(draw, 20);
    }
    entries
}

#[test]
fn streams_return_as_they_were() {
    let mut draw = Rng::with_seed(durum_testkit::seed());
    for from in [None, Some(0), Some(4)] {
        for count in [0, 1, 2, 300] {
            let entries = entries(&mut draw, count, from.is_some());
            let (head, mut found) = read(&stream(header(from), &entries)).unwrap();
            assert_eq!(head, header(from));
            for entry in found.iter_mut().filter(|entry| entry.deleted) {
                *entry = deletion(entry.oid.0);
            }
            assert!(found == entries, "{count} entries from {from:?}");
        }
    }
    let last = [
        object(0, &[(1 << 63) - 1], vec![1]),
        object((1 << 63) - 1, &[0], vec![]),
    ];
    assert_eq!(read(&stream(header(None), &last)).unwrap().1, last);
}

#[test]
fn every_changed_or_missing_byte_is_found_and_its_place_named() {
    let mut draw = Rng::with_seed(durum_testkit::seed());
    let small: Vec<Entry> = (0..12)
        .map(|oid| object(oid, &[12], vec![b'x'; 40]))
        .collect();
    let large = entries(&mut draw, 60, false);
    for (entries, step) in [(&small, 1), (&large, 1009)] {
        let good = stream(header(None), entries);
        assert!(checked(&[&good]).unwrap().proven);
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << draw.u32(..8);
            let error = checked(&[&bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("at byte ") && text.contains("the backup"),
                "{text}"
            );
            let error = checked(&[&good[..at]]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{at} bytes: {error}");
        }
        let long = [&good[..], b"x"].concat();
        let error = checked(&[&long]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("at byte {}", good.len())),
            "{error}"
        );
        let twice = [&good[..], &good[..]].concat();
        assert_eq!(checked(&[&twice]).unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[test]
fn blocks_that_are_exchanged_repeated_or_left_out_are_found() {
    // So that blocks do not shrink, and are of one length.
    let mut data = vec![0; 4 * BLOCK_BYTES];
    Rng::with_seed(1).fill(&mut data);
    let good = stream(header(None), &[object(1, &[], data)]);
    let length = BLOCK_BYTES + BLOCK_HEAD_BYTES;
    let block = |number: usize| &good[HEADER_BYTES + number * length..][..length];
    let (start, rest) = (&good[..HEADER_BYTES], &good[HEADER_BYTES + 3 * length..]);
    for order in [[0, 2, 1].as_slice(), &[0, 1, 1, 2], &[0, 1], &[0, 0, 1, 2]] {
        let blocks: Vec<&[u8]> = order.iter().map(|number| block(*number)).collect();
        let bad = [start, &blocks.concat(), rest].concat();
        let error = checked(&[&bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{order:?}: {error}");
    }
    let blocks = [0, 1, 2].map(block).concat();
    assert!(checked(&[&[start, &blocks, rest].concat()]).is_ok());
}

/// What has good checksums and makes no sense all the same: an error, and no memory for what is claimed.
#[test]
fn senseless_content_is_refused() {
    let content = |numbers: &[u64]| {
        let mut out = Vec::new();
        numbers
            .iter()
            .for_each(|number| varint::put(&mut out, *number));
        out
    };
    let huge = u64::MAX >> 1;
    let cases: [(&str, Vec<u8>); 12] = [
        (
            "an OID from 2^63 on",
            content(&[u64::MAX - 1, 1, 0, 0, 2, 1, 0, 0]),
        ),
        ("a deletion in a full backup", content(&[1])),
        ("a tid beyond the last", content(&[0, 10, 0, 0])),
        ("references that are missing", content(&[0, 1, huge])),
        ("a reference twice", content(&[0, 1, 2, 5, 0, 0])),
        ("a reference to itself", content(&[10, 1, 1, 5, 0])),
        ("a reference from 2^63 on", content(&[0, 1, 1, 1 << 63, 0])),
        (
            "references beyond 64 bits",
            content(&[0, 1, 2, 5, u64::MAX, 0]),
        ),
        ("data that is missing", content(&[0, 1, 0, huge])),
        ("a number of 11 bytes", vec![0xff; 11]),
        ("a number that is cut off", vec![0xff; 3]),
        ("half an entry", content(&[0, 1])),
    ];
    for (what, block) in cases {
        let totals = Totals {
            blocks: 1,
            store_digest: Some(Digest::default()),
            ..Totals::default()
        };
        let error = read(&written(header(None), &[block], totals)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
    }
}

#[test]
fn totals_that_do_not_fit_are_refused() {
    let entries = [object(1, &[2], vec![3; 50])];
    let good = stream(header(Some(2)), &entries);
    let end = good.len() - END_BYTES;
    let mut blocks = Vec::new();
    let mut encoder = Encoder::new(|block| {
        blocks.push(block);
        true
    });
    encoder.put(Oid(1), entries[0].tid, [Oid(2)].into_iter(), &[3; 50]);
    let totals = encoder.finish().unwrap();
    assert_eq!(Totals::decode(&good[end..]), Some(totals));
    let wrong: [fn(&mut Totals); 4] = [
        |it| it.blocks += 1,
        |it| it.deleted += 1,
        |it| it.bytes += 1,
        |it| it.digest += it.digest,
    ];
    for change in wrong {
        let mut bad = totals;
        change(&mut bad);
        let error: Error = read(&written(header(Some(2)), &blocks, bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
}

/// Foreign files and formats of the future are told from damage.
#[test]
fn what_is_no_backup_is_unreadable() {
    for foreign in [
        &b"SHELF-1\n"[..],
        b"x",
        &[0; 500],
        "text ".repeat(100).as_bytes(),
    ] {
        let error = read(foreign).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
    }
    assert_eq!(read(b"").unwrap_err().kind(), ErrorKind::Damaged);
    let mut future = stream(header(None), &[]);
    future[8] = 2;
    let sum = crc32fast::hash(&future[8..HEADER_BYTES - 4]).to_le_bytes();
    future[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum);
    let error = read(&future).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    assert!(error.to_string().contains("format is 2"), "{error}");
}

/// The last word on each object counts, whatever it is.
#[test]
fn merged_streams_make_what_their_last_words_make() {
    let mut draw = Rng::with_seed(durum_testkit::seed());
    for _ in 0..20 {
        let count = draw.usize(1..6);
        let mut model = std::collections::BTreeMap::new();
        let mut streams = Vec::new();
        for number in 0..count {
            let from = (number > 0).then_some(9);
            let some: Vec<u64> = (0..60).filter(|_| draw.bool()).collect();
            let entries: Vec<Entry> = some
                .into_iter()
                .map(|oid| match from.is_some() && draw.u8(..3) == 0 {
                    true => deletion(oid),
                    false => object(oid, &[99], vec![number as u8; draw.usize(..9)]),
                })
                .collect();
            for entry in &entries {
                match entry.deleted {
                    true => drop(model.remove(&entry.oid)),
                    false => drop(model.insert(entry.oid, entry.clone())),
                }
            }
            streams.push(stream(header(from), &entries));
        }
        let mut expected = Digest::default();
        model.values().for_each(|entry| expected += entry.digest);
        let streams: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
        let found = checked(&streams).unwrap();
        assert_eq!(found.digest, expected);
        assert_eq!((found.backups, found.proven), (count, count == 1));
    }
}
