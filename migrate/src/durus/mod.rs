//! Files of the original Durus, read and written in memory that does not grow with them.
//!
//! Durus has two file formats of its own, **Shelf** and **FileStorage2**, and keeps objects in
//! **SQLite** databases; they are told apart by their first bytes, and [`Format`] describes them.
//! [`DurusFile`] reads any, [`ShelfWriter`], [`Dfs20Writer`] and [`SqliteWriter`] write one each,
//! [`DurusWriter`] any. All was checked against Durus 4.3 under Python 3.11.
//!
//! A record, in both formats of its own: OID (8 bytes), data length (4 bytes), data, references (8 bytes each);
//! all numbers big-endian. Durus never syncs a Shelf and has no checksums, so what a file says of its
//! own offsets and lengths is checked before it is used, and a damaged byte within data passes.

mod index;
mod partial;
mod pickle;
mod read_sqlite;
mod reader;
mod record;
mod scan_dfs20;
mod scan_shelf;
mod scanned;
mod sqlite;
mod staged;
mod write_dfs20;
mod write_shelf;
mod write_sqlite;
mod writer;

#[cfg(test)]
mod sqlite_tests;
#[cfg(test)]
mod tests;

pub use reader::{DurusFile, Objects};
pub use write_dfs20::Dfs20Writer;
pub use write_shelf::ShelfWriter;
pub use write_sqlite::SqliteWriter;
pub use writer::DurusWriter;

use durum_core::Oid;
use durum_core::digest::Digest;
use durum_core::record::Object;

/// An object of a Durus file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurusObject {
    /// Its identity; the root is 0.
    pub oid: Oid,
    /// What it references: ascending, each once, without the object itself.
    pub refs: Vec<Oid>,
    /// Its class and state, as Durus pickled them.
    pub data: Vec<u8>,
}

impl DurusObject {
    /// The same of a store's object, without its tid.
    pub(crate) fn of(object: Object) -> DurusObject {
        DurusObject {
            oid: object.oid,
            refs: object.refs,
            data: object.data,
        }
    }

    /// The digest of this object alone.
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        digest.add(self.oid, self.refs.iter().copied(), &self.data);
        digest
    }
}

/// The file formats of Durus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `SHELF-1\n`, of `durus.file_storage`: standard since Durus 3.8.
    ///
    /// One transaction, a map from OIDs to offsets, more transactions. Lengths have 8 bytes. The map
    /// has a slot for every OID up to the largest, used or not.
    Shelf,
    /// `DFS20\0`, of `durus.file_storage2`: standard up to Durus 3.7.
    ///
    /// Transactions, an index as a compressed pickle, more transactions. Lengths have 4 bytes. Durus
    /// reads the whole index into memory when it opens the file.
    Dfs20,
    /// A database of SQLite, of `durus.sqlite_storage`, which came with Durus 4.
    ///
    /// One table, `objects`, of OIDs, data and references.
    Sqlite,
}

impl Format {
    const ALL: [Format; 3] = [Format::Shelf, Format::Dfs20, Format::Sqlite];

    /// The name in URLs: `durus:PATH?format=NAME`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Shelf => "shelf",
            Format::Dfs20 => "dfs20",
            Format::Sqlite => "sqlite",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The bytes that a file of this format begins with.
    pub fn magic(self) -> &'static [u8] {
        match self {
            Format::Shelf => b"SHELF-1\n",
            Format::Dfs20 => b"DFS20\0",
            Format::Sqlite => b"SQLite format 3\0",
        }
    }

    /// The format of a file that begins with `start`.
    fn detect(start: &[u8]) -> Option<Format> {
        Format::ALL
            .into_iter()
            .find(|format| start.starts_with(format.magic()))
    }
}

/// What a writer has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The number of objects.
    pub objects: u64,
    /// The size of the file, in bytes.
    pub file_bytes: u64,
}

/// What is being done, for errors.
const READ: &str = "read a Durus file";
/// What is being done, for errors.
const WRITE: &str = "write a Durus file";
