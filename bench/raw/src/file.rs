//! The least that a flat file has to do: a log, and beside it where each record begins. Opened, it is a log
//! that is mapped, with a hash map in memory.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durum_core::{IoResultExt as _, Result};
use memmap2::{Mmap, MmapOptions};

use crate::{DOING, Database, Load, Reader, Rows, failed, key_of};

const BUFFER_BYTES: usize = 1 << 20;
/// Checksum, length and key of a record.
const HEAD_BYTES: u64 = 16;
const DELETED: u32 = u32::MAX;
/// How far the mapping reaches beyond what the log holds: that costs address space only.
const MAP_BYTES: u64 = 1 << 38;

const LOG: &str = "log";
const INDEX: &str = "index";

/// What stands before a value; the length of all ones is a deletion.
fn head(key: u64, value: &[u8]) -> [u8; HEAD_BYTES as usize] {
    let key = key.to_be_bytes();
    let mut sum = crc32fast::Hasher::new();
    sum.update(&key);
    sum.update(value);
    let length = u32::try_from(value.len()).unwrap_or(DELETED);
    let mut head = [0; HEAD_BYTES as usize];
    let parts = [
        &sum.finalize().to_be_bytes()[..],
        &length.to_be_bytes(),
        &key,
    ];
    for (to, from) in head.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    head
}

/// A log of records with a checksum each, and an index of 16 bytes for each.
pub(crate) struct FileLoad {
    log: Output,
    index: Output,
    position: u64,
}

struct Output {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Output {
    fn create(path: PathBuf) -> Result<Output> {
        let file = File::create_new(&path).during(DOING, &path)?;
        Ok(Output {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).during(DOING, &self.path)
    }

    fn sync(mut self) -> Result<()> {
        self.file.flush().during(DOING, &self.path)?;
        self.file.get_ref().sync_data().during(DOING, &self.path)
    }
}

impl FileLoad {
    pub(crate) fn create(dir: &Path) -> Result<FileLoad> {
        Ok(FileLoad {
            log: Output::create(dir.join(LOG))?,
            index: Output::create(dir.join(INDEX))?,
            position: 0,
        })
    }
}

impl Load for FileLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        for (key, value) in rows.iter() {
            self.log.write(&head(key, value))?;
            self.log.write(value)?;
            self.index.write(&key.to_be_bytes())?;
            self.index.write(&self.position.to_be_bytes())?;
            self.position += HEAD_BYTES + value.len() as u64;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.log.sync()?;
        self.index.sync()
    }
}

/// The same, opened again.
pub(crate) struct FileDatabase {
    log: File,
    path: PathBuf,
    map: Mmap,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// Where values begin, and their length.
    places: HashMap<u64, (u64, u32), BuildHasherDefault<KeyHasher>>,
    end: u64,
}

/// Multiplies by the golden ratio, which spreads keys that are numbers in sequence.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

impl FileDatabase {
    #[allow(unsafe_code, reason = "a file is mapped")]
    pub(crate) fn open(dir: &Path) -> Result<FileDatabase> {
        let path = dir.join(LOG);
        let log = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .during(DOING, &path)?;
        let end = log.metadata().during(DOING, &path)?.len();
        let length = usize::try_from(end + MAP_BYTES).map_err(failed)?;
        // SAFETY: the file is this database's own; it only grows, and bytes that were written do not
        // change. What lies behind its end is not touched, which `State::end` sees to.
        let map = unsafe { MmapOptions::new().len(length).map(&log) }.during(DOING, &path)?;
        let mut state = State::default();
        while state.end < end {
            let (key, length) = head_at(&map, state.end)?;
            state.note(key, length);
        }
        Ok(FileDatabase {
            log,
            path,
            map,
            state: RwLock::new(state),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, place: (u64, u32)) -> Result<&[u8]> {
        let (begin, length) = (place.0 as usize, place.1 as usize);
        self.map
            .get(begin..begin + length)
            .ok_or_else(|| failed("a value lies outside of the log"))
    }

    /// Appends records with one write, and notes where they are.
    fn append(&self, bytes: &[u8], keys: &[(u64, u32)], durable: bool) -> Result<()> {
        // Readers wait for the device as well: one who knows would keep them apart, at a price for each
        // commit.
        let mut state = self.change();
        self.log
            .write_all_at(bytes, state.end)
            .during(DOING, &self.path)?;
        if durable {
            self.log.sync_data().during(DOING, &self.path)?;
        }
        for (key, length) in keys {
            state.note(*key, *length);
        }
        Ok(())
    }
}

impl State {
    /// A record of this length follows.
    fn note(&mut self, key: u64, length: u32) {
        self.end += HEAD_BYTES;
        match length {
            DELETED => {
                self.places.remove(&key);
            }
            length => {
                self.places.insert(key, (self.end, length));
                self.end += u64::from(length);
            }
        }
    }
}

fn head_at(map: &[u8], position: u64) -> Result<(u64, u32)> {
    let begin = position as usize;
    let head = map.get(begin + 4..begin + HEAD_BYTES as usize);
    let (length, key) = head
        .and_then(|head| head.split_first_chunk())
        .ok_or_else(|| failed("a record is cut off"))?;
    Ok((key_of(key)?, u32::from_be_bytes(*length)))
}

impl Database for FileDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(FileReader {
            database: self,
            state: self.read(),
        }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let place = self.read().places.get(&key).copied();
        let Some(place) = place else { return Ok(false) };
        visit(self.value(place)?);
        Ok(true)
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        let (mut bytes, mut keys) = (Vec::new(), Vec::new());
        for (key, value) in rows.iter() {
            bytes.extend_from_slice(&head(key, value));
            bytes.extend_from_slice(value);
            keys.push((key, u32::try_from(value.len()).map_err(failed)?));
        }
        for key in deletes {
            let mut head = head(*key, &[]);
            for byte in head.iter_mut().skip(4).take(4) {
                *byte = u8::MAX;
            }
            bytes.extend_from_slice(&head);
            keys.push((*key, DELETED));
        }
        self.append(&bytes, &keys, durable)
    }
}

/// Writers wait until it is gone.
struct FileReader<'a> {
    database: &'a FileDatabase,
    state: RwLockReadGuard<'a, State>,
}

impl Reader for FileReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.state.places.get(&key) {
            Some(place) => visit(self.database.value(*place)?),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let mut position = 0;
        while position < self.state.end {
            let (key, length) = head_at(&self.database.map, position)?;
            position += HEAD_BYTES;
            if length == DELETED {
                continue;
            }
            // Records that were replaced are still there.
            if self
                .state
                .places
                .get(&key)
                .is_some_and(|place| place.0 == position)
            {
                visit(key, self.database.value((position, length))?);
            }
            position += u64::from(length);
        }
        Ok(())
    }

    /// A hash map has no order: each key that there could be is looked up.
    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for key in keys {
            self.get(key, &mut |value| visit(key, value))?;
        }
        Ok(())
    }
}
