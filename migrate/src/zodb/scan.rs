//! The sequential pass over a file.
//!
//! ZODB writes a transaction with the status `c`, and changes that to a space when all is written,
//! before its only sync. What a crash leaves at the end is therefore a transaction with that status, or
//! one that is cut off. ZODB itself cuts the file at the first such place when it opens it, and keeps
//! what it cut in another file in case it was damage. Here the two are told apart: behind a torn write
//! there is nothing whole.

use durum_core::Result;

use super::index::Found;
use super::record::{Broken, Checked, Record, TRANSACTION_HEAD_BYTES, Transaction};
use crate::input::{Input, Window};

/// Passes all records to `found`; gives the end of the last whole transaction.
pub(super) fn scan(input: &Input, found: &mut Found) -> Result<u64> {
    let mut window = Window::watched(input);
    let mut at = MAGIC_BYTES;
    while at < input.len() {
        match extent(&mut window, at)? {
            Ok(transaction) => {
                let sink = &mut |record: &Record| found.record(record);
                match transaction.read_records(&mut window, sink)? {
                    Ok(end) => at = end,
                    Err(broken) => return Err(broken.into_error(input)),
                }
            }
            Err(broken) => {
                if whole_follows(&mut window, at)? {
                    return Err(broken.into_error(input));
                }
                break;
            }
        }
    }
    Ok(at)
}

/// The head of the transaction at `at`, where it is finished and as long as it says. Broken means that
/// the file ends here, whole or torn, or is damaged.
fn extent(window: &mut Window<'_>, at: u64) -> Result<Checked<Transaction>> {
    let broken = |why: &str| Ok(Err(Broken::new(at, why)));
    let Some(transaction) = Transaction::read(window, at)? else {
        return broken("the head of a transaction is cut off");
    };
    if transaction.records_end(window.input()).is_none() {
        return broken("a transaction goes beyond the end of the file");
    }
    if transaction.length < transaction.head_bytes {
        return broken("a transaction is shorter than its head");
    }
    if transaction.status == UNFINISHED {
        return broken("a transaction is unfinished, and others follow");
    }
    Ok(Ok(transaction))
}

impl Transaction {
    /// Reads the records; gives the offset after the transaction.
    fn read_records(
        &self,
        window: &mut Window<'_>,
        sink: &mut dyn FnMut(&Record) -> Result<()>,
    ) -> Result<Checked<u64>> {
        let broken = |why: String| Ok(Err(Broken::new(self.at, why)));
        let Some(end) = self.records_end(window.input()) else {
            return broken("a transaction goes beyond the end of the file".into());
        };
        if !matches!(self.status, b' ' | b'p' | UNDONE) {
            let status = self.status.escape_ascii();
            return broken(format!("a transaction has the status \"{status}\""));
        }
        let again = window.number(end, 8)?;
        if again != Some(self.length) {
            let again = again.unwrap_or_default();
            return broken(format!(
                "a transaction of {} bytes says {again} at its end",
                self.length
            ));
        }
        let mut at = self.at + self.head_bytes;
        while self.status != UNDONE && at != end {
            let Some(record) = Record::read(window, at)? else {
                return Ok(Err(Broken::new(at, "the head of a record is cut off")));
            };
            match record.check(self, end) {
                Ok(next) => at = next,
                Err(broken) => return Ok(Err(broken)),
            }
            sink(&record)?;
        }
        Ok(Ok(end + 8))
    }
}

/// Whether something whole lies at or behind `at`, where no finished transaction begins.
fn whole_follows(window: &mut Window<'_>, at: u64) -> Result<bool> {
    let transaction = Transaction::read(window, at)?;
    // The last bytes of an intact file say where its last transaction begins.
    let input = window.input();
    let last_bytes = window.number(input.len().saturating_sub(8), 8)?;
    let last = last_bytes
        .filter(|bytes| *bytes >= TRANSACTION_HEAD_BYTES as u64)
        .and_then(|bytes| input.len().checked_sub(bytes)?.checked_sub(8));
    let unfinished = transaction.is_some_and(|it| it.status == UNFINISHED);
    if last == Some(at) && !unfinished {
        return Ok(true);
    }
    if let Some(last) = last.filter(|last| *last > at)
        && is_whole(window, last)?
    {
        return Ok(true);
    }
    let Some(transaction) = transaction else {
        return Ok(false);
    };
    // Where the end is torn as well, the next one begins where this one says that it ends.
    if let Some(end) = transaction.records_end(input)
        && is_whole(window, end + 8)?
    {
        return Ok(true);
    }
    Ok(!unfinished && is_whole_but_for_its_length(window, &transaction)?)
}

/// Whether a finished transaction begins at `at`.
fn is_whole(window: &mut Window<'_>, at: u64) -> Result<bool> {
    match extent(window, at)? {
        Ok(transaction) => Ok(transaction.read_records(window, &mut |_| Ok(()))?.is_ok()),
        Err(_) => Ok(false),
    }
}

/// Whether the records of a transaction, as far as they go, are followed by their length.
fn is_whole_but_for_its_length(window: &mut Window<'_>, transaction: &Transaction) -> Result<bool> {
    let mut at = transaction.at + transaction.head_bytes;
    let limit = window.input().len();
    while let Some(record) = Record::read(window, at)?.filter(|record| record.is_of(transaction)) {
        match record.check(transaction, limit) {
            Ok(end) => at = end,
            Err(_) => return Ok(false),
        }
    }
    Ok(window.number(at, 8)? == Some(at - transaction.at))
}

/// The status of a transaction that was not finished.
const UNFINISHED: u8 = b'c';
/// The status of one that was undone, by releases of long ago.
const UNDONE: u8 = b'u';

/// The size of the magic.
const MAGIC_BYTES: u64 = 4;
