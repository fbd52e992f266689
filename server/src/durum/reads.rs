//! Requests that only read.

use std::sync::Arc;
use std::time::Duration;

use durum_core::store::{Snapshot, Store as _};
use durum_core::{Error, ErrorKind, Oid, Result};
use tokio::time::sleep;

use super::session::{Request, SNAPSHOTS_MAX, Session, malformed, reply};
use crate::blocking::blocking;
use crate::filling::retired;
use crate::hangup::Hangup;
use crate::hub::Served;
use crate::protocol::bytes::{put_u32, put_u64};
use crate::protocol::changes::{self, ChangesRequest};
use crate::protocol::describe::{self, Stat, Welcome};
use crate::protocol::records::{self, ScanRequest};
use crate::protocol::{ANSWER_BYTES, Kind, NEWEST};
use crate::wire::Wire;

/// Objects that are loaded before another connection gets a chance on this thread.
const LOADS_AT_ONCE: usize = 64;
/// Objects that one answer is about.
const LOADS_MAX: usize = 4096;
/// Changes that one answer is about, but for those of its last commit.
const CHANGES_MAX: u32 = 1 << 16;
/// An answer waits no longer for something to happen.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Session {
    pub(super) fn describe(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let kind = request.kind;
        let (served, limits) = (served, &self.hub.settings.limits);
        let store = &served.store;
        match kind {
            Kind::Dictionary => {
                let number = request.body.u64().ok_or_else(|| malformed(kind))?;
                reply(wire, request.number, |out| {
                    let dictionary = store.codecs().dictionary(number);
                    out.extend_from_slice(&dictionary.ok_or_else(no_dictionary)?);
                    Ok(())
                });
            }
            Kind::Stat => {
                let stat = self.suspicion.run(|| {
                    let (stats, pending) = (store.stats()?, store.pending()?);
                    Ok::<_, Error>(Stat { stats, pending })
                });
                reply(wire, request.number, |out| describe::put(out, &stat?));
            }
            _ => {
                let welcome = Welcome {
                    store_id: store.id().to_string(),
                    tid: *served.newest.borrow(),
                    incarnation: served.incarnation,
                    writes: self.writes,
                    durability: store.durability(),
                    engine: store.engine().into(),
                    request_bytes_max: limits.request_bytes_max,
                    request_objects_max: limits.request_objects_max,
                    snapshots_max: SNAPSHOTS_MAX as u32,
                };
                reply(wire, request.number, |out| describe::put(out, &welcome));
            }
        }
        Ok(())
    }

    /// `Snapshot` and `Release`.
    pub(super) fn keep(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let kind = request.kind;
        let number = request.body.u32().filter(|number| *number != NEWEST);
        let number = number.ok_or_else(|| malformed(kind))?;
        if kind == Kind::Release {
            self.snapshots.remove(&number);
            return Ok(());
        }
        let answer = self.take_snapshot(served, number);
        reply(wire, request.number, |out| {
            put_u64(out, answer?.tid().0);
            Ok(())
        });
        Ok(())
    }

    fn take_snapshot(&mut self, served: &Served, number: u32) -> Result<Arc<dyn Snapshot>> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::Usage, "take a snapshot").because(why));
        if self.snapshots.contains_key(&number) {
            return refuse("the connection has one of this number");
        }
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            return refuse("the connection has as many as it may have");
        }
        let snapshot: Arc<dyn Snapshot> = served.store.snapshot()?.into();
        self.snapshots.insert(number, snapshot.clone());
        Ok(snapshot)
    }

    /// The snapshot of this number; [`NEWEST`] is taken for this once.
    pub(super) fn snapshot(&self, served: &Served, number: u32) -> Result<Arc<dyn Snapshot>> {
        if number == NEWEST {
            return Ok(served.store.snapshot()?.into());
        }
        self.snapshots.get(&number).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Usage, "read from a snapshot")
                .because("the connection has none of this number")
        })
    }

    /// `Load`.
    pub(super) fn load(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let body = &mut request.body;
        let number = body.u32().ok_or_else(|| malformed(Kind::Load))?;
        let mut oids = Vec::new();
        // An answer may be about fewer than were asked for.
        while !body.is_empty() && oids.len() < LOADS_MAX {
            oids.push(body.oid().ok_or_else(|| malformed(Kind::Load))?);
        }
        let snapshot = self.snapshot(served, number);
        let suspicion = &mut self.suspicion;
        let mut loaded = 0;
        reply(wire, request.number, |out| {
            let (snapshot, begin) = (snapshot?, out.len());
            for some in oids.chunks(LOADS_AT_ONCE) {
                let load = || load_some(&*snapshot, some, begin + ANSWER_BYTES, out);
                loaded += suspicion.run(load);
                if out.len() - begin >= ANSWER_BYTES {
                    break;
                }
            }
            Ok(())
        });
        self.hub.metrics.loaded.add(loaded);
        Ok(())
    }

    /// `Scan`.
    pub(super) fn scan(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let scan = ScanRequest::take(&mut request.body).ok_or_else(|| malformed(Kind::Scan))?;
        let snapshot = self.snapshot(served, scan.snapshot);
        let suspicion = &mut self.suspicion;
        reply(wire, request.number, |out| {
            let snapshot = snapshot?;
            suspicion.run(|| scan_some(&*snapshot, scan, out))
        });
        Ok(())
    }

    /// `Changes`.
    pub(super) fn changes(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
        wire: &mut Wire,
    ) -> Result<(), Hangup> {
        let asked = ChangesRequest::take(&mut request.body);
        let asked = asked.ok_or_else(|| malformed(Kind::Changes))?;
        let served = served.clone();
        let mut newest = served.newest.subscribe();
        let waits = *newest.borrow() <= asked.since && !asked.wait.is_zero();
        if !waits {
            let recent = self.suspicion.run(|| recent_changes(&served, asked));
            if let Some(changes) = recent.transpose() {
                reply(wire, request.number, |out| {
                    out.extend_from_slice(&changes?);
                    Ok(())
                });
                return Ok(());
            }
        }
        self.beside(request, async move {
            if waits {
                let mut retirement = served.retired.subscribe();
                // That nothing has come is an answer, too.
                tokio::select! {
                    _ = newest.wait_for(|tid| *tid > asked.since) => {}
                    why = retired(&mut retirement) => return Err(why),
                    () = sleep(asked.wait.min(WAIT_MAX)) => {}
                }
            }
            blocking(move || match recent_changes(&served, asked)? {
                Some(changes) => Ok(changes),
                None => older_changes(&served, asked),
            })
            .await
        });
        Ok(())
    }

    /// `Outcome`.
    pub(super) fn outcome(
        &mut self,
        served: &Arc<Served>,
        mut request: Request<'_>,
    ) -> Result<(), Hangup> {
        let identity = request
            .body
            .array()
            .ok_or_else(|| malformed(Kind::Outcome))?;
        let store = served.store.clone();
        self.beside(request, async move {
            // It waits for commits that are being written. Who asks wants to know for good.
            let outcome = blocking(move || store.settle(identity)).await?;
            Ok(outcome.unwrap_or_default().0.to_be_bytes().to_vec())
        });
        Ok(())
    }
}

/// Appends the objects, until there are `end` bytes; how many.
fn load_some(snapshot: &dyn Snapshot, oids: &[Oid], end: usize, out: &mut Vec<u8>) -> u64 {
    let mut count = 0;
    for oid in oids {
        let begin = out.len();
        let found = snapshot.load_with(*oid, &mut |record| {
            records::put_stored(out, record.stored());
            Ok(())
        });
        match found {
            Ok(true) => {}
            Ok(false) => records::put_missing(out),
            Err(error) => {
                out.truncate(begin);
                records::put_failed(out, &error);
            }
        }
        count += 1;
        if out.len() >= end {
            break;
        }
    }
    count
}

fn scan_some(snapshot: &dyn Snapshot, asked: ScanRequest, out: &mut Vec<u8>) -> Result<()> {
    let limit = (asked.bytes as usize).min(ANSWER_BYTES);
    let begin = records::begin_scan(out);
    let mut next = asked.from;
    // Whoever asked verifies what arrives.
    let mut scan = snapshot.scan_stored(asked.from)?;
    loop {
        match scan.next() {
            Ok(Some((oid, stored))) => {
                records::put_scanned(out, oid, stored);
                next = oid.next();
            }
            Ok(None) => return Ok(()),
            // What was read before it is told first; the error comes again.
            Err(_) if next > asked.from => break,
            Err(error) => return Err(error),
        }
        if out.len() - begin >= limit {
            break;
        }
    }
    if next.is_valid() {
        records::end_scan(out, begin, next);
    }
    Ok(())
}

/// Changes of which the server has kept all, if it has.
fn recent_changes(served: &Served, asked: ChangesRequest) -> Result<Option<Vec<u8>>> {
    let count = asked.count.min(CHANGES_MAX);
    let recent = served.changes.since(&served.store, asked.since, count)?;
    Ok(recent.map(|(changes, newest)| {
        let mut out = Vec::new();
        changes::put(&mut out, &changes, newest);
        out
    }))
}

/// The same from the store's log.
fn older_changes(served: &Served, asked: ChangesRequest) -> Result<Vec<u8>> {
    let mut changes = served.store.changes_since(asked.since)?;
    let newest = changes.tid;
    changes::cut(&mut changes, asked.count.min(CHANGES_MAX));
    let mut out = Vec::new();
    changes::put(&mut out, &changes, newest);
    Ok(out)
}

fn no_dictionary() -> Error {
    Error::new(ErrorKind::NotFound, "get a dictionary").because("there is none of this number")
}

/// Appends OIDs.
pub(super) fn put_oids(out: &mut Vec<u8>, oids: &[Oid]) {
    put_u32(out, oids.len() as u32);
    oids.iter().for_each(|oid| put_u64(out, oid.0));
}
