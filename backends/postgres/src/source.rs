//! What views read from.

use std::sync::Arc;

use durum_core::Result;
use tokio_postgres::Row;

use crate::connection::Connection;
use crate::readers::Readers;
use crate::schema::Schema;
use crate::writer::replaced;

/// What views read from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) schema: Schema,
    pub(crate) readers: Readers,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What is newest, for as long as this process is the writer, which has this fencing number.
    Newest(i64),
    /// What a transaction sees. Its connection is given back when nobody reads from it any more.
    Fixed(Arc<Readers>),
}

impl Source {
    /// What is newest, for a writer with this fencing number.
    pub(crate) fn of_writer(schema: Schema, readers: Readers, fence: i64) -> Source {
        Source {
            schema,
            readers,
            kind: Kind::Newest(fence),
        }
    }

    /// What the transaction sees that has begun on `connection`, which is one of `readers`.
    pub(crate) fn fixed(schema: Schema, readers: &Arc<Readers>, connection: Connection) -> Source {
        Source {
            schema,
            readers: readers.only(connection),
            kind: Kind::Fixed(Arc::clone(readers)),
        }
    }

    /// Whether all that is read is of one moment.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.kind, Kind::Fixed(_))
    }

    /// Fails where somebody else was the writer when a row was read: what core keeps for its snapshots does not hold
    /// then.
    ///
    /// # Errors
    /// `InUse`.
    pub(crate) fn check_fence(&self, row: Option<&Row>) -> Result<()> {
        let Kind::Newest(fence) = &self.kind else {
            return Ok(());
        };
        let found = row.map(|row| row.get::<_, i64>(0));
        match found == Some(*fence) {
            true => Ok(()),
            false => Err(replaced("read")),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Kind::Fixed(readers) = &self.kind {
            for mut connection in self.readers.take_idle() {
                connection.send("ROLLBACK");
                readers.give(connection);
            }
        }
    }
}
