//! The index's file for writing: checkpoints, and which pages may be written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use durum_core::engine::Key;
use durum_core::{Error, ErrorKind, IoResultExt, Result};

use super::base::Base;
use super::merge::{Merge, PageSink};
use super::walk::free_pages;
use super::{HEADER_PAGES, Header, HeaderSlots, PAGE_BYTES, PageRef, Root, TREES};
use crate::error::index_damage;
use crate::log::Position;
use crate::seam::{File, FileSystem, View};

/// The index, for writing.
#[derive(Debug)]
pub(crate) struct Index {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) base: Arc<Base>,
    pub(super) view: Arc<View>,
    /// Pages of the file, used or not.
    pub(super) file_pages: u32,
    pub(super) free: Vec<u32>,
    /// Pages that a checkpoint gave up, and the trees that it replaced: they become free when nobody
    /// holds those trees, nor any before them.
    pub(super) retired: VecDeque<(Weak<Base>, Vec<u32>)>,
    /// Whether the header is known to be on the device, and not only to have been read.
    header_is_durable: bool,
    /// See [`Index::is_uncertain`].
    is_uncertain: bool,
}

/// An index that was found.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// It is whole, and was the newest checkpoint's if `certain`.
    Good {
        /// The index.
        index: Box<Index>,
        /// Whether there cannot have been a newer one.
        certain: bool,
    },
    /// It is missing or damaged.
    Bad,
}

impl Index {
    /// Makes an empty index that covers nothing before `start`, durable, in place of any other.
    pub(crate) fn create(fs: &dyn FileSystem, dir: &Path, start: Position) -> Result<Index> {
        let path = dir.join(FILE_NAME);
        let header = Header {
            generation: 1,
            covered: start,
            pages: HEADER_PAGES,
            roots: [None; TREES],
        };
        let made = fs.create(&path).and_then(|file| {
            file.set_len(u64::from(HEADER_PAGES) * PAGE_BYTES as u64)?;
            file.write_at(&header.encode(), header.offset())?;
            file.sync()?;
            fs.sync_dir(dir)?;
            Ok(file)
        });
        let file = made.during("create the index", &path)?;
        let mut index = Index::with(file, path, header, HEADER_PAGES)?;
        index.header_is_durable = true;
        Ok(index)
    }

    fn with(file: Arc<dyn File>, path: PathBuf, header: Header, file_pages: u32) -> Result<Index> {
        let view = Arc::new(view_of(&file, file_pages).during("open the index", &path)?);
        let base = Base::new(header.roots, Arc::clone(&view), header.pages);
        Ok(Index {
            file,
            path,
            header,
            base: Arc::new(base),
            view,
            file_pages,
            free: Vec::new(),
            retired: VecDeque::new(),
            header_is_durable: false,
            is_uncertain: false,
        })
    }

    /// Opens the index in `dir`.
    ///
    /// # Errors
    /// Those of the system; damage is an answer.
    pub(crate) fn load(fs: &dyn FileSystem, dir: &Path) -> Result<Loaded> {
        let path = dir.join(FILE_NAME);
        let file = match fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Loaded::Bad),
            Err(error) => return Err(error).during("open the index", &path),
        };
        let bytes = file.len().during("open the index", &path)?;
        let slots = HeaderSlots::read(|page, offset| {
            if offset + page.len() as u64 > bytes {
                return Ok(false);
            }
            file.read_at(page, offset).during("open the index", &path)?;
            Ok(true)
        })?;
        let file_pages = u32::try_from(bytes / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        let Some(header) = slots.newest else {
            return Ok(Loaded::Bad);
        };
        if header.pages > file_pages {
            return Ok(Loaded::Bad);
        }
        let pages = header.pages;
        let mut index = Index::with(file, path, header, file_pages)?;
        match free_pages(&index.base, pages, slots.doubtful) {
            Ok(free) => index.free = free,
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Loaded::Bad),
            Err(error) => return Err(error),
        }
        Ok(Loaded::Good {
            index: Box::new(index),
            certain: !slots.doubtful,
        })
    }

    /// The trees of the last checkpoint.
    pub(crate) fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// What of the log is in the trees.
    pub(crate) fn covered(&self) -> Position {
        self.header.covered
    }

    /// Whether a failure has left it open which trees are on the disk. After any other the index is as it
    /// was.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Bytes of pages that hold nothing that is needed.
    pub(crate) fn free_bytes(&self) -> u64 {
        let retired: usize = self.retired.iter().map(|(_, pages)| pages.len()).sum();
        ((self.free.len() + retired) * PAGE_BYTES) as u64
    }

    /// Bytes that the file occupies on the disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64> {
        self.file
            .disk_bytes()
            .during("measure the index", &self.path)
    }

    /// Writes trees with `changes` (by tree; sorted) merged in, as covering the log up to `covered`,
    /// which must be on the device.
    ///
    /// # Errors
    /// See [`Index::is_uncertain`].
    pub(crate) fn checkpoint(
        &mut self,
        changes: &[Vec<(Key, u64)>],
        covered: Position,
    ) -> Result<()> {
        self.rewrite(covered, |merge, _| {
            let changes = changes.get(merge.tree).map_or(&[][..], Vec::as_slice);
            merge.run(changes)
        })
    }

    /// Writes new trees, each as `tree` makes it of the old one.
    pub(super) fn rewrite(
        &mut self,
        covered: Position,
        mut tree: impl FnMut(&mut Merge<'_>, Option<Root>) -> Result<Option<Root>>,
    ) -> Result<()> {
        // Pages that only an older header names are written from here on.
        self.settle()?;
        self.release();
        let base = Arc::clone(&self.base);
        let mut pages = NewPages {
            file: &*self.file,
            path: &self.path,
            file_pages: self.file_pages,
            pages: self.header.pages,
            free: self.free.clone(),
            retired: Vec::new(),
            buffer: Vec::new(),
            buffer_page: 0,
        };
        let mut roots = base.roots;
        for (number, root) in roots.iter_mut().enumerate() {
            let mut merge = Merge {
                base: &base,
                tree: number,
                sink: &mut pages,
            };
            *root = tree(&mut merge, *root)?;
        }
        pages.flush()?;
        let NewPages {
            file_pages,
            pages,
            free,
            retired,
            ..
        } = pages;
        self.commit(roots, covered, pages, file_pages)?;
        self.free = free;
        self.retired.push_back((Arc::downgrade(&base), retired));
        Ok(())
    }

    /// Makes the header durable that was found when the index was opened. A process before may have
    /// failed to: then it is in the system's cache only, and no sync takes it from there to the device
    /// unless it is written again.
    ///
    /// # Errors
    /// It is uncertain which header is on the disk.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.header_is_durable {
            return Ok(());
        }
        let header = &self.header;
        let written = self.file.write_at(&header.encode(), header.offset());
        let settled = written.and_then(|()| self.file.sync());
        settled.map_err(|error| self.uncertain(error))?;
        self.header_is_durable = true;
        Ok(())
    }

    /// Makes the pages durable, then the header that names them.
    pub(super) fn commit(
        &mut self,
        roots: [Option<Root>; TREES],
        covered: Position,
        pages: u32,
        file_pages: u32,
    ) -> Result<()> {
        self.settle()?;
        let header = Header {
            generation: self.header.generation + 1,
            covered,
            pages,
            roots,
        };
        let written = self.file.sync().and_then(|()| {
            self.file.write_at(&header.encode(), header.offset())?;
            self.file.sync()
        });
        written.map_err(|error| self.uncertain(error))?;
        if file_pages != self.file_pages {
            let view = view_of(&self.file, file_pages);
            self.view = Arc::new(view.map_err(|error| self.uncertain(error))?);
            self.file_pages = file_pages;
        }
        self.base = Arc::new(Base::new(roots, Arc::clone(&self.view), pages));
        self.header = header;
        Ok(())
    }

    /// Notes a failure in what makes trees the newest: even a full disk leaves it open which ones are.
    pub(super) fn uncertain(&mut self, error: std::io::Error) -> Error {
        self.is_uncertain = true;
        Error::io(error, "write the index")
            .with_path(&self.path)
            .with_kind(ErrorKind::Io)
    }

    /// Frees the pages of trees that nobody holds any more.
    pub(super) fn release(&mut self) {
        while let Some((base, _)) = self.retired.front() {
            if base.strong_count() > 0 {
                break;
            }
            if let Some((_, pages)) = self.retired.pop_front() {
                self.free.extend(pages);
            }
        }
        // Low pages first, and neighbours together: they are written in one go.
        self.free.sort_unstable_by(|left, right| right.cmp(left));
    }
}

/// The pages of a checkpoint that is being written.
pub(super) struct NewPages<'a> {
    pub(super) file: &'a dyn File,
    pub(super) path: &'a Path,
    pub(super) file_pages: u32,
    pub(super) pages: u32,
    pub(super) free: Vec<u32>,
    pub(super) retired: Vec<u32>,
    /// Pages that follow on each other and are not written yet, the first being `buffer_page`.
    pub(super) buffer: Vec<u8>,
    pub(super) buffer_page: u32,
}

impl NewPages<'_> {
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let offset = u64::from(self.buffer_page) * PAGE_BYTES as u64;
        let written = self.file.write_at(&self.buffer, offset);
        self.buffer.clear();
        written.during("write the index", self.path)
    }

    fn grow(&mut self) -> Result<()> {
        let pages = self.file_pages + (self.file_pages / 8).clamp(GROW_PAGES_MIN, GROW_PAGES_MAX);
        let grown = self.file.set_len(u64::from(pages) * PAGE_BYTES as u64);
        grown.during("write the index", self.path)?;
        self.file_pages = pages;
        Ok(())
    }
}

impl PageSink for NewPages<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<PageRef> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let number = self.pages;
                if number == u32::MAX {
                    return Err(index_damage("write the index", "it has too many pages"));
                }
                self.pages += 1;
                number
            }
        };
        if number >= self.file_pages {
            self.grow()?;
        }
        let buffered = (self.buffer.len() / PAGE_BYTES) as u32;
        if self.buffer_page + buffered != number || self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush()?;
            self.buffer_page = number;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(PageRef::new(number, bytes))
    }

    fn retire(&mut self, page: PageRef) {
        self.retired.push(page.number());
    }
}

pub(super) fn view_of(file: &Arc<dyn File>, pages: u32) -> std::io::Result<View> {
    let bytes = u64::from(pages) * PAGE_BYTES as u64;
    View::new(file, bytes, bytes)
}

const FILE_NAME: &str = "rows.idx";
const BUFFER_BYTES_MAX: usize = 1 << 20;
const GROW_PAGES_MIN: u32 = 16;
const GROW_PAGES_MAX: u32 = 16 << 10;
