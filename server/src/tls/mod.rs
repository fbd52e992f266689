//! TLS 1.3: what the server is, who its clients are, and what they may do.
//!
//! [`TlsSettings`] name the server's files: its certificate with the key, and, where clients must have
//! certificates, the authorities (CA) that sign these and a list of the names that are allowed.
//! [`client_config`] is the other side. It needs nothing that is asynchronous:
//!
//! ```no_run
//! use durum_server::tls::{Identity, client_config, server_name};
//! use rustls::{ClientConnection, StreamOwned};
//!
//! let identity = Identity::new("client-alice.pem", "client-alice.key");
//! let config = client_config("ca.pem".as_ref(), Some(&identity))?;
//! let connection = ClientConnection::new(config, server_name("db.example")?)?;
//! let socket = std::net::TcpStream::connect("db.example:2972")?;
//! let stream = StreamOwned::new(connection, socket); // reads and writes
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The handshake takes place with the first read or write. In TLS 1.3 a client has finished it before the
//! server has looked at its certificate: that the server refuses it is what the first *read* fails with.
//!
//! All files are PEM. There is no other version of TLS, and no resumption of sessions: connections last
//! long, and who was removed from the list does not come in again by an old ticket.

mod client;
mod files;
#[cfg(feature = "issue")]
pub mod issue;
#[cfg(feature = "server")]
mod names;
#[cfg(feature = "server")]
mod server;
#[cfg(test)]
#[cfg(feature = "server")]
pub(crate) mod tests;

pub use client::{client_config, server_name};
pub use durum_core::config::Rights;
pub use files::Identity;
#[cfg(feature = "server")]
pub(crate) use server::ServerTls;
#[cfg(feature = "server")]
pub use server::{TlsSettings, explain, server_config};

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};

/// The only version, whatever else is compiled in.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The cryptography, whatever else the program has.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
