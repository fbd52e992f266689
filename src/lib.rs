//! Durum is a persistent object store: a graph of objects on disk, on the engine of your choice.
//!
//! An object has an OID, a state (bytes) and references to other objects. Commits are atomic, work
//! concurrently and say what they conflict with; snapshots stay as they are; what the root no longer
//! reaches is garbage. The engine underneath (LMDB, SQLite, redb, fjall, a flat file, ...) is chosen by a URL
//! or a config file and can be changed by a migration.
//!
//! ```
//! use durum::{Batch, Oid, SnapshotExt as _, Store as _};
//!
//! let store = durum::create("memory:")?; // or "lmdb:PATH", "sqlite:PATH", "file:PATH"
//! let mut batch = Batch::new();
//! batch.create(Oid::ROOT, "the root's state", []);
//! store.commit(batch, store.durability())?;
//! assert_eq!(store.snapshot()?.load(Oid::ROOT)?.unwrap().data, b"the root's state");
//! # Ok::<(), durum::Error>(())
//! ```
//!
//! The pieces are crates of their own: [`core`] has the store and the interface for engines, [`migrate`]
//! copies between engines and foreign formats, [`server`] shares a store among many clients and has the one
//! for Rust, [`objects`] makes Rust structs persistent, [`dictionaries`] keeps names and values with all
//! of their revisions. The `durum` program does what its name says from the
//! command line.

#![forbid(unsafe_code)]

use std::path::Path;

pub use durum_core as core;
pub use durum_core::collect::{Budget, Collected, Counters};
pub use durum_core::config::{Config, Location, StoreSettings};
pub use durum_core::engine::{Durability, Registry};
pub use durum_core::record::{Codec, Object, Record};
pub use durum_core::store::{
    Batch, Collection, LocalStore, Pending, Receipt, Scan, SessionKind, Snapshot, SnapshotExt,
    Store,
};
pub use durum_core::{Error, ErrorKind, Oid, Result, SessionId, StoreId, Tid};
pub use durum_dictionaries as dictionaries;
pub use durum_migrate as migrate;
pub use durum_server as server;
pub use durum_server::client::{ClientOptions, RemoteStore};

pub use durum_backends::registry;

/// Typed objects: Rust structs and enums that live in a store. See [`objects::Database`].
pub mod objects {
    pub use durum_objects::*;
    // The derive macro of the same name as the trait, for programs that depend on this crate alone.
    pub use durum_objects_derive::PersistentInFacade as Persistent;
}

/// Opens the store that a URL names: `lmdb:PATH`, `sqlite:PATH?durability=process`, ...
///
/// # Errors
/// `Usage` for a bad URL, `NotFound`, `Unreadable` and `InUse` for the store, `Damaged`.
pub fn open(url: &str) -> Result<LocalStore> {
    let registry = registry();
    registry.open(&registry.parse_store(url)?)
}

/// Connects to the storage server that a URL names, `durus+tcp://HOST:PORT`, `durus+unix:PATH` or
/// `durus+tls://HOST:PORT?ca=FILE`: its store is used like any other.
///
/// # Errors
/// `Usage` for a bad URL, and as [`RemoteStore::connect`].
pub fn connect(url: &str) -> Result<RemoteStore> {
    match registry().parse(url)? {
        Location::Server(server) => RemoteStore::connect(&server),
        _ => Err(Error::new(ErrorKind::Usage, "connect to the server")
            .because(format!("{url} does not name one"))
            .hint(
                "Write durus+tcp://HOST:PORT, durus+unix:PATH or durus+tls://HOST:PORT?ca=FILE.",
            )),
    }
}

/// Creates the store that a URL names, crash-atomically, and opens it.
///
/// # Errors
/// `Usage` for a bad URL, `Exists` where there is something already, `ReadOnly`, `Full`.
pub fn create(url: &str) -> Result<LocalStore> {
    let registry = registry();
    registry.create(&registry.parse_store(url)?)
}

/// Opens the store that a config file names; without one, the file that the environment variable
/// `DURUM_CONFIG` names, else `durum.toml` in the working directory, else the defaults.
///
/// # Errors
/// `Usage` for a bad file, and as [`open`].
pub fn open_config(file: Option<&Path>) -> Result<LocalStore> {
    registry().open(&Config::find(file)?.store)
}

/// Holds the examples of the README to what they say.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
