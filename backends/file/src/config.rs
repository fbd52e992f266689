//! The options of this engine.

use durum_core::engine::{OptionKind, OptionSpec, Options};
use durum_core::{Error, ErrorKind, Result};

/// What `[store.options]` and URLs may give.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "segment_size",
        kind: OptionKind::Size,
        default: "64MiB",
        help: "Size of the log's segments; space is given back a segment at a time. 4KiB to 1GiB.",
    },
    OptionSpec {
        name: "checkpoint_size",
        kind: OptionKind::Size,
        default: "16MiB",
        help: "Memory for recent positions before they go into the index; also bounds what an open \
               after a crash has to replay. 1KiB to 1GiB.",
    },
];

/// The options' values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Bytes of a segment, unless a single frame is larger.
    pub(crate) segment_bytes: u64,
    /// Bytes of recent positions that are held in memory.
    pub(crate) checkpoint_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            segment_bytes: 64 << 20,
            checkpoint_bytes: 16 << 20,
        }
    }
}

impl Config {
    /// Reads the options.
    ///
    /// # Errors
    /// `Usage` for a size that is out of bounds.
    pub(crate) fn new(options: &Options) -> Result<Config> {
        let default = Config::default();
        let segment = options.size("segment_size");
        let checkpoint = options.size("checkpoint_size");
        Ok(Config {
            segment_bytes: bounded("segment_size", segment, 4 << 10, default.segment_bytes)?,
            checkpoint_bytes: bounded(
                "checkpoint_size",
                checkpoint,
                1 << 10,
                default.checkpoint_bytes,
            )?,
        })
    }
}

fn bounded(name: &str, given: Option<u64>, low: u64, default: u64) -> Result<u64> {
    let value = given.unwrap_or(default);
    if (low..=SIZE_MAX).contains(&value) {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::Usage, "read the engine's options")
        .because(format!("`{name}` is {value} bytes"))
        .hint(format!("It takes from {low} to {SIZE_MAX} bytes.")))
}

const SIZE_MAX: u64 = 1 << 30;
