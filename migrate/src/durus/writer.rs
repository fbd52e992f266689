//! Writing a Durus file of a format that is chosen at run time.

use std::path::Path;

use durum_core::Result;

use super::{Dfs20Writer, DurusObject, Format, ShelfWriter, SqliteWriter, Written};

/// Writes a Durus file of any format; see [`ShelfWriter`], [`Dfs20Writer`] and
/// [`SqliteWriter`].
#[derive(Debug)]
#[non_exhaustive]
pub enum DurusWriter {
    /// Writes a Shelf file.
    Shelf(ShelfWriter),
    /// Writes a FileStorage2 file.
    Dfs20(Dfs20Writer),
    /// Writes an SQLite database.
    Sqlite(SqliteWriter),
}

impl DurusWriter {
    /// Begins a file, under a temporary name in the same directory.
    ///
    /// # Errors
    /// As [`ShelfWriter::create`].
    pub fn create(path: impl AsRef<Path>, format: Format) -> Result<DurusWriter> {
        match format {
            Format::Shelf => ShelfWriter::create(path).map(DurusWriter::Shelf),
            Format::Dfs20 => Dfs20Writer::create(path).map(DurusWriter::Dfs20),
            Format::Sqlite => SqliteWriter::create(path).map(DurusWriter::Sqlite),
        }
    }

    /// Adds an object; they have to come by ascending OID.
    ///
    /// # Errors
    /// As [`ShelfWriter::push`], [`Dfs20Writer::push`] and [`SqliteWriter::push`].
    pub fn push(&mut self, object: &DurusObject) -> Result<()> {
        match self {
            DurusWriter::Shelf(writer) => writer.push(object),
            DurusWriter::Dfs20(writer) => writer.push(object),
            DurusWriter::Sqlite(writer) => writer.push(object),
        }
    }

    /// Completes the file, makes it durable and gives it its name.
    ///
    /// # Errors
    /// As [`ShelfWriter::finish`] and [`Dfs20Writer::finish`].
    pub fn finish(self) -> Result<Written> {
        match self {
            DurusWriter::Shelf(writer) => writer.finish(),
            DurusWriter::Dfs20(writer) => writer.finish(),
            DurusWriter::Sqlite(writer) => writer.finish(),
        }
    }

    /// As [`ShelfWriter::finish_verified`] and [`Dfs20Writer::finish_verified`].
    ///
    /// # Errors
    /// As these.
    pub fn finish_verified(self, verify: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Written> {
        match self {
            DurusWriter::Shelf(writer) => writer.finish_verified(verify),
            DurusWriter::Dfs20(writer) => writer.finish_verified(verify),
            DurusWriter::Sqlite(writer) => writer.finish_verified(verify),
        }
    }
}
