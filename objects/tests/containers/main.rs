//! Containers against those of std: on all engines, through a server, with caches of all sizes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod build;
mod conflicts;
mod dicts;
mod kit;
mod operations;
mod sets;
mod trees;
