//! The files in which backups lie.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use tempfile::{NamedTempFile, TempPath};

use super::format::{
    BLOCK_HEAD_BYTES, BlockHead, END_BYTES, END_NUMBER, HEADER_BYTES, Summary, Totals,
    block_checksum,
};
use super::reader::{damaged, header};
use super::{READ, WRITE};

/// The buffer of a file that is written or read.
const BUFFER_BYTES: usize = 64 << 10;
const SUFFIX: &str = ".partial";
/// How often a temporary file is made anew that somebody took for one that was left behind.
const TRIES_MAX: u32 = 100;

/// A backup to be read.
pub struct Input {
    pub(super) path: PathBuf,
    pub(super) stream: Box<dyn Read + Send>,
    pub(super) summary: Option<Summary>,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Input")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// A file, or whatever else can be opened and read once.
    ///
    /// # Errors
    /// `NotFound`, `Unreadable`; as [`Summary::read`].
    pub fn open(path: &Path) -> Result<Input> {
        let metadata = fs::metadata(path).during(READ, path)?;
        if metadata.is_dir() {
            return Err(no_file(path));
        }
        // What is no file, such as a pipe, cannot be read from its end.
        let summary = match metadata.is_file() {
            true => Some(Summary::read(path)?),
            false => None,
        };
        let file = File::open(path).during(READ, path)?;
        Ok(Input {
            path: path.to_path_buf(),
            stream: Box::new(BufReader::with_capacity(BUFFER_BYTES, file)),
            summary,
        })
    }

    /// A stream, such as standard input, with a name for errors.
    pub fn stream(name: &str, stream: impl Read + Send + 'static) -> Input {
        Input {
            path: PathBuf::from(name),
            stream: Box::new(BufReader::with_capacity(BUFFER_BYTES, stream)),
            summary: None,
        }
    }
}

impl Summary {
    /// What the backup in a file says of itself at its beginning and its end; what lies between is not
    /// looked at.
    ///
    /// # Errors
    /// `NotFound`; `Unreadable` for what is no backup, or of an unknown format; `Damaged`.
    pub fn read(path: &Path) -> Result<Summary> {
        if !fs::metadata(path).during(READ, path)?.is_file() {
            return Err(no_file(path));
        }
        let mut file = File::open(path).during(READ, path)?;
        let mut start = Vec::new();
        let file_bytes = file.metadata().during(READ, path)?.len();
        Read::by_ref(&mut file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut start)
            .during(READ, path)?;
        let header = header(&start).map_err(|error| error.with_path(path))?;
        let end_at = file_bytes.saturating_sub((BLOCK_HEAD_BYTES + END_BYTES) as u64);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(end_at.max(HEADER_BYTES as u64)))
            .during(READ, path)?;
        file.take((BLOCK_HEAD_BYTES + END_BYTES) as u64)
            .read_to_end(&mut end)
            .during(READ, path)?;
        let totals = totals(&end).ok_or_else(|| {
            damaged(end_at, "the end of the backup is damaged or missing").with_path(path)
        })?;
        Ok(Summary {
            header,
            totals,
            file_bytes,
        })
    }
}

/// What the last block of a stream says.
fn totals(bytes: &[u8]) -> Option<Totals> {
    let (head_bytes, content) = bytes.split_first_chunk::<BLOCK_HEAD_BYTES>()?;
    let (head, checksum) = BlockHead::decode(head_bytes)?;
    let sound = head.is_end && block_checksum(END_NUMBER, head_bytes, content) == checksum;
    sound.then(|| Totals::decode(content))?
}

fn no_file(path: &Path) -> Error {
    Error::new(ErrorKind::Unreadable, READ)
        .with_path(path)
        .because("it is not a file")
}

/// A file that appears under its name only when it is complete and durable.
///
/// Dropped before [`OutputFile::complete`], it vanishes. After a kill a file `.NAME.XXXXXX.partial` may
/// remain, which the next backup of that name removes.
#[derive(Debug)]
pub struct OutputFile {
    out: BufWriter<File>,
    partial: TempPath,
    destination: PathBuf,
    directory: PathBuf,
    force: bool,
}

impl OutputFile {
    /// Begins a file that will be `destination`; a file of that name is replaced with `force` only.
    ///
    /// # Errors
    /// `Exists`; `ReadOnly` where nothing can be written; `Full`.
    pub fn create(destination: &Path, force: bool) -> Result<OutputFile> {
        let (Some(name), Some(directory)) = (destination.file_name(), destination.parent()) else {
            return Err(Error::new(ErrorKind::Usage, WRITE)
                .with_path(destination)
                .because("this names no file"));
        };
        let directory = match directory.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => directory.to_path_buf(),
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        remove_left_over(&directory, &prefix);
        check_free(destination, force)?;
        let (file, partial) = create_locked(&directory, &prefix)
            .map_err(|error| not_writable(error).with_path(destination))?
            .into_parts();
        Ok(OutputFile {
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            partial,
            destination: destination.to_path_buf(),
            directory,
            force,
        })
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// `Exists` where a file of that name has appeared meanwhile; `Full`, `Io`.
    pub fn complete(self) -> Result<()> {
        let destination = &self.destination;
        let file = self
            .out
            .into_inner()
            .map_err(|error| error.into_error())
            .during(WRITE, destination)?;
        file.sync_all().during(WRITE, destination)?;
        check_free(destination, self.force)?;
        let named = match self.force {
            true => fs::rename(&self.partial, destination),
            false => name_once(&self.partial, destination),
        };
        named.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(destination),
            _ => Error::io(error, WRITE).with_path(destination),
        })?;
        let directory = File::open(&self.directory).during(WRITE, &self.directory)?;
        directory.sync_all().during(WRITE, &self.directory)
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Gives the file its name, unless another one has it.
fn name_once(partial: &Path, destination: &Path) -> io::Result<()> {
    match fs::hard_link(partial, destination) {
        Ok(()) => fs::remove_file(partial),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links: that the name is free was seen a moment ago.
        Err(_) => fs::rename(partial, destination),
    }
}

/// Whether the name can be taken. With `force` a file may be there, and nothing else.
fn check_free(destination: &Path, force: bool) -> Result<()> {
    match destination.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => Err(Error::new(ErrorKind::Exists, WRITE)
            .with_path(destination)
            .because("what has this name is no file")),
        Ok(_) if !force => Err(exists(destination)),
        _ => Ok(()),
    }
}

fn exists(destination: &Path) -> Error {
    Error::new(ErrorKind::Exists, WRITE)
        .with_path(destination)
        .because("there is a file of this name already")
        .hint("Give another name, or `--force` to replace it.")
}

fn not_writable(error: io::Error) -> Error {
    let error = Error::io(error, WRITE);
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unreadable => error.with_kind(ErrorKind::ReadOnly),
        _ => error,
    }
}

/// A temporary file that is locked for as long as it is written, so that it is not taken for one that
/// was left behind.
fn create_locked(directory: &Path, prefix: &std::ffi::OsStr) -> io::Result<NamedTempFile> {
    for _ in 0..TRIES_MAX {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(directory)?;
        match file.as_file().try_lock() {
            // A file system without locks: nobody else can lock it and remove it either.
            Err(TryLockError::Error(_)) => return Ok(file),
            Ok(()) if file.path().symlink_metadata().is_ok() => return Ok(file),
            // Somebody was quicker, and removes it or has removed it.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
        }
    }
    Err(io::Error::other("temporary files vanish"))
}

/// Removes what backups of the same name left behind that were killed. That it cannot is no reason not
/// to make one.
fn remove_left_over(directory: &Path, prefix: &std::ffi::OsStr) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
        // Between the two is what `tempfile` draws: nothing with a dot.
        let drawn = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
        let is_partial = drawn.is_some_and(|drawn| !drawn.contains(&b'.'));
        if !is_partial || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let opened = OpenOptions::new().read(true).write(true).open(entry.path());
        if let Ok(file) = opened
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
