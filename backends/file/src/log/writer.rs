//! The end of the log, where frames are appended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::{Error, ErrorKind, IoResultExt, Result};

use super::frame::FRAME_ALIGN;
use super::{FrameBuilder, Position, SEGMENT_HEADER_BYTES, Segment, SegmentHeader};
use crate::error::poisoned;
use crate::seam::{File, FileSystem, View};

/// The log, for appending. A failure after which the disk's state is uncertain poisons it.
#[derive(Debug)]
pub(crate) struct Log {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    segment_bytes: u64,
    /// The segment that is written to.
    head: Arc<Segment>,
    file: Arc<dyn File>,
    /// Where the next frame goes.
    end: Position,
    /// Length of the head's file, and how far it is mapped.
    file_bytes: u64,
    capacity: u64,
    /// The newest frame that is on the device.
    synced: u64,
    known: Known,
    /// What [`Known::synced`] was when the newest frame was written, which says so.
    saying: Place,
    poisoned: bool,
}

/// A place in the log: segment and offset.
pub(crate) type Place = (u32, u64);

/// What is known of the log's frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Those before this place are on the device.
    pub(crate) synced: Place,
    /// Of those before this place the log itself says so, in what is on the device of it: they are
    /// known to have been whole once, also when the log is opened the next time.
    pub(crate) proved: Place,
}

/// Where a frame came to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// The segment.
    pub(crate) segment: u32,
    /// The frame's begin in it.
    pub(crate) offset: u32,
}

impl Log {
    /// Makes segment `header.number`, empty and durable, to append to.
    pub(crate) fn create(
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        segment_bytes: u64,
        header: SegmentHeader,
    ) -> Result<Log> {
        let file = create_segment(&**fs, dir, &header)?;
        let end = Position::start_of(&header);
        Log::open(fs, dir, segment_bytes, file, end)
    }

    /// Goes on at `end`, which must be the end of the log's last segment and on the device.
    pub(crate) fn open(
        fs: &Arc<dyn FileSystem>,
        dir: &Path,
        segment_bytes: u64,
        file: Arc<dyn File>,
        end: Position,
    ) -> Result<Log> {
        let file_bytes = file.len().during("open the log", dir)?;
        let capacity = segment_bytes.max(file_bytes);
        let view = View::new(&file, end.offset.min(file_bytes), capacity);
        let view = view.during("open the log", dir)?;
        Ok(Log {
            fs: Arc::clone(fs),
            dir: dir.to_path_buf(),
            segment_bytes,
            head: Arc::new(Segment::viewed(fs, dir, end.segment, view)),
            file,
            end,
            file_bytes,
            capacity,
            synced: end.sequence,
            known: Known {
                synced: (end.segment, end.offset),
                proved: (end.segment, SEGMENT_HEADER_BYTES),
            },
            saying: (end.segment, SEGMENT_HEADER_BYTES),
            poisoned: false,
        })
    }

    /// The segment that is written to.
    pub(crate) fn head(&self) -> &Arc<Segment> {
        &self.head
    }

    /// The end of the log.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// What is known of the frames that were written.
    pub(crate) fn known(&self) -> Known {
        self.known
    }

    /// Whether a write failed and left the disk's state uncertain.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Refuses all further writes.
    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Fails once the log is poisoned.
    pub(crate) fn check(&self) -> Result<()> {
        if self.poisoned {
            return Err(poisoned("write to the log"));
        }
        Ok(())
    }

    /// Writes a frame to the end of the log; with `preallocate` also zeros beyond, so that the next
    /// syncs find blocks to overwrite.
    ///
    /// # Errors
    /// `Full`: nothing was changed. Any other poisons the log.
    pub(crate) fn append(&mut self, frame: &mut FrameBuilder, preallocate: bool) -> Result<Placed> {
        self.check()?;
        let bytes = frame.bytes();
        if self.end.offset + bytes > self.capacity && self.end.offset > SEGMENT_HEADER_BYTES {
            self.roll(bytes)?;
        } else if self.end.offset + bytes > self.capacity {
            self.widen(self.end.offset + bytes)?;
        }
        let (segment, offset) = (self.end.segment, self.end.offset);
        let sequence = self.end.sequence + 1;
        let (out, crc) = frame.finish((segment, offset), (sequence, self.synced, self.end.chain));
        if let Err(error) = self.file.write_at(out, offset) {
            return Err(self.roll_back(error, bytes));
        }
        let written = offset + bytes;
        self.file_bytes = self.file_bytes.max(written);
        self.end.offset = written.next_multiple_of(FRAME_ALIGN);
        self.end.sequence = sequence;
        self.end.chain = crc;
        self.saying = self.known.synced;
        self.head.view()?.extend(written);
        if preallocate && written == self.file_bytes {
            self.preallocate();
        }
        Ok(Placed {
            segment,
            offset: offset as u32,
        })
    }

    /// Makes all frames durable.
    ///
    /// # Errors
    /// Every failure poisons the log: what is on the device is not known.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.check()?;
        if self.synced == self.end.sequence {
            return Ok(());
        }
        if let Err(error) = self.file.sync() {
            self.poison();
            return Err(Error::io(error, "sync the log")
                .with_kind(ErrorKind::Io)
                .with_path(self.head.path()));
        }
        self.synced = self.end.sequence;
        self.known = Known {
            synced: (self.end.segment, self.end.offset),
            proved: self.saying,
        };
        Ok(())
    }

    /// Ends the segment, and begins another with room for a frame of `frame_bytes`.
    pub(crate) fn roll(&mut self, frame_bytes: u64) -> Result<()> {
        self.sync()?;
        if self.end.segment >= super::entry::SEGMENT_MAX {
            return Err(Error::new(ErrorKind::Unsupported, "write to the log")
                .because("all segment numbers are used up")
                .hint("Migrate into a new store."));
        }
        let header = SegmentHeader {
            number: self.end.segment + 1,
            sequence: self.end.sequence + 1,
            chain: self.end.chain,
        };
        let file = create_segment(&*self.fs, &self.dir, &header)
            .inspect_err(|error| self.poisoned |= error.kind() != ErrorKind::Full)?;
        let capacity = self.segment_bytes.max(SEGMENT_HEADER_BYTES + frame_bytes);
        let view = View::new(&file, SEGMENT_HEADER_BYTES, capacity);
        let view = view.map_err(|error| {
            self.poisoned = true;
            uncertain(error, "begin a segment")
        })?;
        // What was preallocated and not used goes back to the system. Frames end before; failing
        // costs space and nothing else.
        if self.file_bytes > self.end.offset {
            let _ = self.file.set_len(self.end.offset);
        }
        self.head = Arc::new(Segment::viewed(&self.fs, &self.dir, header.number, view));
        self.file = file;
        self.end = Position::start_of(&header);
        // The new segment's header says that all frames before are on the device.
        self.known.synced = (header.number, SEGMENT_HEADER_BYTES);
        self.known.proved = self.known.synced;
        self.saying = self.known.synced;
        self.file_bytes = SEGMENT_HEADER_BYTES;
        self.capacity = capacity;
        Ok(())
    }

    /// Maps more of an empty head, for a frame that is larger than a segment.
    fn widen(&mut self, capacity: u64) -> Result<()> {
        let view = View::new(&self.file, self.end.offset, capacity);
        let view = view.during("begin a segment", &self.dir)?;
        let number = self.end.segment;
        self.head = Arc::new(Segment::viewed(&self.fs, &self.dir, number, view));
        self.capacity = capacity;
        Ok(())
    }

    /// Makes a frame that was written in part unrecognisable.
    fn roll_back(&mut self, error: io::Error, bytes: u64) -> Error {
        let offset = self.end.offset;
        let error = uncertain(error, "write to the log").with_path(self.head.path());
        let erased = self
            .file
            .set_len(self.file_bytes.max(offset))
            .and_then(|()| {
                let old = self.file_bytes.saturating_sub(offset).min(bytes);
                if old == 0 {
                    return Ok(());
                }
                self.file.write_at(&vec![0; old as usize], offset)
            });
        if erased.is_err() || error.kind() != ErrorKind::Full {
            self.poison();
            let kind = match error.kind() {
                ErrorKind::Full => ErrorKind::Io,
                kind => kind,
            };
            return error.with_kind(kind);
        }
        error
    }

    /// Extends the head by zeros. Without room that is left for later.
    fn preallocate(&mut self) {
        let step = (self.file_bytes / 4).clamp(PREALLOCATE_MIN_BYTES, PREALLOCATE_MAX_BYTES);
        let target = (self.file_bytes + step).min(self.capacity);
        let zeros = target.saturating_sub(self.file_bytes);
        if zeros == 0 {
            return;
        }
        let written = self
            .file
            .write_at(&vec![0; zeros as usize], self.file_bytes);
        if written.is_ok() {
            self.file_bytes = target;
        } else if self.file.set_len(self.file_bytes).is_err() {
            self.poison();
        }
    }
}

/// An error from a write whose outcome is not known; `Full` only where the system says so.
fn uncertain(error: io::Error, operation: &'static str) -> Error {
    let error = Error::io(error, operation);
    match error.kind() {
        ErrorKind::Full => error,
        _ => error.with_kind(ErrorKind::Io),
    }
}

/// Makes a segment's file with its header, durable in its directory.
///
/// # Errors
/// `Full`: there is no such segment. Any other leaves that uncertain.
fn create_segment(
    fs: &dyn FileSystem,
    dir: &Path,
    header: &SegmentHeader,
) -> Result<Arc<dyn File>> {
    let path = dir.join(super::segment::segment_name(header.number));
    let made = fs.create(&path).and_then(|file| {
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        Ok(file)
    });
    match made {
        Ok(file) => {
            let synced = fs.sync_dir(dir);
            synced.map(|()| file).map_err(|error| {
                let _ = fs.remove(&path);
                uncertain(error, "begin a segment").with_kind(ErrorKind::Io)
            })
        }
        Err(error) => {
            // A file without frames that stays behind is recognised and removed when the log is opened.
            let _ = fs.remove(&path);
            Err(uncertain(error, "begin a segment").with_path(&path))
        }
    }
}

const PREALLOCATE_MIN_BYTES: u64 = 64 << 10;
const PREALLOCATE_MAX_BYTES: u64 = 4 << 20;
