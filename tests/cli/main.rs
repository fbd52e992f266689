//! The real `durum` program, driven as its users do.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod backup;
mod bad_input;
mod bench;
mod bench_database;
mod bench_dict;
mod bench_engines;
mod cert;
mod commands;
mod configuration;
mod damage;
mod dict;
mod dict_migrate;
mod durus_server;
mod follow;
mod full_disk;
mod interrupted;
mod kit;
mod migrate;
mod output;
#[cfg(unix)]
mod permissions;
mod tour;
mod typed;
mod zodb;
