//! Files of ZODB's FileStorage (`Data.fs`), read in memory that does not grow with them.
//!
//! The format is documented in `ZODB/FileStorage/format.py`, persistent references in
//! `ZODB/serialize.py`; all was checked against ZODB 6.4 under Python 3.11.
//!
//! A file is four bytes of magic, `FS30` of ZODB 5 and later under Python 3 or `FS21` of Python 2, and
//! transactions; all numbers are big-endian. A transaction:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | its number, the *tid*, which is a time |
//! | 8 | its length, without the last eight bytes |
//! | 1 | status: space, `p` packed, `u` undone long ago (not read), `c` unfinished |
//! | 2, 2, 2 | lengths of the user's name, the description and the extension, which follow |
//! | | data records |
//! | 8 | its length again |
//!
//! A data record:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | OID; the root is 0 |
//! | 8 | tid, that of the transaction |
//! | 8 | offset of the record of this object before this one, or 0 |
//! | 8 | offset of the transaction |
//! | 2 | 0; in files of long ago the length of a version's name |
//! | 8 | length of the data |
//! | | the data: two pickles, of the class and of the state |
//! | 8 | where the length is 0: offset of an earlier record of this object, as an undo writes it; 0 where the object ceased to exist |
//!
//! There are no checksums, so a damaged byte within data can pass, as in Durus's own files. What the
//! numbers say is checked: the lengths, that a record names its transaction, and that offsets of earlier
//! records lead to records of the same object.
//!
//! Blobs are files beside the storage, which are not read; the objects that stand for them are.

mod index;
mod reader;
mod record;
mod references;
mod scan;

#[cfg(test)]
mod tests;

pub use reader::{Objects, ZodbFile};
pub use references::LeftOut;

/// What is being done, for errors.
const READ: &str = "read a ZODB file";
