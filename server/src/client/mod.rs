//! The Rust client: a [`Store`](durum_core::store::Store) that lies behind a server.
//!
//! A [`RemoteStore`] can be used by many threads, which share its connection: requests are sent without
//! waiting for answers to others. Where the connection is lost, or the server was restarted, it connects
//! again; reads are asked again, and a commit that was not answered is sent again with its identity, so that
//! it is performed once.
//!
//! A [`DurusClient`] reads from a server that speaks only Durus's own protocol.

mod connection;
mod durus;
#[cfg(test)]
mod durus_tests;
mod import;
mod link;
mod scan;
mod sessions;
mod shared;
mod snapshot;
mod store;
mod transport;

pub use durus::{Answer as DurusAnswer, DurusClient, Record as DurusRecord};
pub use import::RemoteImport;
pub use shared::ClientOptions;
pub use store::RemoteStore;
