//! The client with real Garage nodes.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod failures;
mod hostile;
mod items;
mod objects;
