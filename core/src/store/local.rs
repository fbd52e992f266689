//! The store on an engine in this process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::batch::{Batch, CommitId, Receipt};
use super::changes::{self, Change, Changes};
use super::collection::{Collection, Pending};
use super::condemned::Condemned;
use super::follow::Follow;
use super::health::Health;
use super::meta::State;
use super::oids::OidAllocator;
use super::queue::Queue;
use super::reclaim::Dead;
use super::request::Request;
use super::session::{SessionKind, Sessions};
use super::snapshot::LocalSnapshot;
use super::superseded::Superseded;
use super::views::{Gate, View};
use super::worker::{Signal, Worker};
use super::writer::Writer;
use super::{Snapshot, Store, StoreStats};
use crate::collect::Collected;
use crate::engine::{Capabilities, Durability, Engine, EngineSnapshot, Key, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Oid, SessionId, StoreId, Tid};
use crate::place::Place;
use crate::record::{Codec, Codecs};

/// A store on an engine in this process; open it with [`LocalStore::open`] or
/// [`LocalStore::create`].
#[derive(Debug)]
pub struct LocalStore {
    /// Stopped before the store is closed: fields are dropped in this order.
    pub(super) worker: Option<Worker>,
    pub(super) shared: Arc<Shared>,
}

/// What a store shares with its snapshots.
pub(super) struct Shared {
    pub(super) id: StoreId,
    pub(super) capabilities: Capabilities,
    pub(super) codec: Codec,
    pub(super) durability: Durability,
    pub(super) codecs: Codecs,
    pub(super) superseded: Superseded,
    pub(super) views: Arc<Gate>,
    pub(super) oids: Mutex<OidAllocator>,
    pub(super) writer: Mutex<Writer>,
    pub(super) published: Mutex<State>,
    pub(super) queue: Queue<Request, Receipt>,
    pub(super) training: AtomicBool,
    pub(super) sessions: Mutex<Sessions>,
    pub(super) collection: Collection,
    pub(super) condemned: Mutex<Option<Arc<Condemned>>>,
    pub(super) condemned_left: AtomicU64,
    /// How the store was after the last write.
    pub(super) health: Mutex<Health>,
    /// Batches that were written.
    pub(super) writes: AtomicU64,
    pub(super) signal: Arc<Signal>,
    pub(super) listener: RwLock<Option<Listener>>,
    pub(super) dead: Arc<Dead>,
    /// Where another process writes the store.
    pub(super) follow: Option<Follow>,
    /// Closed before the lock of the place is given back: fields are dropped in this order.
    pub(super) engine: Box<dyn Engine>,
    pub(super) place: Option<Place>,
}

/// Who is told of each commit.
pub(super) struct Listener(pub(super) Box<dyn Fn(Tid) + Send + Sync>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Store")
            .field("id", &self.id)
            .field("engine", &self.capabilities.name)
            .field("path", &self.place.as_ref().map(Place::path))
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there will be no write any more.
    pub(super) fn is_poisoned(&self) -> bool {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.poisoned.is_some()
    }

    /// Has snapshots know what is gone.
    pub(super) fn set_condemned(&self, condemned: Option<Arc<Condemned>>) {
        *self
            .condemned
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = condemned;
    }

    /// Tells of a commit that has become visible.
    pub(super) fn tell(&self, tid: Tid) {
        let listener = self.listener.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &*listener {
            (listener.0)(tid);
        }
    }

    /// What is condemned now.
    pub(super) fn condemned(&self) -> Option<Arc<Condemned>> {
        self.condemned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A view of the newest state, counted like those of snapshots. To be dropped soon.
    pub(super) fn view(&self) -> Result<View> {
        self.views
            .open(&*self.engine, &self.superseded, Tid::ZERO, false)
    }

    /// The tid under which a commit's identity is noted.
    fn recent(&self, identity: CommitId) -> Result<Option<Tid>> {
        let (key, _) = changes::recent_row(identity, Tid::ZERO);
        let mut tid = None;
        self.with_newest(|newest| {
            newest.get(Table::Recent, key, &mut |stored| {
                tid = changes::recent_of(identity, stored);
            })
        })?;
        Ok(tid)
    }
}

impl LocalStore {
    /// Compresses and decompresses with this store's dictionaries.
    pub fn codecs(&self) -> &Codecs {
        &self.shared.codecs
    }

    /// Whether a write has failed in a way that leaves the disk uncertain, so that there will be none.
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// How new records are compressed.
    pub fn codec(&self) -> Codec {
        self.shared.codec
    }

    /// The newest commit that snapshots show; asking costs less than to take one.
    pub fn visible(&self) -> Tid {
        self.shared.superseded.visible()
    }

    /// Whether what was read before this call can be of a commit after `tid`, also of one that is not visible yet.
    pub(crate) fn may_show_after(&self, tid: Tid) -> bool {
        self.shared.superseded.newer_than(tid)
    }

    /// Has `tell` called with each commit that becomes visible, of the collector's too. It must be short and
    /// not use the store. It takes the place of the one before.
    pub fn tell_commits(&self, tell: impl Fn(Tid) + Send + Sync + 'static) {
        let mut listener = self
            .shared
            .listener
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *listener = Some(Listener(Box::new(tell)));
    }

    /// Whether `session` may create the object: it was handed the OID out and has not used it. The root may
    /// be created by all while there is none.
    pub fn may_create(&self, session: SessionId, oid: Oid) -> bool {
        let oids = self.shared.oids.lock();
        oids.unwrap_or_else(PoisonError::into_inner)
            .may_create(session, oid)
    }

    /// Whether the OID was handed out to a session that goes on, and was not used yet.
    pub fn is_handed_out(&self, oid: Oid) -> bool {
        let oids = self.shared.oids.lock();
        oids.unwrap_or_else(PoisonError::into_inner)
            .is_handed_out(oid)
    }

    /// Whether the engine is a server, which may be away for a while.
    pub fn is_on_server(&self) -> bool {
        self.shared.place.as_ref().is_some_and(Place::is_remote)
    }

    /// The engine underneath, for maintenance: giving space back, compaction. Writing objects to it
    /// directly would break the store.
    pub fn raw_engine(&self) -> &dyn Engine {
        &*self.shared.engine
    }

    /// Fails where another process has become the store's writer meanwhile, as it can where the engine is a
    /// server. Elsewhere the lock of the place sees to it that none can.
    ///
    /// # Errors
    /// `InUse`; those of reading.
    pub fn check_writer(&self) -> Result<()> {
        if self.follows() {
            return Ok(());
        }
        let view = self.shared.view()?;
        let engine = view.engine()?;
        if !engine.has_latency() {
            return Ok(());
        }
        let (table, key) = State::key();
        engine.get(table, key, &mut |_| {}).map(drop)
    }

    /// Runs `work`, such as a compaction, while no snapshot of the engine is open and no commit is
    /// being written. Store snapshots stay valid. `work` must not use the store, which would wait for it
    /// to end.
    ///
    /// # Errors
    /// Those of `work`; `InUse` where a load does not finish.
    pub fn while_quiet<T>(&self, work: impl FnOnce(&dyn Engine) -> Result<T>) -> Result<T> {
        let mut writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let result = self
            .shared
            .views
            .without_views(|| work(&*self.shared.engine));
        result.map_err(|error| self.shared.poison_by(&mut writer, error))
    }

    /// The objects that are stored, walked over without a snapshot for measuring: records are not
    /// verified, and commits meanwhile may be seen in part.
    ///
    /// # Errors
    /// Those of the engine's reading, and of `visit`.
    pub fn scan_unverified(&self, visit: &mut dyn FnMut(Oid, &[u8]) -> Result<()>) -> Result<()> {
        let view = self.shared.view()?;
        let mut cursor = view.engine()?.cursor(Table::Objects, Key::MIN)?;
        while let Some((key, value)) = cursor.next()? {
            visit(Oid(key.first), value)?;
        }
        Ok(())
    }

    /// Has the log of changes after `tid` read: with the last commit to be included, and what is
    /// condemned.
    fn with_changes<T>(
        &self,
        tid: Tid,
        read: impl FnOnce(&dyn EngineSnapshot, Tid, Option<&Condemned>) -> Result<T>,
    ) -> Result<T> {
        if let Some(follow) = &self.shared.follow {
            let followed = self.shared.look(follow)?;
            let (from, until) = (followed.state.changes_from, followed.state.tid);
            changes::check_reach(tid, from, until)?;
            return followed
                .read(|view| read(view.engine()?, until, followed.condemned.as_deref()));
        }
        let until = self.shared.superseded.visible();
        let from = self.shared.published().changes_from;
        changes::check_reach(tid, Tid::ZERO, until)?;
        let found = {
            // Asked for before the view is opened: what ends between the two has all its rows in the log.
            let condemned = self.shared.condemned();
            let view = self.shared.view()?;
            read(view.engine()?, until, condemned.as_deref())?
        };
        // The log may have been shortened while it was read: its beginning is looked at afterwards.
        let from = from.max(self.shared.published().changes_from);
        changes::check_reach(tid, from, until)?;
        Ok(found)
    }
}

impl Store for LocalStore {
    fn id(&self) -> StoreId {
        self.shared.id
    }

    fn engine(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(LocalSnapshot::new(self.shared.clone())?))
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<Receipt> {
        let request = self.shared.prepare(batch, durability)?;
        let receipt = self
            .shared
            .queue
            .submit(request, |group| self.shared.write_group(&group))?;
        self.shared.train_when_due();
        Ok(receipt)
    }

    fn new_oids(&self, session: SessionId, count: u32) -> Result<Vec<Oid>> {
        loop {
            {
                let mut oids = self
                    .shared
                    .oids
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if !oids.knows(session) {
                    return Err(unknown_session(session));
                }
                if let Some(taken) = oids.take(session, count) {
                    return Ok(taken);
                }
            }
            self.shared.extend_oids(count)?;
        }
    }

    fn session(&self, kind: SessionKind) -> Result<SessionId> {
        loop {
            let begun = self.shared.sessions().begin(kind);
            match begun {
                Ok(session) => {
                    self.shared
                        .oids
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .begin(session);
                    return Ok(session);
                }
                Err(last) => self.shared.persist_sessions(last)?,
            }
        }
    }

    fn end_session(&self, session: SessionId) -> Result<()> {
        let live = self.shared.sessions().get(session);
        let Some(live) = live.filter(|_| session != SessionId::EMBEDDED) else {
            return Err(unknown_session(session));
        };
        if live.kind == SessionKind::Import {
            self.shared.check_import()?;
        }
        self.shared
            .oids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end(session);
        // After this no commit of the session creates anything, and what one has pinned is released.
        let owner = self.shared.sessions().end(session);
        self.shared.release_pins(|_| owner);
        Ok(())
    }

    fn outcome(&self, identity: CommitId) -> Result<Option<Tid>> {
        let found = self.shared.recent(identity)?;
        if found.is_none() && self.follows() {
            return Err(
                Error::new(ErrorKind::ReadOnly, "look for a commit").because(
                    "it is not there, and only who writes the store knows whether it still comes",
                ),
            );
        }
        if found.is_none_or(|tid| tid <= self.shared.superseded.visible()) {
            return Ok(found);
        }
        // It is being written, or was when the engine failed: only the writer knows.
        self.shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .check()?;
        self.shared.recent(identity)
    }

    fn changes_since(&self, tid: Tid) -> Result<Changes> {
        self.with_changes(tid, |view, until, condemned| {
            let changes = changes::read(view, tid, until, condemned)?;
            Ok(Changes {
                tid: until,
                changes,
            })
        })
    }

    fn visit_changes_since(
        &self,
        tid: Tid,
        show: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Tid> {
        self.with_changes(tid, |view, until, condemned| {
            changes::visit(view, tid, until, condemned, show)?;
            Ok(until)
        })
    }

    fn durability(&self) -> Durability {
        self.shared.durability
    }

    fn pending(&self) -> Result<Pending> {
        self.read_pending()
    }

    fn collect(&self) -> Result<Collected> {
        self.collect_with(&mut |_| {})
    }

    fn stats(&self) -> Result<StoreStats> {
        self.refresh()?;
        let engine = self.shared.engine.stats()?;
        let state = *self.shared.published();
        Ok(StoreStats {
            objects: state.objects,
            tid: state.tid,
            high_water: Oid(state.high_water),
            live_bytes: state.live_bytes,
            garbage_pending: state.orphans + self.shared.condemned_left.load(Ordering::Relaxed),
            engine,
        })
    }

    fn sync(&self) -> Result<Durability> {
        let mut writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        writer.check()?;
        let result = self.shared.engine.sync();
        result.map_err(|error| self.shared.poison_by(&mut writer, error))
    }
}

fn unknown_session(session: SessionId) -> Error {
    Error::new(ErrorKind::Usage, "use a session").because(format!(
        "there is no session {}, or it has ended",
        session.0
    ))
}
