//! Requests that go through the whole store. Few of them run at once, whoever asks for them.

use std::sync::Arc;

use durum_core::check::check;
use durum_core::digest::Digest;
use durum_core::store::{LocalStore, Store as _};
use durum_core::{Error, ErrorKind, Result};

use super::session::{Request, Session, blocking, malformed};
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
        kind: Kind,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
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
        self.beside(request.number, async move {
            let place = hub.upkeep.clone().acquire_owned().await;
            let place = place.map_err(|_| Error::new(ErrorKind::Other, "do that on the server"))?;
            blocking(move || {
                let mut out = Vec::new();
                match kind {
                    Kind::Collect => {
                        own.into_iter().for_each(|session| store.release(session));
                        put_collected(&mut out, store.collect()?);
                    }
                    Kind::GiveBack => put_u64(&mut out, give_back(&store, compact)?),
                    Kind::Check => describe::put(&mut out, &check(&store, false)?)?,
                    _ => {
                        if let Some(snapshot) = snapshot.transpose()? {
                            let digest = Digest::of(&*snapshot)?;
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
