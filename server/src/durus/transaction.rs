//! Committing: `C`, in which the client looks for conflicts itself.

use std::time::Instant;

use durum_core::store::{Batch, Receipt, Store as _};
use durum_core::{ErrorKind, Oid, Result, SessionId};
use tokio::time::timeout;

use super::session::Session;
use super::{INVALID, OKAY, RECORD_HEAD_BYTES};
use crate::hangup::Hangup;
use crate::order::Turn;
use crate::wire::Wire;

/// An object of a transaction.
struct Object {
    oid: Oid,
    data: Vec<u8>,
    refs: Vec<Oid>,
}

impl Session {
    /// `C`: tells what is invalid, and takes the transaction that the client sends if it can do with that.
    pub(super) async fn commit(&mut self, wire: &mut Wire) -> Result<(), Hangup> {
        if self.may_only_read() {
            return self.commit_nothing(wire).await;
        }
        let mut turn = self.served.order.turn().await;
        // In this order: what becomes visible in between is told twice, and never not at all.
        let mut invalid = Vec::new();
        self.served.order.pending_oids(&mut invalid);
        self.tell_invalid(invalid, wire).await?;
        let patience = self.hub.settings.limits.commit_patience;
        let transaction = {
            let mut reading = Box::pin(self.read_transaction(wire));
            match timeout(patience, &mut reading).await {
                Ok(transaction) => transaction?,
                Err(_) => {
                    turn.yield_to_others();
                    reading.await?
                }
            }
        };
        let Some(objects) = transaction else {
            self.hub.metrics.given_up.add(1);
            return Ok(());
        };
        let begin = Instant::now();
        // What the client could not know of it cannot have taken into account.
        let answer = match turn.resume().await {
            true => self.write(turn, objects).await?,
            false => INVALID,
        };
        match answer {
            OKAY => self.hub.metrics.committed.add(1),
            _ => self.hub.metrics.conflicts.add(1),
        }
        self.hub.metrics.writes.took(begin.elapsed());
        wire.output.push(answer);
        Ok(())
    }

    /// `C` of a client that may only read: it may ask what is invalid, and give up. Nobody waits for it.
    async fn commit_nothing(&mut self, wire: &mut Wire) -> Result<(), Hangup> {
        let mut invalid = Vec::new();
        self.served.order.pending_oids(&mut invalid);
        self.tell_invalid(invalid, wire).await?;
        match wire.u32().await? {
            0 => Ok(()),
            _ => Err(Hangup::Refused("it commits, and may only read".into())),
        }
    }

    /// The objects of a transaction; none where the client gives up.
    async fn read_transaction(&self, wire: &mut Wire) -> Result<Option<Vec<Object>>, Hangup> {
        let mut left = u64::from(wire.u32().await?);
        if left == 0 {
            return Ok(None);
        }
        let limit = self.hub.settings.limits.request_bytes_max;
        if left > limit {
            let why = format!("it sends a transaction of {left} bytes, and {limit} are allowed");
            return Err(Hangup::Refused(why));
        }
        let mut objects = Vec::new();
        while left > 0 {
            let length = u64::from(wire.u32().await?);
            let whole = left.checked_sub(length + 4);
            let (Some(rest), Some(record)) = (whole, length.checked_sub(8)) else {
                return Err(malformed("an object is longer or shorter than it can be"));
            };
            left = rest;
            objects.push(read_object(wire, record as usize).await?);
            self.check_count(objects.len() as u32)?;
        }
        Ok(Some(objects))
    }

    /// Commits and waits until that is durable; the answer.
    async fn write(&mut self, turn: Turn, objects: Vec<Object>) -> Result<u8, Hangup> {
        let session = self.begin()?;
        let store = self.served.store.clone();
        let root_exists = self.served.has_root()?;
        let mut batch = Batch::of(session);
        let mut oids = Vec::with_capacity(objects.len());
        for Object { oid, data, refs } in objects {
            oids.push(oid);
            let new = match oid {
                Oid::ROOT => !root_exists,
                _ => store.may_create(session, oid),
            };
            match new {
                true => batch.create(oid, data, refs),
                false => batch.update(oid, data, refs),
            };
        }
        let written = oids.clone();
        let prepared = match store.prepare(batch, store.durability()) {
            Ok(prepared) => prepared,
            Err(error) => return self.refusal(error, session, &written),
        };
        let mut placed = turn.place(&store, prepared, oids);
        let waiting = tokio::task::spawn_blocking(move || {
            let commit = placed.take();
            let receipt = commit.map(durum_core::store::Enqueued::wait);
            drop(placed);
            receipt
        });
        let receipt = waiting.await.ok().flatten();
        match receipt {
            Some(Ok(Receipt { tid, .. })) => {
                self.own.push(tid);
                Ok(OKAY)
            }
            Some(Err(error)) => self.refusal(error, session, &written),
            None => Err(Hangup::Refused("the commit failed".into())),
        }
    }

    /// What is answered to a commit that the store refuses, if anything.
    fn refusal(
        &self,
        error: durum_core::Error,
        session: SessionId,
        written: &[Oid],
    ) -> Result<u8, Hangup> {
        match error.kind() {
            ErrorKind::Conflict => Ok(INVALID),
            ErrorKind::Gone => {
                let store = &self.served.store;
                let gone = error.oids().iter();
                let stolen = |oid: &&Oid| {
                    written.contains(oid)
                        && store.is_handed_out(**oid)
                        && !store.may_create(session, **oid)
                };
                match gone.copied().collect::<Vec<_>>().iter().find(stolen) {
                    None => Ok(INVALID),
                    Some(oid) => Err(Hangup::Refused(format!(
                        "it commits object {oid}, which was handed out to another client"
                    ))),
                }
            }
            _ => Err(Hangup::Store(error)),
        }
    }
}

/// An object whose record has `length` bytes.
async fn read_object(wire: &mut Wire, length: usize) -> Result<Object, Hangup> {
    let oid = Oid(wire.u64().await?);
    let Some(body) = length.checked_sub(RECORD_HEAD_BYTES) else {
        return Err(malformed("a record is shorter than its head"));
    };
    let again = Oid(wire.u64().await?);
    if again != oid {
        return Err(malformed("an object and its record have different OIDs"));
    }
    let data_bytes = wire.u32().await? as usize;
    let refs_bytes = body.checked_sub(data_bytes).filter(|bytes| bytes % 8 == 0);
    let Some(refs_bytes) = refs_bytes else {
        return Err(malformed("a record's data and references do not fill it"));
    };
    let data = wire.bytes(data_bytes).await?;
    let mut refs = Vec::new();
    for _ in 0..refs_bytes / 8 {
        refs.push(Oid(wire.u64().await?));
    }
    if let Some(bad) = refs.iter().chain([&oid]).find(|oid| !oid.is_valid()) {
        return Err(malformed(&format!("the OID {bad} is not below 2^63")));
    }
    Ok(Object { oid, data, refs })
}

fn malformed(why: &str) -> Hangup {
    Hangup::Refused(format!("its transaction is malformed: {why}"))
}
