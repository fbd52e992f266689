//! Requests that go through the whole store. Few of them run at once, whoever asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durum_core::check::check_watched;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store as _, Watch};
use durum_core::{Error, ErrorKind, Result};

use super::session::{Request, Session, malformed};
use crate::blocking::blocking;
use crate::hangup::Hangup;
use crate::hub::Served;
use crate::protocol::Kind;
use crate::protocol::bytes::put_u64;
use crate::protocol::commit::put_collected;
use crate::protocol::describe;

impl Session {
    /// `Collect`, `GiveBack`, `Digest` and `Check`.
    pub(super) fn upkeep(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
        let kind = request.kind;
        let (hub, store) = (self.hub.clone(), served.store.clone());
        // What this client has not linked does not count as in use: it is like the process's own session of a
        // store that is opened in one.
        let own = self.own;
        let (mut compact, mut snapshot) = (false, None);
        match kind {
            Kind::GiveBack => compact = request.body.u8().ok_or_else(|| malformed(kind))? != 0,
            Kind::Digest => {
                let number = request.body.u32().ok_or_else(|| malformed(kind))?;
                snapshot = Some(self.snapshot(served, number));
            }
            _ => {}
        }
        self.beside(request, async move {
            let place = hub.upkeep.clone().acquire_owned().await;
            let place = place.map_err(|_| Error::new(ErrorKind::Other, "do that on the server"))?;
            watched(move |watch| {
                let mut out = Vec::new();
                match kind {
                    Kind::Collect => {
                        own.into_iter().for_each(|session| store.release(session));
                        put_collected(&mut out, store.collect()?);
                    }
                    Kind::GiveBack => put_u64(&mut out, give_back(&store, compact)?),
                    Kind::Check => describe::put(&mut out, &check_watched(&store, watch)?)?,
                    _ => {
                        if let Some(snapshot) = snapshot.transpose()? {
                            let digest = Digest::of_watched(&*snapshot, watch)?;
                            out.extend_from_slice(&digest.to_bytes());
                            put_u64(&mut out, digest.objects());
                        }
                    }
                }
                drop(place);
                Ok(out)
            })
            .await
        });
        Ok(())
    }
}

/// Runs what blocks where it holds nobody up. Its watch ends it when nobody waits for it any more.
async fn watched<T: Send + 'static>(
    work: impl FnOnce(&Watch<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let is_wanted = wanted.0.clone();
    blocking(move || {
        work(&|_| match is_wanted.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Interrupted, "do that on the server")
                .because("its client is gone")),
        })
    })
    .await
}

/// Says by being there that somebody waits.
#[derive(Debug)]
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Gives the engine's unused space back to the system, as far as it can; returns the bytes.
fn give_back(store: &LocalStore, compact: bool) -> Result<u64> {
    let engine = store.engine();
    let mut bytes = 0;
    if engine.reclaim {
        bytes += store.reclaim_all(&mut |_| {})?;
    }
    if compact || (engine.compaction && !engine.reclaim) {
        bytes += store.compact(&mut |_, _| {})?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Whoever asked for something long and goes does not leave it to the server.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_waits_for_ends() {
        const MINUTE: Duration = Duration::from_secs(60);
        let (begun, begins) = channel();
        let (ended, ends) = channel();
        let asking = tokio::spawn(watched(move |watch| {
            begun.send(()).unwrap();
            let end = loop {
                match watch(1) {
                    Ok(()) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => break error,
                }
            };
            ended.send(end.kind()).unwrap();
            Ok(())
        }));
        tokio::task::spawn_blocking(move || begins.recv_timeout(MINUTE).unwrap())
            .await
            .unwrap();
        asking.abort();
        let end = tokio::task::spawn_blocking(move || ends.recv_timeout(MINUTE));
        assert_eq!(end.await.unwrap(), Ok(ErrorKind::Interrupted));
    }
}
