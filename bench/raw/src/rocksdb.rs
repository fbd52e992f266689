//! RocksDB: rows ingested as finished tables, then read in snapshots.

use std::ops::Range;
use std::path::{Path, PathBuf};

use durum_core::Result;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, IngestExternalFileOptions,
    Options, ReadOptions, Snapshot, SstFileWriter, WriteBatch, WriteOptions,
};

use crate::{Database, Load, Reader, Rows, failed, key_of};

/// As Durum's backend sets them.
const BLOCK_CACHE_BYTES: usize = 32 << 20;
const WRITE_BUFFER_BYTES: usize = 16 << 20;
const LEVEL_BASE_BYTES: u64 = 64 << 20;
const OPEN_FILES: i32 = 512;
const FILTER_BITS: f64 = 10.0;

fn options() -> Options {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_hyper_clock_cache(BLOCK_CACHE_BYTES, 0));
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    tables.set_bloom_filter(FILTER_BITS, false);
    tables.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&tables);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(WRITE_BUFFER_BYTES as u64);
    options.set_max_bytes_for_level_base(LEVEL_BASE_BYTES);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_allow_concurrent_memtable_write(false);
    options
}

/// A database that tables are given to.
pub(crate) struct RocksdbLoad {
    db: DB,
    options: Options,
    /// Where a table is written before the database takes it over.
    table: PathBuf,
}

impl RocksdbLoad {
    pub(crate) fn create(dir: &Path) -> Result<RocksdbLoad> {
        let options = options();
        Ok(RocksdbLoad {
            db: DB::open(&options, dir).map_err(failed)?,
            options,
            table: dir.join("load.sst"),
        })
    }
}

impl Load for RocksdbLoad {
    fn write(&mut self, rows: &Rows) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        // Each ends with a sync. They do not overlap, so that they go into the last level at once.
        let mut table = SstFileWriter::create(&self.options);
        table.open(&self.table).map_err(failed)?;
        for (key, value) in rows.iter() {
            table.put(key.to_be_bytes(), value).map_err(failed)?;
        }
        table.finish().map_err(failed)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingested = self
            .db
            .ingest_external_file_opts(&options, vec![&self.table]);
        ingested.map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        // What is ingested is durable; the memtable is empty.
        self.db.flush_wal(true).map_err(failed)
    }
}

/// The same, opened again.
pub(crate) struct RocksdbDatabase {
    db: DB,
}

impl RocksdbDatabase {
    pub(crate) fn open(dir: &Path) -> Result<RocksdbDatabase> {
        Ok(RocksdbDatabase {
            db: DB::open(&options(), dir).map_err(failed)?,
        })
    }
}

impl Database for RocksdbDatabase {
    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let snapshot = self.db.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        Ok(Box::new(RocksdbReader {
            db: &self.db,
            options,
            snapshot,
        }))
    }

    fn get(&self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned(key.to_be_bytes()).map_err(failed)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn write(&self, rows: &Rows, deletes: &[u64], durable: bool) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in rows.iter() {
            batch.put(key.to_be_bytes(), value);
        }
        for key in deletes {
            batch.delete(key.to_be_bytes());
        }
        let mut options = WriteOptions::default();
        options.set_sync(durable);
        self.db.write_opt(batch, &options).map_err(failed)
    }
}

struct RocksdbReader<'a> {
    db: &'a DB,
    options: ReadOptions,
    snapshot: Snapshot<'a>,
}

impl Reader for RocksdbReader<'_> {
    fn get(&mut self, key: u64, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_opt(key.to_be_bytes(), &self.options);
        Ok(value.map_err(failed)?.map(|value| visit(&value)).is_some())
    }

    fn scan(&mut self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let mut rows = self.snapshot.raw_iterator();
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            visit(key_of(key)?, value);
            rows.next();
        }
        rows.status().map_err(failed)
    }

    fn range(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let mut rows = self.snapshot.raw_iterator();
        rows.seek(keys.start.to_be_bytes());
        while let Some((key, value)) = rows.item() {
            let key = key_of(key)?;
            if key >= keys.end {
                break;
            }
            visit(key, value);
            rows.next();
        }
        rows.status().map_err(failed)
    }
}
