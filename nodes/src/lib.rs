//! Nodes of a cluster that needs no administrator.

#![forbid(unsafe_code)]

mod files;
mod key;
mod process;

pub use key::{NodeKey, random_hex};
pub use process::{Process, Sockets};
