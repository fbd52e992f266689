//! A client's connection: its requests, and what is done for it meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use durum_core::store::{Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Result, SessionId};
use tokio::task::JoinSet;

use crate::hangup::Hangup;
use crate::hub::{Hub, Served};
use crate::protocol::bytes::Body;
use crate::protocol::{Kind, Status, begin_frame, end_frame, failure};
use crate::suspicion::Suspicion;
use crate::tls::Rights;
use crate::wire::Wire;

/// Requests of a connection that are done beside it at once; it is not read on before one of them is done.
const BESIDE_MAX: usize = 256;
/// Snapshots that a connection may have.
pub(super) const SNAPSHOTS_MAX: usize = 1024;

/// What is to be known of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) served: Arc<Served>,
    pub(super) writes: bool,
    pub(super) snapshots: HashMap<u32, Arc<dyn Snapshot>>,
    /// The one for commits that name none, once it is needed.
    pub(super) own: Option<SessionId>,
    pub(super) sessions: Vec<SessionId>,
    pub(super) suspicion: Suspicion,
    /// Answers to come, which have to be waited for.
    commits: JoinSet<Vec<u8>>,
    /// Bytes of the requests that `commits` are about, together.
    commit_bytes: u64,
    /// Answers to come that nobody needs when the connection has ended.
    others: JoinSet<Vec<u8>>,
}

/// A request that is being answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) number: u32,
    pub(super) body: Body<'a>,
}

/// Serves a client until its connection ends.
pub(crate) async fn serve(wire: &mut Wire, hub: &Arc<Hub>, rights: Rights) -> Hangup {
    let mut session = Session {
        served: hub.served(),
        hub: hub.clone(),
        writes: rights == Rights::ReadWrite && !hub.settings.read_only,
        snapshots: HashMap::new(),
        own: None,
        sessions: Vec::new(),
        suspicion: Suspicion::default(),
        commits: JoinSet::new(),
        commit_bytes: 0,
        others: JoinSet::new(),
    };
    let end = session.converse(wire).await;
    session.end(wire).await;
    end
}

impl Session {
    async fn converse(&mut self, wire: &mut Wire) -> Hangup {
        let hub = self.hub.clone();
        let mut shutdown = hub.shutdown.subscribe();
        let limit = hub.settings.limits.request_bytes_max;
        loop {
            if let Err(end) = wire.settle().await {
                return end;
            }
            let beside = self.commits.len() + self.others.len();
            let reads_on = beside < BESIDE_MAX && self.commit_bytes <= limit;
            let command = tokio::select! {
                biased;
                Some(done) = self.commits.join_next() => {
                    self.tell(done, wire);
                    continue;
                }
                Some(done) = self.others.join_next() => {
                    self.tell(done, wire);
                    continue;
                }
                command = wire.command(), if reads_on => command,
                _ = shutdown.wait_for(|ends| *ends) => Err(Hangup::Shutdown),
            };
            let answered = match command {
                Ok(first) => match wire.frame(first, limit).await {
                    Ok(frame) => self.answer(&frame, wire).await,
                    Err(end) => Err(end),
                },
                Err(end) => Err(end),
            };
            if let Err(end) = answered {
                return end;
            }
        }
    }

    fn tell(&mut self, done: Result<Vec<u8>, tokio::task::JoinError>, wire: &mut Wire) {
        if self.commits.is_empty() {
            self.commit_bytes = 0;
        }
        if let Ok(answer) = done {
            wire.output.extend_from_slice(&answer);
        }
    }

    /// Answers a request, or has it answered later.
    async fn answer(&mut self, frame: &Bytes, wire: &mut Wire) -> Result<(), Hangup> {
        let mut body = Body::new(frame);
        let (number, kind) = (body.u32(), body.u8().and_then(Kind::from_byte));
        let (Some(number), Some(kind)) = (number, kind) else {
            return Err(Hangup::Refused("it sends what is no request".to_owned()));
        };
        let request = Request { number, body };
        if !kind.reads() && !self.writes {
            self.reply(wire, number, |_| Err(read_only()));
            return Ok(());
        }
        match kind {
            Kind::Hello | Kind::Stat | Kind::Dictionary => self.describe(kind, request, wire)?,
            Kind::Snapshot | Kind::Release => self.keep(kind, request, wire)?,
            Kind::Load => self.load(request, wire)?,
            Kind::Scan => self.scan(request, wire)?,
            Kind::Changes => self.changes(request, wire)?,
            Kind::Outcome => self.outcome(request, wire)?,
            Kind::Commit => self.commit(request)?,
            Kind::NewOids | Kind::Begin | Kind::End => self.sessions(kind, request)?,
            Kind::Sync => self.sync(request)?,
            Kind::Collect | Kind::GiveBack | Kind::Digest | Kind::Check => {
                self.upkeep(kind, request)?;
            }
            Kind::Import | Kind::Push | Kind::Settle | Kind::Finish | Kind::Publish => {
                self.reply(wire, number, |_| Err(unsupported()));
            }
        }
        wire.relieve().await
    }

    /// Appends an answer.
    pub(super) fn reply(
        &mut self,
        wire: &mut Wire,
        number: u32,
        answer: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) {
        put_answer(&mut wire.output, number, answer);
    }

    /// Has a request of `bytes` bytes answered later, and in any case.
    pub(super) fn commit_beside<F>(&mut self, number: u32, bytes: usize, answer: F)
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        self.commit_bytes += bytes as u64;
        self.commits.spawn(framed(number, answer));
    }

    /// Has a request answered later, if the connection lasts so long.
    pub(super) fn beside<F>(&mut self, number: u32, answer: F)
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        self.others.spawn(framed(number, answer));
    }

    /// Finishes commits that have begun, and sends what can still be sent.
    async fn end(mut self, wire: &mut Wire) {
        self.others.abort_all();
        while let Some(done) = self.commits.join_next().await {
            self.tell(done, wire);
        }
        let _ = wire.flush().await;
        let (served, sessions) = (self.served.clone(), std::mem::take(&mut self.sessions));
        let ended = self.own.into_iter().chain(sessions);
        let ended: Vec<SessionId> = ended.collect();
        if ended.is_empty() {
            return;
        }
        // It may wait for a commit that is being written.
        let ending = tokio::task::spawn_blocking(move || {
            for session in ended {
                if let Err(error) = served.store.end_session(session) {
                    tracing::warn!(%error, "a session could not be ended");
                }
            }
        });
        let _ = ending.await;
    }
}

/// A request that cannot be taken apart: what follows cannot be either.
pub(super) fn malformed(kind: Kind) -> Hangup {
    Hangup::Refused(format!("its request `{kind:?}` is malformed"))
}

/// Appends a whole answer.
fn put_answer(out: &mut Vec<u8>, number: u32, answer: impl FnOnce(&mut Vec<u8>) -> Result<()>) {
    let begin = begin_frame(out, number, Status::Done as u8);
    if let Err(error) = answer(out) {
        out.truncate(begin);
        begin_frame(out, number, Status::Failed as u8);
        failure::put(out, &error);
    }
    end_frame(out, begin);
}

async fn framed<F>(number: u32, answer: F) -> Vec<u8>
where
    F: Future<Output = Result<Vec<u8>>>,
{
    let answer = answer.await;
    let mut out = Vec::new();
    put_answer(&mut out, number, |out| {
        out.extend_from_slice(&answer?);
        Ok(())
    });
    out
}

/// Runs what blocks where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(ErrorKind::Other, "answer a request")
            .because("the server failed in it; its log says more")),
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::ReadOnly, "do that on the server")
        .because("this client may only read")
        .hint("Ask who runs the server for the right to write.")
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "do that on the server")
}
