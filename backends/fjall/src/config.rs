//! The engine's options and limits.

use durum_core::engine::{OptionKind, OptionSpec, Options};

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "cache_size",
        kind: OptionKind::Size,
        default: "32MiB",
        help: "Memory for fjall's block cache.",
    },
    OptionSpec {
        name: "memtable_size",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "How many bytes of new rows are gathered in memory before they are written as a table, of \
               which up to three can wait; has effect only when a store is created or compacted.",
    },
    OptionSpec {
        name: "bulk_size",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "Bytes of a batch of an import or a migration, which becomes a table. It is in memory twice.",
    },
];

/// What of the block cache helps a walk, and reading while an import looks for what is there.
pub(crate) const SEQUENTIAL: &[(&str, &str)] = &[("cache_size", "8MiB")];

/// The version that the workspace's Cargo.toml asks for; fjall does not say its own.
pub(crate) const FJALL_VERSION: &str = "3.1.13";

/// The largest value: fjall's own limit is 4 GiB, and values of more than this were not tried.
pub(crate) const VALUE_BYTES_MAX: u64 = 512 << 20;

/// fjall's threads; one of them is for writing tables, so that there have to be two.
pub(crate) const THREADS: usize = 2;

/// Bytes of full journals from which on fjall writes tables to be rid of them.
pub(crate) const JOURNAL_BYTES_MAX: u64 = 128 << 20;

const CACHE_BYTES_DEFAULT: u64 = 32 << 20;
const MEMTABLE_BYTES_DEFAULT: u64 = 16 << 20;
const BULK_BYTES_DEFAULT: u64 = 16 << 20;

/// Of a batch of an import, the part of its size from which on rows of a table are ingested: less is better
/// off in a memtable than in a file of its own.
const INGESTED_PART: u64 = 8;

/// The options, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) cache_bytes: u64,
    pub(crate) memtable_bytes: u64,
    /// Bytes of a batch of an import.
    pub(crate) bulk_bytes: u64,
}

impl Config {
    pub(crate) fn new(options: &Options) -> Config {
        Config {
            cache_bytes: options.size("cache_size").unwrap_or(CACHE_BYTES_DEFAULT),
            memtable_bytes: options
                .size("memtable_size")
                .unwrap_or(MEMTABLE_BYTES_DEFAULT),
            bulk_bytes: options.size("bulk_size").unwrap_or(BULK_BYTES_DEFAULT),
        }
    }

    /// So many bytes of new rows, next to each other in a table, are ingested.
    pub(crate) fn ingested_bytes_min(&self) -> u64 {
        (self.bulk_bytes / INGESTED_PART).max(1)
    }
}
