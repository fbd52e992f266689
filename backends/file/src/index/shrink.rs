//! Giving the index's free pages back to the system.

use std::sync::Arc;

use durum_core::Result;

use super::base::Base;
use super::pages::{Index, view_of};
use super::{PAGE_BYTES, Root};

/// What [`Index::shrink`] did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shrunk {
    /// Bytes that the file is smaller by.
    pub(crate) bytes: u64,
    /// Whether pages were moved, so that the next call can cut the file.
    pub(crate) more: bool,
}

impl Index {
    /// Makes the file smaller where much of it is free: first moves pages from its end to its begin,
    /// then, when no snapshot holds the trees from before that, cuts it.
    ///
    /// # Errors
    /// See [`Index::is_uncertain`].
    pub(crate) fn shrink(&mut self) -> Result<Shrunk> {
        self.release();
        if !self.retired.is_empty() {
            return Ok(Shrunk::default());
        }
        let free_behind = self.free_behind();
        if free_behind >= SHRINK_PAGES_MIN {
            return self.cut(free_behind);
        }
        if !self.is_mostly_free() {
            return Ok(Shrunk::default());
        }
        let free = self.free.len() as u32;
        // Some more than what is used, since pages above moved ones are written anew as well.
        let used = self.header.pages - free;
        let limit = used + used / 8 + SHRINK_PAGES_MIN / 4;
        self.rewrite(self.header.covered, |merge, root| match root {
            None => Ok(None),
            Some(root) => Ok(Some(Root {
                page: merge.relocate(root.page, root.height, limit)?,
                height: root.height,
            })),
        })?;
        Ok(Shrunk {
            bytes: 0,
            more: true,
        })
    }

    /// Whether shrinking is worth it, once no snapshot is in the way.
    pub(crate) fn is_mostly_free(&self) -> bool {
        let free = self.free_bytes() / PAGE_BYTES as u64;
        free >= u64::from(SHRINK_PAGES_MIN) && free > u64::from(self.header.pages / 2)
    }

    /// The number of free pages at the end. The free list is sorted, the highest first.
    fn free_behind(&self) -> u32 {
        let last = self.header.pages.saturating_sub(1);
        let behind = self.free.iter().zip(0..);
        behind
            .take_while(|(page, at)| **page == last.saturating_sub(*at))
            .count() as u32
    }

    fn cut(&mut self, pages: u32) -> Result<Shrunk> {
        let left = self.header.pages - pages;
        let (old, roots) = (Arc::clone(&self.base), self.header.roots);
        self.commit(roots, self.header.covered, left, self.file_pages)?;
        self.free.retain(|page| *page < left);
        // Trees before this were all let go of (nothing is retired), and these have no page behind the
        // cut: nobody reads there. Those who hold the old ones hold the pages of the new ones.
        self.retired.push_back((Arc::downgrade(&old), Vec::new()));
        let cut = self.file.set_len(u64::from(left) * PAGE_BYTES as u64);
        cut.map_err(|error| self.uncertain(error))?;
        let bytes = u64::from(self.file_pages - left) * PAGE_BYTES as u64;
        self.file_pages = left;
        let view = view_of(&self.file, left);
        self.view = Arc::new(view.map_err(|error| self.uncertain(error))?);
        let uncut = Arc::clone(&self.base);
        self.retired.push_back((Arc::downgrade(&uncut), Vec::new()));
        self.base = Arc::new(Base::new(roots, Arc::clone(&self.view), left));
        Ok(Shrunk { bytes, more: false })
    }
}

/// Fewer pages are not worth it: 1 MiB, and less in tests, so that small histories meet it.
const SHRINK_PAGES_MIN: u32 = if cfg!(test) { 8 } else { 256 };
