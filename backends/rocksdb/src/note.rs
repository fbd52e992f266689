//! What tells the end of the log after a crash from damage within it.
//!
//! Every batch has a row, [`ROW`], with its number and that of the last batch that was known to be on the device
//! when it was written. RocksDB stops reading its log at the first record that is not whole. Where a note
//! behind that says that more was on the device than was recovered, the log is damaged; else that record is one
//! that a crash has cut off.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The row that numbers batches; its first byte is no table's number.
pub(crate) const ROW: &[u8] = &[u8::MAX];

/// What a note begins with, to be found in a log.
const MAGIC: [u8; 8] = *b"durum\xF7\x0E\x8C";
const NOTE_BYTES: usize = 32;

/// The file in which RocksDB keeps the name that it made up for a database.
const IDENTITY: &str = "IDENTITY";

const READ: &str = "read the log";
const READ_BYTES: usize = 1 << 20;

/// How far a database is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The number of the batch, from 1 on.
    pub(crate) count: u64,
    /// The last one that was durable when this one was written.
    pub(crate) durable: u64,
}

impl Note {
    /// That of the next batch.
    pub(crate) fn next(self) -> Note {
        Note {
            count: self.count + 1,
            ..self
        }
    }
}

/// Writes and reads the notes of one database, so that rows with a log of another in them do no harm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notes {
    seed: u64,
}

impl Notes {
    /// Those of the database with this identity.
    pub(crate) fn new(identity: &[u8]) -> Notes {
        Notes {
            seed: xxh3_64_with_seed(identity.trim_ascii(), 0),
        }
    }

    /// Those of the database in `dir`; `None` where it has no identity.
    pub(crate) fn of(dir: &Path) -> Option<Notes> {
        fs::read(dir.join(IDENTITY))
            .ok()
            .map(|identity| Notes::new(&identity))
    }

    pub(crate) fn encode(self, note: Note) -> [u8; NOTE_BYTES] {
        let numbers = (u128::from(note.count) << 64 | u128::from(note.durable)).to_be_bytes();
        let sum = xxh3_64_with_seed(&numbers, self.seed).to_be_bytes();
        let mut bytes = [0; NOTE_BYTES];
        let parts = MAGIC.iter().chain(&numbers).chain(&sum);
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The note at the beginning of `bytes`.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<Note> {
        let numbers = bytes.strip_prefix(&MAGIC)?.first_chunk::<16>()?;
        let numbers = u128::from_be_bytes(*numbers);
        let note = Note {
            count: (numbers >> 64) as u64,
            durable: numbers as u64,
        };
        bytes.starts_with(&self.encode(note)).then_some(note)
    }

    /// The largest number of a batch that a note in the logs of `dir` says to be durable.
    ///
    /// The log is not parsed: one of a thousand notes or so lies in two records, and is not found.
    pub(crate) fn reached(self, dir: &Path) -> Result<u64> {
        let mut reached = 0;
        for path in logs(dir)? {
            let mut file = File::open(&path).during(READ, &path)?;
            let mut bytes = Vec::with_capacity(READ_BYTES + NOTE_BYTES);
            loop {
                let part = file.by_ref().take(READ_BYTES as u64);
                if { part }.read_to_end(&mut bytes).during(READ, &path)? == 0 {
                    break;
                }
                reached = reached.max(self.largest(&bytes));
                // What may be the first part of a note.
                let kept = bytes.len().saturating_sub(NOTE_BYTES - 1);
                bytes.drain(..kept);
            }
        }
        Ok(reached)
    }

    fn largest(self, mut bytes: &[u8]) -> u64 {
        let mut largest = 0;
        while let Some(at) = bytes.iter().position(|byte| MAGIC.first() == Some(byte)) {
            bytes = bytes.get(at..).unwrap_or_default();
            largest = largest.max(self.decode(bytes).map_or(0, |note| note.durable));
            bytes = bytes.get(1..).unwrap_or_default();
        }
        largest
    }
}

/// The files of the log in `dir`.
pub(crate) fn logs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).during(READ, dir)? {
        let path = entry.during(READ, dir)?.path();
        if path.extension().is_some_and(|it| it == "log") {
            logs.push(path);
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use durum_core::ErrorKind;
    use durum_core::engine::{Backend as _, Durability, Engine, Key, Op, Options, Table};

    use super::*;
    use crate::RocksdbBackend;

    /// A value by which a batch is found in the log.
    fn value(number: u8) -> Vec<u8> {
        vec![100 + number; 300]
    }

    fn open(dir: &Path) -> Result<Box<dyn Engine>> {
        RocksdbBackend.open(dir, &Options::default())
    }

    /// What a kill would leave after batches of these levels, one row each; returns the log and what it
    /// holds.
    fn killed(home: &Path, levels: &[Durability]) -> (PathBuf, PathBuf, Vec<u8>) {
        let (dir, left) = (home.join("database"), home.join("left"));
        fs::create_dir(&dir).unwrap();
        let engine = open(&dir).unwrap();
        for (number, level) in levels.iter().enumerate() {
            let value = value(number as u8);
            let (table, key) = (Table::Objects, Key::from(number as u64));
            let value = value.as_slice();
            engine
                .apply(&[Op::Put { table, key, value }], *level)
                .unwrap();
        }
        copy(&dir, &left);
        drop(engine);
        fs::remove_dir_all(dir).unwrap();
        let log = logs(&left).unwrap().pop().unwrap();
        let bytes = fs::read(&log).unwrap();
        (left, log, bytes)
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    /// How many of the batches there are, which have to be the first.
    fn rows(dir: &Path) -> Result<usize> {
        let engine = open(dir)?;
        let snapshot = engine.snapshot()?;
        let mut cursor = snapshot.cursor(Table::Objects, Key::MIN)?;
        let mut count = 0;
        while let Some((key, found)) = cursor.next()? {
            assert_eq!(key, Key::from(count as u64));
            assert_eq!(found, value(count as u8));
            count += 1;
        }
        Ok(count)
    }

    /// The log with zeros within the value of a batch.
    fn torn(bytes: &[u8], number: u8) -> Vec<u8> {
        let mut torn = bytes.to_vec();
        let at = bytes
            .windows(300)
            .position(|part| part == value(number))
            .unwrap();
        torn[at + 10..at + 200].fill(0);
        torn
    }

    #[test]
    fn notes_are_those_of_one_database() {
        let (notes, others) = (Notes::new(b"one\n"), Notes::new(b"another"));
        let note = Note {
            count: 7,
            durable: u64::MAX,
        };
        let mut bytes = notes.encode(note);
        assert_eq!(notes.decode(&bytes), Some(note));
        assert_eq!(Notes::new(b"one").decode(&bytes), Some(note));
        assert_eq!(others.decode(&bytes), None);
        bytes[20] ^= 1;
        assert_eq!(notes.decode(&bytes), None);
    }

    #[test]
    fn a_note_is_found_wherever_it_lies() {
        let home = tempfile::tempdir().unwrap();
        let notes = Notes::new(b"one");
        for at in [
            0,
            5,
            READ_BYTES - 31,
            READ_BYTES - 7,
            READ_BYTES,
            2 * READ_BYTES - 40,
        ] {
            let mut bytes = vec![MAGIC[0]; 3 * READ_BYTES];
            let durable = at as u64 + 1;
            let note = Note { count: 9, durable };
            bytes.splice(at..at + NOTE_BYTES, notes.encode(note));
            fs::write(home.path().join("1.log"), bytes).unwrap();
            assert_eq!(notes.reached(home.path()).unwrap(), durable);
        }
    }

    #[test]
    fn what_was_not_synced_is_left_out_where_it_is_torn() {
        use Durability::{Power, Process};
        for number in 1..4 {
            let home = tempfile::tempdir().unwrap();
            let (dir, log, bytes) = killed(home.path(), &[Power, Process, Process, Process]);
            fs::write(log, torn(&bytes, number)).unwrap();
            assert_eq!(rows(&dir).unwrap(), usize::from(number));
            assert_eq!(rows(&dir).unwrap(), usize::from(number), "and stays so");
        }
    }

    #[test]
    fn damage_before_what_was_synced_is_no_end() {
        use Durability::{Power, Process};
        for levels in [
            &[Power, Power, Power][..],
            &[Process, Process, Power, Process],
        ] {
            for number in [0, 1] {
                let home = tempfile::tempdir().unwrap();
                let (dir, log, bytes) = killed(home.path(), levels);
                let broken = torn(&bytes, number);
                fs::write(&log, &broken).unwrap();
                for _ in 0..2 {
                    let error = rows(&dir).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    assert!(fs::read(&log).unwrap() == broken, "nothing was changed");
                }
            }
        }
    }
}
