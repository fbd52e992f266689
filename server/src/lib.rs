//! Durum's storage server: one store for many clients.
//!
//! It speaks Durus's protocol, version 1, so that clients of Durus work with it as they are, on TCP, on
//! Unix-domain sockets and, on Linux, on abstract ones. Unlike Durus's own server it serves clients in
//! parallel, does not wait for a slow one, keeps nothing for an idle one but its place in the log of
//! changes, and collects garbage promptly; `docs/PROTOCOL.md` tells the protocol and the differences.
//!
//! `Server` (feature `server`) runs on threads of its own over a [`LocalStore`](durum_core::store::LocalStore);
//! `client` (feature `client`) has the client for Rust, which needs nothing of it.

#![forbid(unsafe_code)]

mod address;
#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "server"))]
mod protocol;
pub mod tls;

pub use address::Address;

/// What only the server needs.
macro_rules! server {
    ($($item:item)*) => { $(#[cfg(feature = "server")] $item)* };
}

server! {
    mod blocking;
    mod changes;
    mod descriptors;
    mod direct;
    mod durum;
    mod durus;
    mod filling;
    mod handshake;
    mod hangup;
    mod hub;
    mod listener;
    mod metrics;
    mod nearness;
    mod order;
    mod passed;
    mod records;
    mod server;
    mod settings;
    mod spin;
    mod standby;
    mod stream;
    mod supervisor;
    mod suspicion;
    mod wire;

    pub use filling::Home;
    pub use passed::Passed;
    pub use server::{Reloader, Server, Stopper};
    pub use settings::{Limits, Settings};
    pub use supervisor::Supervisor;
}
