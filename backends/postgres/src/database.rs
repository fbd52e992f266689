//! A store's schema that is open: its writer and its readers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use durum_core::Result;
use tokio_postgres::Row;

use crate::config::Address;
use crate::readers::Readers;
use crate::schema::Schema;
use crate::writer::{Writer, replaced};

/// A store's schema that is open.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) schema: Schema,
    pub(crate) readers: Readers,
    /// The writer's fencing number.
    fence: i64,
    writer: Mutex<Writer>,
}

impl Database {
    pub(crate) fn new(address: Address, schema: Schema, writer: Writer) -> Database {
        Database {
            fence: writer.fence(),
            schema,
            readers: Readers::new(address),
            writer: Mutex::new(writer),
        }
    }

    /// The writer, for one thread at a time.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails where somebody else was the writer when a row was read: what core keeps for its snapshots does not hold
    /// then.
    ///
    /// # Errors
    /// `InUse`.
    pub(crate) fn check_fence(&self, row: Option<&Row>) -> Result<()> {
        let found = row.map(|row| row.get::<_, i64>(0));
        match found == Some(self.fence) {
            true => Ok(()),
            false => Err(replaced("read")),
        }
    }

    /// The writer alone.
    pub(crate) fn into_writer(self) -> Writer {
        self.writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
