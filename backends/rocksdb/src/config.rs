//! The engine's options and limits, and RocksDB's settings.

use durum_core::engine::{OptionKind, OptionSpec, Options};
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, DataBlockIndexType, InfoLogger,
    LogLevel,
};

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "block_cache_size",
        kind: OptionKind::Size,
        default: "32MiB",
        help: "Memory for RocksDB's block cache, indexes and filters included.",
    },
    OptionSpec {
        name: "write_buffer_size",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "How many bytes of new rows are gathered in a memtable before they are written as a table; up \
               to two more can wait for that.",
    },
    OptionSpec {
        name: "max_open_files",
        kind: OptionKind::Integer(16, 1_000_000),
        default: "512",
        help: "How many tables are held open.",
    },
    OptionSpec {
        name: "max_background_jobs",
        kind: OptionKind::Integer(2, 64),
        default: "2",
        help: "How many tables are written and merged at once.",
    },
    OptionSpec {
        name: "bulk_size",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "Bytes of a batch of an import or a migration, which becomes a table. It is in memory twice.",
    },
];

/// Indexes and filters have to fit in beside the blocks of a walk.
pub(crate) const SEQUENTIAL: &[(&str, &str)] = &[("block_cache_size", "8MiB")];

/// That of the crate `librocksdb-sys` in Cargo.lock; the crate `rocksdb` does not say it.
pub(crate) const ROCKSDB_VERSION: &str = "11.8.1";

/// The largest value: RocksDB's own limit is 4 GiB, and values of more than this were not tried.
pub(crate) const VALUE_BYTES_MAX: u64 = 512 << 20;

const BLOCK_CACHE_BYTES_DEFAULT: u64 = 32 << 20;
const WRITE_BUFFER_BYTES_DEFAULT: u64 = 16 << 20;
const OPEN_FILES_DEFAULT: u64 = 512;
const BACKGROUND_JOBS_DEFAULT: u64 = 2;
const BULK_BYTES_DEFAULT: u64 = 16 << 20;

/// Of a batch of an import, the part of its size from which on rows of a table are ingested: less is better
/// off in a memtable than in a file of its own.
const INGESTED_PART: u64 = 8;

/// Memtables, the one that is written to included.
const WRITE_BUFFERS: i32 = 3;

/// The first level below the new tables holds so many tables.
const LEVEL_BASE_TABLES: u64 = 4;

/// Bits of a table's Bloom filter for each key: one of a hundred missing keys is looked for in vain.
const FILTER_BITS: f64 = 10.0;

/// The options, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    block_cache_bytes: u64,
    write_buffer_bytes: u64,
    open_files: u64,
    background_jobs: u64,
    /// Bytes of a batch of an import.
    pub(crate) bulk_bytes: u64,
}

impl Config {
    pub(crate) fn new(options: &Options) -> Config {
        let size = |name, default| options.size(name).unwrap_or(default);
        let integer = |name, default| options.integer(name).unwrap_or(default);
        Config {
            block_cache_bytes: size("block_cache_size", BLOCK_CACHE_BYTES_DEFAULT),
            write_buffer_bytes: size("write_buffer_size", WRITE_BUFFER_BYTES_DEFAULT),
            open_files: integer("max_open_files", OPEN_FILES_DEFAULT),
            background_jobs: integer("max_background_jobs", BACKGROUND_JOBS_DEFAULT),
            bulk_bytes: size("bulk_size", BULK_BYTES_DEFAULT),
        }
    }

    /// So many bytes of new rows, next to each other in a table, are ingested.
    pub(crate) fn ingested_bytes_min(&self) -> u64 {
        (self.bulk_bytes / INGESTED_PART).max(1)
    }

    /// RocksDB's settings, for a database that is to be made or for one that is there.
    pub(crate) fn settings(&self, create: bool) -> Result<rocksdb::Options, rocksdb::Error> {
        // What the crate has no functions for. Space that is allocated beforehand would count as taken.
        let mut settings = rocksdb::Options::default()
            .get_options_from_string("allow_fallocate=false;max_bgerror_resume_count=0")?;
        settings.create_if_missing(create);
        settings.set_error_if_exists(create);
        settings.set_paranoid_checks(true);
        settings.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        // A batch is with the system when it is written, and nothing is written or synced in other ways than
        // by calls that can be watched and that report their failure.
        settings.set_manual_wal_flush(false);
        settings.set_allow_mmap_writes(false);
        settings.set_use_direct_io_for_flush_and_compaction(false);
        settings.set_bytes_per_sync(0);
        settings.set_wal_bytes_per_sync(0);
        settings.set_compression_type(DBCompressionType::None);
        settings.set_write_buffer_size(to_usize(self.write_buffer_bytes));
        settings.set_max_write_buffer_number(WRITE_BUFFERS);
        settings.set_target_file_size_base(self.write_buffer_bytes);
        settings.set_max_bytes_for_level_base(
            self.write_buffer_bytes.saturating_mul(LEVEL_BASE_TABLES),
        );
        settings.set_max_open_files(to_i32(self.open_files));
        settings.set_max_background_jobs(to_i32(self.background_jobs));
        // There is one writer, whose rows come sorted.
        settings.set_allow_concurrent_memtable_write(false);
        settings.set_block_based_table_factory(&self.tables());
        settings.set_stats_dump_period_sec(0);
        settings.set_stats_persist_period_sec(0);
        settings.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, log));
        Ok(settings)
    }

    fn tables(&self) -> BlockBasedOptions {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_hyper_clock_cache(
            to_usize(self.block_cache_bytes),
            0,
        ));
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        tables.set_bloom_filter(FILTER_BITS, false);
        tables.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        tables
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn to_i32(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// RocksDB's messages.
fn log(level: LogLevel, message: &str) {
    match level {
        LogLevel::Warn => tracing::info!("RocksDB: {message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::warn!("RocksDB: {message}"),
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_compiled_in() {
        let locked = include_str!("../../../Cargo.lock");
        let (_, locked) = locked
            .split_once("name = \"librocksdb-sys\"\n")
            .unwrap_or_default();
        let version = locked.lines().next().unwrap_or_default();
        assert!(
            version.ends_with(&format!("+{ROCKSDB_VERSION}\"")),
            "{version}"
        );
    }
}
