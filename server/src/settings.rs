//! How a server runs.

use std::time::Duration;

use crate::address::Address;
use crate::tls::TlsSettings;

/// How a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Where metrics and health are told by HTTP.
    pub metrics: Option<Address>,
    /// Whether a client of Durus's protocol may shut it down.
    pub allow_quit: bool,
    /// Whether clients may only read.
    pub read_only: bool,
    /// How it speaks TLS; without this it does not.
    pub tls: Option<TlsSettings>,
    /// What it bears.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        let host = "127.0.0.1".to_owned();
        Settings {
            listen: vec![Address::Tcp { host, port: PORT }],
            metrics: None,
            allow_quit: false,
            read_only: false,
            tls: None,
            limits: Limits::default(),
        }
    }
}

/// The port of Durus's own server.
const PORT: u16 = 2972;

/// What a server bears of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more are closed at once.
    pub connections_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: u64,
    /// Objects that one request loads or writes.
    pub request_objects_max: u32,
    /// From the first byte of a request to its last, and from the first byte of an answer to its last; also
    /// for a TLS handshake.
    pub request_time_max: Duration,
    /// How long others wait for the transaction of a client that has asked for conflicts.
    pub commit_patience: Duration,
    /// How long requests are waited for when the server ends.
    pub shutdown_time_max: Duration,
    /// Changes that are kept in memory for clients that ask what has become invalid.
    pub changes_max: usize,
    /// How long a client that fills the store may say nothing while nothing is done for it: nobody else can
    /// use the server meanwhile. The Rust client says something more often.
    pub filling_silence_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 16_384,
            request_bytes_max: 256 << 20,
            request_objects_max: 1 << 20,
            request_time_max: Duration::from_secs(60),
            commit_patience: Duration::from_millis(250),
            shutdown_time_max: Duration::from_secs(10),
            changes_max: 1 << 20,
            filling_silence_max: Duration::from_secs(300),
        }
    }
}
