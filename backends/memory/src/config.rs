//! The engine's options and limits.

use durum_core::engine::OptionSpec;

/// It has no options.
pub(crate) const OPTIONS: &[OptionSpec] = &[];

/// The largest allocation that Rust allows.
pub(crate) const VALUE_BYTES_MAX: u64 = isize::MAX as u64;
