//! Databases on every engine, and through a server.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use durum_core::config::{ServerLocation, StoreSettings};
use durum_core::engine::Durability;
use durum_core::store::{LocalStore, Store};
use durum_objects::{Database, Options};
use durum_server::client::RemoteStore;
use durum_server::{Server, Settings, Stopper};
use tempfile::TempDir;

/// A store that can be closed and opened again.
pub(crate) struct Place {
    settings: StoreSettings,
    persistent: bool,
    served: bool,
    server: Option<Running>,
    store: Option<Arc<LocalStore>>,
    _dir: TempDir,
}

/// A server in this process, which ends when this is dropped.
struct Running {
    location: ServerLocation,
    stop: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(store: &Arc<LocalStore>) -> Running {
        Running::start_at(store, "127.0.0.1:0")
    }

    fn start_at(store: &Arc<LocalStore>, address: &str) -> Running {
        let settings = Settings {
            listen: vec![address.parse().unwrap()],
            ..Settings::default()
        };
        let server = Server::bind(Arc::clone(store), settings).unwrap();
        let address = server.addresses().first().unwrap().to_string();
        Running {
            location: ServerLocation { address, tls: None },
            stop: server.stopper(),
            thread: Some(std::thread::spawn(move || server.run().unwrap())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The names of all engines that are not servers.
pub(crate) fn engines() -> Vec<String> {
    let registry = durum_backends::registry().in_directories();
    let names = registry.iter().map(|backend| backend.capabilities().name);
    names.map(str::to_owned).collect()
}

/// Copies a directory with all that is below it.
fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => copy_directory(&path, &to.join(path.file_name().unwrap())),
            false => drop(std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap()),
        }
    }
}

impl Place {
    /// A new store of this engine.
    pub(crate) fn new(engine: &str) -> Place {
        Place::with_durability(engine, None)
    }

    fn with_durability(engine: &str, durability: Option<Durability>) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let registry = durum_backends::registry();
        let mut settings = StoreSettings::new(engine, dir.path().join("store"));
        settings.durability = durability;
        let mut backends = registry.iter().map(|backend| backend.capabilities());
        let persistent = backends.any(|it| it.name == engine && it.persistent);
        Place {
            store: Some(Arc::new(registry.create(&settings).unwrap())),
            settings,
            persistent,
            served: false,
            server: None,
            _dir: dir,
        }
    }

    /// A new store of this engine behind a server.
    pub(crate) fn served(engine: &str) -> Place {
        let mut place = Place::new(engine);
        place.served = true;
        place.server = place.store.as_ref().map(Running::start);
        place
    }

    /// As [`Place::served`], where commits may be lost with the power.
    pub(crate) fn served_without_syncs(engine: &str) -> Place {
        let mut place = Place::with_durability(engine, Some(Durability::Process));
        place.served = true;
        place.server = place.store.as_ref().map(Running::start);
        place
    }

    /// One on each engine, and one behind a server.
    pub(crate) fn all() -> impl Iterator<Item = (String, Place)> {
        let local = engines()
            .into_iter()
            .map(|name| (name.clone(), Place::new(&name)));
        local.chain(std::iter::once_with(|| {
            ("served".to_owned(), Place::served("file"))
        }))
    }

    /// A database of its own, with a cache of so many bytes.
    pub(crate) fn database(&self, cache: u64) -> Database {
        let store: Arc<dyn Store> = match &self.server {
            Some(server) => Arc::new(RemoteStore::connect(&server.location).unwrap()),
            None => Arc::clone(self.store.as_ref().unwrap()) as Arc<dyn Store>,
        };
        let options = Options {
            cache,
            ..Options::default()
        };
        Database::with_options(store, options).unwrap()
    }

    /// Closes the store, of which no database may be left, and opens it again.
    pub(crate) fn reopen(&mut self) {
        if !self.persistent {
            return;
        }
        self.server = None;
        self.store = None;
        let opened = durum_backends::registry().open(&self.settings).unwrap();
        self.store = Some(Arc::new(opened));
        if self.served {
            self.server = self.store.as_ref().map(Running::start);
        }
    }

    /// Ends the server with the store, which is then as it was when `earlier` was taken, and starts it again at the
    /// same address.
    pub(crate) fn lose_what_came_after(&mut self, earlier: &TempDir) {
        self.restart(|path| {
            std::fs::remove_dir_all(path).unwrap();
            copy_directory(earlier.path(), path);
        });
    }

    /// A copy of the store, which is closed meanwhile. Clients find the server again.
    pub(crate) fn copy(&mut self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        self.restart(|path| copy_directory(path, copy.path()));
        copy
    }

    /// Ends the server, and starts it again at the same address; its store is closed `meanwhile`.
    fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        let address = self.server.take().unwrap().location.address.clone();
        self.store = None;
        meanwhile(&self.settings.path);
        let opened = durum_backends::registry().open(&self.settings).unwrap();
        let store = self.store.insert(Arc::new(opened));
        self.server = Some(Running::start_at(store, &address));
    }

    /// The store itself.
    pub(crate) fn store(&self) -> &LocalStore {
        self.store.as_deref().unwrap()
    }
}
