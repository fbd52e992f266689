//! The trees as the last checkpoint left them, for reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use durum_core::engine::Key;
use durum_core::{Error, Result};

use super::page::Page;
use super::{PAGE_BYTES, PageRef, Root, TREES, tree_is_pair};
use crate::error::index_damage;
use crate::seam::View;

/// The trees of one checkpoint. As long as it is held, none of its pages is written.
#[derive(Debug)]
pub(crate) struct Base {
    /// The trees' roots.
    pub(crate) roots: [Option<Root>; TREES],
    view: Arc<View>,
    /// A bit for each page that was found intact, so that its checksum is computed once.
    verified: Vec<AtomicU64>,
    /// The largest key of each tree, when it was asked for.
    last: [OnceLock<Option<Key>>; TREES],
}

impl Base {
    /// The trees with these roots, in a file of `pages` pages.
    pub(crate) fn new(roots: [Option<Root>; TREES], view: Arc<View>, pages: u32) -> Base {
        let words = pages as usize / 64 + 1;
        Base {
            roots,
            view,
            verified: (0..words).map(|_| AtomicU64::new(0)).collect(),
            last: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// The number under `key`.
    #[inline]
    pub(crate) fn get(&self, tree: usize, key: Key) -> Result<Option<u64>> {
        let Some(Some(root)) = self.roots.get(tree) else {
            return Ok(None);
        };
        let (mut page, mut height) = (root.page, root.height);
        while height > 0 {
            let inner = self.page(tree, page, height)?;
            let Some(child) = inner.value(inner.child(key)) else {
                return Err(self.damaged(page));
            };
            page = PageRef(child);
            height -= 1;
        }
        let leaf = self.page(tree, page, 0)?;
        Ok(match leaf.locate(key) {
            (at, true) => leaf.value(at),
            _ => None,
        })
    }

    /// The largest key of `tree`, which is read once.
    pub(crate) fn last(&self, tree: usize) -> Result<Option<Key>> {
        let Some(known) = self.last.get(tree) else {
            return Ok(None);
        };
        if let Some(last) = known.get() {
            return Ok(*last);
        }
        let last = self.read_last(tree)?;
        Ok(*known.get_or_init(|| last))
    }

    fn read_last(&self, tree: usize) -> Result<Option<Key>> {
        let Some(Some(root)) = self.roots.get(tree) else {
            return Ok(None);
        };
        let (mut page, mut height) = (root.page, root.height);
        loop {
            let read = self.page(tree, page, height)?;
            let at = read.count().saturating_sub(1);
            if height == 0 {
                return Ok(read.key(at));
            }
            let child = read.value(at).ok_or_else(|| self.damaged(page))?;
            page = PageRef(child);
            height -= 1;
        }
    }

    /// A page of `tree`, verified.
    #[inline]
    pub(crate) fn page(&self, tree: usize, page: PageRef, height: u8) -> Result<Page<'_>> {
        let offset = u64::from(page.number()) * PAGE_BYTES as u64;
        let bytes = self.view.bytes(offset, PAGE_BYTES).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                return self.damaged(page);
            }
            Error::io(error, "read the index")
        })?;
        let word = self.verified.get(page.number() as usize / 64);
        let bit = 1 << (page.number() % 64);
        let known = word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0);
        if !known || matches!(bytes, std::borrow::Cow::Owned(_)) {
            if crc32fast::hash(&bytes) != page.crc() {
                return Err(self.damaged(page));
            }
            if let Some(word) = word {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Page::parse(bytes, tree_is_pair(tree), height).ok_or_else(|| self.damaged(page))
    }

    #[cold]
    fn damaged(&self, page: PageRef) -> Error {
        index_damage(
            "read the index",
            format!("page {} is not the one that was written", page.number()),
        )
    }

    /// A cursor over the entries of `tree` from `from` on.
    pub(crate) fn cursor(&self, tree: usize, from: Key) -> Result<TreeCursor<'_>> {
        let mut cursor = TreeCursor {
            base: self,
            tree,
            stack: Vec::new(),
        };
        if let Some(Some(root)) = self.roots.get(tree) {
            cursor.descend(root.page, root.height, from)?;
        }
        Ok(cursor)
    }
}

/// Walks over the entries of a tree in ascending order.
#[derive(Debug)]
pub(crate) struct TreeCursor<'a> {
    base: &'a Base,
    tree: usize,
    /// From the root to a leaf: the page, its height, and the entry that comes next.
    stack: Vec<(Page<'a>, u8, usize)>,
}

impl TreeCursor<'_> {
    fn descend(&mut self, mut page: PageRef, mut height: u8, from: Key) -> Result<()> {
        loop {
            let read = self.base.page(self.tree, page, height)?;
            if height == 0 {
                let at = read.locate(from).0;
                self.stack.push((read, 0, at));
                return Ok(());
            }
            let at = read.child(from);
            let child = read.value(at).ok_or_else(|| self.base.damaged(page))?;
            self.stack.push((read, height, at + 1));
            page = PageRef(child);
            height -= 1;
        }
    }

    /// The next entry.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(Key, u64)>> {
        loop {
            let Some((page, height, at)) = self.stack.last_mut() else {
                return Ok(None);
            };
            let (key, value) = (page.key(*at), page.value(*at));
            if *at >= page.count() {
                self.stack.pop();
                continue;
            }
            *at += 1;
            let (Some(key), Some(value)) = (key, value) else {
                return Ok(None);
            };
            if *height == 0 {
                return Ok(Some((key, value)));
            }
            let below = *height - 1;
            self.descend(PageRef(value), below, Key::MIN)?;
        }
    }
}
