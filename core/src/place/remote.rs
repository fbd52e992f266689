//! What an engine implements that keeps its stores on a server, and not in directories.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::Identity;
use crate::engine::{Engine, Options};
use crate::error::{Error, ErrorKind, Result};

/// Nothing but a writer can open the store.
pub(super) fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "read the store while another process writes it",
    )
    .because("the engine has no way to do that")
}

/// The places of an engine that is a server of its own. Addresses are what stands in the place of a path
/// in configurations and URLs.
pub trait RemotePlaces: Send + Sync + Debug {
    /// Opens the store at `address` and locks it against all other processes, on whatever machine.
    ///
    /// # Errors
    /// `NotFound` where there is nothing, `Unreadable` where there is something else, or where the server
    /// cannot be reached, `InUse` where somebody has it open.
    fn open(&self, address: &Path, options: &Options) -> Result<Box<dyn RemotePlace>>;

    /// Opens the store at `address` only to be read, also while another process has it open; nobody is kept out. The
    /// snapshots of its engine stay as they are while others write, each shows whole batches, and what would write fails
    /// with `ReadOnly`.
    ///
    /// # Errors
    /// As [`RemotePlaces::open`], but for `InUse`; `Unsupported` where there is no such thing.
    fn follow(&self, _address: &Path, _options: &Options) -> Result<Box<dyn RemotePlace>> {
        Err(unsupported())
    }

    /// Begins a place that will appear at `address`, and removes what others that were begun there and
    /// given up have left.
    ///
    /// # Errors
    /// `Exists` where there is something already, `ReadOnly` where nothing can be created there.
    fn create(&self, address: &Path, options: &Options) -> Result<Box<dyn RemoteStagedPlace>>;

    /// Whether a place could be created, without leaving anything there.
    ///
    /// # Errors
    /// As [`RemotePlaces::create`].
    fn probe(&self, address: &Path, options: &Options) -> Result<()>;

    /// Takes up a place that was begun for `address`, marked and left.
    ///
    /// # Errors
    /// `InUse` where somebody is building it, `Usage` where there are several, `Exists` where `address` is
    /// not free any more.
    fn find(&self, address: &Path, options: &Options)
    -> Result<Option<Box<dyn RemoteStagedPlace>>>;
}

/// The place of an open store on a server, locked for as long as this value lives.
pub trait RemotePlace: Send + Sync + Debug {
    /// What the store says of itself.
    fn identity(&self) -> &Identity;

    /// The engine on what is there; once at a time.
    ///
    /// # Errors
    /// As [`Backend::open`](crate::engine::Backend::open).
    fn open_engine(&self) -> Result<Box<dyn Engine>>;

    /// Removes the store. The engine is closed.
    ///
    /// # Errors
    /// Those of the server.
    fn remove(self: Box<Self>) -> Result<()>;
}

/// A place on a server that is being built. Dropped before it is published or left, it is removed.
pub trait RemoteStagedPlace: Send + Sync + Debug {
    /// What the store will say of itself.
    fn identity(&self) -> &Identity;

    /// As [`RemotePlace::open_engine`].
    ///
    /// # Errors
    /// As there.
    fn open_engine(&self) -> Result<Box<dyn Engine>>;

    /// Marks the place as one that can be gone on with, durably.
    ///
    /// # Errors
    /// Those of the server.
    fn mark(&self) -> Result<()>;

    /// Leaves it for [`RemotePlaces::find`] if it is marked, and returns what it is called; else it is
    /// removed.
    fn leave(self: Box<Self>) -> Option<PathBuf>;

    /// Makes the store appear at its address, durably, as a whole or not at all. The engine is closed.
    ///
    /// # Errors
    /// `Exists` where something has appeared there meanwhile. A place that is marked is left as it is then.
    fn publish(self: Box<Self>) -> Result<Box<dyn RemotePlace>>;
}
