//! How a store is, told at once: a commit that is being written is not waited for.

use std::sync::{PoisonError, TryLockError};

use super::local::{LocalStore, Shared};
use super::writer::Writer;
use crate::collect::Counters;
use crate::error::Error;

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Why writes are refused until the store is opened anew.
    pub poisoned: Option<String>,
    /// Why nothing is collected any more, or at the moment.
    pub collection_failed: Option<String>,
    /// Why no space could be given back the last time.
    pub reclaim_failed: Option<String>,
    /// What collection has done since the store was opened.
    pub counters: Counters,
}

impl Writer {
    fn health(&self) -> Health {
        Health {
            poisoned: self.poisoned.clone(),
            collection_failed: self.collection_failed.as_ref().map(Error::to_string),
            reclaim_failed: self.reclaim_failed.as_ref().map(Error::to_string),
            counters: self.collector.counters,
        }
    }
}

impl Shared {
    /// Notes how the store is, for those who ask while somebody writes.
    pub(super) fn note_health(&self, writer: &Writer) {
        let mut noted = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = writer.health();
    }
}

impl LocalStore {
    /// How the store is; while somebody writes, how it was after the last write.
    pub fn health(&self) -> Health {
        let shared = &self.shared;
        match shared.writer.try_lock() {
            Ok(writer) => writer.health(),
            Err(TryLockError::Poisoned(writer)) => writer.into_inner().health(),
            Err(TryLockError::WouldBlock) => {
                let noted = shared.health.lock();
                noted.unwrap_or_else(PoisonError::into_inner).clone()
            }
        }
    }
}
