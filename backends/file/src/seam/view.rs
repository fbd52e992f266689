//! A file for reading: mapped where that is possible, else read into memory piece by piece.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{File, Map};

/// The part of a file that may be read, from its begin to a limit that only grows.
#[derive(Debug)]
pub(crate) struct View {
    source: Source,
    limit: AtomicU64,
}

#[derive(Debug)]
enum Source {
    Mapped(Map),
    Plain(Arc<dyn File>),
}

impl View {
    /// A view of `file`, which can be read up to `limit` now and up to `capacity` later.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter than `limit`.
    pub(crate) fn new(file: &Arc<dyn File>, limit: u64, capacity: u64) -> io::Result<View> {
        if file.len()? < limit {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let source = match file.map(capacity)? {
            Some(map) => Source::Mapped(map),
            None => Source::Plain(Arc::clone(file)),
        };
        Ok(View {
            source,
            limit: AtomicU64::new(limit),
        })
    }

    /// Where the readable part ends.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// Moves the limit: the file's bytes up to there have been written and stay as they are.
    pub(crate) fn extend(&self, limit: u64) {
        self.limit.fetch_max(limit, Ordering::AcqRel);
    }

    /// The bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the limit.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn bytes(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(bytes as u64);
        if end.is_none_or(|end| end > self.limit()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &self.source {
            Source::Mapped(map) => {
                // SAFETY: the file reaches to the limit (checked at the begin, then extended only
                // after writes). The store's lock keeps other processes out. This engine cuts a
                // segment only at its limit or beyond; it cuts the index only behind all pages of
                // trees that anybody holds (see `index::shrink`), and only pages of trees are read.
                // Bytes below a segment's limit are never written again, but for values that no state
                // shows any more (see `crate::holes`, and `log::Segment::op_bytes` for who may look at
                // bytes that are not its own); a page of the index is only
                // written while no snapshot's tree holds it (see `index::pages`).
                let slice = unsafe { map.slice(offset as usize, bytes) };
                slice
                    .map(Cow::Borrowed)
                    .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Source::Plain(file) => {
                let mut buffer = vec![0; bytes];
                file.read_at(&mut buffer, offset)?;
                Ok(Cow::Owned(buffer))
            }
        }
    }
}
