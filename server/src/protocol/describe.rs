//! What is said once, or for people: JSON, so that more can be added.

use durum_core::engine::{Capabilities, Durability};
use durum_core::store::{Pending, StoreStats};
use durum_core::{Error, ErrorKind, Result, StoreId, Tid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::lasting;

/// The answer to `Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The store's identity, in hexadecimal digits.
    pub(crate) store_id: String,
    /// The last commit.
    pub(crate) tid: Tid,
    /// Another one each time that the store is opened.
    pub(crate) incarnation: u64,
    /// Whether this client may write.
    pub(crate) writes: bool,
    /// What callers get who ask for no durability in particular.
    pub(crate) durability: Durability,
    pub(crate) engine: Engine,
    /// Bytes of a frame, at most.
    pub(crate) request_bytes_max: u64,
    /// Objects of a request, at most.
    pub(crate) request_objects_max: u32,
    /// Snapshots that a connection may have.
    pub(crate) snapshots_max: u32,
}

/// What the engine is called and offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) snapshots: bool,
    pub(crate) durability: Vec<Durability>,
    pub(crate) compaction: bool,
    pub(crate) reclaim: bool,
    pub(crate) persistent: bool,
    pub(crate) value_bytes_max: u64,
}

/// The answer to `Stat`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stat {
    pub(crate) stats: StoreStats,
    pub(crate) pending: Pending,
}

impl From<&Capabilities> for Engine {
    fn from(it: &Capabilities) -> Engine {
        Engine {
            name: it.name.to_owned(),
            version: it.version.clone(),
            snapshots: it.snapshots,
            durability: it.durability.clone(),
            compaction: it.compaction,
            reclaim: it.reclaim,
            persistent: it.persistent,
            value_bytes_max: it.value_bytes_max,
        }
    }
}

impl From<&Engine> for Capabilities {
    fn from(it: &Engine) -> Capabilities {
        Capabilities {
            name: lasting(&it.name).unwrap_or("unknown"),
            version: it.version.clone(),
            snapshots: it.snapshots,
            durability: it.durability.clone(),
            compaction: it.compaction,
            reclaim: it.reclaim,
            persistent: it.persistent,
            value_bytes_max: it.value_bytes_max,
        }
    }
}

impl Welcome {
    /// The store's identity.
    pub(crate) fn store_id(&self) -> Result<StoreId> {
        self.store_id.parse()
    }
}

/// Appends a description.
pub(crate) fn put<T: Serialize>(out: &mut Vec<u8>, what: &T) -> Result<()> {
    serde_json::to_writer(out, what).map_err(|error| bad(&error))
}

/// What [`put`] has written.
pub(crate) fn take<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| bad(&error))
}

fn bad(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Other, "speak with the server").because(error.to_string())
}
