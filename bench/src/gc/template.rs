//! Stores to measure on: a graph is loaded once, and each measurement gets a copy of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durum_core::engine::{Backend, Durability};
use durum_core::record::{Codecs, Payload};
use durum_core::store::{
    Batch, Collection, LocalStore, Receipt, StagedStore, Store as _, StoreOptions,
};
use durum_core::{Error, ErrorKind, IoResultExt as _, Oid, Result, SessionId, Tid};
use tempfile::TempDir;

use super::counting::{CountingBackend, Counts};
use super::graph::Graph;
use super::plan::Step;

pub(crate) const DOING: &str = "measure collection";

/// A store with a graph in it, closed.
pub(crate) struct Template<'a> {
    backend: Arc<dyn Backend>,
    dir: &'a Path,
    graph: &'a Graph,
    /// Where an engine that is not persistent leaves nothing to be copied, there is none.
    store: Option<TempDir>,
}

impl<'a> Template<'a> {
    /// Loads the graph into a new store below `dir`.
    pub(crate) fn build(
        backend: &Arc<dyn Backend>,
        dir: &'a Path,
        graph: &'a Graph,
    ) -> Result<Template<'a>> {
        let mut template = Template {
            backend: backend.clone(),
            dir,
            graph,
            store: None,
        };
        if backend.capabilities().persistent {
            let home = temporary(dir)?;
            drop(template.load(backend.clone(), home.path(), Collection::OFF)?);
            template.store = Some(home);
        }
        Ok(template)
    }

    /// The graph in it.
    pub(crate) fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// Opens a copy of the store.
    pub(crate) fn open(&self, collection: Collection) -> Result<Subject> {
        let counts = Arc::new(Counts::default());
        let backend = Arc::new(CountingBackend {
            inner: self.backend.clone(),
            counts: counts.clone(),
        });
        let home = temporary(self.dir)?;
        let store = match &self.store {
            Some(original) => {
                copy(&store_path(original.path()), &store_path(home.path()))?;
                let options = self.options(collection);
                LocalStore::open(backend, &store_path(home.path()), &options)?
            }
            None => self.load(backend, home.path(), collection)?,
        };
        Ok(Subject {
            store,
            counts,
            durability: self.durability(),
            _home: home,
        })
    }

    fn durability(&self) -> Durability {
        let offered = self.backend.capabilities().durability;
        offered.into_iter().min().unwrap_or(Durability::Relaxed)
    }

    fn options(&self, collection: Collection) -> StoreOptions {
        StoreOptions {
            durability: self.durability(),
            collection,
            ..StoreOptions::default()
        }
    }

    fn load(
        &self,
        backend: Arc<dyn Backend>,
        home: &Path,
        collection: Collection,
    ) -> Result<LocalStore> {
        let options = self.options(collection);
        let staged = StagedStore::create(backend, &store_path(home), &options)?;
        let mut importer = staged.importer()?;
        let codecs = Codecs::default();
        for oid in (0..self.graph.len()).map(Oid) {
            let data = self.graph.data(oid);
            let refs = self.graph.refs(oid);
            importer.push(oid, Tid(1), refs, Payload::plain(&data), &codecs)?;
        }
        importer.finish(Tid(1), Oid::ROOT)?;
        let store = staged.publish()?;
        // An import may leave objects whose anchors are still to be found. What is measured is what the
        // commits of the workload cost.
        store.collect()?;
        Ok(store)
    }
}

/// An open store that is measured. Dropped, it is removed.
pub(crate) struct Subject {
    pub(crate) store: LocalStore,
    pub(crate) counts: Arc<Counts>,
    pub(crate) durability: Durability,
    // After the store: it is closed before its directory is removed.
    _home: TempDir,
}

impl Subject {
    /// Commits as weakly as the engine can.
    pub(crate) fn commit(&self, batch: Batch) -> Result<Receipt> {
        self.store.commit(batch, self.durability)
    }

    /// Takes the OIDs that a step uses, on a store that repeats what another has done.
    pub(crate) fn take_oids(&self, step: &Step) -> Result<()> {
        if step.new_oids > 0 {
            self.store.new_oids(SessionId::EMBEDDED, step.new_oids)?;
        }
        Ok(())
    }

    /// A contradiction in what was measured.
    pub(crate) fn wrong(&self, what: String) -> Error {
        Error::new(ErrorKind::Mismatch, DOING)
            .with_engine(self.store.engine().name)
            .because(what)
    }
}

fn temporary(dir: &Path) -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix("store-").tempdir_in(dir);
    made.during(DOING, dir)
}

fn store_path(home: &Path) -> PathBuf {
    home.join("store")
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to).during(DOING, to)?;
    for entry in std::fs::read_dir(from).during(DOING, from)? {
        let entry = entry.during(DOING, from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).during(DOING, &target)?;
        }
    }
    Ok(())
}
