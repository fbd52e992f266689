//! What is measured: a store of Durum's on an engine, or the engine alone. Both hold the same objects, and
//! are asked the same.

mod raw;
mod store;

use durum_core::store::Batch;
use durum_core::{Error, ErrorKind, Oid, Result};
use durum_raw::Rows;

use crate::DOING;

pub(crate) use raw::{RawSubject, fill};
pub(crate) use store::{StoreSubject, best};

/// What is loaded is made in memory by so many bytes, which is not measured.
const BLOCK_BYTES: usize = 8 << 20;

/// A database that was loaded.
pub(crate) trait Subject: Sync {
    /// What reads one state, for one thread.
    fn reader(&self) -> Result<Box<dyn Reading + '_>>;

    /// Reads an object in a state of its own.
    fn load_alone(&self, oid: u64) -> Result<()>;

    /// Makes a change, which is not measured.
    fn prepare(&self, change: &Change<'_>) -> Prepared;

    /// Commits a change; `durable` as far as the subject can.
    fn commit(&self, change: Prepared, durable: bool) -> Result<()>;

    /// Brings to its end what deletions have begun.
    fn settle(&self) -> Result<()>;
}

/// Reads one state. Every byte of what it reads is looked at, as one who asked for it would.
pub(crate) trait Reading {
    /// Reads an object where it lies.
    fn load(&mut self, oid: u64) -> Result<()>;

    /// Reads an object, and makes a copy.
    fn load_owned(&mut self, oid: u64) -> Result<()>;

    /// Reads all objects; returns how many there are.
    fn scan(&mut self) -> Result<u64>;
}

/// A change of objects that exist.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// Gives these, in ascending order, the state of this version.
    Update(&'a [u64], u64),
    /// Takes the references from these, whose children are deleted thereby.
    Cut(&'a [u64]),
}

/// A change that was made.
pub(crate) enum Prepared {
    /// For a store.
    Batch(Batch),
    /// For an engine alone: rows to write, and keys to delete.
    Rows(Rows, Vec<u64>),
}

/// Looks at each byte.
pub(crate) fn look_at(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words
        .iter()
        .fold(0, |sum, word| sum ^ u64::from_le_bytes(*word));
    let rest = rest.iter().fold(0, |sum, byte| sum ^ byte);
    std::hint::black_box((sum, rest));
}

pub(crate) fn missing(oid: u64) -> Error {
    Error::new(ErrorKind::Mismatch, DOING)
        .with_oid(Oid(oid))
        .because("an object is missing")
}

fn mistaken() -> Error {
    Error::new(ErrorKind::Other, DOING).because("a change was made for another subject")
}
