//! The engine's options and limits.

use durum_core::engine::{OptionKind, OptionSpec, Options};

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "page_size",
        kind: OptionKind::Choice(&["4096", "8192", "16384", "32768", "65536"]),
        default: "4096",
        help: "Bytes of a page; has effect only when a store is created.",
    },
    OptionSpec {
        name: "cache_size",
        kind: OptionKind::Size,
        default: "8MiB",
        help: "Memory for the page cache of each connection: the writer's, and one for each snapshot \
               that is open at once.",
    },
    OptionSpec {
        name: "wal_limit",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "Size of the write-ahead log at which it is copied into the database and begun anew.",
    },
];

/// SQLite takes 10^9 bytes for a row (`SQLITE_MAX_LENGTH`); keys and header take a few of them.
pub(crate) const VALUE_BYTES_MAX: u64 = 1_000_000_000 - 1024;

const PAGE_BYTES_DEFAULT: u64 = 4096;
const CACHE_BYTES_DEFAULT: u64 = 8 << 20;
const LOG_BYTES_DEFAULT: u64 = 16 << 20;

/// The options, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Bytes of a page of a new database.
    pub(crate) page_bytes: u64,
    pub(crate) cache_bytes: u64,
    /// Size of the log from which on it is checkpointed.
    pub(crate) log_bytes: u64,
}

impl Config {
    pub(crate) fn new(options: &Options) -> Config {
        let page_bytes = options
            .choice("page_size")
            .and_then(|text| text.parse().ok());
        Config {
            page_bytes: page_bytes.unwrap_or(PAGE_BYTES_DEFAULT),
            cache_bytes: options.size("cache_size").unwrap_or(CACHE_BYTES_DEFAULT),
            log_bytes: options.size("wal_limit").unwrap_or(LOG_BYTES_DEFAULT),
        }
    }
}
