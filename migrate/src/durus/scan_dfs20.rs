//! The sequential pass over a FileStorage2 file.
//!
//! `DFS20\0`, the offset of the index (8 bytes), transactions, the index, more transactions. A
//! transaction is entries, then four zero bytes. The index is its length (8 bytes) and a compressed
//! pickle of the offsets of what precedes it, which the pass does not need.

use durum_core::Result;

use super::Format;
use super::index::Found;
use super::record::{Layout, Malformed, read_entry};
use crate::input::{Input, Window};

/// Passes all entries to `found`; gives the end of the last whole transaction.
pub(super) fn scan(input: &Input, found: &mut Found) -> Result<u64> {
    let mut window = Window::watched(input);
    let header_end = Format::Dfs20.magic().len() as u64 + 8;
    let index_at = window.number(header_end - 8, 8)?.unwrap_or_default();
    if index_at == 0 {
        return Err(input.damaged(header_end - 8, "it was never completed: no index is named"));
    }
    let length = window.number(index_at, 8)?;
    let index_end = length
        .and_then(|length| (index_at + 8).checked_add(length))
        .filter(|end| *end <= input.len() && index_at >= header_end);
    let Some(index_end) = index_end else {
        return Err(input.damaged(index_at, "the index is not inside the file"));
    };

    let (end, broken) = transactions(&mut window, header_end, index_at, found)?;
    if end != index_at {
        let (at, why) = broken.map_or_else(
            || {
                (
                    end,
                    "the last transaction before the index does not end".into(),
                )
            },
            |broken| (broken.at, broken.why),
        );
        return Err(input.damaged(at, why));
    }
    let (end, broken) = transactions(&mut window, index_end, input.len(), found)?;
    if let Some(broken) = broken
        && whole_follows(&mut window, broken.at)?
    {
        return Err(input.damaged(broken.at, broken.why));
    }
    Ok(end)
}

/// Reads transactions from `at` to `limit`; gives the end of the last whole one, and the entry that
/// ended the reading where one did.
fn transactions(
    window: &mut Window<'_>,
    mut at: u64,
    limit: u64,
    found: &mut Found,
) -> Result<(u64, Option<Malformed>)> {
    let mut whole_end = at;
    while at < limit {
        if window.number(at, 4)? == Some(0) && at + 4 <= limit {
            at += 4;
            whole_end = at;
            found.whole_transaction();
            continue;
        }
        match read_entry(window, Layout::Dfs20, at, limit)? {
            Ok(entry) => {
                found.entry(at, &entry)?;
                at = entry.end;
            }
            Err(broken) => return Ok((whole_end, Some(broken))),
        }
    }
    Ok((whole_end, None))
}

/// Whether well-formed entries and the end of their transaction lie behind the entry at `at`, going
/// by the lengths.
///
/// A torn write has nothing whole behind it. Unlike in a Shelf, a damaged length leaves no other way
/// to the next transaction: the rest of the file then counts as torn.
fn whole_follows(window: &mut Window<'_>, mut at: u64) -> Result<bool> {
    let limit = window.input().len();
    let mut entries = 0_u64;
    while let Some(length) = window.number(at, 4)? {
        if length == 0 && entries > 0 {
            return Ok(true);
        }
        if read_entry(window, Layout::Dfs20, at, limit)?.is_ok() {
            entries += 1;
        } else {
            entries = 0;
        }
        at += 4 + length;
    }
    Ok(false)
}
