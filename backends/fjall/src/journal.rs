//! The end of fjall's journal after a crash.
//!
//! A batch in the journal is a start, its items, and an end with a checksum. A loss of power can leave any
//! part of what was not synced. Of such a batch fjall cuts off what it cannot read, but it does not open
//! where all can be read and only the checksum is wrong, as where zeros stand within a value. And damage in
//! the middle it takes for the end, so that everything behind is lost without a word.
//!
//! Every batch of this backend has a row, [`ROW`], with its number and that of the last batch that was known
//! to be on the device when it was written. Where a batch is broken and one behind it says that more
//! was on the device than can be read before, it is damage. Else it is the end, and is cut off here.
//! Full journals were synced before another was begun: in these there is only damage.

use std::fs::{self, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use durum_core::{IoResultExt as _, Result};
use xxhash_rust::xxh3::Xxh3;

use crate::error::damaged;

/// The row that numbers batches; its first byte is no table's number.
pub(crate) const ROW: &[u8] = &[u8::MAX];

const MEND: &str = "read the journal";

/// What the row says.
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

    pub(crate) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (count, durable) = bytes.split_at_mut(8);
        count.copy_from_slice(&self.count.to_be_bytes());
        durable.copy_from_slice(&self.durable.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Note> {
        let (count, durable) = bytes.split_first_chunk::<8>()?;
        Some(Note {
            count: u64::from_be_bytes(*count),
            durable: u64::from_be_bytes(durable.try_into().ok()?),
        })
    }
}

/// Makes the journals of a database that is not open such that fjall reads all of them; they are synced.
///
/// # Errors
/// `Damaged` where something is missing that was durable.
pub(crate) fn mend(database: &Path) -> Result<()> {
    let mut journals = list(database)?;
    let active = journals.pop();
    let mut last = None;
    for (_, path) in journals {
        let found = read(&path)?;
        if found.broken_at.is_some() {
            return Err(damaged(MEND, "it is broken in the middle").with_path(path));
        }
        last = found.last.or(last);
    }
    let Some((_, path)) = active else {
        // fjall would begin a new one, and count from the beginning, so that its snapshots showed nothing.
        return Err(damaged(MEND, "it is missing").with_path(database));
    };
    let found = read(&path)?;
    let Some(at) = found.broken_at else {
        return Ok(());
    };
    let last = found.last.or(last).map(|note| note.count);
    if behind(&path, at)?.is_some_and(|note| is_damage(last, note)) {
        return Err(damaged(MEND, "it is broken before batches that were durable").with_path(path));
    }
    tracing::info!(path = %path.display(), at, "the last batches were not complete: they are left out");
    let file = OpenOptions::new().write(true).open(&path);
    file.and_then(|file| {
        file.set_len(at)?;
        file.sync_all()
    })
    .during(MEND, &path)
}

/// Whether a batch that was durable is missing between the `last` that can be read and the `next` ones that
/// can.
fn is_damage(last: Option<u64>, next: Note) -> bool {
    next.durable + 1 >= next.count || last.is_some_and(|last| next.durable > last)
}

/// The journals, in the order in which they were begun.
fn list(database: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(database).during(MEND, database)? {
        let path = entry.during(MEND, database)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number: u64| (number, path)));
    }
    journals.sort();
    Ok(journals)
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    /// What its last whole batch says, before one that is broken.
    last: Option<Note>,
    /// Where that one begins.
    broken_at: Option<u64>,
}

fn read(path: &Path) -> Result<Found> {
    let mut found = Found::default();
    let file = File::open(path).during(MEND, path)?;
    let length = file.metadata().during(MEND, path)?.len();
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut at = 0;
    while let Some((note, bytes)) = read_batch(&mut reader, length - at).during(MEND, path)? {
        found.last = note.or(found.last);
        at += bytes;
    }
    // fjall makes journals longer than they are, with zeros.
    reader.seek(SeekFrom::Start(at)).during(MEND, path)?;
    let zeros = only_zeros(&mut reader).during(MEND, path)?;
    found.broken_at = (!zeros).then_some(at);
    Ok(found)
}

fn only_zeros(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(true),
            read => {
                let bytes = buffer.get(..read).unwrap_or_default();
                if bytes.iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
            }
        }
    }
}

/// What the whole batches behind a broken one say: the number of the first, and the last one that any of
/// them knows to be durable.
fn behind(path: &Path, at: u64) -> Result<Option<Note>> {
    let mut file = File::open(path).during(MEND, path)?;
    file.seek(SeekFrom::Start(at + 1)).during(MEND, path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).during(MEND, path)?;
    let mut rest = bytes.as_slice();
    let mut found: Option<Note> = None;
    while let Some(next) = rest.iter().position(|byte| *byte == START) {
        rest = rest.get(next..).unwrap_or_default();
        let batch = read_batch(&mut { rest }, rest.len() as u64).during(MEND, path)?;
        if let Some((Some(note), _)) = batch {
            let known = found.get_or_insert(note);
            known.durable = known.durable.max(note.durable);
        }
        let bytes = batch.map_or(1, |(_, bytes)| bytes as usize);
        rest = rest.get(bytes..).unwrap_or_default();
    }
    Ok(found)
}

/// Tags of entries, and the last bytes of a batch: `journal/entry.rs` in fjall.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Bytes of a start, of an item without key and value, and of an end; each with its tag.
const START_BYTES: usize = 13;
const ITEM_BYTES: usize = 21;
const END_BYTES: usize = 13;

/// Reads a batch of at most `limit` bytes: what its row says, and its length. `None` where there is none, or
/// it is broken.
fn read_batch(reader: &mut impl Read, limit: u64) -> io::Result<Option<(Option<Note>, u64)>> {
    let mut left = limit;
    let Some(start) = read_array::<START_BYTES>(reader, &mut left)? else {
        return Ok(None);
    };
    if start.first() != Some(&START) {
        return Ok(None);
    }
    let items = u32_at(&start, 1);
    let (mut hasher, mut note) = (Xxh3::new(), None);
    let mut bytes = Vec::new();
    for _ in 0..items {
        let Some(head) = read_array::<ITEM_BYTES>(reader, &mut left)? else {
            return Ok(None);
        };
        let (key_bytes, value_bytes) = (u64::from(u16_at(&head, 11)), u64::from(u32_at(&head, 17)));
        // The second byte is the sort of the entry, the third that of its compression, of which there is none.
        if head.first() != Some(&ITEM) || head.get(2) != Some(&0) || key_bytes + value_bytes > left
        {
            return Ok(None);
        }
        left -= key_bytes + value_bytes;
        bytes.clear();
        reader
            .take(key_bytes + value_bytes)
            .read_to_end(&mut bytes)?;
        hasher.update(&head);
        hasher.update(&bytes);
        if let Some((key, value)) = bytes.split_at_checked(key_bytes as usize)
            && key == ROW
        {
            note = Note::decode(value);
        }
    }
    let Some(end) = read_array::<END_BYTES>(reader, &mut left)? else {
        return Ok(None);
    };
    let is_whole =
        end.first() == Some(&END) && end.ends_with(&TRAILER) && u64_at(&end, 1) == hasher.finish();
    Ok(is_whole.then_some((note, limit - left)))
}

fn read_array<const N: usize>(
    reader: &mut impl Read,
    left: &mut u64,
) -> io::Result<Option<[u8; N]>> {
    let Some(rest) = left.checked_sub(N as u64) else {
        return Ok(None);
    };
    *left = rest;
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<N>());
    found.copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )]

    use durum_core::ErrorKind;
    use durum_core::engine::{Backend as _, Durability, Key, Op, Options, Table};

    use super::*;
    use crate::FjallBackend;

    /// A value by which a batch is found in the journal.
    fn value(number: u8) -> Vec<u8> {
        vec![100 + number; 300]
    }

    /// Batches of these levels, one row each; returns the journal and what it holds.
    fn written(dir: &Path, levels: &[Durability]) -> (PathBuf, Vec<u8>) {
        let engine = FjallBackend.open(dir, &Options::default()).unwrap();
        for (number, level) in levels.iter().enumerate() {
            let value = value(number as u8);
            let (table, key) = (Table::Objects, Key::from(number as u64));
            let value = value.as_slice();
            engine
                .apply(&[Op::Put { table, key, value }], *level)
                .unwrap();
        }
        drop(engine);
        let (_, path) = list(&dir.join("database-1")).unwrap().pop().unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    /// How many of the batches there are, which have to be the first.
    fn rows(dir: &Path) -> Result<usize> {
        let engine = FjallBackend.open(dir, &Options::default())?;
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

    /// The journal with zeros within the value of a batch: its form is right, its checksum is not.
    fn torn(bytes: &[u8], number: u8) -> Vec<u8> {
        let mut torn = bytes.to_vec();
        let at = bytes
            .windows(300)
            .position(|part| part == value(number))
            .unwrap();
        torn[at + 10..at + 200].fill(0);
        torn
    }

    /// Undoes what closing has noted: a process that is killed closes nothing.
    fn forget_the_end(dir: &Path) {
        crate::place::Current::first(dir).write(dir).unwrap();
    }

    #[test]
    fn what_was_not_synced_is_cut_off_where_it_is_torn() {
        use Durability::{Power, Process};
        let home = tempfile::tempdir().unwrap();
        let levels = [Power, Process, Process, Process];
        let (path, bytes) = written(home.path(), &levels);
        for number in (1..4).rev() {
            fs::write(&path, torn(&bytes, number)).unwrap();
            let noted = rows(home.path()).unwrap_err();
            assert_eq!(noted.kind(), ErrorKind::Damaged, "{noted}");
            forget_the_end(home.path());
            assert_eq!(rows(home.path()).unwrap(), usize::from(number));
        }
    }

    #[test]
    fn damage_before_what_was_synced_is_no_end() {
        use Durability::{Power, Process};
        for levels in [
            &[Power, Power, Power][..],
            &[Process, Process, Power, Process],
        ] {
            let home = tempfile::tempdir().unwrap();
            let (path, bytes) = written(home.path(), levels);
            for number in [0, 1] {
                let broken = torn(&bytes, number);
                forget_the_end(home.path());
                fs::write(&path, &broken).unwrap();
                let error = rows(home.path()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                assert!(fs::read(&path).unwrap() == broken, "nothing was changed");
            }
        }
    }

    #[test]
    fn a_journal_that_is_missing_is_damage() {
        let home = tempfile::tempdir().unwrap();
        let (path, _) = written(home.path(), &[Durability::Power]);
        fs::remove_file(path).unwrap();
        assert_eq!(rows(home.path()).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
