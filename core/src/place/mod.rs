//! Where a store lies: in a directory of this machine ([`Directory`]), or with an engine that is a server
//! of its own ([`RemotePlaces`]).
//!
//! Either way a place has an identity and is open in one process at a time, and a new store appears there
//! as a whole: it is built beside it, and does not open before it is published.

mod directory;
mod identity;
mod lock;
mod remote;

use std::path::{Path, PathBuf};

use crate::engine::{Backend, Engine, Options};
use crate::error::{Error, Result};
pub use directory::{Directory, StagedDirectory, sync_directory};
pub use identity::Identity;
pub use remote::{RemotePlace, RemotePlaces, RemoteStagedPlace};

/// The place of an open store, locked for as long as this value lives.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    kind: Kind<Directory, Box<dyn RemotePlace>>,
}

/// Either sort of a place.
#[derive(Debug)]
enum Kind<D, R> {
    Directory(D),
    Remote(R),
}

impl Place {
    /// Opens the place at `path`, which must hold a store on the engine of `backend`.
    ///
    /// # Errors
    /// As [`Directory::open`] and [`RemotePlaces::open`]; `Damaged` where the engine's directory is missing.
    pub fn open(backend: &dyn Backend, path: &Path, options: &Options) -> Result<Place> {
        if let Some(places) = backend.remote() {
            return Ok(Place {
                path: path.to_path_buf(),
                kind: Kind::Remote(places.open(path, options)?),
            });
        }
        let directory = Directory::open(path, backend.capabilities().name)?;
        if !directory.data().is_dir() {
            return Err(
                Error::damaged("open the store", "its directory `data` is missing")
                    .with_path(path)
                    .hint("Restore the store from a backup."),
            );
        }
        Ok(Place::from(directory))
    }

    /// Opens the place at `path` only to be read, while another process may write what lies there.
    ///
    /// # Errors
    /// As [`RemotePlaces::follow`]; `Unsupported` where stores lie in directories, which one process has at a time.
    pub fn follow(backend: &dyn Backend, path: &Path, options: &Options) -> Result<Place> {
        let places = backend.remote().ok_or_else(remote::unsupported)?;
        Ok(Place {
            path: path.to_path_buf(),
            kind: Kind::Remote(places.follow(path, options)?),
        })
    }

    /// Opens the engine that lies there.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub fn open_engine(&self, backend: &dyn Backend, options: &Options) -> Result<Box<dyn Engine>> {
        match &self.kind {
            Kind::Directory(directory) => backend.open(&directory.data(), options),
            Kind::Remote(place) => place.open_engine(),
        }
    }

    /// What the store says of itself.
    pub fn identity(&self) -> &Identity {
        match &self.kind {
            Kind::Directory(directory) => directory.identity(),
            Kind::Remote(place) => place.identity(),
        }
    }

    /// Whether it is with an engine that is a server.
    pub fn is_remote(&self) -> bool {
        matches!(self.kind, Kind::Remote(_))
    }

    /// The path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, with everything that it holds. The engine must be closed.
    ///
    /// # Errors
    /// As [`Directory::remove`] and [`RemotePlace::remove`].
    pub fn remove(self) -> Result<()> {
        match self.kind {
            Kind::Directory(directory) => directory.remove(),
            Kind::Remote(place) => place.remove(),
        }
    }
}

impl From<Directory> for Place {
    fn from(directory: Directory) -> Place {
        Place {
            path: directory.path().to_path_buf(),
            kind: Kind::Directory(directory),
        }
    }
}

/// A place that is being built and does not appear under its path until it is published. Dropped
/// before that, it is removed.
#[derive(Debug)]
pub struct StagedPlace {
    target: PathBuf,
    kind: Kind<StagedDirectory, Box<dyn RemoteStagedPlace>>,
}

impl StagedPlace {
    /// Begins a place for a new store on the engine of `backend` at `target`.
    ///
    /// # Errors
    /// As [`StagedDirectory::create`] and [`RemotePlaces::create`].
    pub fn create(backend: &dyn Backend, target: &Path, options: &Options) -> Result<StagedPlace> {
        let kind = match backend.remote() {
            Some(places) => Kind::Remote(places.create(target, options)?),
            None => {
                let name = backend.capabilities().name;
                Kind::Directory(StagedDirectory::create(target, name)?)
            }
        };
        Ok(StagedPlace::new(target, kind))
    }

    /// Whether a place could be created at `target`, without leaving anything there.
    ///
    /// # Errors
    /// As [`StagedPlace::create`].
    pub fn probe(backend: &dyn Backend, target: &Path, options: &Options) -> Result<()> {
        match backend.remote() {
            Some(places) => places.probe(target, options),
            None => StagedDirectory::probe(target),
        }
    }

    /// Takes up a place at `target` that was begun for a store on the engine of `backend` and left, by
    /// whatever.
    ///
    /// # Errors
    /// As [`StagedDirectory::find`] and [`RemotePlaces::find`].
    pub fn find(
        backend: &dyn Backend,
        target: &Path,
        options: &Options,
    ) -> Result<Option<StagedPlace>> {
        let kind = match backend.remote() {
            Some(places) => places.find(target, options)?.map(Kind::Remote),
            None => {
                let name = backend.capabilities().name;
                StagedDirectory::find(target, name)?.map(Kind::Directory)
            }
        };
        Ok(kind.map(|kind| StagedPlace::new(target, kind)))
    }

    fn new(target: &Path, kind: Kind<StagedDirectory, Box<dyn RemoteStagedPlace>>) -> StagedPlace {
        let target = match &kind {
            Kind::Directory(directory) => directory.target(),
            Kind::Remote(_) => target,
        };
        StagedPlace {
            target: target.to_path_buf(),
            kind,
        }
    }

    /// Opens the engine that lies there while the place is being built.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub fn open_engine(&self, backend: &dyn Backend, options: &Options) -> Result<Box<dyn Engine>> {
        match &self.kind {
            Kind::Directory(directory) => backend.open(&directory.data(), options),
            Kind::Remote(place) => place.open_engine(),
        }
    }

    /// Marks the place as one that can be gone on with: what the engine has of it is durable.
    ///
    /// # Errors
    /// Those of the system, or of the server.
    pub fn mark(&self) -> Result<()> {
        match &self.kind {
            Kind::Directory(directory) => directory.mark(),
            Kind::Remote(place) => place.mark(),
        }
    }

    /// Leaves the place as it is, for [`StagedPlace::find`], and returns where it lies. One that is not
    /// marked is of no use, and is removed.
    pub fn leave(self) -> Option<PathBuf> {
        match self.kind {
            Kind::Directory(directory) => directory.leave(),
            Kind::Remote(place) => place.leave(),
        }
    }

    /// Where the place will appear.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// What the store will say of itself.
    pub fn identity(&self) -> &Identity {
        match &self.kind {
            Kind::Directory(directory) => directory.identity(),
            Kind::Remote(place) => place.identity(),
        }
    }

    /// Makes the place appear under its path, durably. The engine must be closed, and what it holds
    /// durable.
    ///
    /// # Errors
    /// As [`StagedDirectory::publish`] and [`RemoteStagedPlace::publish`].
    pub fn publish(self) -> Result<Place> {
        match self.kind {
            Kind::Directory(directory) => directory.publish().map(Place::from),
            Kind::Remote(place) => Ok(Place {
                kind: Kind::Remote(place.publish()?),
                path: self.target,
            }),
        }
    }
}
