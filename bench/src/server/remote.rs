//! The Rust client, which speaks Durum's own protocol.

use std::net::SocketAddr;

use durum_core::config::ServerLocation;
use durum_core::store::{Batch, Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result};
use durum_server::client::RemoteStore;

use super::DOING;
use super::client::{Object, Protocol, Speaker};

/// Durum's own.
pub(super) const DURUM: Protocol = Protocol {
    name: "durum 2",
    connect: |address| Ok(Box::new(Client::connect(address)?)),
};

/// A client, and a snapshot that it reads from.
#[derive(Debug)]
struct Client {
    store: RemoteStore,
    snapshot: Box<dyn Snapshot>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Client> {
        let address = address.to_string();
        let store = RemoteStore::connect(&ServerLocation { address, tls: None })?;
        Ok(Client {
            snapshot: store.snapshot()?,
            store,
        })
    }
}

impl Speaker for Client {
    fn load(&mut self, oid: u64) -> Result<()> {
        match self.snapshot.load_with(Oid(oid), &mut |_| Ok(()))? {
            true => Ok(()),
            false => Err(absent(oid)),
        }
    }

    fn load_many(&mut self, oids: &[u64]) -> Result<()> {
        let oids: Vec<Oid> = oids.iter().copied().map(Oid).collect();
        self.snapshot.load_many_with(&oids, &mut |oid, record| {
            record.map(drop).ok_or_else(|| absent(oid.0))
        })
    }

    fn commit(&mut self, objects: &[Object]) -> Result<bool> {
        let mut batch = Batch::new();
        for object in objects {
            let refs = object.refs.iter().copied().map(Oid);
            batch.update(Oid(object.oid), object.data.clone(), refs);
        }
        match self.store.commit(batch, self.store.durability()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn absent(oid: u64) -> Error {
    Error::new(ErrorKind::Mismatch, DOING)
        .because("the server lacks an object")
        .with_oid(Oid(oid))
}
