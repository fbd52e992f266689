//! Several servers of one store as processes, on real PostgreSQL, with real clients of Durus and Rust clients: servers
//! are killed and stopped, and so is PostgreSQL, alone and in a cluster that Patroni runs.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod clients;
mod database;
mod durus_client;
mod front;
mod kit;
mod patroni;
mod progress;
mod reads;
mod rust_client;
mod stale;
mod takeover;
