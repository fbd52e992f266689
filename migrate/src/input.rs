//! A file that is read, and a window onto it.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt, Oid, Result};

use crate::options::StopWatch;

/// An open file whose size is known.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    path: PathBuf,
    len: u64,
    state: State,
    doing: &'static str,
    watch: StopWatch,
}

impl Input {
    /// Opens a file for reading; `doing` is for errors. `watch` ends what goes through the whole of it.
    pub(crate) fn open(path: &Path, doing: &'static str, watch: &StopWatch) -> Result<Input> {
        // Asked before opening: to open a named pipe is to wait for a writer.
        if !std::fs::metadata(path).during(doing, path)?.is_file() {
            return Err(Error::new(ErrorKind::Unreadable, doing)
                .with_path(path)
                .because("it is not a file"));
        }
        let file = File::open(path).during(doing, path)?;
        let metadata = file.metadata().during(doing, path)?;
        Ok(Input {
            file,
            path: path.to_path_buf(),
            len: metadata.len(),
            state: State::of(&metadata),
            doing,
            watch: watch.clone(),
        })
    }

    /// Takes a shared lock on the file; false where a writer holds it.
    pub(crate) fn lock(&self) -> bool {
        lock_shared(&self.file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file's size again, for what was appended since it was opened.
    pub(crate) fn measure(&mut self) -> Result<()> {
        let metadata = self.file.metadata().during(self.doing, &self.path)?;
        (self.len, self.state) = (metadata.len(), State::of(&metadata));
        Ok(())
    }

    /// Whether `earlier` was the same file, and what it had up to `end`, with the checksum `tail`, is there
    /// still: then whatever a format that is only appended to had then, it has now.
    pub(crate) fn continues(&self, earlier: &Input, end: u64, tail: u32) -> Result<bool> {
        let same = self.state.identity == earlier.state.identity && self.len >= end;
        Ok(same && self.tail(end)? == tail)
    }

    /// The checksum of a few bytes before `end`.
    pub(crate) fn tail(&self, end: u64) -> Result<u32> {
        let length = end.min(TAIL_BYTES);
        let mut bytes = vec![0; length as usize];
        self.read_at(&mut bytes, end - length)?;
        Ok(crc32fast::hash(&bytes))
    }

    /// Whether another file of this path, or a changed one, has taken its place since it was measured.
    pub(crate) fn is_as_it_was(&self) -> Result<bool> {
        let metadata = std::fs::metadata(&self.path).during(self.doing, &self.path)?;
        Ok(State::of(&metadata) == self.state)
    }

    /// Whether `file` is this one.
    pub(crate) fn is(&self, file: &File) -> Result<bool> {
        let metadata = file.metadata().during(self.doing, &self.path)?;
        Ok(State::of(&metadata).identity == self.state.identity)
    }

    /// The file's path, length and the time of its last change.
    pub(crate) fn description(&self) -> Result<String> {
        use std::os::unix::fs::MetadataExt as _;
        let path = std::fs::canonicalize(&self.path).during(self.doing, &self.path)?;
        let metadata = self.file.metadata().during(self.doing, &self.path)?;
        Ok(format!(
            "file {:?} of {} bytes, changed at {}.{:09}",
            path,
            self.len,
            metadata.mtime(),
            metadata.mtime_nsec()
        ))
    }

    /// The size of the file when it was opened, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `at`.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        match self.file.read_exact_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(at, "the file has become shorter while it was read"))
            }
            result => result.during(self.doing, &self.path),
        }
    }

    /// Damage at an offset of this file.
    pub(crate) fn damaged(&self, at: u64, what: impl std::fmt::Display) -> Error {
        Error::damaged(self.doing, format!("at byte {at}: {what}")).with_path(&self.path)
    }

    /// Another failure to read this file.
    pub(crate) fn fail(&self, kind: ErrorKind, why: impl Into<String>) -> Error {
        Error::new(kind, self.doing)
            .with_path(&self.path)
            .because(why)
    }
}

/// Names the object, where an error is about what lies in its place.
pub(crate) fn of_object(error: Error, oid: Oid) -> Error {
    match error.kind() {
        ErrorKind::Damaged | ErrorKind::Io => error.with_oid(oid),
        _ => error,
    }
}

/// What tells a file, and one of its states, from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// Device and inode.
    identity: (u64, u64),
    len: u64,
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &std::fs::Metadata) -> State {
        use std::os::unix::fs::MetadataExt as _;
        State {
            identity: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Takes a shared lock; false where somebody holds an exclusive one.
pub(crate) fn lock_shared(file: &File) -> bool {
    // A file system without locks cannot tell; the original programs would not start there.
    !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether a file is read while others write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Where one has it open it is not read; else they are locked out.
    Refused,
    /// They are let be: no lock is taken, which could keep one of them from having the file again.
    Tolerated,
}

/// Bytes by which the end of a file is known again.
const TAIL_BYTES: u64 = 4 << 10;

/// A part of a file in memory, moved as needed: quick for reading onwards, and modest for jumping.
#[derive(Debug)]
pub(crate) struct Window<'i> {
    input: &'i Input,
    bytes: Vec<u8>,
    start: u64,
    watched: bool,
}

impl<'i> Window<'i> {
    pub(crate) fn new(input: &'i Input) -> Window<'i> {
        Window {
            input,
            bytes: Vec::new(),
            start: 0,
            watched: false,
        }
    }

    /// A window for going through the whole file, of which nothing is kept when it is ended before.
    pub(crate) fn watched(input: &'i Input) -> Window<'i> {
        Window {
            watched: true,
            ..Window::new(input)
        }
    }

    pub(crate) fn input(&self) -> &'i Input {
        self.input
    }

    /// The big-endian number in the `width` bytes (8 at most) at `at`; `None` past the file's end.
    pub(crate) fn number(&mut self, at: u64, width: usize) -> Result<Option<u64>> {
        let bytes = self.get(at, width)?;
        Ok(bytes.map(|bytes| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        }))
    }

    /// The `len` bytes at `at`; `None` where the file ends before.
    pub(crate) fn get(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>> {
        let end = at.checked_add(len as u64);
        if end.is_none_or(|end| end > self.input.len) {
            return Ok(None);
        }
        let held_end = self.start + self.bytes.len() as u64;
        if at < self.start || end.is_some_and(|end| end > held_end) {
            if self.watched {
                self.input.watch.check()?;
            }
            let onwards = at >= self.start && at - self.start < NEAR_BYTES;
            let take = if onwards { FAR_BYTES } else { JUMP_BYTES };
            let left = usize::try_from(self.input.len - at).unwrap_or(usize::MAX);
            self.start = at;
            let mut read = |length| {
                self.bytes.resize(length, 0);
                let read = self.input.read_at(&mut self.bytes, at);
                read.inspect_err(|_| self.bytes.clear())
            };
            // What is read ahead may lie where the disk fails, and what is wanted may not.
            read(take.max(len).min(left)).or_else(|_| read(len))?;
        }
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).and_then(|bytes| bytes.get(..len)))
    }
}

/// How much is read at a time when reading onwards.
const FAR_BYTES: usize = 256 << 10;
/// How much is read at a time after a jump.
const JUMP_BYTES: usize = 4 << 10;
/// How far ahead of the window's start still counts as reading onwards.
const NEAR_BYTES: u64 = 512 << 10;

/// Memory for sorting what a file holds, where none is given.
pub(crate) const SORT_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::options::MigrateOptions;

    #[test]
    fn going_through_a_whole_file_is_ended() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[1; 1000], 0).unwrap();
        let options = MigrateOptions {
            stop: Arc::new(AtomicBool::new(true)),
            ..MigrateOptions::default()
        };
        let watch = StopWatch::start(&options);
        let input = Input::open(file.path(), "read the file", &watch).unwrap();
        let ended = Window::watched(&input).number(0, 8).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::Interrupted);
        // A single object is still read.
        assert!(Window::new(&input).number(0, 8).unwrap().is_some());
    }
}
