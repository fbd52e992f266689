//! A client's connection: its requests, and what is done for it meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use durum_core::store::{Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Result, SessionId};
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::sleep;

use crate::direct::serve_brisk;
use crate::filling::{retired, Filling, Vacant};
use crate::hangup::Hangup;
use crate::hub::{Hub, Served};
use crate::metrics;
use crate::standby;
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
    /// What is served, as long as this client may use it.
    served: Option<Arc<Served>>,
    /// Says that it is to be let go of.
    retired: Option<watch::Receiver<Option<Vacant>>>,
    /// What it fills.
    pub(super) filling: Option<Filling>,
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
    /// The numbers of the requests that these are for.
    numbers: HashMap<task::Id, u32>,
}

/// A request that is being answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) body: Body<'a>,
}

/// Serves a client until its connection ends.
pub(crate) async fn serve(wire: &mut Wire, hub: &Arc<Hub>, rights: Rights) -> Hangup {
    let served = hub.served().ok();
    let mut session = Session {
        retired: served.as_ref().map(|served| served.retired.subscribe()),
        served,
        filling: None,
        hub: hub.clone(),
        writes: rights == Rights::ReadWrite && !hub.settings.read_only,
        snapshots: HashMap::new(),
        own: None,
        sessions: Vec::new(),
        suspicion: Suspicion::default(),
        commits: JoinSet::new(),
        commit_bytes: 0,
        others: JoinSet::new(),
        numbers: HashMap::new(),
    };
    let end = session.converse(wire).await;
    session.end(wire).await;
    end
}

impl Session {
    async fn converse(&mut self, wire: &mut Wire) -> Hangup {
        let hub = self.hub.clone();
        let mut shutdown = hub.shutdown.subscribe();
        loop {
            let done = self.round(wire, &mut shutdown).await;
            let done = done.and_then(|()| match self.waits_for_nothing() {
                true => serve_brisk(wire, async |wire| {
                    self.round(wire, &mut shutdown).await?;
                    Ok(self.waits_for_nothing())
                }),
                false => Ok(()),
            });
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Waits for a request, and answers it or has it answered later; or sends such an answer.
    async fn round(
        &mut self,
        wire: &mut Wire,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), Hangup> {
        let limits = &self.hub.settings.limits;
        let (limit, silence_max) = (limits.request_bytes_max, limits.filling_silence_max);
        wire.settle().await?;
        let beside = self.commits.len() + self.others.len();
        let reads_on = beside < BESIDE_MAX && self.commit_bytes <= limit;
        let frame = tokio::select! {
            biased;
            Some(done) = self.commits.join_next_with_id() => {
                self.tell(done, wire);
                return Ok(());
            }
            Some(done) = self.others.join_next_with_id() => {
                self.tell(done, wire);
                return Ok(());
            }
            frame = wire.frame(limit), if reads_on => frame?,
            // A clock is needed only where it is polled.
            () = async { sleep(silence_max).await }, if self.is_awaited() => {
                return match wire.is_inside_frame() {
                    true => Ok(()),
                    false => Err(Hangup::Late("the next step of filling the store")),
                };
            }
            _ = shutdown.wait_for(|ends| *ends) => return Err(Hangup::Shutdown),
            why = wait_for_retirement(&mut self.retired) => return Err(why.into()),
        };
        self.answer(&frame, wire).await
    }

    /// Whether it fills a store, and all others wait for what it says next.
    fn is_awaited(&self) -> bool {
        self.filling.is_some() && self.commits.is_empty() && self.others.is_empty()
    }

    /// Whether there is nothing that its client is to be told but what it asks next.
    fn waits_for_nothing(&self) -> bool {
        let retired = self.retired.as_ref();
        self.commits.is_empty()
            && self.others.is_empty()
            && !retired.is_some_and(|retired| retired.borrow().is_some())
    }

    /// Sends an answer that was to come; also where what was done for it has failed.
    fn tell(&mut self, done: Result<(task::Id, Vec<u8>), JoinError>, wire: &mut Wire) {
        if self.commits.is_empty() {
            self.commit_bytes = 0;
        }
        match done {
            Ok((id, answer)) => {
                self.numbers.remove(&id);
                wire.output.extend_from_slice(&answer);
            }
            Err(error) => {
                if let Some(number) = self.numbers.remove(&error.id()) {
                    put_answer(&mut wire.output, number, |_| Err(cut_off(&error)));
                }
            }
        }
    }

    /// Answers a request, or has it answered later.
    async fn answer(&mut self, frame: &Bytes, wire: &mut Wire) -> Result<(), Hangup> {
        let mut body = Body::new(frame);
        let (number, kind) = (body.u32(), body.u8().and_then(Kind::from_byte));
        let (Some(number), Some(kind)) = (number, kind) else {
            return Err(Hangup::Refused("it sends what is no request".to_owned()));
        };
        let request = Request { number, kind, body };
        if !kind.reads() && !self.writes {
            let error = read_only(&self.hub);
            reply(wire, number, |_| Err(error));
            return Ok(());
        }
        if kind.fills() {
            self.fill(request, wire).await?;
            return wire.relieve().await;
        }
        let served = match self.served() {
            Ok(served) => served,
            Err(error) => {
                reply(wire, number, |_| Err(error));
                return Ok(());
            }
        };
        let served = &served;
        match kind {
            Kind::Hello | Kind::Stat | Kind::Dictionary => {
                self.describe(served, request, wire)?;
            }
            Kind::Snapshot | Kind::Release => self.keep(served, request, wire)?,
            Kind::Load => self.load(served, request, wire)?,
            Kind::Scan => self.scan(served, request, wire)?,
            Kind::Changes => self.changes(served, request, wire)?,
            Kind::Outcome => self.outcome(served, request)?,
            Kind::Commit => self.commit(served, request)?,
            Kind::NewOids | Kind::Begin | Kind::End => self.sessions(served, request)?,
            Kind::Sync => self.sync(served, request)?,
            _ => self.upkeep(served, request)?,
        }
        if kind.reads() {
            let request = metrics::Request::of_durum(kind);
            self.hub.metrics.took(request, wire.answered());
        }
        wire.relieve().await
    }

    /// What this client can use now: while it fills a store, that, once it is complete.
    fn served(&mut self) -> Result<Arc<Served>> {
        if let Some(served) = &self.served {
            return Ok(served.clone());
        }
        let served = match self.filling.as_ref().and_then(Filling::reader) {
            Some(filled) => return Ok(filled),
            None => self.hub.served()?,
        };
        self.retired = Some(served.retired.subscribe());
        self.served = Some(served.clone());
        Ok(served)
    }

    /// Lets go of the store, and of everything that is of it, when all has been answered. `abort`: what waits
    /// for something to happen waits no longer.
    pub(super) async fn let_go(&mut self, wire: &mut Wire, abort: bool) {
        self.snapshots.clear();
        if abort {
            self.others.abort_all();
        }
        while let Some(done) = self.commits.join_next_with_id().await {
            self.tell(done, wire);
        }
        while let Some(done) = self.others.join_next_with_id().await {
            self.tell(done, wire);
        }
        self.end_sessions().await;
        (self.served, self.retired) = (None, None);
    }

    /// Has a request of `bytes` bytes answered later, and in any case.
    pub(super) fn commit_beside<F>(&mut self, request: Request<'_>, bytes: usize, answer: F)
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        self.commit_bytes += bytes as u64;
        let handle = self
            .commits
            .spawn(framed(self.hub.clone(), request.mark(), answer));
        self.numbers.insert(handle.id(), request.number);
    }

    /// Has a request answered later, if the connection lasts so long.
    pub(super) fn beside<F>(&mut self, request: Request<'_>, answer: F)
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        let handle = self
            .others
            .spawn(framed(self.hub.clone(), request.mark(), answer));
        self.numbers.insert(handle.id(), request.number);
    }

    /// Finishes commits that have begun, and sends what can still be sent.
    async fn end(mut self, wire: &mut Wire) {
        self.others.abort_all();
        while let Some(done) = self.commits.join_next_with_id().await {
            self.tell(done, wire);
        }
        let _ = wire.flush().await;
        self.snapshots.clear();
        self.end_sessions().await;
    }

    async fn end_sessions(&mut self) {
        let sessions = std::mem::take(&mut self.sessions);
        let ended: Vec<SessionId> = self.own.take().into_iter().chain(sessions).collect();
        let Some(served) = self.served.clone().filter(|_| !ended.is_empty()) else {
            return;
        };
        // It may wait for a commit that is being written.
        let ending = tokio::task::spawn_blocking(move || {
            for session in ended {
                if let Err(error) = served.store.end_session(session) {
                    tracing::warn!(reason = error.to_string(), "a session could not be ended");
                }
            }
        });
        let _ = ending.await;
    }
}

/// Waits until the store is to be let go of, if there is one; why.
async fn wait_for_retirement(retirement: &mut Option<watch::Receiver<Option<Vacant>>>) -> Error {
    match retirement {
        Some(retirement) => retired(retirement).await,
        None => std::future::pending().await,
    }
}

/// A request that cannot be taken apart: what follows cannot be either.
pub(super) fn malformed(kind: Kind) -> Hangup {
    Hangup::Refused(format!("its request `{kind:?}` is malformed"))
}

/// Answers a request.
pub(super) fn reply(
    wire: &mut Wire,
    number: u32,
    answer: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) {
    put_answer(&mut wire.output, number, answer);
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

/// What is to be known of a request when it is answered later.
#[derive(Clone, Copy, Debug)]
struct Mark {
    number: u32,
    kind: Kind,
    begin: Instant,
}

impl Request<'_> {
    fn mark(&self) -> Mark {
        Mark {
            number: self.number,
            kind: self.kind,
            begin: Instant::now(),
        }
    }
}

async fn framed<F>(hub: Arc<Hub>, mark: Mark, answer: F) -> Vec<u8>
where
    F: Future<Output = Result<Vec<u8>>>,
{
    let answer = answer.await;
    if mark.kind == Kind::Commit
        && let Err(error) = &answer
        && standby::leaves_open(&hub, error).await
    {
        return Vec::new();
    }
    let time = mark.begin.elapsed();
    hub.metrics
        .took(metrics::Request::of_durum(mark.kind), time);
    if mark.kind == Kind::Commit {
        hub.metrics.wrote(time, &answer);
    }
    let mut out = Vec::new();
    put_answer(&mut out, mark.number, |out| {
        out.extend_from_slice(&answer?);
        Ok(())
    });
    out
}

/// Why there is no answer to a request.
fn cut_off(error: &JoinError) -> Error {
    let why = match error.is_cancelled() {
        true => "it was cut off",
        false => "the server failed in it; its log says more",
    };
    Error::new(ErrorKind::Interrupted, "answer the request").because(why)
}

fn read_only(hub: &Hub) -> Error {
    let error = Error::new(ErrorKind::ReadOnly, "do that on the server");
    match hub.followed {
        None => error
            .because("this client may only read")
            .hint("Ask who runs the server for the right to write."),
        Some(_) => error
            .because("it only serves reads at this address")
            .hint("Connect to where the store is served."),
    }
}
