//! Commits on the wire.

use durum_core::collect::Collected;
use durum_core::engine::Durability;
use durum_core::record::Codec;
use durum_core::store::{Batch, CommitId, Receipt};
use durum_core::{Oid, SessionId, Tid};

use super::bytes::{Body, put_bytes, put_u32, put_u64};

/// Set in the OID of an object that is new.
const NEW: u64 = 1 << 63;
/// In the place of a codec: the store's.
const NO_CODEC: u8 = u8::MAX;
/// The session that every connection has without asking.
const OWN_SESSION: u64 = 0;
/// Bytes of an object at the least: its OID, the lengths of its references and of its data.
const OBJECT_BYTES: usize = 16;

/// A commit as it is sent.
#[derive(Debug)]
pub(crate) struct CommitRequest {
    /// The commit up to which the client knew everything when it sent this for the first time, where this
    /// is not the first time.
    pub(crate) again_since: Option<Tid>,
    pub(crate) durability: Durability,
    /// `None`: the one that the connection has without asking.
    pub(crate) session: Option<SessionId>,
    pub(crate) identity: CommitId,
    pub(crate) codec: Option<Codec>,
    pub(crate) expects: Vec<(Oid, Tid)>,
    pub(crate) objects: Vec<NewState>,
}

/// An object that a commit writes.
#[derive(Debug)]
pub(crate) struct NewState {
    pub(crate) oid: Oid,
    pub(crate) create: bool,
    pub(crate) refs: Vec<Oid>,
    pub(crate) data: Vec<u8>,
}

/// Appends the part of a request that is not the same each time that it is sent.
pub(crate) fn put_head(
    out: &mut Vec<u8>,
    again_since: Option<Tid>,
    session: Option<SessionId>,
    durability: Durability,
) {
    out.push(u8::from(again_since.is_some()));
    put_u64(out, again_since.unwrap_or(Tid::ZERO).0);
    put_u64(out, session.map_or(OWN_SESSION, |session| session.0));
    out.push(durability as u8);
}

/// Appends the rest of the request.
pub(crate) fn put_batch(out: &mut Vec<u8>, batch: &Batch, identity: CommitId) {
    out.extend_from_slice(&identity);
    out.push(batch.codec().map_or(NO_CODEC, Codec::number));
    put_u32(out, batch.expects().len() as u32);
    for (oid, tid) in batch.expects() {
        put_u64(out, oid.0);
        put_u64(out, tid.0);
    }
    put_u32(out, batch.writes().len() as u32);
    for write in batch.writes() {
        put_u64(out, write.oid.0 | if write.create { NEW } else { 0 });
        put_u32(out, write.refs.len() as u32);
        write.refs.iter().for_each(|target| put_u64(out, target.0));
        put_bytes(out, &write.data);
    }
}

impl CommitRequest {
    /// The request; or how many objects it is about, where these are more than `count_max`.
    pub(crate) fn take(body: &mut Body<'_>, count_max: u32) -> Option<Result<CommitRequest, u32>> {
        let again = body.u8()? != 0;
        let since = body.tid()?;
        let session = Some(body.u64()?).filter(|session| *session != OWN_SESSION);
        let durability = take_durability(body)?;
        let identity = body.array()?;
        let codec = match body.u8()? {
            NO_CODEC => None,
            number => Some(Codec::from_number(number)?),
        };
        let count = body.u32()?;
        if count > count_max {
            return Some(Err(count));
        }
        let expects = body.many(count, 16, |body| Some((body.oid()?, body.tid()?)))?;
        let count = body.u32()?;
        if count > count_max {
            return Some(Err(count));
        }
        let objects = body.many(count, OBJECT_BYTES, NewState::take)?;
        body.is_empty().then_some(Ok(CommitRequest {
            again_since: again.then_some(since),
            durability,
            session: session.map(SessionId),
            identity,
            codec,
            expects,
            objects,
        }))
    }

    /// The batch, of `session`, and the objects that it writes.
    pub(crate) fn into_batch(self, session: SessionId) -> (Batch, Vec<Oid>) {
        let mut batch = Batch::of(session);
        batch.identify(self.identity);
        if let Some(codec) = self.codec {
            batch.compress(codec);
        }
        for (oid, tid) in self.expects {
            batch.expect(oid, tid);
        }
        let mut oids = Vec::with_capacity(self.objects.len());
        for object in self.objects {
            oids.push(object.oid);
            match object.create {
                true => batch.create(object.oid, object.data, object.refs),
                false => batch.update(object.oid, object.data, object.refs),
            };
        }
        (batch, oids)
    }
}

impl NewState {
    fn take(body: &mut Body<'_>) -> Option<NewState> {
        let oid = body.u64()?;
        let count = body.u32()?;
        Some(NewState {
            oid: Oid(oid & !NEW),
            create: oid & NEW != 0,
            refs: body.many(count, 8, Body::oid)?,
            data: body.bytes()?.to_vec(),
        })
    }
}

/// A level of durability.
pub(crate) fn take_durability(body: &mut Body<'_>) -> Option<Durability> {
    let number = body.u8()?;
    Durability::ALL
        .into_iter()
        .find(|level| *level as u8 == number)
}

/// Appends what a commit has achieved.
pub(crate) fn put_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    put_u64(out, receipt.tid.0);
    out.push(receipt.durability as u8);
    put_collected(out, receipt.collected);
}

/// What [`put_receipt`] has written.
pub(crate) fn take_receipt(body: &mut Body<'_>) -> Option<Receipt> {
    Some(Receipt {
        tid: body.tid()?,
        durability: take_durability(body)?,
        collected: take_collected(body)?,
    })
}

/// Appends what was collected.
pub(crate) fn put_collected(out: &mut Vec<u8>, collected: Collected) {
    put_u64(out, collected.objects);
    put_u64(out, collected.bytes);
}

/// What [`put_collected`] has written.
pub(crate) fn take_collected(body: &mut Body<'_>) -> Option<Collected> {
    Some(Collected {
        objects: body.u64()?,
        bytes: body.u64()?,
    })
}
