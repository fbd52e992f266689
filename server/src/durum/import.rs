//! Requests that fill a store.

use std::sync::Arc;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::session::{Request, Session, malformed, reply};
use crate::filling::{Filling, Finish, Home, Step, clear};
use crate::hangup::Hangup;
use crate::hub::Hub;
use crate::protocol::Kind;
use crate::protocol::bytes::put_u64;
use crate::protocol::import::{Begun, put_summary};
use crate::wire::Wire;

/// How long it may take to leave an unfinished store.
const LEAVING_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// `Import`, `Fill`, `Push`, `Settle`, `Finish`, `Publish` and `Discard`.
    pub(super) async fn fill(
        &mut self,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let (kind, head) = (request.kind, request);
        let (number, body) = (request.number, &mut request.body);
        let bytes = body.rest_length();
        match kind {
            Kind::Import => {
                let resumes = body.u8().ok_or_else(|| malformed(kind))? != 0;
                let begun = self.import(resumes, wire).await;
                reply(wire, number, |out| {
                    begun?.put(out);
                    Ok(())
                });
                Ok(())
            }
            Kind::Fill => {
                let (memory, note) = (body.u64(), body.bytes());
                let (Some(memory), Some(note)) = (memory, note) else {
                    return Err(malformed(kind));
                };
                // What sorting takes of memory is bounded by what all of a request may take.
                let limit = self.hub.settings.limits.request_bytes_max;
                let memory = usize::try_from(memory.min(limit)).unwrap_or(usize::MAX);
                let (reply, done) = oneshot::channel();
                let step = Step::Fill(note.to_vec(), memory, reply);
                self.step(head, bytes, step, done, |out, (objects, next)| {
                    put_u64(out, objects);
                    put_u64(out, next.0);
                })
                .await;
                Ok(())
            }
            Kind::Push => {
                let note = body.bytes().ok_or_else(|| malformed(kind))?.to_vec();
                let (reply, done) = oneshot::channel();
                let step = Step::Push(note, body.rest().to_vec(), reply);
                self.step(head, bytes, step, done, put_flag).await;
                Ok(())
            }
            Kind::Settle => {
                let (reply, done) = oneshot::channel();
                self.step(head, bytes, Step::Settle(reply), done, put_flag)
                    .await;
                Ok(())
            }
            Kind::Finish => {
                let finish = Finish::take(&mut request).ok_or_else(|| malformed(kind))?;
                let (reply, done) = oneshot::channel();
                let step = Step::Finish(finish, reply);
                self.step(head, bytes, step, done, |out, summary| {
                    put_summary(out, &summary);
                })
                .await;
                Ok(())
            }
            _ => {
                if let Some(filling) = &self.filling {
                    filling.close_reader();
                    self.let_go(wire, false).await;
                }
                let (reply, done) = oneshot::channel();
                let step = match kind {
                    Kind::Publish => Step::Publish(reply),
                    _ => Step::Discard(reply),
                };
                self.step(head, bytes, step, done, |_, ()| {}).await;
                Ok(())
            }
        }
    }

    async fn import(&mut self, resumes: bool, wire: &mut Wire) -> Result<Begun> {
        let Some(home) = self.hub.home.clone() else {
            return Err(Error::new(ErrorKind::Unsupported, "fill the store")
                .because("this server cannot make its store anew"));
        };
        if self.filling.is_some() {
            return Err(Error::new(ErrorKind::Usage, "fill the store")
                .because("the connection fills one already"));
        }
        self.let_go(wire, true).await;
        let (filling, begun) = begin(&self.hub, home, resumes).await?;
        self.filling = Some(filling);
        Ok(begun)
    }

    /// Has a step done after those before it, and answers when it is done.
    async fn step<T: Send + 'static>(
        &mut self,
        request: Request<'_>,
        bytes: usize,
        step: Step,
        done: oneshot::Receiver<Result<T>>,
        answer: impl FnOnce(&mut Vec<u8>, T) + Send + 'static,
    ) {
        let enqueued = match &self.filling {
            Some(filling) => filling.enqueue(step).await,
            None => Err(Error::new(ErrorKind::Usage, "fill the store")
                .because("the connection has not begun to")),
        };
        self.commit_beside(request, bytes, async move {
            enqueued?;
            let ended = |_| Err(crate::filling::failed());
            let result = done.await.unwrap_or_else(ended)?;
            let mut out = Vec::new();
            answer(&mut out, result);
            Ok(out)
        });
    }
}

impl Finish {
    fn take(request: &mut Request<'_>) -> Option<Finish> {
        let body = &mut request.body;
        Some(Finish {
            tid: body.tid()?,
            oids_from: body.oid()?,
            note: (body.bytes()?.to_vec(), body.bytes()?.to_vec()),
        })
    }
}

/// Takes the empty store away and begins another one, unless somebody else does.
async fn begin(hub: &Arc<Hub>, home: Home, resumes: bool) -> Result<(Filling, Begun)> {
    // Who has just gone may still be about to leave what it had.
    let Ok(alone) = timeout(LEAVING_MAX, hub.filling.clone().lock_owned()).await else {
        return Err(
            Error::new(ErrorKind::InUse, "fill the store").because("another client fills it")
        );
    };
    clear(hub, &home).await?;
    Filling::begin(hub.clone(), home, resumes, alone).await
}

fn put_flag(out: &mut Vec<u8>, flag: bool) {
    out.push(u8::from(flag));
}
