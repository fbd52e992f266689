//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::record::Record;
use durum_core::store::{LocalStore, Snapshot, Store as _};
use durum_core::{ErrorKind, Oid, Result, Tid};
use tokio::sync::watch;

use crate::changes::ChangeLog;
use crate::metrics::Metrics;
use crate::order::Order;
use crate::settings::Settings;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) store: Arc<LocalStore>,
    pub(crate) settings: Settings,
    pub(crate) changes: ChangeLog,
    pub(crate) order: Order,
    pub(crate) metrics: Metrics,
    /// Says that the server is to end.
    pub(crate) shutdown: watch::Sender<bool>,
    root_exists: AtomicBool,
}

impl Hub {
    pub(crate) fn new(store: Arc<LocalStore>, settings: Settings) -> Result<Hub> {
        let tid = store.snapshot()?.tid();
        Ok(Hub {
            changes: ChangeLog::new(tid, settings.limits.changes_max),
            order: Order::default(),
            metrics: Metrics::new(),
            shutdown: watch::Sender::new(false),
            root_exists: AtomicBool::new(false),
            settings,
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

    /// Loads objects, one after the other, soon.
    pub(crate) fn reader(&self) -> Result<Reader<'_>> {
        Ok(Reader {
            hub: self,
            snapshot: self.store.snapshot()?,
            unpacked: Vec::new(),
        })
    }
}

/// Loads objects as they are when it begins, or later: a snapshot costs as much as a load.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    hub: &'a Hub,
    snapshot: Box<dyn Snapshot>,
    unpacked: Vec<u8>,
}

impl Reader<'_> {
    /// Shows the state of an object, with its data; false where there is none.
    pub(crate) fn load(
        &mut self,
        oid: Oid,
        show: &mut dyn FnMut(Record<'_>, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        match self.try_load(oid, show) {
            // Others have written so much meanwhile that what was is no longer kept.
            Err(error) if error.kind() == ErrorKind::TooOld => {
                self.snapshot = self.hub.store.snapshot()?;
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
