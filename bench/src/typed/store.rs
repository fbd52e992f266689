//! The store that a part works on: one of its own, or that of a server.

use std::sync::Arc;

use durum_core::Result;
use durum_core::config::{ServerLocation, StoreSettings};
use durum_core::engine::Registry;
use durum_core::store::Store as _;
use durum_objects::{Database, Options};
use durum_server::client::RemoteStore;

use super::part::Part;
use crate::files::forget;
use crate::subject::best;

/// A database on a new store, or on that of a server.
pub(super) fn create(registry: &Registry, part: &Part) -> Result<Database> {
    open_with(registry, part, Registry::create)
}

/// The same after it was closed, and with nothing of it in the system's memory. What a server has stays.
pub(super) fn reopen(registry: &Registry, part: &Part, db: Database) -> Result<Database> {
    let is_persistent = db.store().engine().persistent;
    if part.address.is_none() && !is_persistent {
        return Ok(db);
    }
    drop(db);
    if part.address.is_none() {
        forget(&part.path)?;
    }
    open_with(registry, part, Registry::open)
}

fn open_with(
    registry: &Registry,
    part: &Part,
    open: fn(&Registry, &StoreSettings) -> Result<durum_core::store::LocalStore>,
) -> Result<Database> {
    let mut options = Options {
        cache: part.cache,
        ..Options::default()
    };
    if let Some(address) = &part.address {
        let location = ServerLocation {
            address: address.clone(),
            tls: None,
        };
        return Database::with_options(Arc::new(RemoteStore::connect(&location)?), options);
    }
    let store = open(registry, &StoreSettings::new(&part.engine, &part.path))?;
    options.durability = Some(best(store.engine()));
    Database::with_options(Arc::new(store), options)
}
