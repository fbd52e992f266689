//! Finding out at open which pages of the index are in use: only pages above the leaves are read.

use durum_core::Result;
use durum_core::engine::Key;

use super::base::Base;
use super::{HEADER_PAGES, PageRef, TREES};
use crate::error::index_damage;

/// The pages below `pages` that no tree of `base` uses, the highest first; with `deep` leaves are
/// checked too.
///
/// # Errors
/// `Damaged` where a page above the leaves is not intact, or is used twice.
pub(crate) fn free_pages(base: &Base, pages: u32, deep: bool) -> Result<Vec<u32>> {
    let mut used = vec![false; pages as usize];
    let mut visit = |page: PageRef| match used.get_mut(page.number() as usize) {
        Some(used) if !*used && page.number() >= HEADER_PAGES => {
            *used = true;
            Ok(())
        }
        _ => Err(index_damage("open the index", "two trees share a page")),
    };
    for tree in 0..TREES {
        let Some(Some(root)) = base.roots.get(tree) else {
            continue;
        };
        visit(root.page)?;
        if root.height == 0 && !deep {
            continue;
        }
        let mut todo = vec![(root.page, root.height)];
        while let Some((page, height)) = todo.pop() {
            let inner = base.page(tree, page, height)?;
            if height == 0 {
                continue;
            }
            let mut last = None;
            for (key, child) in inner.entries() {
                check_order(&mut last, key)?;
                visit(PageRef(child))?;
                if height > 1 || deep {
                    todo.push((PageRef(child), height - 1));
                }
            }
        }
    }
    let free = used.iter().enumerate().skip(HEADER_PAGES as usize);
    let mut free: Vec<u32> = free
        .filter(|(_, used)| !**used)
        .map(|(page, _)| page as u32)
        .collect();
    free.reverse();
    Ok(free)
}

fn check_order(last: &mut Option<Key>, key: Key) -> Result<()> {
    if last.is_some_and(|last| last >= key) {
        return Err(index_damage("open the index", "keys are out of order"));
    }
    *last = Some(key);
    Ok(())
}
