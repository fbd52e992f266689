//! Requests that write.

use std::sync::Arc;
use std::time::Instant;

use durum_core::store::{LocalStore, Receipt, SessionKind, Store as _};
use durum_core::{Error, ErrorKind, Result, SessionId, Tid};

use super::reads::put_oids;
use super::session::{Request, Session, blocking, malformed};
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
        let commit = CommitRequest::take(&mut body).ok_or_else(|| malformed(Kind::Commit))?;
        self.check_count(commit.objects.len().max(commit.expects.len()))?;
        let session = match commit.session {
            Some(session) => self.owned(session),
            None => self.own_session(served),
        };
        let (served, hub) = (served.clone(), self.hub.clone());
        self.commit_beside(request.number, bytes, async move {
            let begin = Instant::now();
            let receipt = perform(served, commit, session?).await;
            hub.metrics.wrote(begin.elapsed(), &receipt);
            let receipt = receipt?;
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
        kind: Kind,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
        let number = request.number;
        let body = &mut request.body;
        let store = served.store.clone();
        match kind {
            Kind::Begin => {
                let begun = begin(&store);
                if let Ok(session) = begun {
                    self.sessions.push(session);
                }
                self.beside(number, async move { Ok(begun?.0.to_be_bytes().to_vec()) });
            }
            Kind::End => {
                let session = SessionId(body.u64().ok_or_else(|| malformed(kind))?);
                let owned = self.owned(session);
                self.sessions.retain(|it| *it != session);
                self.commit_beside(number, 0, async move {
                    let session = owned?;
                    blocking(move || store.end_session(session)).await?;
                    Ok(Vec::new())
                });
            }
            _ => {
                let (Some(session), Some(count)) = (body.u64(), body.u32()) else {
                    return Err(malformed(kind));
                };
                self.check_count(count as usize)?;
                let session = match session {
                    0 => self.own_session(served),
                    session => self.owned(SessionId(session)),
                };
                self.beside(number, async move {
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
        self.beside(request.number, async move {
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

    fn check_count(&self, count: usize) -> Result<(), Hangup> {
        let limit = self.hub.settings.limits.request_objects_max;
        match count <= limit as usize {
            true => Ok(()),
            false => Err(Hangup::Refused(format!(
                "it sends {count} objects, and {limit} are allowed"
            ))),
        }
    }
}

fn begin(store: &Arc<LocalStore>) -> Result<SessionId> {
    // Once in a while the store writes down how many there were.
    tokio::task::block_in_place(|| store.session(SessionKind::Client))
}

async fn perform(
    served: Arc<Served>,
    commit: CommitRequest,
    session: SessionId,
) -> Result<Receipt> {
    if let Some(since) = commit.again_since {
        let (served, identity) = (served.clone(), commit.identity);
        blocking(move || check_remembered(&served.store, identity, since)).await?;
    }
    // A client of Durus's protocol may have been promised that nothing is committed before it.
    let turn = served.order.turn().await;
    blocking(move || {
        let durability = commit.durability;
        let (batch, oids) = commit.into_batch(session);
        let mut placed = turn.place(&served.store, batch, oids, durability)?;
        match placed.take() {
            Some(commit) => commit.wait(),
            None => Err(Error::new(ErrorKind::Other, "commit")),
        }
    })
    .await
}

/// Fails where nobody can know whether a commit was performed before.
fn check_remembered(store: &LocalStore, identity: [u8; 16], since: Tid) -> Result<()> {
    if store.outcome(identity)?.is_some() || store.remembers_since(since) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::Other, "find out what became of a commit")
            .because("so much was committed since that the server does not remember it")
            .hint("Read its objects again to see whether it has happened."),
    )
}
