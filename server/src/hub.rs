//! What all connections share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use durum_core::record::Record;
use durum_core::store::{LocalStore, Store as _};
use durum_core::{Oid, Result, Tid};
use tokio::sync::{Semaphore, watch};

use crate::changes::ChangeLog;
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
    /// For requests that go through the whole store.
    pub(crate) upkeep: Arc<Semaphore>,
    served: RwLock<Arc<Served>>,
    /// For connections that begin.
    tls: RwLock<Option<Arc<ServerTls>>>,
}

/// A store that is served, and what is known of it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) store: Arc<LocalStore>,
    pub(crate) changes: ChangeLog,
    pub(crate) order: Order,
    /// The last commit, for those who wait for the next one.
    pub(crate) newest: watch::Sender<Tid>,
    root_exists: AtomicBool,
}

impl Hub {
    pub(crate) fn new(store: Arc<LocalStore>, settings: Settings) -> Result<Hub> {
        let tls = settings.tls.as_ref().map(ServerTls::load).transpose()?;
        let served = Served::new(store, settings.limits.changes_max)?;
        Ok(Hub {
            served: RwLock::new(Arc::new(served)),
            metrics: Metrics::new(),
            shutdown: watch::Sender::new(false),
            upkeep: Arc::new(Semaphore::new(UPKEEP_MAX)),
            tls: RwLock::new(tls.map(Arc::new)),
            settings,
        })
    }

    /// The store that is served now.
    pub(crate) fn served(&self) -> Arc<Served> {
        let served = self.served.read();
        served.unwrap_or_else(PoisonError::into_inner).clone()
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
            root_exists: AtomicBool::new(false),
            store,
        })
    }

    /// The last commit that loads show.
    pub(crate) fn visible(&self) -> Result<Tid> {
        Ok(self.store.snapshot()?.tid())
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

    /// Shows the newest state of an object, with its data; false where there is none.
    pub(crate) fn load(
        &self,
        oid: Oid,
        show: &mut dyn FnMut(Record<'_>, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        let snapshot = self.store.snapshot()?;
        let mut unpacked = Vec::new();
        snapshot.load_with(oid, &mut |record| {
            if let Some(data) = record.payload().as_plain() {
                return show(record, data);
            }
            record.read_data(snapshot.codecs(), &mut unpacked)?;
            show(record, &unpacked)
        })
    }
}
