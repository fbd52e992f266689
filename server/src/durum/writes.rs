//! Requests that write.

use std::sync::Arc;

use durum_core::collect::Collected;
use durum_core::store::{CommitId, LocalStore, Receipt, SessionKind, Store as _};
use durum_core::{Error, ErrorKind, Result, SessionId, Tid};

use super::reads::put_oids;
use super::session::{Request, Session, malformed};
use crate::blocking::blocking;
use crate::hangup::Hangup;
use crate::hub::Served;
use crate::protocol::Kind;
use crate::protocol::commit::{CommitRequest, put_receipt};

impl Session {
    /// `Commit`.
    pub(super) fn commit(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
        let mut body = request.body;
        let bytes = request.body.rest().len();
        let limit = self.hub.settings.limits.request_objects_max;
        let commit = match CommitRequest::take(&mut body, limit) {
            Some(Ok(commit)) => commit,
            Some(Err(count)) => {
                self.commit_beside(request, 0, async move { Err(too_many(count as usize)) });
                return Ok(());
            }
            None => return Err(malformed(Kind::Commit)),
        };
        let session = match commit.session {
            Some(session) => self.owned(session),
            None => self.own_session(served),
        };
        let served = served.clone();
        self.commit_beside(request, bytes, async move {
            let receipt = perform(served, commit, session?).await?;
            let mut out = Vec::new();
            put_receipt(&mut out, &receipt);
            Ok(out)
        });
        Ok(())
    }

    /// `NewOids`, `Begin` and `End`.
    pub(super) fn sessions(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
        let (kind, head) = (request.kind, request);
        let body = &mut request.body;
        let store = served.store.clone();
        match kind {
            Kind::Begin => {
                let begun = match self.sessions.len() < SESSIONS_MAX {
                    true => begin(&store),
                    false => Err(Error::new(ErrorKind::Usage, "begin a session")
                        .because("the connection has as many as it may have")),
                };
                if let Ok(session) = begun {
                    self.sessions.push(session);
                }
                self.beside(head, async move { Ok(begun?.0.to_be_bytes().to_vec()) });
            }
            Kind::End => {
                let session = SessionId(body.u64().ok_or_else(|| malformed(kind))?);
                let owned = self.owned(session);
                self.sessions.retain(|it| *it != session);
                self.commit_beside(head, 0, async move {
                    let session = owned?;
                    blocking(move || store.end_session(session)).await?;
                    Ok(Vec::new())
                });
            }
            _ => {
                let (Some(session), Some(count)) = (body.u64(), body.u32()) else {
                    return Err(malformed(kind));
                };
                let session = match session {
                    _ if count > self.hub.settings.limits.request_objects_max => {
                        Err(too_many(count as usize))
                    }
                    0 => self.own_session(served),
                    session => self.owned(SessionId(session)),
                };
                self.beside(head, async move {
                    let session = session?;
                    let oids = blocking(move || store.new_oids(session, count)).await?;
                    let mut out = Vec::new();
                    put_oids(&mut out, &oids);
                    Ok(out)
                });
            }
        }
        Ok(())
    }

    /// `Sync`.
    pub(super) fn sync(
        &mut self,
        served: &Arc<Served>,
        request: Request<'_>,
    ) -> Result<(), Hangup> {
        let store = served.store.clone();
        self.beside(request, async move {
            let level = blocking(move || store.sync()).await?;
            Ok(vec![level as u8])
        });
        Ok(())
    }

    /// The session for who names none.
    fn own_session(&mut self, served: &Served) -> Result<SessionId> {
        if let Some(session) = self.own {
            return Ok(session);
        }
        let session = begin(&served.store)?;
        self.own = Some(session);
        Ok(session)
    }

    fn owned(&self, session: SessionId) -> Result<SessionId> {
        match self.sessions.contains(&session) {
            true => Ok(session),
            false => Err(Error::new(ErrorKind::Usage, "use a session")
                .because("the connection has none of this number")),
        }
    }
}

/// Sessions that a connection may have.
const SESSIONS_MAX: usize = 1024;

pub(super) fn too_many(count: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "do that on the server")
        .because(format!(
            "{count} objects are more than a request may be about"
        ))
        .hint("Ask for fewer at once, or raise `request_objects_max` of the server.")
}

fn begin(store: &Arc<LocalStore>) -> Result<SessionId> {
    // Once in a while the store writes down how many there were.
    tokio::task::block_in_place(|| store.session(SessionKind::Client))
}

/// As [`LocalStore::settle`]. Where the store is to be opened anew, since its database was away for too long, only the
/// server that does so can tell: until then it is out of reach.
fn settle(store: &LocalStore, identity: CommitId) -> Result<Option<Tid>> {
    store.settle(identity).map_err(|error| match error.kind() {
        ErrorKind::Poisoned if store.is_on_server() => {
            Error::new(ErrorKind::Unreachable, "commit").because(error.to_string())
        }
        _ => error,
    })
}

/// Performs a commit. Where it was sent before, and is not performed now, it is not performed later either,
/// even if the first one is still on its way.
async fn perform(
    served: Arc<Served>,
    commit: CommitRequest,
    session: SessionId,
) -> Result<Receipt> {
    let (identity, again_since) = (commit.identity, commit.again_since);
    let durability = commit.durability;
    let store = served.store.clone();
    let (prepared, oids) = blocking(move || {
        let (batch, oids) = commit.into_batch(session);
        let prepared = store.prepare(batch, durability)?;
        let prepared = match again_since {
            Some(since) => prepared.again(since),
            None => prepared,
        };
        Ok((prepared, oids))
    })
    .await?;
    // A client of Durus's protocol may have been promised that nothing is committed before it.
    let turn = served.order.turn().await;
    blocking(move || {
        let store = &served.store;
        let mut placed = turn.place(store, prepared, oids);
        let result = match placed.take() {
            Some(commit) => commit.wait(),
            None => Err(Error::new(ErrorKind::Other, "commit")),
        };
        match (result, again_since) {
            (Err(error), Some(_)) => match settle(store, identity)? {
                None => Err(error),
                Some(tid) => Ok(Receipt {
                    tid,
                    durability: store.sync()?,
                    collected: Collected::default(),
                }),
            },
            (result, _) => result,
        }
    })
    .await
}
