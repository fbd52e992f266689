//! The engine's options and limits.

use std::path::Path;

use durum_core::engine::{OptionKind, OptionSpec, Options};
use sled::Mode;

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "cache_capacity",
        kind: OptionKind::Size,
        default: "32MiB",
        help: "Memory for sled's page cache, which sled exceeds by several times while it writes.",
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

/// sled's own default is 1 GiB, which an import of a million objects fills by half.
const CACHE_BYTES_DEFAULT: u64 = 32 << 20;

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
        // sled's flushing thread moves pages out of sparse segments, and reuses these before what was
        // moved is on the device: a loss of power then damages the database, as the crash tests found.
        // Without that thread they find no such loss. The price is space: sparse segments stay.
        .flush_every_ms(None)
}
