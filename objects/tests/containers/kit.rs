//! Databases at all places where there can be one.

use std::sync::Arc;
use std::thread::JoinHandle;

use durum_core::config::ServerLocation;
use durum_core::store::Store;
use durum_objects::{Database, Options};
use durum_server::client::RemoteStore;
use durum_server::{Server, Settings, Stopper};
use tempfile::TempDir;

/// Where a database is.
pub(crate) struct Place {
    pub(crate) name: String,
    dir: TempDir,
    engine: &'static str,
    remote: bool,
    pub(crate) persistent: bool,
}

/// A database that is open, and what serves it.
pub(crate) struct Opened {
    // The client ends before the server does.
    pub(crate) db: Database,
    _server: Option<Running>,
}

struct Running {
    stop: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Sizes of caches, in bytes: nothing, less than a tree takes, and enough.
pub(crate) const CACHES: [u64; 3] = [0, 4000, 1 << 20];

impl Place {
    pub(crate) fn memory() -> Place {
        Place::new("memory", false, false)
    }

    /// Each engine that is not a server itself, and one behind a server.
    pub(crate) fn all() -> Vec<Place> {
        let mut places = Vec::new();
        for backend in durum_backends::registry().in_directories().iter() {
            let it = backend.capabilities();
            places.push(Place::new(it.name, false, it.persistent));
        }
        places.push(Place::new("file", true, true));
        assert!(places.len() > 3);
        places
    }

    fn new(engine: &'static str, remote: bool, persistent: bool) -> Place {
        let name = match remote {
            true => format!("{engine} behind a server"),
            false => engine.to_owned(),
        };
        Place {
            name,
            dir: tempfile::tempdir().unwrap(),
            engine,
            remote,
            persistent,
        }
    }

    /// Opens the database, which is made where it is not yet.
    pub(crate) fn open(&self, cache: u64) -> Opened {
        let registry = durum_backends::registry();
        let path = self.dir.path().join("data");
        let url = match self.persistent {
            true => format!("{}:{}", self.engine, path.display()),
            false => format!("{}:", self.engine),
        };
        let settings = registry.parse_store(&url).unwrap();
        let store = match path.exists() {
            true => registry.open(&settings).unwrap(),
            false => registry.create(&settings).unwrap(),
        };
        let store = Arc::new(store);
        let (store, server): (Arc<dyn Store>, _) = match self.remote {
            false => (store, None),
            true => {
                let settings = Settings {
                    listen: vec!["127.0.0.1:0".parse().unwrap()],
                    ..Settings::default()
                };
                let server = Server::bind(store, settings).unwrap();
                let location = ServerLocation {
                    address: server.addresses()[0].to_string(),
                    tls: None,
                };
                let running = Running {
                    stop: server.stopper(),
                    thread: Some(std::thread::spawn(move || server.run().unwrap())),
                };
                let client = RemoteStore::connect(&location).unwrap();
                (Arc::new(client), Some(running))
            }
        };
        let options = Options {
            cache,
            ..Options::default()
        };
        Opened {
            db: Database::with_options(store, options).unwrap(),
            _server: server,
        }
    }
}

pub(crate) fn memory(cache: u64) -> Database {
    Place::memory().open(cache).db
}
