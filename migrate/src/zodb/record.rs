//! The heads of transactions and of data records.

use durum_core::{Error, Oid, Result};

use crate::input::{Input, Window};

/// Something, or what is wrong with it.
pub(super) type Checked<T> = std::result::Result<T, Broken>;

/// Something that does not follow the format.
#[derive(Debug)]
pub(super) struct Broken {
    at: u64,
    oid: Option<u64>,
    why: String,
}

impl Broken {
    pub(super) fn new(at: u64, why: impl Into<String>) -> Broken {
        let why = why.into();
        Broken { at, oid: None, why }
    }

    pub(super) fn of(at: u64, oid: u64, why: impl Into<String>) -> Broken {
        let oid = Some(oid);
        Broken {
            oid,
            ..Broken::new(at, why)
        }
    }

    pub(super) fn into_error(self, input: &Input) -> Error {
        let error = input.damaged(self.at, self.why);
        match self.oid {
            Some(oid) => error.with_oid(Oid(oid)),
            None => error,
        }
    }
}

/// The head of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub(super) at: u64,
    pub(super) tid: u64,
    /// Its size without the length at its end.
    pub(super) length: u64,
    pub(super) status: u8,
    /// The size of all that precedes the data records.
    pub(super) head_bytes: u64,
}

impl Transaction {
    /// Reads the head at `at`; `None` where the file ends before.
    pub(super) fn read(window: &mut Window<'_>, at: u64) -> Result<Option<Transaction>> {
        let Some(head) = window.get(at, TRANSACTION_HEAD_BYTES)? else {
            return Ok(None);
        };
        let [tid, length] = [number(head, 0, 8), number(head, 8, 8)];
        let texts = [17, 19, 21].map(|at| number(head, at, 2));
        Ok(Some(Transaction {
            at,
            tid,
            length,
            status: number(head, 16, 1) as u8,
            head_bytes: TRANSACTION_HEAD_BYTES as u64 + texts.iter().sum::<u64>(),
        }))
    }

    /// The offset after the data records, where that is inside the file with the length that follows.
    pub(super) fn records_end(&self, input: &Input) -> Option<u64> {
        let end = self.at.checked_add(self.length)?;
        let fits = end.checked_add(8)? <= input.len();
        fits.then_some(end)
    }
}

/// The head of a data record, and where its data lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) oid: u64,
    tid: u64,
    pub(super) previous: u64,
    transaction: u64,
    version_bytes: u64,
    pub(super) data_bytes: u64,
    /// Where the data is that of an earlier record: its offset, or 0 where there is none.
    pub(super) back: Option<u64>,
    pub(super) at: u64,
}

impl Record {
    /// Reads the head at `at`; `None` where the file ends before.
    pub(super) fn read(window: &mut Window<'_>, at: u64) -> Result<Option<Record>> {
        let Some(head) = window.get(at, RECORD_HEAD_BYTES)? else {
            return Ok(None);
        };
        let mut record = Record {
            oid: number(head, 0, 8),
            tid: number(head, 8, 8),
            previous: number(head, 16, 8),
            transaction: number(head, 24, 8),
            version_bytes: number(head, 32, 2),
            data_bytes: number(head, 34, 8),
            back: None,
            at,
        };
        if record.data_bytes == 0 {
            record.back = window.number(record.data_at(), 8)?;
            if record.back.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(record))
    }

    pub(super) fn data_at(&self) -> u64 {
        self.at + RECORD_HEAD_BYTES as u64
    }

    /// The offset after the record; `None` where no file is so long.
    pub(super) fn end(&self) -> Option<u64> {
        let body_bytes = if self.back.is_some() {
            8
        } else {
            self.data_bytes
        };
        self.data_at().checked_add(body_bytes)
    }

    /// Whether it names this transaction as its own.
    pub(super) fn is_of(&self, transaction: &Transaction) -> bool {
        self.transaction == transaction.at && self.tid == transaction.tid
    }

    /// Checks it against its transaction, whose records end at `limit`; gives its own end.
    pub(super) fn check(&self, transaction: &Transaction, limit: u64) -> Checked<u64> {
        let broken = |why: String| Err(Broken::of(self.at, self.oid, why));
        if !self.is_of(transaction) {
            return broken(format!(
                "a record is not of its transaction at byte {}",
                transaction.at
            ));
        }
        if self.version_bytes != 0 {
            return broken(
                "a record belongs to a version, which ZODB has not had since 3.9".into(),
            );
        }
        if self.previous >= self.at || self.back.is_some_and(|back| back >= self.at) {
            return broken("a record refers to a later one".into());
        }
        match self.end().filter(|end| *end <= limit) {
            Some(end) => Ok(end),
            None => broken(format!(
                "a record of {} bytes goes beyond its transaction",
                self.data_bytes
            )),
        }
    }
}

/// The big-endian number in `width` bytes of a head.
fn number(head: &[u8], at: usize, width: usize) -> u64 {
    let bytes = head.get(at..at + width).unwrap_or_default();
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What precedes the texts of a transaction.
pub(super) const TRANSACTION_HEAD_BYTES: usize = 23;
/// What precedes the data of a record.
const RECORD_HEAD_BYTES: usize = 42;
