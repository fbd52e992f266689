//! A store's schema that is open to be written: its writer, and what is read from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Address;
use crate::readers::Readers;
use crate::schema::Schema;
use crate::source::Source;
use crate::writer::Writer;

/// A store's schema that is open to be written.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) source: Arc<Source>,
    writer: Mutex<Writer>,
}

impl Database {
    pub(crate) fn new(address: Address, schema: Schema, writer: Writer) -> Database {
        let readers = Readers::new(address);
        Database {
            source: Arc::new(Source::of_writer(schema, readers, writer.fence())),
            writer: Mutex::new(writer),
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.source.schema
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
