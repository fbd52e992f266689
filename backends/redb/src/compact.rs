//! Compaction: all rows go into a new file, which then takes the old one's name.
//!
//! redb has a compaction of its own, which moves pages within the file: it lets no reader in, makes a
//! commit after the other, and cannot be compared with the original before it counts.

use std::sync::Arc;

use durum_core::engine::{Compact, EngineSnapshot as _, Key, Op, Table, compare_rows};
use durum_core::{Error, ErrorKind, Result};

use crate::NAME;
use crate::base::{Base, remove, sync_dir};
use crate::engine::RedbEngine;
use crate::reclaim;
use crate::snapshot::RedbSnapshot;
use crate::write::write;

const COMPACT: &str = "compact the database";

/// A transaction of the copy ends with the row that passes this.
const BATCH_BYTES: usize = 8 << 20;

impl Compact for RedbEngine {
    fn rewrite(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.refuse_if_failed(COMPACT)?;
        let mut writer = self.write();
        writer.copied = None;
        // Else there could be more in memory than in the file.
        self.commit_relaxed(&mut writer)?;
        let path = self.copy();
        remove(&path, COMPACT)?;
        let bytes = reclaim::stats(&self.file())?.disk_bytes;
        progress(0, 2 * bytes);
        let original = RedbSnapshot::open(self.base())?;
        let copy = Base::create(&path, &self.config)?;
        copy_rows(&original, &copy, &mut |done| {
            progress(done.min(bytes), 2 * bytes);
        })?;
        // Closing cuts off what was not needed. It is compared as it will be found.
        copy.close()?;
        let copy = Arc::new(Base::open(&path, &self.config)?);
        let copied = RedbSnapshot::open(copy.clone())?;
        compare_rows(&original, &copied, &mut |done| {
            progress(bytes + done.min(bytes), 2 * bytes);
        })
        .map_err(|error| error.with_engine(NAME).with_path(&path))?;
        drop(copied);
        sync_dir(path.parent().unwrap_or(&path), COMPACT)?;
        progress(2 * bytes, 2 * bytes);
        writer.copied = Arc::into_inner(copy);
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        let mut writer = self.write();
        if writer.copied.is_none() {
            return Err(Error::new(ErrorKind::Usage, COMPACT)
                .with_engine(NAME)
                .because("there is no copy that is up to date"));
        }
        let before = reclaim::stats(&self.file())?.disk_bytes;
        drop(self.exchange(&mut writer, COMPACT)?);
        let after = reclaim::stats(&self.file())?.disk_bytes;
        Ok(before.saturating_sub(after))
    }

    fn discard(&self) -> Result<()> {
        self.write().copied = None;
        remove(&self.copy(), COMPACT)
    }
}

/// Writes all rows in order of their keys, transaction by transaction: redb keeps account of the pages of
/// each in memory.
fn copy_rows(original: &RedbSnapshot, copy: &Base, report: &mut dyn FnMut(u64)) -> Result<()> {
    let mut done = 0;
    for table in Table::ALL {
        let mut cursor = original.cursor(table, Key::MIN)?;
        let mut rows: Vec<(Key, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        loop {
            let row = cursor.next()?;
            let ended = row.is_none();
            if let Some((key, value)) = row {
                rows.push((key, value.to_vec()));
                bytes += value.len() + size_of::<(Key, Vec<u8>)>();
            }
            if bytes >= BATCH_BYTES || (ended && bytes > 0) {
                put_rows(copy, table, &rows)?;
                rows.clear();
                done += bytes as u64;
                bytes = 0;
                report(done);
            }
            if ended {
                break;
            }
        }
    }
    Ok(())
}

fn put_rows(copy: &Base, table: Table, rows: &[(Key, Vec<u8>)]) -> Result<()> {
    let ops: Vec<Op<'_>> = rows
        .iter()
        .map(|(key, value)| Op::Put {
            table,
            key: *key,
            value,
        })
        .collect();
    copy.run(COMPACT, |db| {
        let transaction = db.begin_write()?;
        write(&transaction, &ops)?;
        Ok(transaction.commit()?)
    })
}
