//! A store that a command has opened: in this process, or behind a server.

use std::ops::Deref;

use durum_core::Result;
use durum_core::check::{Report, check};
use durum_core::collect::Collected;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store};
use durum_server::client::RemoteStore;

use super::progress::Progress;

/// Progress is told after this many objects.
const STEP: u64 = 256;

/// A store that a command has opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// In this process.
    Local(Box<LocalStore>),
    /// Behind a server.
    Remote(RemoteStore),
}

impl Deref for Opened {
    type Target = dyn Store;

    fn deref(&self) -> &(dyn Store + 'static) {
        match self {
            Opened::Local(store) => &**store,
            Opened::Remote(store) => store,
        }
    }
}

impl Opened {
    /// Has everything checked.
    pub(crate) fn check(&self) -> Result<Report> {
        match self {
            Opened::Local(store) => check(store, false),
            Opened::Remote(store) => store.check(),
        }
    }

    /// The digest of everything. A server computes it itself.
    pub(crate) fn digest(&self, progress: &Progress) -> Result<Digest> {
        let store = match self {
            Opened::Local(store) => store,
            Opened::Remote(store) => {
                progress.begin("digest", None);
                return store.digest();
            }
        };
        progress.begin("digest", Some(store.stats()?.objects));
        let snapshot = store.snapshot()?;
        Digest::of_with(&*snapshot, &mut |objects| {
            if objects.is_multiple_of(STEP) {
                progress.advance(STEP, 0);
            }
        })
    }

    /// Collects all garbage.
    pub(crate) fn collect(&self, progress: &Progress) -> Result<Collected> {
        progress.begin("gc", None);
        let mut seen = 0;
        match self {
            Opened::Local(store) => store.collect_with(&mut |so_far| {
                progress.advance(so_far.objects - seen, 0);
                seen = so_far.objects;
            }),
            Opened::Remote(store) => store.collect(),
        }
    }

    /// Gives the engine's unused space back to the system; returns the bytes.
    pub(crate) fn give_back(&self, compact: bool, progress: &Progress) -> Result<u64> {
        let store = match self {
            Opened::Local(store) => store,
            Opened::Remote(store) => return store.give_back(compact),
        };
        super::gc::give_back(store, compact, progress)
    }
}
