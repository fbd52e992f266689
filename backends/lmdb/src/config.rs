//! The engine's options and limits.

use durum_core::engine::{OptionKind, OptionSpec, Options};
use durum_core::units;
use durum_core::{Error, ErrorKind, Result};

/// What may be set.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "map_size",
        kind: OptionKind::Size,
        default: "64GiB",
        help: "Address space for the map at first; it is doubled whenever the data outgrows it.",
    },
    OptionSpec {
        name: "max_readers",
        kind: OptionKind::Integer(1, 65_536),
        default: "1024",
        help: "The largest number of snapshots that can be open at once.",
    },
    OptionSpec {
        name: "bulk_size",
        kind: OptionKind::Size,
        default: "8MiB",
        help: "Size of the batches of an import, each of which is synced unless `unsynced` is `fast`.",
    },
    OptionSpec {
        name: "unsynced",
        kind: OptionKind::Choice(&["ordered", "fast"]),
        default: "ordered",
        help: "How commits below `power` are written: `ordered` loses at most the last of them when \
               power fails; `fast` syncs nothing, and a loss of power can damage the whole store.",
    },
];

/// LMDB's own limit (`MAXDATASIZE` in mdb.c): lengths are stored in 32 bits.
pub(crate) const VALUE_BYTES_MAX: u64 = u32::MAX as u64;

/// Map sizes are multiples of this, which is one of every system's page size.
const MAP_STEP_BYTES: u64 = 1 << 20;

/// The largest map: what the 47 bits of address space of a process have room for, beside the rest.
const MAP_BYTES_MAX: u64 = 1 << 46;

const MAP_BYTES_DEFAULT: u64 = 64 << 30;
const READERS_DEFAULT: u64 = 1024;
const BULK_BYTES_DEFAULT: u64 = 8 << 20;

/// The options, read.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Size of the map at first; a multiple of the system's page size.
    pub(crate) map_bytes: usize,
    pub(crate) readers_max: u32,
    /// Bytes of a batch of an import.
    pub(crate) bulk_bytes: usize,
    /// Whether commits below `power` sync nothing at all.
    pub(crate) fast: bool,
}

impl Config {
    pub(crate) fn new(options: &Options) -> Result<Config> {
        let asked = options.size("map_size").unwrap_or(MAP_BYTES_DEFAULT);
        let map_bytes = map_bytes(asked).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "read the engine's options")
                .because(format!(
                    "`map_size` is more than {}",
                    units::format_size(MAP_BYTES_MAX)
                ))
                .hint("Leave it out: the map grows with the data.")
        })?;
        let readers = options.integer("max_readers").unwrap_or(READERS_DEFAULT);
        Ok(Config {
            map_bytes,
            readers_max: u32::try_from(readers).unwrap_or(u32::MAX),
            bulk_bytes: usize::try_from(options.size("bulk_size").unwrap_or(BULK_BYTES_DEFAULT))
                .unwrap_or(usize::MAX),
            fast: options.choice("unsynced") == Some("fast"),
        })
    }
}

/// A valid size of a map of at least `bytes`; `None` above the limit.
pub(crate) fn map_bytes(bytes: u64) -> Option<usize> {
    let bytes = bytes.max(1).checked_next_multiple_of(MAP_STEP_BYTES)?;
    usize::try_from(bytes)
        .ok()
        .filter(|_| bytes <= MAP_BYTES_MAX)
}
