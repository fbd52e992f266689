//! The engine's options and limits.

use durum_core::engine::{OptionKind, OptionSpec, Options};

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "cache_size",
        kind: OptionKind::Size,
        default: "64MiB",
        help: "Memory for redb's page cache; at most half of it holds pages that wait to be written.",
    },
    OptionSpec {
        name: "quick_repair",
        kind: OptionKind::Flag,
        default: "false",
        help: "Whether commits note the free pages, so that a store opens at once after a crash, where \
               otherwise the whole file is read; commits then take two syncs instead of one.",
    },
    OptionSpec {
        name: "bulk_size",
        kind: OptionKind::Size,
        default: "8MiB",
        help: "Size of the batches of an import, each of which is synced.",
    },
];

/// Half of the cache holds what is to be written: with 4 MiB, migrations take a fifth longer.
pub(crate) const SEQUENTIAL: &[(&str, &str)] = &[("cache_size", "16MiB")];

/// The version that the workspace's Cargo.toml asks for; redb does not say its own.
pub(crate) const REDB_VERSION: &str = "4.6.0";

/// redb's own limit (`MAX_VALUE_LENGTH` in base.rs).
pub(crate) const VALUE_BYTES_MAX: u64 = 3 << 30;

const CACHE_BYTES_DEFAULT: u64 = 64 << 20;
const BULK_BYTES_DEFAULT: u64 = 8 << 20;

/// The options, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) cache_bytes: usize,
    /// Whether synced commits also note the free pages.
    pub(crate) quick_repair: bool,
    /// Bytes of a batch of an import.
    pub(crate) bulk_bytes: usize,
}

impl Config {
    pub(crate) fn new(options: &Options) -> Config {
        let bytes = |name, default| {
            let bytes = options.size(name).unwrap_or(default);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        Config {
            cache_bytes: bytes("cache_size", CACHE_BYTES_DEFAULT),
            quick_repair: options.flag("quick_repair").unwrap_or(false),
            bulk_bytes: bytes("bulk_size", BULK_BYTES_DEFAULT),
        }
    }
}
