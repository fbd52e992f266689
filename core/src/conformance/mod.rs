//! The conformance suite: what every engine, and every store on one, has to do.
//!
//! A backend's `tests/conformance.rs` registers all cases as tests of its own with one line:
//!
//! ```ignore
//! durum_core::conformance!(durum_memory::MemoryBackend);
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
mod home;
pub mod store;

pub use home::{Home, TemporaryDirectory};

/// Registers every case, of the engine and of a store on it, as tests in modules `engine` and `store`.
///
/// Takes a backend and, optionally, option values with which all cases run:
/// `conformance!(LmdbBackend, options: [("map_size", "8MiB")])`; and, for an engine that is known to
/// waste space, by which factor: `space_factor_max: 100`. An engine that is a server of its own says where
/// on it the stores of a case lie: `home: testing::home()`, a [`Home`] that is made anew for each case; where that is `None`, the cases are left out.
#[macro_export]
macro_rules! conformance {
    ($($arguments:tt)*) => {
        $crate::engine_conformance!($($arguments)*);
        $crate::store_conformance!($($arguments)*);
    };
}
