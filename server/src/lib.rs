//! Durum's storage server: one store for many clients.
//!
//! It speaks Durus's protocol, version 1, so that clients of Durus work with it as they are, on TCP, on
//! Unix-domain sockets and, on Linux, on abstract ones. Unlike Durus's own server it serves clients in
//! parallel, does not wait for a slow one, keeps nothing for an idle one but its place in the log of
//! changes, and collects garbage promptly; `docs/PROTOCOL.md` tells the protocol and the differences.
//!
//! [`Server`] runs on threads of its own over a [`LocalStore`](durum_core::store::LocalStore).

#![forbid(unsafe_code)]

mod address;
mod changes;
pub mod client;
mod descriptors;
mod durum;
mod durus;
mod filling;
mod handshake;
mod hangup;
mod hub;
mod listener;
mod metrics;
mod order;
mod passed;
mod protocol;
mod records;
mod server;
mod settings;
mod stream;
mod supervisor;
mod suspicion;
pub mod tls;
mod wire;

pub use address::Address;
pub use filling::Home;
pub use passed::Passed;
pub use server::{Reloader, Server, Stopper};
pub use settings::{Limits, Settings};
pub use supervisor::Supervisor;
