//! Merging sorted changes into a copy-on-write tree: pages on the way are written anew, all others
//! stay and are shared.

use durum_core::engine::Key;
use durum_core::{Error, Result};

use super::base::Base;
use super::page::{capacity, encode};
use super::{PageRef, Root, tree_is_pair};
use crate::log::Entry;

/// Where a merge gets and puts pages.
pub(crate) trait PageSink {
    /// Writes a new page.
    fn write(&mut self, bytes: &[u8]) -> Result<PageRef>;
    /// Notes that the new trees do without a page.
    fn retire(&mut self, page: PageRef);
}

/// A merge into one tree.
pub(crate) struct Merge<'a> {
    /// The trees before.
    pub(crate) base: &'a Base,
    /// Which of them.
    pub(crate) tree: usize,
    /// Where pages go.
    pub(crate) sink: &'a mut dyn PageSink,
}

impl Merge<'_> {
    /// Merges `changes`, which are sorted and of which [`Entry::GONE`] removes; returns the new root.
    pub(crate) fn run(&mut self, changes: &[(Key, u64)]) -> Result<Option<Root>> {
        let root = self.base.roots.get(self.tree).copied().flatten();
        if changes.is_empty() {
            return Ok(root);
        }
        let (mut height, mut contents) = match root {
            None => (0, merge_entries(std::iter::empty(), changes)),
            Some(root) => (root.height, self.rebuild(root.page, root.height, changes)?),
        };
        let pair = tree_is_pair(self.tree);
        loop {
            match contents.as_slice() {
                [] => return Ok(None),
                // A page above the leaves with one child is not needed.
                [(_, child)] if height > 0 => {
                    return self.collapse(PageRef(*child), height - 1).map(Some);
                }
                entries if entries.len() <= capacity(pair) => {
                    let page = self.sink.write(&encode(entries, pair, height))?;
                    return Ok(Some(Root { page, height }));
                }
                _ => {
                    let mut above = Vec::new();
                    self.flush(&mut contents, height, true, &mut above)?;
                    contents = above;
                    height = height
                        .checked_add(1)
                        .ok_or_else(|| Error::damaged("write the index", "a tree is too high"))?;
                }
            }
        }
    }

    /// The root when `page` is all that is left. (Were it above the leaves and with one child too, it
    /// would be one level more than needed, no more.)
    fn collapse(&mut self, page: PageRef, height: u8) -> Result<Root> {
        Ok(Root { page, height })
    }

    /// The contents of `page` with `changes` merged in; the page itself is given up.
    fn rebuild(
        &mut self,
        page: PageRef,
        height: u8,
        changes: &[(Key, u64)],
    ) -> Result<Vec<(Key, u64)>> {
        let base = self.base;
        let read = base.page(self.tree, page, height)?;
        self.sink.retire(page);
        if height == 0 {
            return Ok(merge_entries(read.entries(), changes));
        }
        let children: Vec<(Key, u64)> = read.entries().collect();
        let small = capacity(tree_is_pair(self.tree)) / 3;
        let (mut out, mut pending) = (Vec::new(), Vec::new());
        let mut rest = changes;
        for (at, &(key, child)) in children.iter().enumerate() {
            let end = children.get(at + 1).map_or(rest.len(), |next| {
                rest.partition_point(|change| change.0 < next.0)
            });
            let (mine, others) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = others;
            let untouched = mine.is_empty();
            if untouched && (pending.is_empty() || pending.len() >= small) {
                self.flush(&mut pending, height - 1, false, &mut out)?;
                out.push((key, child));
                continue;
            }
            // A neighbour of a page that became small is taken in, so that pages do not stay so.
            pending.extend(self.rebuild(PageRef(child), height - 1, mine)?);
        }
        self.flush(&mut pending, height - 1, true, &mut out)?;
        Ok(out)
    }

    /// Copies the pages of a tree that are not below `limit`; returns what now stands for `page`.
    pub(crate) fn relocate(&mut self, page: PageRef, height: u8, limit: u32) -> Result<PageRef> {
        if height == 0 && page.number() < limit {
            return Ok(page);
        }
        let base = self.base;
        let mut entries: Vec<(Key, u64)> = base.page(self.tree, page, height)?.entries().collect();
        let mut moved = page.number() >= limit;
        if height > 0 {
            for (_, child) in &mut entries {
                let new = self.relocate(PageRef(*child), height - 1, limit)?;
                moved |= new.0 != *child;
                *child = new.0;
            }
        }
        if !moved {
            return Ok(page);
        }
        self.sink.retire(page);
        self.sink
            .write(&encode(&entries, tree_is_pair(self.tree), height))
    }

    /// Writes `entries` as pages and adds these to `out`. At the right end of a tree, where ascending
    /// keys arrive, pages are filled; elsewhere their entries are divided evenly.
    fn flush(
        &mut self,
        entries: &mut Vec<(Key, u64)>,
        height: u8,
        fill: bool,
        out: &mut Vec<(Key, u64)>,
    ) -> Result<()> {
        let pair = tree_is_pair(self.tree);
        let capacity = capacity(pair);
        let pages = entries.len().div_ceil(capacity);
        let each = if fill {
            capacity
        } else {
            entries.len().div_ceil(pages.max(1)).max(1)
        };
        for chunk in entries.chunks(each) {
            let page = self.sink.write(&encode(chunk, pair, height))?;
            let key = chunk.first().map_or(Key::MIN, |entry| entry.0);
            out.push((key, page.0));
        }
        entries.clear();
        Ok(())
    }
}

fn merge_entries(old: impl Iterator<Item = (Key, u64)>, changes: &[(Key, u64)]) -> Vec<(Key, u64)> {
    let mut out = Vec::with_capacity(changes.len());
    let mut old = old.peekable();
    for &(key, value) in changes {
        while let Some(entry) = old.next_if(|entry| entry.0 < key) {
            out.push(entry);
        }
        let _ = old.next_if(|entry| entry.0 == key);
        if value != Entry::GONE.0 {
            out.push((key, value));
        }
    }
    out.extend(old);
    out
}
