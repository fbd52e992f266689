//! Going on with an import that was cut off.

use std::sync::Arc;

use super::import::Importer;
use super::local::Shared;
use super::meta::import_row;
use super::rebuild::DERIVED;
use super::row_batch::RowBatch;
use super::sealed::unsealed;
use super::table_rows::TableWalk;
use crate::engine::{EngineSnapshot, Table};
use crate::error::{Error, Result};
use crate::id::Oid;
use crate::record::Record;
use crate::watch::{Steps, Watch};

/// The note of an import's last batch.
pub(super) fn read_note(view: &dyn EngineSnapshot) -> Result<Option<Vec<u8>>> {
    let (table, key) = import_row();
    let mut note = None;
    let found = view.get(table, key, &mut |bytes| {
        note = unsealed(bytes).map(<[u8]>::to_vec);
    })?;
    if found && note.is_none() {
        return Err(Error::damaged(
            "go on with an import",
            "its note of how far it got is not intact",
        ));
    }
    Ok(note)
}

impl<'a> Importer<'a> {
    /// Takes up an import whose last batch was written with `note`, by reading what it has written: what
    /// it knew of references lay in temporary files.
    pub(super) fn resume(
        shared: &'a Arc<Shared>,
        note: Vec<u8>,
        memory_bytes: usize,
        watch: &Watch<'_>,
    ) -> Result<Importer<'a>> {
        let mut importer = Importer::new(shared, memory_bytes)?;
        importer.note = Some(note);
        {
            let mut writer = shared.writer.lock();
            let writer = writer
                .as_mut()
                .map_or_else(|error| &mut **error.get_mut(), |it| &mut **it);
            let mut batch = RowBatch::new(shared, writer, importer.durability);
            // An import, and what comes after it, fills these at its end, which may have been cut off, too.
            let others = [Table::Missing, Table::Pins];
            for table in DERIVED.into_iter().chain(others) {
                batch.clear(table, watch, |_| false)?;
            }
        }
        let (mut walk, mut steps) = (TableWalk::new(Table::Objects), Steps::new(watch));
        while let Some((key, stored)) = walk.next(shared)? {
            let oid = Oid(key.first);
            let record = Record::parse(oid, &stored)?;
            importer.first.take(oid)?;
            importer.account(oid, record.tid, record.anchor, record.refs(), stored.len())?;
            importer.last = Some(oid);
            steps.object(stored.len())?;
        }
        steps.tell()?;
        Ok(importer)
    }

    /// The objects that were pushed, in this process and before.
    pub fn objects(&self) -> u64 {
        self.state.objects
    }

    /// The last object that was pushed, in this process or before.
    pub fn last(&self) -> Option<Oid> {
        self.last
    }
}
