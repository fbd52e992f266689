//! Creating and opening stores.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::brought::Brought;
use super::collection::Collection;
use super::condemned::Condemned;
use super::dictionary;
use super::follow::Follow;
use super::identities::Identities;
use super::import::{Importer, MEMORY_BYTES};
use super::local::{LocalStore, Shared};
use super::meta::{State, check_store_id, rebuilding_row, store_id_key};
use super::oids::OidAllocator;
use super::queue::Queue;
use super::rebuild::REBUILD_BYTES;
use super::reclaim::Dead;
use super::resume;
use super::session::Sessions;
use super::superseded::Superseded;
use super::views::Gate;
use super::worker::{Signal, Worker};
use super::writer::Writer;
use crate::collect::Collector;
use crate::collect::rows::JobState;
use crate::engine::{Backend, Durability, Engine, EngineSnapshot, Key, Op, Options, Table};
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::id::{SessionId, StoreId};
use crate::place::{Place, StagedPlace};
use crate::record::{Codec, Codecs};
use crate::watch::Watch;

/// How a store is used while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The engine's own options.
    pub engine: Options,
    /// How new records are compressed.
    pub codec: Codec,
    /// The durability that callers get who ask for none in particular.
    pub durability: Durability,
    /// Whether a damaged state row is rebuilt from the objects, in place of an error. The last tid and
    /// the OID mark are then only known to be large enough for what is still there. Also whether a
    /// rebuilding of the collector's tables that was cut off is done again, in place of an error.
    pub rebuild_state: bool,
    /// The bytes of superseded records that are kept in memory for snapshots.
    pub superseded_bytes_max: u64,
    /// How much garbage is collected, and when.
    pub collection: Collection,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            engine: Options::default(),
            codec: Codec::None,
            durability: Durability::Power,
            rebuild_state: false,
            superseded_bytes_max: 64 << 20,
            collection: Collection::default(),
        }
    }
}

impl LocalStore {
    /// Creates an empty store at `path`, crash-atomically, and opens it. An engine that is not
    /// persistent ignores the path.
    ///
    /// # Errors
    /// `Exists`, `ReadOnly`, `NotFound` as [`StagedPlace::create`]; those of the engine.
    pub fn create(
        backend: Arc<dyn Backend>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<LocalStore> {
        StagedStore::create(backend, path, options)?.publish()
    }

    /// Opens the store at `path`. On an engine that is not persistent that is a new, empty store.
    ///
    /// # Errors
    /// As [`Place::open`]; those of the engine; `Damaged`.
    pub fn open(
        backend: Arc<dyn Backend>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<LocalStore> {
        let capabilities = backend.capabilities();
        if !capabilities.persistent {
            return LocalStore::create(backend, path, options);
        }
        let place = Place::open(&*backend, path, &options.engine)?;
        LocalStore::at_place(&*backend, place, options, None)
            .and_then(LocalStore::with_worker)
            .at_path(path)
    }

    /// Opens the store that lies at a place.
    pub(super) fn at_place(
        backend: &dyn Backend,
        place: Place,
        options: &StoreOptions,
        follow: Option<Follow>,
    ) -> Result<LocalStore> {
        let engine = place.open_engine(backend, &options.engine)?;
        let id = place.identity().store_id;
        LocalStore::assemble(backend, Some(place), engine, id, options, follow)
    }

    fn assemble(
        backend: &dyn Backend,
        // Before the engine, so that where this fails the engine is closed before the lock is given back.
        place: Option<Place>,
        engine: Box<dyn Engine>,
        id: StoreId,
        options: &StoreOptions,
        // Where another process writes the store.
        follow: Option<Follow>,
    ) -> Result<LocalStore> {
        let codecs = Codecs::default();
        let loaded = Loaded::read(&*engine, id, &codecs, options)?;
        let (state, memory) = (loaded.state, loaded.memory);
        let capabilities = backend.capabilities();
        // Where nothing outlives the process, the default durability can only be what there is.
        let best = capabilities
            .durability
            .iter()
            .max()
            .copied()
            .unwrap_or_default();
        let durability = match capabilities.persistent {
            true => options.durability,
            false => options.durability.min(best),
        };
        let mut sessions = Sessions::new(memory.last_session);
        if follow.is_some() {
            // They are never written.
            sessions.persisted(u64::MAX - 1);
        }
        let shared = Shared {
            id,
            capabilities,
            codec: options.codec,
            durability,
            codecs,
            superseded: Superseded::new(state.tid, options.superseded_bytes_max),
            views: Arc::new(Gate::default()),
            oids: Mutex::new(OidAllocator::new(state.high_water, loaded.root_exists)),
            writer: Mutex::new(Writer {
                state,
                job: memory.job,
                collector: Collector::new(memory.job, memory.pinning),
                collection_failed: None,
                reclaim_failed: None,
                identities: Identities::default(),
                poisoned: None,
                follows: follow.is_some(),
            }),
            published: Mutex::new(state),
            queue: Queue::default(),
            training: AtomicBool::new(false),
            sessions: Mutex::new(sessions),
            collection: options.collection,
            condemned_left: AtomicU64::new(memory.job.left),
            health: Mutex::default(),
            condemned: Mutex::new(memory.condemned),
            writes: AtomicU64::new(0),
            signal: Arc::new(Signal::default()),
            listener: RwLock::default(),
            dead: Arc::new(Dead::default()),
            follow,
            engine,
            place,
        };
        // A level that the engine cannot give is refused now, not at the first commit.
        let level = shared.offered_durability(durability)?;
        if loaded.state_is_new {
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let graph = shared.graph(&writer)?;
            shared.write_graph(&mut writer, graph, level)?;
        }
        let store = LocalStore {
            worker: None,
            shared: Arc::new(shared),
        };
        if loaded.links_are_incomplete {
            store.rebuild_links(REBUILD_BYTES)?;
        }
        Ok(store)
    }

    /// Closes and removes a store that has no objects.
    ///
    /// # Errors
    /// `Exists` where it has objects: with that it comes back. `InUse` where a snapshot of it is in use: then
    /// it is closed and stays.
    pub fn remove_empty(self) -> Result<(), (Error, Option<LocalStore>)> {
        const DOING: &str = "remove the empty store";
        let objects = self.shared.published().objects;
        if objects > 0 {
            let why = format!("it has {objects} objects");
            let error = Error::new(ErrorKind::Exists, DOING).because(why);
            return Err((error, Some(self)));
        }
        let LocalStore { worker, shared } = self;
        // It has the store, too.
        drop(worker);
        let Some(shared) = Arc::into_inner(shared) else {
            let error = Error::new(ErrorKind::InUse, DOING);
            return Err((error.because("a snapshot of it is in use"), None));
        };
        let Shared { engine, place, .. } = shared;
        drop(engine);
        let removed = place.map_or(Ok(()), Place::remove);
        removed.map_err(|error| (error, None))
    }

    /// Starts the background worker, where the options ask for one.
    fn with_worker(mut self) -> Result<LocalStore> {
        if let Some(budget) = self.shared.collection.worker {
            self.worker = Some(Worker::start(&self.shared, budget)?);
            let writer = self.shared.writer.lock();
            self.shared
                .wake_collector(&writer.unwrap_or_else(PoisonError::into_inner));
        }
        Ok(self)
    }
}

/// What is read of a store when it is opened.
struct Loaded {
    state: State,
    /// The state was rebuilt, and is still to be written.
    state_is_new: bool,
    root_exists: bool,
    memory: CollectorMemory,
    /// The collector's tables are to be rebuilt.
    links_are_incomplete: bool,
}

impl Loaded {
    fn read(
        engine: &dyn Engine,
        id: StoreId,
        codecs: &Codecs,
        options: &StoreOptions,
    ) -> Result<Loaded> {
        let view = engine.snapshot()?;
        check_store_id(&*view, id)?;
        dictionary::load(&*view, codecs)?;
        let rebuild = options.rebuild_state;
        let (state, state_is_new) = match State::require(&*view) {
            Err(error) if rebuild && error.kind() == ErrorKind::Damaged => {
                (State::rebuild(&*view)?, true)
            }
            state => (state?, false),
        };
        let root_exists = view.get(Table::Objects, Key::MIN, &mut |_| {})?;
        let unfinished = is_rebuilding(&*view, rebuild)?;
        let (memory, unreadable) = match CollectorMemory::load(&*view) {
            Err(error) if rebuild && error.kind() == ErrorKind::Damaged => {
                (CollectorMemory::default(), true)
            }
            memory => (memory?, false),
        };
        Ok(Loaded {
            state,
            state_is_new,
            root_exists,
            memory,
            links_are_incomplete: unfinished || unreadable,
        })
    }
}

/// What the collector has to know when a store is opened.
#[derive(Default)]
struct CollectorMemory {
    job: JobState,
    condemned: Option<Arc<Condemned>>,
    /// Sessions with pins: all of them have ended.
    pinning: Vec<SessionId>,
    last_session: u64,
}

impl CollectorMemory {
    fn load(view: &dyn EngineSnapshot) -> Result<CollectorMemory> {
        let job = JobState::load(view)?;
        let mut pinning = Vec::new();
        let mut from = Key::MIN;
        loop {
            let found = view.cursor(Table::Pins, from)?.next()?.map(|(key, _)| key);
            let Some(key) = found else { break };
            pinning.push(SessionId(key.first));
            from = Key::pair(key.first + 1, 0);
        }
        let last = pinning.last().map_or(0, |session| session.0);
        Ok(CollectorMemory {
            job,
            condemned: Condemned::load(view, &job)?,
            last_session: job.last_session.max(last),
            pinning,
        })
    }
}

/// Whether the collector's tables are incomplete: an error, unless they are `wanted` to be rebuilt.
fn is_rebuilding(view: &dyn EngineSnapshot, wanted: bool) -> Result<bool> {
    let (table, key) = rebuilding_row();
    let unfinished = view.get(table, key, &mut |_| {})?;
    if unfinished && !wanted {
        let reason = "a repair of the collector's tables was cut off";
        return Err(Error::damaged("open the store", reason)
            .hint("`durum check --repair` does it again; all objects are there."));
    }
    Ok(unfinished)
}

/// A store that is being filled and does not appear under its path until it is published. Dropped
/// before that, it is removed.
#[derive(Debug)]
pub struct StagedStore {
    // Declared before the place: the engine is closed before the lock is given back.
    store: LocalStore,
    place: Option<StagedPlace>,
    backend: Arc<dyn Backend>,
    options: StoreOptions,
}

impl StagedStore {
    /// Begins a store that will appear at `path`.
    ///
    /// # Errors
    /// As [`LocalStore::create`].
    pub fn create(
        backend: Arc<dyn Backend>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<StagedStore> {
        let capabilities = backend.capabilities();
        let place = match capabilities.persistent {
            true => Some(StagedPlace::create(&*backend, path, &options.engine)?),
            false => None,
        };
        let (id, engine) = match &place {
            Some(place) => {
                let engine = place.open_engine(&*backend, &options.engine);
                (place.identity().store_id, engine)
            }
            None => (
                StoreId::random()?,
                backend.open(Path::new(""), &options.engine),
            ),
        };
        let engine = engine.at_path(path)?;
        let state = State::default().encode();
        let ((meta, state_key), (_, id_key)) = (State::key(), store_id_key());
        let ops = [
            Op::Put {
                table: meta,
                key: state_key,
                value: &state,
            },
            Op::Put {
                table: meta,
                key: id_key,
                value: &id.0,
            },
        ];
        let best = capabilities
            .durability
            .iter()
            .max()
            .copied()
            .unwrap_or_default();
        engine.apply(&ops, best).at_path(path)?;
        let store =
            LocalStore::assemble(&*backend, None, engine, id, options, None).at_path(path)?;
        Ok(StagedStore {
            store,
            place,
            backend,
            options: options.clone(),
        })
    }

    /// Takes up a store that was begun for `path` and filled in part by a resumable import, and the note
    /// that this left with its last batch. What cannot be gone on with is left alone.
    ///
    /// # Errors
    /// As [`StagedPlace::find`]; those of the engine, after which it is left as it was.
    pub fn resume(
        backend: Arc<dyn Backend>,
        path: &Path,
        options: &StoreOptions,
    ) -> Result<Option<(StagedStore, Vec<u8>)>> {
        let capabilities = backend.capabilities();
        if !capabilities.persistent {
            return Ok(None);
        }
        let Some(place) = StagedPlace::find(&*backend, path, &options.engine)? else {
            return Ok(None);
        };
        let opened = place
            .open_engine(&*backend, &options.engine)
            .and_then(|engine| match resume::read_note(&*engine.snapshot()?)? {
                None => Ok(None),
                Some(note) => {
                    let id = place.identity().store_id;
                    let store = LocalStore::assemble(&*backend, None, engine, id, options, None)?;
                    Ok(Some((store, note)))
                }
            });
        match opened.at_path(path) {
            Ok(Some((store, note))) => {
                let staged = StagedStore {
                    store,
                    place: Some(place),
                    backend,
                    options: options.clone(),
                };
                Ok(Some((staged, note)))
            }
            other => {
                place.leave();
                other.map(|_| None)
            }
        }
    }

    /// Makes what is there durable, and the store one that [`StagedStore::resume`] takes up from then on.
    ///
    /// # Errors
    /// Those of the engine and of the system.
    pub fn keep(&self) -> Result<()> {
        super::Store::sync(&self.store)?;
        self.place.as_ref().map_or(Ok(()), StagedPlace::mark)
    }

    /// Closes the store and leaves it unfinished, for [`StagedStore::resume`]; where it lies. One that was
    /// not kept ([`StagedStore::keep`]) is removed.
    pub fn leave(self) -> Option<PathBuf> {
        let StagedStore { store, place, .. } = self;
        drop(store);
        place.and_then(StagedPlace::leave)
    }

    /// The path under which it will appear, if it is one that stays.
    pub fn target(&self) -> Option<&Path> {
        self.place.as_ref().map(StagedPlace::target)
    }

    /// Another handle of the store, to read from what has been filled. It has to be dropped before the store
    /// is published.
    pub fn reader(&self) -> LocalStore {
        LocalStore {
            worker: None,
            shared: self.store.shared.clone(),
        }
    }

    /// What an import has brought, to be read before its end. It has to be dropped before the store is published.
    pub fn brought(&self) -> Brought {
        Brought::new(self.store.shared.clone())
    }

    /// The store while it is being filled.
    pub fn store(&self) -> &LocalStore {
        &self.store
    }

    /// Fills the store with objects that have OIDs and tids already.
    ///
    /// # Errors
    /// `Exists` where the store has objects.
    pub fn importer(&self) -> Result<Importer<'_>> {
        Importer::new(&self.store.shared, MEMORY_BYTES)
    }

    /// As [`StagedStore::importer`], for an import that can be cut off and resumed: with each of its
    /// batches it writes a note of how far it is. `begun` is the first one. Goes on where an earlier
    /// import ended, if the store was taken up with [`StagedStore::resume`]. References are sorted in
    /// about `memory_bytes` bytes. `watch` is told of what is read again.
    ///
    /// # Errors
    /// `Exists` where the store is complete; `Damaged` where what is there cannot be read; those of
    /// `watch`.
    pub fn resumable_importer(
        &self,
        begun: Vec<u8>,
        memory_bytes: usize,
        watch: &Watch<'_>,
    ) -> Result<Importer<'_>> {
        Importer::resume(&self.store.shared, begun, memory_bytes, watch)
    }

    /// Makes the store appear under its path, durably, and opens it there.
    ///
    /// # Errors
    /// As [`StagedPlace::publish`], and those of the engine.
    pub fn publish(self) -> Result<LocalStore> {
        if self.place.is_none() {
            return self.store.with_worker();
        }
        let (backend, options) = (Arc::clone(&self.backend), self.options.clone());
        let place = self.put_in_place()?;
        let path = place.path().to_path_buf();
        LocalStore::at_place(&*backend, place, &options, None)
            .and_then(LocalStore::with_worker)
            .at_path(&path)
    }

    /// As [`StagedStore::publish`], and leaves it closed: once it has appeared nothing can fail any more.
    /// On an engine that is not persistent nothing is left.
    ///
    /// # Errors
    /// As [`StagedPlace::publish`].
    pub fn publish_closed(self) -> Result<()> {
        match self.place.is_none() {
            true => Ok(()),
            false => self.put_in_place().map(drop),
        }
    }

    fn put_in_place(self) -> Result<Place> {
        let StagedStore { place, store, .. } = self;
        let Some(place) = place else {
            return Err(
                Error::new(ErrorKind::Other, "put the new store in its place")
                    .because("it has none"),
            );
        };
        let synced = super::Store::sync(&store);
        let closed = synced.and_then(|_| {
            Arc::into_inner(store.shared).ok_or_else(|| {
                Error::new(ErrorKind::InUse, "put the new store in its place")
                    .because("a snapshot of it is still in use")
            })
        });
        let shared = match closed {
            Ok(shared) => shared,
            Err(error) => {
                place.leave();
                return Err(error);
            }
        };
        // Engines open files by path while they run: it is closed before the directory is renamed.
        drop(shared);
        place.publish()
    }
}
