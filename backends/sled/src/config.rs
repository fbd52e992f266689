//! The engine's options and limits.

use std::path::Path;

use durum_core::engine::{OptionKind, OptionSpec, Options};
use sled::Mode;

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "cache_capacity",
        kind: OptionKind::Size,
        default: "1GiB",
        help: "Memory for sled's page cache.",
    },
    OptionSpec {
        name: "mode",
        kind: OptionKind::Choice(&["small", "fast"]),
        default: "small",
        help: "`small` rewrites pages so that files stay smaller; `fast` writes less.",
    },
];

/// The version that Cargo.toml pins; sled does not say its own.
pub(crate) const SLED_VERSION: &str = "0.34.7";

/// The largest value: sled documents no limit, and larger ones were not tried.
pub(crate) const VALUE_BYTES_MAX: u64 = 512 << 20;

/// sled's own default.
const FLUSH_EVERY_MS: u64 = 500;

const CACHE_BYTES_DEFAULT: u64 = 1 << 30;

/// sled's configuration for a database in `dir`.
pub(crate) fn config(dir: &Path, options: &Options) -> sled::Config {
    let mode = match options.choice("mode") {
        Some("fast") => Mode::HighThroughput,
        _ => Mode::LowSpace,
    };
    sled::Config::new()
        .path(dir)
        .cache_capacity(
            options
                .size("cache_capacity")
                .unwrap_or(CACHE_BYTES_DEFAULT),
        )
        .mode(mode)
        // Only sled's flushing thread empties sparse segments: without it the file grew to fifteen
        // times the data, by measurement. Durability does not rely on it.
        .flush_every_ms(Some(FLUSH_EVERY_MS))
}
