//! The conformance suite: what every engine, and every store on one, has to do.
//!
//! A backend's `tests/conformance.rs` registers all cases as tests of its own with one line:
//!
//! ```ignore
//! durum_core::engine_conformance!(durum_memory::MemoryBackend);
//! ```
//!
//! No case is skipped at run time for an engine that lacks a capability: there the case proves that
//! the capability is refused, or that what takes its place works.

// A case fails by panicking, as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

pub mod engine;
pub mod store;
