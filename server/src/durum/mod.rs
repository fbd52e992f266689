//! Durum's own protocol, version 2, for the Rust client.
//!
//! Quick requests, reads above all, are answered as they come, on the connection's own task. What waits for
//! the disk, for other commits or for something to happen is done beside it, and answered when it is done.

mod import;
mod reads;
mod session;
mod upkeep;
mod writes;

pub(crate) use session::serve;
