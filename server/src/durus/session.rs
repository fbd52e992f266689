//! A client's connection: what it knows, and its commands.

use std::pin::{Pin, pin};
use std::sync::Arc;

use durum_core::config::Rights;
use durum_core::store::{SessionKind, Store as _};
use durum_core::{Oid, SessionId, Tid};

use super::{OKAY, VERSION};
use crate::direct::serve_brisk;
use crate::filling::retired;
use crate::hangup::Hangup;
use crate::hub::{Hub, Reader, Served};
use crate::listener::Peer;
use crate::metrics::Request;
use crate::protocol;
use crate::protocol::bytes::{put_u32, put_u64};
use crate::suspicion::Suspicion;
use crate::wire::Wire;

/// What is to be known of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) served: Arc<Served>,
    rights: Rights,
    /// The store's session, once it is needed.
    id: Option<SessionId>,
    /// The commit up to which the client was told what has become invalid.
    pub(super) synced: Tid,
    /// Its own commits after that.
    pub(super) own: Vec<Tid>,
    /// Whether it has the root's OID to create it.
    has_root_oid: bool,
    pub(super) suspicion: Suspicion,
    /// What it loads from as long as nobody commits, where its requests follow one another closely: on some
    /// engines a snapshot costs more than a load.
    pub(super) reader: Option<Reader>,
}

/// Serves a client, which knows what was committed up to `synced`, until its connection ends.
pub(crate) async fn serve(
    wire: &mut Wire,
    hub: &Arc<Hub>,
    served: Arc<Served>,
    rights: Rights,
    synced: Tid,
) -> Hangup {
    let mut session = Session {
        hub: hub.clone(),
        served,
        rights,
        id: None,
        synced,
        own: Vec::new(),
        has_root_oid: false,
        suspicion: Suspicion::default(),
        reader: None,
    };
    let mut shutdown = hub.shutdown.subscribe();
    let mut retirement = session.served.retired.subscribe();
    // Once for all requests: waiting anew for each would cost each.
    let mut ends = pin!(async {
        tokio::select! {
            _ = shutdown.wait_for(|ends| *ends) => Hangup::Shutdown,
            why = retired(&mut retirement) => why.into(),
        }
    });
    let end = loop {
        let done = session.round(wire, ends.as_mut()).await.and_then(|()| {
            serve_brisk(wire, async |wire| {
                session.round(wire, ends.as_mut()).await?;
                Ok(session.served.retired.borrow().is_none())
            })
        });
        session.reader = None;
        if let Err(end) = done {
            break end;
        }
    };
    // What was answered before is sent.
    let _ = wire.flush().await;
    session.end(wire.peer).await;
    end
}

/// Serves a client while there is no store: all that it can do is to ask for another protocol.
pub(crate) async fn refuse(wire: &mut Wire, hub: &Hub, why: durum_core::Error) -> Hangup {
    let mut shutdown = hub.shutdown.subscribe();
    let command = tokio::select! {
        biased;
        command = wire.command() => command,
        _ = shutdown.wait_for(|ends| *ends) => Err(Hangup::Shutdown),
    };
    match command {
        Ok(b'V') => match agree(wire).await {
            Ok(()) => why.into(),
            Err(end) => end,
        },
        Ok(_) => why.into(),
        Err(end) => end,
    }
}

/// `V`: agrees on a protocol.
async fn agree(wire: &mut Wire) -> Result<(), Hangup> {
    let theirs = wire.u32().await?;
    put_u32(&mut wire.output, theirs.clamp(VERSION, protocol::VERSION));
    match theirs {
        0 => Err(Hangup::Refused("it speaks version 0".to_owned())),
        VERSION => Ok(()),
        _ => Err(Hangup::Upgrade),
    }
}

impl Session {
    /// Waits for a request and answers it.
    async fn round(
        &mut self,
        wire: &mut Wire,
        ends: Pin<&mut impl Future<Output = Hangup>>,
    ) -> Result<(), Hangup> {
        let command = tokio::select! {
            biased;
            command = wire.command() => command?,
            end = ends => return Err(end),
        };
        let done = self.execute(command, wire).await;
        let request = Request::of_durus(command);
        self.hub.metrics.took(request, wire.answered());
        done
    }

    async fn execute(&mut self, command: u8, wire: &mut Wire) -> Result<(), Hangup> {
        if !matches!(command, b'L' | b'B') {
            // What it writes need not be kept for its own reading.
            self.reader = None;
        }
        match command {
            b'L' => self.load_one(wire).await,
            b'B' => Box::pin(self.load_many(wire)).await,
            b'C' => Box::pin(self.commit(wire)).await,
            b'S' => Box::pin(self.tell_invalid(Vec::new(), wire)).await,
            b'N' => self.new_oids(1, wire),
            b'M' => {
                let [count] = wire.array().await?;
                self.new_oids(u32::from(count), wire)
            }
            b'P' => Box::pin(self.pack(wire)).await,
            b'V' => agree(wire).await,
            b'Q' if self.hub.settings.allow_quit && self.rights == Rights::ReadWrite => {
                self.hub.shutdown.send_replace(true);
                Err(Hangup::Done)
            }
            b'Q' => Err(Hangup::Refused("it may not shut the server down".into())),
            b'.' => Err(Hangup::Done),
            other => Err(Hangup::Refused(format!("{other:#04x} is no command"))),
        }
    }

    /// Whether the server is read-only, or for this client.
    pub(super) fn may_only_read(&self) -> bool {
        self.hub.settings.read_only || self.rights == Rights::ReadOnly
    }

    /// The store's session of this client.
    pub(super) fn begin(&mut self) -> Result<SessionId, Hangup> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        // Once in a while the store writes down how many there were.
        let store = &self.served.store;
        let id = tokio::task::block_in_place(|| store.session(SessionKind::DurusClient))?;
        self.id = Some(id);
        Ok(id)
    }

    async fn end(self, peer: Peer) {
        let Some(id) = self.id else {
            return;
        };
        // It may wait for a commit that is being written.
        let ended = tokio::task::spawn_blocking(move || self.served.store.end_session(id)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(client = %peer, reason = error.to_string(), "a session could not be ended");
        }
    }

    /// Whether the client knows what the commit `tid` wrote.
    pub(super) fn knows(&self, tid: Tid) -> bool {
        tid <= self.synced || self.own.contains(&tid)
    }

    pub(super) fn check_count(&self, count: u32) -> Result<(), Hangup> {
        let limit = self.hub.settings.limits.request_objects_max;
        match count <= limit {
            true => Ok(()),
            false => Err(Hangup::Refused(format!(
                "it sends {count} objects, and {limit} are allowed"
            ))),
        }
    }

    /// `N` and `M`: OIDs for new objects.
    fn new_oids(&mut self, count: u32, wire: &mut Wire) -> Result<(), Hangup> {
        if self.may_only_read() {
            let why = "it asks for OIDs, and may only read";
            return Err(Hangup::Refused(why.into()));
        }
        let id = self.begin()?;
        let mut oids = Vec::with_capacity(count as usize);
        // While there is no root every client may create it: one that got the OID may never do so.
        if count > 0 && !self.has_root_oid && !self.served.has_root()? {
            self.has_root_oid = true;
            oids.push(Oid::ROOT);
        }
        while let Some(left) = (count as usize)
            .checked_sub(oids.len())
            .filter(|left| *left > 0)
        {
            // Once in a while the store writes down how many there were.
            let store = &self.served.store;
            let new = tokio::task::block_in_place(|| store.new_oids(id, left as u32))?;
            oids.extend(new.into_iter().filter(|oid| *oid != Oid::ROOT));
        }
        oids.iter().for_each(|oid| put_u64(&mut wire.output, oid.0));
        Ok(())
    }

    /// The answer to `S`, and the first to `C`: what has become invalid, and `more`.
    pub(super) async fn tell_invalid(
        &mut self,
        more: Vec<Oid>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let mut invalid = more;
        let served = &self.served;
        let until = served
            .changes
            .invalid(&served.store, self.synced, &self.own, &mut invalid)?;
        self.synced = until;
        self.own.retain(|tid| *tid > until);
        put_u32(&mut wire.output, invalid.len() as u32);
        for oid in &invalid {
            put_u64(&mut wire.output, oid.0);
            wire.relieve().await?;
        }
        wire.flush().await
    }

    /// `P`: garbage goes by itself; what this client has not linked becomes garbage now.
    async fn pack(&mut self, wire: &mut Wire) -> Result<(), Hangup> {
        if let Some(id) = self.id {
            let store = self.served.store.clone();
            // It may wait for a commit that is being written.
            let _ = tokio::task::spawn_blocking(move || store.release(id)).await;
        }
        wire.output.push(OKAY);
        Ok(())
    }
}
