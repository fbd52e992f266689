//! What all connections share.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use durum_core::record::Record;
use durum_core::store::{LocalStore, Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result, StoreId, Tid};
use tokio::sync::{Semaphore, watch};

use crate::changes::ChangeLog;
use crate::filling::{Home, Vacant};
use crate::metrics::Metrics;
use crate::order::Order;
use crate::settings::Settings;
use crate::tls::{ServerTls, TlsSettings};

/// Requests that go through the whole store, at once.
const UPKEEP_MAX: usize = 2;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    /// Says that the server is to end.
    pub(crate) shutdown: watch::Sender<bool>,
    /// Why it ends, if that is since another has the store, or it must be opened anew.
    pub(crate) replaced: OnceLock<Error>,
    /// For requests that go through the whole store.
    pub(crate) upkeep: Arc<Semaphore>,
    /// For connections that have a thread each.
    pub(crate) direct: Arc<Semaphore>,
    served: RwLock<Result<Arc<Served>, Vacant>>,
    /// From where the store can be made anew, if that is allowed.
    pub(crate) home: Option<Home>,
    /// From where the store is opened only to be read.
    pub(crate) followed: Option<Home>,
    /// Held while a store is filled in the place of the one that is served.
    pub(crate) filling: Arc<tokio::sync::Mutex<()>>,
    /// For connections that begin.
    tls: RwLock<Option<Arc<ServerTls>>>,
}

/// What a server serves.
pub(crate) enum Source {
    /// A store.
    Store(Arc<LocalStore>),
    /// What lies there: a store, or what is to become one.
    Home(Option<Arc<LocalStore>>, Home),
    /// What another process may write there, once it can be read.
    Followed(Home),
}

/// A store that is served, and what is known of it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) store: Arc<LocalStore>,
    pub(crate) changes: ChangeLog,
    pub(crate) order: Order,
    /// The last commit, for those who wait for the next one.
    pub(crate) newest: watch::Sender<Tid>,
    /// Another one each time that a store is opened: commits that were not durable may be lost in between, and
    /// their numbers come again.
    pub(crate) incarnation: u64,
    /// Says that it is to be let go of, and what there is in its place.
    pub(crate) retired: watch::Sender<Option<Vacant>>,
    root_exists: AtomicBool,
}

impl Hub {
    pub(crate) fn new(source: Source, settings: Settings) -> Result<Hub> {
        let tls = settings.tls.as_ref().map(ServerTls::load).transpose()?;
        let serve = |store| Served::new(store, settings.limits.changes_max).map(Arc::new);
        let (served, home, followed) = match source {
            Source::Store(store) => (Ok(serve(store)?), None, None),
            Source::Home(Some(store), home) => (Ok(serve(store)?), Some(home), None),
            Source::Home(None, home) => (Err(Vacant::Left), Some(home), None),
            Source::Followed(home) => (Err(Vacant::Awaited), None, Some(home)),
        };
        Ok(Hub {
            served: RwLock::new(served),
            home,
            followed,
            filling: Arc::default(),
            metrics: Metrics::new(),
            shutdown: watch::Sender::new(false),
            replaced: OnceLock::new(),
            upkeep: Arc::new(Semaphore::new(UPKEEP_MAX)),
            direct: Arc::new(Semaphore::new(processors())),
            tls: RwLock::new(tls.map(Arc::new)),
            settings,
        })
    }

    /// The store that is served now.
    ///
    /// # Errors
    /// `InUse` while it is filled by a migration.
    pub(crate) fn served(&self) -> Result<Arc<Served>> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        served.clone().map_err(Vacant::error)
    }

    fn put(&self, now: Result<Arc<Served>, Vacant>) -> Result<Arc<Served>, Vacant> {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut served, now)
    }

    /// Whether there is no store that others can use since one fills it.
    pub(crate) fn is_filled(&self) -> bool {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        matches!(*served, Err(Vacant::Filling))
    }

    /// What there is to be known of a store that is served.
    pub(crate) fn serve_of(&self, store: LocalStore) -> Result<Served> {
        Served::new(Arc::new(store), self.settings.limits.changes_max)
    }

    /// Serves another store from now on.
    pub(crate) fn serve(&self, store: LocalStore) -> Result<()> {
        self.serve_shared(Arc::new(store))
    }

    /// As [`Hub::serve`], where others have the store, too.
    pub(crate) fn serve_shared(&self, store: Arc<LocalStore>) -> Result<()> {
        let served = Served::new(store, self.settings.limits.changes_max)?;
        let _ = self.put(Ok(Arc::new(served)));
        Ok(())
    }

    /// Has those who use a store let go of it.
    pub(crate) fn take_off(&self, why: Vacant) {
        if let Ok(served) = self.put(Err(why)) {
            served.retire(why);
        }
    }

    /// Serves none from now on.
    pub(crate) fn vacate(&self, why: Vacant) {
        let _ = self.put(Err(why));
    }

    /// Waits until a store that was being filled is left, for a limited time.
    pub(crate) fn wait_for_filling(&self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(2);
        let begin = Instant::now();
        while self.filling.try_lock().is_err() && begin.elapsed() < patience {
            std::thread::sleep(PAUSE);
        }
    }

    /// Opens the store, or creates it where there is none, and serves it; none where one is left that is to be
    /// filled.
    pub(crate) fn open_anew(&self, home: &Home) {
        const PATIENCE: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(20);
        let begin = Instant::now();
        let opened = loop {
            match home.open(false) {
                // Whoever had it until now may still be closing it.
                Err(error) if error.kind() == ErrorKind::InUse && begin.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                opened => break opened,
            }
        };
        let served = opened.and_then(|store| match store {
            Some(store) => self.serve(store),
            None => {
                self.vacate(Vacant::Left);
                Ok(())
            }
        });
        if let Err(error) = served {
            tracing::error!(
                reason = error.to_string(),
                "the store cannot be served any more"
            );
            self.vacate(Vacant::Failed);
        }
    }

    /// Takes the store away from those who use it, where it has no objects; `None` where there is none.
    ///
    /// # Errors
    /// `Exists` where it has objects.
    pub(crate) fn take_away(&self) -> Result<Option<Arc<Served>>> {
        let Ok(served) = self.served() else {
            return Ok(None);
        };
        let objects = served.store.stats()?.objects;
        if objects > 0 {
            return Err(
                Error::new(ErrorKind::Exists, "fill the store of the server")
                    .because(format!("it has {objects} objects"))
                    .hint("Only an empty one can be filled: have the server serve another store."),
            );
        }
        let _ = self.put(Err(Vacant::Filling));
        served.retire(Vacant::Filling);
        Ok(Some(served))
    }

    /// Serves again what was taken away. Who was told to let go of it has done so.
    pub(crate) fn give_back(&self, served: Arc<Served>) {
        served.retired.send_replace(None);
        let _ = self.put(Ok(served));
    }

    /// How TLS is spoken with clients that connect now.
    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files of TLS for clients that connect from now on; on an error everything stays as it was.
    pub(crate) fn reload_tls(&self, settings: &TlsSettings) -> Result<()> {
        let new = Arc::new(ServerTls::load(settings)?);
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(())
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn incarnation() -> Result<u64> {
    let StoreId(random) = StoreId::random()?;
    Ok(random
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

impl Served {
    fn new(store: Arc<LocalStore>, changes_max: usize) -> Result<Served> {
        let tid = store.snapshot()?.tid();
        let newest = watch::Sender::new(tid);
        let teller = newest.clone();
        store.tell_commits(move |tid| {
            teller.send_replace(tid);
        });
        Ok(Served {
            changes: ChangeLog::new(tid, changes_max),
            order: Order::default(),
            newest,
            incarnation: incarnation()?,
            retired: watch::Sender::new(None),
            root_exists: AtomicBool::new(false),
            store,
        })
    }

    /// Has those who use it let go of it.
    pub(crate) fn retire(&self, why: Vacant) {
        self.retired.send_replace(Some(why));
    }

    /// The last commit that loads show.
    pub(crate) fn visible(&self) -> Result<Tid> {
        Ok(self.store.visible())
    }

    /// Whether there is a root.
    pub(crate) fn has_root(&self) -> Result<bool> {
        if self.root_exists.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let snapshot = self.store.snapshot()?;
        let exists = snapshot.load_with(Oid::ROOT, &mut |_| Ok(()))?;
        // It never goes.
        self.root_exists.store(exists, Ordering::Relaxed);
        Ok(exists)
    }

    /// Loads objects, one after the other, soon.
    pub(crate) fn reader(self: &Arc<Served>) -> Result<Reader> {
        Ok(Reader {
            served: self.clone(),
            snapshot: self.store.snapshot()?,
            unpacked: Vec::new(),
        })
    }
}

/// Loads objects as they are when it begins, or later: a snapshot costs as much as a load.
#[derive(Debug)]
pub(crate) struct Reader {
    served: Arc<Served>,
    snapshot: Box<dyn Snapshot>,
    unpacked: Vec<u8>,
}

impl Reader {
    /// Whether it shows what is newest.
    pub(crate) fn is_current(&self) -> bool {
        self.snapshot.tid() == self.served.store.visible()
    }

    /// Shows the state of an object, with its data; false where there is none.
    pub(crate) fn load(
        &mut self,
        oid: Oid,
        show: &mut dyn FnMut(Record<'_>, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        match self.try_load(oid, show) {
            // Others have written so much meanwhile that what was is no longer kept.
            Err(error) if error.kind() == ErrorKind::TooOld => {
                self.snapshot = self.served.store.snapshot()?;
                self.try_load(oid, show)
            }
            loaded => loaded,
        }
    }

    fn try_load(
        &mut self,
        oid: Oid,
        show: &mut dyn FnMut(Record<'_>, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let Reader {
            snapshot, unpacked, ..
        } = self;
        snapshot.load_with(oid, &mut |record| {
            if let Some(data) = record.payload().as_plain() {
                return show(record, data);
            }
            record.read_data(snapshot.codecs(), unpacked)?;
            show(record, unpacked)
        })
    }
}
