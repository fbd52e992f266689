//! A server that speaks only Durus's own protocol, as a source.
//!
//! Such a server neither says which objects there are nor which store it serves. So the root is walked from
//! first, and what it reaches is what is copied. Then the objects are read once more, in ascending order of
//! their OIDs. Both times they are as they were when the connection was made, or else the server does not give
//! them. The digest of what the walk has seen is what the state is known by when a migration is resumed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use durum_core::collect::{OidSet, RootWalk};
use durum_core::config::ServerLocation;
use durum_core::digest::Digest;
use durum_core::record::normalize_refs;
use durum_core::{Error, Oid, Result};
use durum_server::client::{ClientOptions, DurusAnswer, DurusClient, DurusRecord};

use crate::durus::DurusObject;
use crate::options::StopWatch;

/// Requests on their way at a time.
const BULKS: usize = 3;
/// Bytes of answers that are taken ahead while nobody wants them yet.
const SETTLED_BYTES: usize = 4 << 20;

/// The walk can rest each time that it has read so much.
pub(crate) const REST_BYTES: usize = 64 << 10;

/// Waits after so many bytes were read.
pub(crate) type Rest<'a> = &'a mut dyn FnMut(usize) -> Result<()>;

/// A server that speaks only Durus's own protocol.
#[derive(Debug)]
pub(crate) struct DurusServer {
    reading: Mutex<Reading>,
    /// What the walk has found.
    objects: u64,
    bytes: u64,
    digest: Digest,
}

/// Reading what is reached, in ascending order.
#[derive(Debug)]
struct Reading {
    client: DurusClient,
    reached: OidSet,
    /// Where to ask on; `None` at the end.
    next: Option<Oid>,
}

impl DurusServer {
    /// Connects. There is nothing to be read before the [walk](DurusServer::walk).
    pub(crate) fn connect(server: &ServerLocation, watch: &StopWatch) -> Result<DurusServer> {
        let watch = watch.clone();
        let watching = move || watch.check();
        let client = DurusClient::connect(server, ClientOptions::default(), watching)?;
        let reading = Reading {
            client,
            reached: OidSet::new(0),
            next: None,
        };
        Ok(DurusServer {
            reading: Mutex::new(reading),
            objects: 0,
            bytes: 0,
            digest: Digest::default(),
        })
    }

    /// Finds what the root reaches. The sets of OIDs take up to `memory_bytes` each. `step` is told of the
    /// bytes of each object, and `rest` of those since it was called last, so that it can wait.
    ///
    /// # Errors
    /// Those of reading, of `step` and of `rest`; `Damaged` where an object cannot be read, since what hangs on it is
    /// not known then.
    pub(crate) fn walk(
        &mut self,
        memory_bytes: usize,
        step: &dyn Fn(usize) -> Result<()>,
        mut rest: Option<Rest<'_>>,
    ) -> Result<()> {
        let reading = self.reading.get_mut();
        let client = &mut reading.unwrap_or_else(PoisonError::into_inner).client;
        let mut walk = RootWalk::new(memory_bytes)?;
        let (mut wanted, mut refs, mut unrested) = (Vec::new(), Vec::new(), 0);
        loop {
            // Few are asked for only where there would soon be nothing to wait for.
            let bulk = client.bulk();
            let due = |client: &DurusClient, walk: &RootWalk| match walk.waiting() >= bulk as u64 {
                true => client.asked() <= (BULKS - 1) * bulk,
                false => client.asked() < bulk / 2 + 1,
            };
            while walk.waiting() > 0 && due(client, &walk) {
                wanted.clear();
                while wanted.len() < bulk
                    && let Some(oid) = walk.pop()?
                {
                    wanted.push(oid);
                }
                client.ask(&wanted)?;
            }
            match client.answer()? {
                None => break,
                Some(DurusAnswer::Missing(oid)) => walk.missed(oid)?,
                Some(DurusAnswer::Object(record)) => {
                    put_refs(&record, &mut refs);
                    let data = record.data;
                    self.digest.add(record.oid, refs.iter().copied(), data);
                    self.objects += 1;
                    self.bytes += data.len() as u64;
                    walk.found(record.oid, &refs)?;
                    let bytes = data.len();
                    step(bytes)?;
                    unrested += bytes;
                    if let Some(rest) = rest.as_mut().filter(|_| unrested >= REST_BYTES) {
                        client.settle(SETTLED_BYTES)?;
                        rest(std::mem::take(&mut unrested))?;
                    }
                }
            }
        }
        let (reached, _) = walk.finish();
        let reading = self.reading.get_mut();
        reading.unwrap_or_else(PoisonError::into_inner).reached = reached;
        Ok(())
    }

    pub(crate) fn object_count(&self) -> u64 {
        self.objects
    }

    /// Bytes of all objects' data.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.bytes
    }

    /// What it serves, whichever server it is.
    pub(crate) fn description(&self) -> String {
        format!(
            "what the root reaches behind a server of Durus, {} objects with the digest {}",
            self.objects, self.digest
        )
    }

    /// Goes on, or begins, at the first object from `from` on.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn seek(&self, from: Oid) -> Result<()> {
        let mut reading = self.lock();
        reading.client.forget()?;
        reading.next = Some(from).filter(|from| from.is_valid());
        Ok(())
    }

    /// The next object; `None` at the end.
    ///
    /// # Errors
    /// Those of reading; `Damaged` names the object, and the next call goes on behind it.
    pub(crate) fn next(&self) -> Result<Option<DurusObject>> {
        let mut reading = self.lock();
        reading.ask()?;
        match reading.client.answer()? {
            None => Ok(None),
            Some(DurusAnswer::Missing(oid)) => Err(gone(oid)),
            Some(DurusAnswer::Object(record)) => {
                let mut refs = Vec::new();
                put_refs(&record, &mut refs);
                Ok(Some(DurusObject {
                    oid: record.oid,
                    refs,
                    data: record.data.to_vec(),
                }))
            }
        }
    }

    /// Takes the answers that are on their way, since the next object may be wanted only much later, and a
    /// server does not wait for long.
    pub(crate) fn settle(&self) -> Result<()> {
        self.lock().client.settle(SETTLED_BYTES)
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Sees to it that enough objects are on their way.
    fn ask(&mut self) -> Result<()> {
        let bulk = self.client.bulk();
        while self.client.asked() <= (BULKS - 1) * bulk
            && let Some(from) = self.next
        {
            let mut oids = Vec::with_capacity(bulk);
            let mut next = self.reached.next_from(from)?;
            while let Some(oid) = next.filter(|_| oids.len() < bulk) {
                oids.push(oid);
                next = self.reached.next_from(oid.next())?;
            }
            self.client.ask(&oids)?;
            self.next = next;
        }
        Ok(())
    }
}

/// References ascending, each once, without the object itself.
fn put_refs(record: &DurusRecord<'_>, refs: &mut Vec<Oid>) {
    refs.clear();
    refs.extend(record.refs());
    normalize_refs(record.oid, refs);
}

fn gone(oid: Oid) -> Error {
    Error::damaged(
        "read from the server",
        "it was there before, and is not any more",
    )
    .with_oid(oid)
}
