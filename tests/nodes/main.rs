//! `durum node`: the real program with real Garage nodes.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod access;
mod bench;
mod cluster;
mod keys;
mod kit;
mod lost;
mod misuse;
mod relay;
mod share;
mod wire;
