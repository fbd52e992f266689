//! Reading FileStorage files.

use std::fs::File;
use std::path::Path;

use durum_core::record::normalize_refs;
use durum_core::{ErrorKind, Oid, Result, ResultExt};

use super::index::{CHANGED, Found};
use super::record::Record;
use super::references::{LeftOut, references};
use super::{READ, scan};
use crate::durus::DurusObject;
use crate::input::{Input, SORT_BYTES, Window, Writers, lock_shared, of_object};
use crate::offsets::{BEYOND, OffsetCursor, OffsetIndex};
use crate::options::StopWatch;

/// An open FileStorage file.
///
/// Opening reads the file once, in order, and keeps where the current data of each object lies in a
/// temporary file; the objects are then read by ascending OID. Objects whose creation was undone are
/// gone. Bytes after the last whole transaction are a torn write: they are not read, and counted by
/// [`torn_bytes`](ZodbFile::torn_bytes). While open, the storage's lock file, if there is one, is locked
/// against ZODB.
///
/// ```no_run
/// use durum_migrate::zodb::ZodbFile;
/// let file = ZodbFile::open("Data.fs")?;
/// for object in file.objects() {
///     let object = object?;
///     println!("{} refers to {:?}", object.oid, object.refs);
/// }
/// # Ok::<(), durum_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ZodbFile {
    input: Input,
    index: OffsetIndex,
    whole_end: u64,
    /// The checksum of the last bytes before that.
    tail: u32,
    _lock: Option<File>,
}

impl ZodbFile {
    /// Opens a file, with 16 MiB for sorting and the system's directory for temporary files.
    ///
    /// # Errors
    /// `NotFound`; `Unreadable` for no permission, something other than a FileStorage file, or OIDs
    /// from 2^63 on; `InUse` while ZODB has it open; `Damaged` for offsets and lengths that do not fit
    /// together before the torn end; `Full` when the temporary files do not fit.
    pub fn open(path: impl AsRef<Path>) -> Result<ZodbFile> {
        ZodbFile::open_with(path, None, SORT_BYTES)
    }

    /// Opens a file, with temporary files in `scratch` and `memory_bytes` bytes for sorting. The
    /// temporary files take 16 to 64 bytes for each version of an object.
    ///
    /// # Errors
    /// As [`open`](ZodbFile::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<ZodbFile> {
        ZodbFile::open_among(
            (Writers::Refused, &StopWatch::default()),
            path.as_ref(),
            scratch,
            memory_bytes,
        )
    }

    /// As [`open_with`](ZodbFile::open_with), perhaps while ZODB has it open: then what it has finished so
    /// far is read.
    pub(crate) fn open_among(
        (writers, watch): (Writers, &StopWatch),
        path: &Path,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<ZodbFile> {
        let mut input = Input::open(path, READ, watch)?;
        let lock = match writers {
            Writers::Refused => lock(path, &input)?,
            Writers::Tolerated => None,
        };
        // What was appended before the lock was there counts.
        input.measure()?;
        check_magic(&input)?;
        let mut found = Found::new(scratch, memory_bytes);
        let whole_end = scan::scan(&input, &mut found)?;
        let index = found.index(&input, scratch).at_path(path)?;
        Ok(ZodbFile {
            tail: input.tail(whole_end)?,
            input,
            index,
            whole_end,
            _lock: lock,
        })
    }

    /// The file itself.
    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// Shows the OIDs of objects that may have changed since the file was opened as `earlier`; false where
    /// it has been packed meanwhile, and any may have.
    pub(crate) fn changes_since(
        &self,
        earlier: &ZodbFile,
        show: &mut dyn FnMut(Oid) -> Result<()>,
    ) -> Result<bool> {
        let (end, tail) = (earlier.whole_end, earlier.tail);
        if !self.input.continues(&earlier.input, end, tail)? {
            return Ok(false);
        }
        self.index.differences(&earlier.index, show)?;
        Ok(true)
    }

    /// Shows the OIDs of all objects, ascending.
    pub(crate) fn oids(&self, show: &mut dyn FnMut(Oid) -> Result<()>) -> Result<()> {
        let mut cursor = self.index.cursor(0);
        while let Some((oid, _)) = cursor.next()? {
            show(Oid(oid))?;
        }
        Ok(())
    }

    /// The number of objects, garbage included.
    pub fn object_count(&self) -> u64 {
        self.index.objects()
    }

    /// The size of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.input.len()
    }

    /// Which file this is, and in which state.
    ///
    /// # Errors
    /// `Io` where the system does not say.
    pub(crate) fn description(&self) -> Result<String> {
        self.input.description()
    }

    /// How many bytes lie after the last whole transaction: what a torn write left.
    pub fn torn_bytes(&self) -> u64 {
        self.input.len() - self.whole_end
    }

    /// All objects, by ascending OID.
    pub fn objects(&self) -> Objects<'_> {
        Objects::new(self, 0)
    }

    /// The objects from an OID on, by ascending OID.
    ///
    /// # Errors
    /// `Io` when the index cannot be read.
    pub fn objects_from(&self, oid: Oid) -> Result<Objects<'_>> {
        Ok(Objects::new(self, self.index.position(oid)?))
    }

    /// One object, or `None` where there is none of this OID.
    ///
    /// # Errors
    /// `Io` or `Damaged` when it cannot be read, `Unreadable` when it references an OID from 2^63 on.
    pub fn load(&self, oid: Oid) -> Result<Option<DurusObject>> {
        let Some(at) = self.index.find(oid)? else {
            return Ok(None);
        };
        let (object, _) = self.read(&mut Window::new(&self.input), oid, at)?;
        Ok(Some(object))
    }

    fn read(&self, window: &mut Window<'_>, oid: Oid, at: u64) -> Result<(DurusObject, LeftOut)> {
        let read = self.read_unnamed(window, oid, at);
        read.map_err(|error| of_object(error, oid))
    }

    fn read_unnamed(
        &self,
        window: &mut Window<'_>,
        oid: Oid,
        at: u64,
    ) -> Result<(DurusObject, LeftOut)> {
        let input = &self.input;
        let record = Record::read(window, at)?.filter(|record| {
            let end = record.end().filter(|end| *end <= self.whole_end);
            record.oid == oid.0 && record.back.is_none() && end.is_some()
        });
        let record = record.ok_or_else(|| input.damaged(at, CHANGED).with_oid(oid))?;
        // It is inside the file, so nothing larger is allocated.
        let length = usize::try_from(record.data_bytes)
            .map_err(|_| input.fail(ErrorKind::TooLarge, "an object does not fit in memory"))?;
        let data = if length <= WINDOW_BYTES_MAX {
            window.get(record.data_at(), length)?.map(<[u8]>::to_vec)
        } else {
            let mut data = vec![0; length];
            input.read_at(&mut data, record.data_at())?;
            Some(data)
        };
        let data = data.unwrap_or_default();
        let (mut refs, left_out) = references(&data).map_err(|bad| {
            let at = record.data_at() + bad.at as u64;
            let why = format!("the pickles of object {oid} are damaged: {}", bad.why);
            input.damaged(at, why).with_oid(oid)
        })?;
        normalize_refs(oid, &mut refs);
        if let Some(beyond) = refs.last().filter(|oid| !oid.is_valid()) {
            let why = format!("it references object {beyond}, {BEYOND}");
            return Err(input.fail(ErrorKind::Unreadable, why).with_oid(oid));
        }
        Ok((DurusObject { oid, refs, data }, left_out))
    }
}

/// The objects of a [`ZodbFile`], ascending. After an error there are no more.
#[derive(Debug)]
pub struct Objects<'f> {
    file: &'f ZodbFile,
    window: Window<'f>,
    offsets: OffsetCursor<'f>,
    left_out: LeftOut,
    failed: bool,
}

impl<'f> Objects<'f> {
    fn new(file: &'f ZodbFile, position: u64) -> Objects<'f> {
        Objects {
            file,
            window: Window::new(&file.input),
            offsets: file.index.cursor(position),
            left_out: LeftOut::default(),
            failed: false,
        }
    }

    /// What the objects so far refer to without having it among their references.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    fn step(&mut self) -> Result<Option<DurusObject>> {
        let Some((oid, at)) = self.offsets.next()? else {
            return Ok(None);
        };
        let (object, left_out) = self.file.read(&mut self.window, Oid(oid), at)?;
        self.left_out += left_out;
        Ok(Some(object))
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<DurusObject>;

    fn next(&mut self) -> Option<Result<DurusObject>> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

/// Takes the lock of the storage, shared; ZODB takes it alone. The lock file is left as it is, and none
/// is made.
fn lock(path: &Path, input: &Input) -> Result<Option<File>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let Ok(file) = File::open(Path::new(&name)) else {
        return Ok(None);
    };
    if lock_shared(&file) {
        return Ok(Some(file));
    }
    Err(input
        .fail(ErrorKind::InUse, "a program has it open with ZODB")
        .hint("Stop that program, or copy the file and read the copy."))
}

fn check_magic(input: &Input) -> Result<()> {
    let mut window = Window::new(input);
    let length = input.len().min(MAGICS[0].len() as u64);
    let start = window.get(0, length as usize)?.unwrap_or_default();
    if MAGICS.contains(&start) {
        return Ok(());
    }
    let why = if start.is_empty() {
        "the file is empty".to_owned()
    } else {
        let shown = start.escape_ascii();
        format!(
            "it is not a FileStorage of ZODB: it begins with \"{shown}\", not \"FS30\" or \"FS21\""
        )
    };
    Err(input.fail(ErrorKind::Unreadable, why))
}

/// What files begin with.
const MAGICS: [&[u8]; 2] = [b"FS30", b"FS21"];

/// Larger objects are read past the window.
const WINDOW_BYTES_MAX: usize = 64 << 10;
