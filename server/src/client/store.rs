//! A store behind a server.

use std::sync::Arc;
use std::time::Duration;

use durum_core::check::Report;
use durum_core::collect::Collected;
use durum_core::config::ServerLocation;
use durum_core::digest::Digest;
use durum_core::engine::{Capabilities, Durability};
use durum_core::store::{
    Batch, Change, Changes, CommitId, Pending, Receipt, SessionKind, Snapshot, Store, StoreStats,
};
use durum_core::{Error, ErrorKind, Oid, Result, SessionId, StoreId, Tid};

use super::link::{Link, body_of, nonsense, receipt_of};
use super::shared::{ClientOptions, Shared};
use super::snapshot::RemoteSnapshot;
use super::transport::Route;
use crate::protocol::bytes::{Body, put_u32, put_u64};
use crate::protocol::changes::{self, ChangesRequest};
use crate::protocol::commit::{put_batch, put_head, take_collected, take_durability, take_receipt};
use crate::protocol::describe::{self, Stat};
use crate::protocol::{HEAD_BYTES, Kind};

/// Changes that are asked for at once.
const CHANGES_AT_ONCE: u32 = 1 << 16;

/// A store behind a server.
///
/// It can be used by many threads at once, which share its connection. Where that is lost it is made anew,
/// for a limited time ([`ClientOptions::patience`]):
///
/// - Reads are repeated. A snapshot goes on where nothing was committed since it was taken, and else fails
///   with `TooOld`.
/// - A commit that was not answered is sent again, and performed once, whatever became of the first
///   attempt. Where it creates objects, and the server had not performed it before, it fails with `Gone`: the
///   OIDs were handed out to the connection that was lost. Take new ones.
/// - Sessions begin anew under the same numbers, without what they had not linked.
#[derive(Clone, Debug)]
pub struct RemoteStore {
    shared: Arc<Shared>,
}

impl RemoteStore {
    /// Connects to a server.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers; `Unsupported` where it speaks only Durus's protocol; `Usage` for a
    /// bad address or files of TLS that cannot be used.
    pub fn connect(location: &ServerLocation) -> Result<RemoteStore> {
        RemoteStore::connect_with(location, ClientOptions::default())
    }

    /// As [`RemoteStore::connect`], for a client with options of its own.
    ///
    /// # Errors
    /// As [`RemoteStore::connect`].
    pub fn connect_with(location: &ServerLocation, options: ClientOptions) -> Result<RemoteStore> {
        let shared = Shared::connect(Route::new(location)?, options)?;
        Ok(RemoteStore::of(shared))
    }

    pub(super) fn of(shared: Shared) -> RemoteStore {
        RemoteStore {
            shared: Arc::new(shared),
        }
    }

    /// The server's URL, for messages.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// Whether the server lets this client write.
    pub fn may_write(&self) -> bool {
        self.shared.welcome.writes
    }

    /// As [`Store::changes_since`], but waits until there is a commit after `since`, for about `wait` at
    /// most (a minute at the most): then there are no changes. So a client hears of changes as they happen.
    ///
    /// # Errors
    /// As [`Store::changes_since`].
    pub fn wait_for_changes(&self, since: Tid, wait: Duration) -> Result<Changes> {
        let (changes, _) = self.some_changes(since, wait)?;
        Ok(changes)
    }

    /// The digest of the newest state, computed by the server.
    ///
    /// # Errors
    /// `Damaged`, naming the object.
    pub fn digest(&self) -> Result<Digest> {
        let answer = self.shared.call(Kind::Digest, |out| {
            put_u32(out, crate::protocol::NEWEST);
        })?;
        let mut body = Body::new(&answer);
        let (Some(bytes), Some(objects)) = (body.array(), body.u64()) else {
            return Err(nonsense());
        };
        Ok(Digest::from_bytes(objects, bytes))
    }

    /// Has the server check the store, without repairing anything.
    ///
    /// # Errors
    /// As [`durum_core::check::check`].
    pub fn check(&self) -> Result<Report> {
        describe::take(&self.shared.call(Kind::Check, |_| {})?)
    }

    /// Has the engine's unused space given back to the system, as far as the engine can do that; `compact`:
    /// by compaction, too. Returns the bytes.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn give_back(&self, compact: bool) -> Result<u64> {
        let answer = self
            .shared
            .call(Kind::GiveBack, |out| out.push(u8::from(compact)))?;
        Body::new(&answer).u64().ok_or_else(nonsense)
    }

    fn some_oids(&self, session: SessionId, count: u32) -> Result<Vec<Oid>> {
        let answer = self.shared.with_link(|link| {
            let session = self.shared.session_on(link, session)?;
            link.call(Kind::NewOids, |out| {
                put_u64(out, session.map_or(0, |session| session.0));
                put_u32(out, count);
            })
        })?;
        let mut body = Body::new(&answer);
        let count = body.u32().ok_or_else(nonsense)?;
        body.many(count, 8, Body::oid).ok_or_else(nonsense)
    }

    fn stat(&self) -> Result<Stat> {
        describe::take(&self.shared.call(Kind::Stat, |_| {})?)
    }

    /// The first changes after `since`, and the last commit that there is.
    fn some_changes(&self, since: Tid, wait: Duration) -> Result<(Changes, Tid)> {
        let asked = ChangesRequest {
            since,
            wait,
            count: CHANGES_AT_ONCE,
        };
        let answer = self.shared.call(Kind::Changes, |out| asked.put(out))?;
        let (changes, newest) = changes::take(&mut Body::new(&answer)).ok_or_else(nonsense)?;
        self.shared.hear(newest);
        Ok((changes, newest))
    }
}

impl Store for RemoteStore {
    fn id(&self) -> StoreId {
        self.shared.id
    }

    fn engine(&self) -> &Capabilities {
        &self.shared.engine
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(RemoteSnapshot::take(&self.shared)?))
    }

    fn commit(&self, mut batch: Batch, durability: Durability) -> Result<Receipt> {
        batch.normalize()?;
        let identity = match batch.identity() {
            Some(identity) => identity,
            // Random like a store's.
            None => StoreId::random()?.0,
        };
        let mut request = Vec::new();
        put_batch(&mut request, &batch, identity);
        let limit = self.shared.welcome.request_bytes_max;
        if request.len() as u64 + HEAD_BYTES as u64 + 32 > limit {
            return Err(Error::new(ErrorKind::TooLarge, "commit").because(format!(
                "it takes {} bytes, and the server takes {limit}",
                request.len()
            )));
        }
        let count = batch.len().max(batch.expects().len());
        if count > self.shared.welcome.request_objects_max as usize {
            return Err(too_many(count));
        }
        let heard = self.shared.heard()?;
        let (mut again, mut patience) = (None, self.shared.patience());
        loop {
            let link = match self.shared.link(&mut patience) {
                Ok(link) => link,
                Err(error) => return Err(unknown_outcome(error, again)),
            };
            let sent = self
                .may_commit(&link, &batch, again.map(|_| identity))
                .and_then(|()| self.shared.committer_on(&link, batch.session()))
                .and_then(|session| {
                    let answer = link.ask(Kind::Commit, |out| {
                        put_head(out, again, session, durability);
                        out.extend_from_slice(&request);
                    });
                    // From here on nobody knows what becomes of it, unless the server says so.
                    let before = again.replace(heard);
                    let answer = answer.and_then(super::connection::Ticket::wait)?;
                    receipt_of(answer).map_err(|error| explain(error, before))
                });
            match sent {
                Ok(answer) => {
                    let receipt = take_receipt(&mut Body::new(&answer)).ok_or_else(nonsense)?;
                    self.shared.hear(receipt.tid);
                    return Ok(receipt);
                }
                Err(error) if patience.bears(&error) => {}
                Err(error) => return Err(unknown_outcome(error, again)),
            }
        }
    }

    fn new_oids(&self, session: SessionId, count: u32) -> Result<Vec<Oid>> {
        let (mut oids, mut left) = (Vec::new(), count);
        while left > 0 {
            let some = left.min(self.shared.welcome.request_objects_max.max(1));
            oids.extend(self.some_oids(session, some)?);
            left -= some;
        }
        Ok(oids)
    }

    fn session(&self, kind: SessionKind) -> Result<SessionId> {
        self.shared.begin_session(kind)
    }

    fn end_session(&self, session: SessionId) -> Result<()> {
        self.shared.end_session(session)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn outcome(&self, identity: CommitId) -> Result<Option<Tid>> {
        let answer = self
            .shared
            .call(Kind::Outcome, |out| out.extend_from_slice(&identity))?;
        take_outcome(&answer)
    }

    fn changes_since(&self, tid: Tid) -> Result<Changes> {
        let (mut all, newest) = self.some_changes(tid, Duration::ZERO)?;
        while all.tid < newest {
            let (more, _) = self.some_changes(all.tid, Duration::ZERO)?;
            all.tid = more.tid;
            all.changes.extend(more.changes);
        }
        Ok(all)
    }

    fn visit_changes_since(
        &self,
        tid: Tid,
        show: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<Tid> {
        let (mut some, newest) = self.some_changes(tid, Duration::ZERO)?;
        loop {
            some.changes.drain(..).try_for_each(&mut *show)?;
            if some.tid >= newest {
                return Ok(some.tid);
            }
            (some, _) = self.some_changes(some.tid, Duration::ZERO)?;
        }
    }

    fn durability(&self) -> Durability {
        self.shared.welcome.durability
    }

    fn pending(&self) -> Result<Pending> {
        Ok(self.stat()?.pending)
    }

    fn collect(&self) -> Result<Collected> {
        let answer = self.shared.call(Kind::Collect, |_| {})?;
        take_collected(&mut Body::new(&answer)).ok_or_else(nonsense)
    }

    fn stats(&self) -> Result<StoreStats> {
        let stats = self.stat()?.stats;
        self.shared.hear(stats.tid);
        Ok(stats)
    }

    fn sync(&self) -> Result<Durability> {
        let answer = self.shared.call(Kind::Sync, |_| {})?;
        take_durability(&mut Body::new(&answer)).ok_or_else(nonsense)
    }
}

impl RemoteStore {
    /// Refuses what was made from commits that the server may have lost since. A commit that was `sent` before, and
    /// is there, is as good as confirmed: the server will say so.
    fn may_commit(&self, link: &Link, batch: &Batch, sent: Option<CommitId>) -> Result<()> {
        if !self.shared.is_another_life(link, batch) {
            return Ok(());
        }
        if let Some(identity) = sent {
            let answer = link.ask(Kind::Outcome, |out| out.extend_from_slice(&identity))?;
            if take_outcome(&body_of(answer.wait()?)?)?.is_some() {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::TooOld, "commit")
            .because("the server was started anew meanwhile, and may have lost its last commits")
            .hint("Take a new snapshot, and repeat what led to the commit."))
    }
}

fn take_outcome(answer: &[u8]) -> Result<Option<Tid>> {
    let tid = Body::new(answer).tid().ok_or_else(nonsense)?;
    Ok(Some(tid).filter(|tid| *tid != Tid::ZERO))
}

fn too_many(count: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "commit")
        .because(format!(
            "it is about {count} objects, which is more than the server takes at once"
        ))
        .hint("Commit fewer, or raise `request_objects_max` of the server.")
}

/// Where objects are gone, and the connection was lost before: it may be that alone.
fn explain(error: Error, before: Option<Tid>) -> Error {
    match error.kind() {
        ErrorKind::Gone if before.is_some() => error.hint(
            "The connection was lost before the commit was performed, and with it the OIDs that were handed \
             out: take new ones, and commit again.",
        ),
        _ => error,
    }
}

fn unknown_outcome(error: Error, again: Option<Tid>) -> Error {
    match error.kind() {
        ErrorKind::Unreachable if again.is_some() => error.hint(
            "Whether the commit was performed is not known: ask for its outcome when the server is there \
             again.",
        ),
        _ => error,
    }
}
