//! The sequential pass over a Shelf file.
//!
//! `SHELF-1\n`, one transaction, the offset map, more transactions. A transaction is its length (8
//! bytes) and its entries. The map is its length, the bytes per word, the number of words (8 bytes
//! each) and the words: word *k* is the offset of the entry of object *k* in the first transaction, or
//! a number from the map's own offset on where there is none.
//!
//! Durus writes a transaction behind a length of zero and puts the length in at the end, without a
//! sync. What a crash leaves is therefore an empty transaction followed by entries, or a transaction
//! of the right length with anything in it.

use durum_core::Result;

use super::Format;
use super::index::{Found, OffsetMap};
use super::record::{Checked, Entry, Layout, Malformed, read_entry};
use crate::input::{Input, Window};

/// Passes all entries to `found`; gives the map, and the end of the last whole transaction.
pub(super) fn scan(input: &Input, found: &mut Found) -> Result<(OffsetMap, u64)> {
    let mut window = Window::watched(input);
    let start = Format::Shelf.magic().len() as u64;
    let first_end = match extent(&mut window, start)? {
        Ok(end) => end,
        Err(Malformed { at, why }) => return Err(input.damaged(at, why)),
    };
    let mut sink = |at, entry: &Entry| found.entry(at, entry);
    if let Err(Malformed { at, why }) = entries(&mut window, start + 8, first_end, &mut sink)? {
        return Err(input.damaged(at, why));
    }
    found.whole_transaction();
    let map = match read_map(&mut window, first_end)? {
        Ok(map) => map,
        Err(Malformed { at, why }) => return Err(input.damaged(at, why)),
    };

    let mut at = map.end();
    while let Ok(end) = transaction(&mut window, at, found)? {
        found.whole_transaction();
        at = end;
    }
    Ok((map, at))
}

/// Reads one transaction after the map. Malformed means that the file ends here, whole or torn.
fn transaction(window: &mut Window<'_>, at: u64, found: &mut Found) -> Result<Checked<u64>> {
    let input = window.input();
    let claimed = extent(window, at)?;
    let limit = *claimed.as_ref().unwrap_or(&input.len());
    let mut sink = |at, entry: &Entry| found.entry(at, entry);
    let broken = match (entries(window, at + 8, limit, &mut sink)?, &claimed) {
        (Ok(()), Ok(end)) => return Ok(Ok(*end)),
        (Err(broken), _) => broken,
        (Ok(()), Err(_)) => return Ok(claimed),
    };
    // A torn write has nothing whole behind it. Behind damage, the next transaction is found either
    // by the length that was read or, if that is what is damaged, where the entries stop.
    for next in [claimed.ok(), Some(broken.at)].into_iter().flatten() {
        if whole_follows(window, next)? {
            return Err(input.damaged(broken.at, broken.why));
        }
    }
    Ok(Err(broken))
}

/// Whether a transaction with entries, all well formed, lies in the chain of lengths from `at` on.
fn whole_follows(window: &mut Window<'_>, mut at: u64) -> Result<bool> {
    while let Ok(end) = extent(window, at)? {
        let mut ignore = |_, _: &Entry| Ok(());
        if end > at + 8 && entries(window, at + 8, end, &mut ignore)?.is_ok() {
            return Ok(true);
        }
        at = end;
    }
    Ok(false)
}

/// Where the transaction at `at` says that it ends.
fn extent(window: &mut Window<'_>, at: u64) -> Result<Checked<u64>> {
    let file_end = window.input().len();
    let Some(length) = window.number(at, 8)? else {
        return Ok(Malformed::new(at, "the length of a transaction is cut off"));
    };
    match (at + 8).checked_add(length).filter(|end| *end <= file_end) {
        Some(end) => Ok(Ok(end)),
        None => Ok(Malformed::new(
            at,
            format!("a transaction of {length} bytes goes beyond the file's {file_end}"),
        )),
    }
}

/// Reads entries from `at` up to exactly `end`.
fn entries(
    window: &mut Window<'_>,
    mut at: u64,
    end: u64,
    sink: &mut dyn FnMut(u64, &Entry) -> Result<()>,
) -> Result<Checked<()>> {
    while at < end {
        match read_entry(window, Layout::Shelf, at, end)? {
            Ok(entry) => {
                sink(at, &entry)?;
                at = entry.end;
            }
            Err(broken) => return Ok(Err(broken)),
        }
    }
    Ok(Ok(()))
}

/// Reads the dimensions of the offset map at `at`.
fn read_map(window: &mut Window<'_>, at: u64) -> Result<Checked<OffsetMap>> {
    let end = match extent(window, at)? {
        Ok(end) => end,
        Err(_) => return Ok(Malformed::new(at, "the offset map is cut off")),
    };
    let dimensions = (window.number(at + 8, 8)?, window.number(at + 16, 8)?);
    let (Some(word_bytes @ 1..=8), Some(words)) = dimensions else {
        return Ok(Malformed::new(
            at,
            "the offset map has words of an impossible size",
        ));
    };
    let needed = words
        .checked_mul(word_bytes)
        .and_then(|bytes| bytes.checked_add(16));
    if needed != Some(end - at - 8) {
        let why = format!("the offset map's size is not that of {words} words");
        return Ok(Malformed::new(at, why));
    }
    Ok(Ok(OffsetMap {
        start: at,
        words,
        word_bytes,
    }))
}
