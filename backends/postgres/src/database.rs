//! A store's schema that is open: its writer and its readers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::Address;
use crate::readers::Readers;
use crate::schema::Schema;
use crate::writer::Writer;

/// A store's schema that is open.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) schema: Schema,
    pub(crate) readers: Readers,
    writer: Mutex<Writer>,
}

impl Database {
    pub(crate) fn new(address: Address, schema: Schema, writer: Writer) -> Database {
        Database {
            schema,
            readers: Readers::new(address),
            writer: Mutex::new(writer),
        }
    }

    /// The writer, for one thread at a time.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer alone.
    pub(crate) fn into_writer(self) -> Writer {
        self.writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
