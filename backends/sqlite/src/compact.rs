//! Compaction: SQLite writes a copy without free pages, and the copy takes the database's name.
//!
//! A plain `VACUUM` would write everything three times, into a temporary file, the log and the
//! database, and could not be compared with the original before it counts. To replace the file needs
//! care instead: a log or a journal that belongs to the old one must never be found beside the new.

use std::fs::{self, File};

use durum_core::engine::{Compact, Durability, compare_rows, watch_file};
use durum_core::{Error, ErrorKind, IoResultExt as _, Result, ResultExt as _};
use rusqlite::Connection;

use crate::NAME;
use crate::engine::{SqliteEngine, Writer};
use crate::error::convert;
use crate::open::{Place, journal_mode, page_bytes, pragma_value};
use crate::reclaim::{disk_bytes, free_pages};
use crate::snapshot::{Readers, SqliteSnapshot};

const COMPACT: &str = "compact the database";

impl Compact for SqliteEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let mut writer = self.write();
        writer.copied = false;
        let copy = self.place.copy();
        Place::remove(&copy.files())?;
        let bytes = bytes_used(writer.connection(COMPACT)?)?;
        progress(0, 2 * bytes);
        watch_file(
            &copy.file(),
            &mut |done| progress(done.min(bytes), 2 * bytes),
            || write_copy(&self.place, &copy),
        )?;
        let original = SqliteSnapshot::open(&self.readers)?;
        let copied = SqliteSnapshot::open(&Readers::new(copy.clone()).into())?;
        compare_rows(&original, &copied, &mut |done| {
            progress(bytes + done.min(bytes), 2 * bytes);
        })
        .map_err(|error| error.with_engine(NAME).with_path(copy.file()))?;
        progress(2 * bytes, 2 * bytes);
        writer.copied = true;
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let mut writer = self.write();
        if !writer.copied {
            return Err(Error::new(ErrorKind::Usage, COMPACT)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        }
        // One that is opened meanwhile would go on showing the old file.
        let _closed = self.readers.close_all(COMPACT)?;
        let before = disk_bytes(&self.place)?;
        self.noted(put_in_place(&self.place, &mut writer))
            .at_path(self.place.file())?;
        Ok(before.saturating_sub(disk_bytes(&self.place)?))
    }

    fn discard(&self) -> Result<()> {
        self.write().copied = false;
        Place::remove(&self.place.copy().files())
    }
}

/// Bytes of the pages that hold something.
fn bytes_used(connection: &Connection) -> Result<u64> {
    let pages = pragma_value(connection, "page_count")?;
    let used = pages.saturating_sub(free_pages(connection)?);
    Ok(used * page_bytes(connection)?)
}

/// Writes the copy, on a connection of its own that reads as a snapshot does, and makes it durable.
fn write_copy(place: &Place, copy: &Place) -> Result<()> {
    let path = copy.file();
    let name = path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, COMPACT)
            .with_engine(NAME)
            .because("SQLite takes only paths in UTF-8 here")
    })?;
    place
        .open_reader()?
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| convert(error, COMPACT).with_path(&path))?;
    File::open(&path)
        .and_then(|file| file.sync_all())
        .during(COMPACT, &path)
}

/// Puts the copy in the place of the database, and opens that.
fn put_in_place(place: &Place, writer: &mut Writer) -> Result<()> {
    writer.set_level(Durability::Power)?;
    writer.copied = false;
    let Some(old) = writer.take_connection() else {
        return writer.connection(COMPACT).map(drop);
    };
    if let Err(error) = leave_alone(place, &old) {
        drop(old);
        // Nothing was changed, where it was only in use or full: then the old database is opened
        // again. After any other failure that is for the next opening of the store.
        if matches!(error.kind(), ErrorKind::InUse | ErrorKind::Full) {
            *writer = Writer::open(place).map_err(|error| error.with_kind(ErrorKind::Io))?;
        }
        return Err(error);
    }
    fs::rename(place.copy().file(), place.file())
        .and_then(|()| File::open(&place.dir)?.sync_all())
        .map_err(|error| Error::io(error, COMPACT).with_kind(ErrorKind::Io))?;
    drop(old);
    *writer = Writer::open(place).map_err(|error| error.with_kind(ErrorKind::Io))?;
    Ok(())
}

/// Brings the database into a state in which it is one file and nothing beside, durably, and keeps
/// all others from it.
///
/// The lock is held until the connection is closed: a shell that opened the file now, and ended later,
/// would else remove a log by its name, which is that of the new database by then.
fn leave_alone(place: &Place, connection: &Connection) -> Result<()> {
    let failed = |error| convert(error, COMPACT);
    for (name, value) in [("locking_mode", "EXCLUSIVE"), ("journal_mode", "DELETE")] {
        connection
            .pragma_update_and_check(None, name, value, |_| Ok(()))
            .map_err(failed)?;
    }
    let mode = journal_mode(connection)?;
    if mode != "delete" {
        return Err(Error::new(ErrorKind::InUse, COMPACT)
            .with_engine(NAME)
            .because(format!("the database stays in the mode {mode}"))
            .hint("Close the other program that uses the file."));
    }
    // The log has been copied and removed. The journal of that change is done with and stays as long as
    // the lock does. Both have to be gone for good before there is another database.
    let [_, beside @ ..] = place.files();
    Place::remove(&beside)?;
    place.sync_dir()
}
