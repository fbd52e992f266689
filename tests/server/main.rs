//! The storage server as a process: with real clients of Durus, with clients of a few lines that do what no
//! real one does, and with signals.

// Helpers panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod certificates;
mod client;
mod durus_clients;
mod durus_tls;
mod examples;
mod hostile;
mod idle;
mod kills;
mod kit;
mod limits;
mod link;
mod metrics;
mod operation;
mod reload;
mod remote;
mod rules;
mod security;
mod supervision;
