//! How a database behaves.

use std::time::Duration;

use durum_core::engine::Durability;

/// How a [`Database`](crate::Database) behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much memory the cache of loaded objects takes, in bytes, all transactions together; what it takes
    /// for an object is estimated by the length of its state. 64 MiB unless told; with 0 nothing is kept.
    pub cache: u64,
    /// How durable commits are; as the store's configuration has it, unless told.
    pub durability: Option<Durability>,
    /// How often [`Database::transact`](crate::Database::transact) tries. 100 unless told.
    pub attempts: u32,
    /// How long it waits at most before it tries again. 50 ms unless told.
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache: 64 << 20,
            durability: None,
            attempts: 100,
            longest_wait: Duration::from_millis(50),
        }
    }
}
