//! A fixed state of a store behind a server.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use durum_core::engine::Durability;
use durum_core::record::{Codecs, Record};
use durum_core::store::{Scan, ScanStored, Snapshot};
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use super::connection::Ticket;
use super::link::{Link, body_of, nonsense};
use super::scan::RemoteScan;
use super::shared::{Patience, Shared};
use crate::protocol::bytes::{Body, put_u32, put_u64};
use crate::protocol::records::{Loaded, take_loaded};
use crate::protocol::{Kind, NEWEST};

/// Objects that one request asks for.
const LOADS_AT_ONCE: usize = 256;
/// Requests that are on the way at once.
const AHEAD: usize = 8;

/// A fixed state of a store behind a server.
#[derive(Debug)]
pub(super) struct RemoteSnapshot {
    pub(super) shared: Arc<Shared>,
    tid: Tid,
    incarnation: u64,
    place: Mutex<Place>,
}

/// Where the server keeps it.
#[derive(Clone, Copy, Debug)]
struct Place {
    generation: u64,
    number: u32,
}

/// What has failed.
enum Failure {
    /// Asking, or the answer.
    Asked(Error),
    /// What was to be done with the answer.
    Visited(Error),
}

impl RemoteSnapshot {
    pub(super) fn take(shared: &Arc<Shared>) -> Result<RemoteSnapshot> {
        let ((place, tid), incarnation) =
            shared.with_link(|link| Ok((keep(shared, link)?, link.welcome.incarnation)))?;
        Ok(RemoteSnapshot {
            shared: shared.clone(),
            tid: shared.hear(tid),
            incarnation,
            place: Mutex::new(place),
        })
    }

    /// Its number on this connection. After another one was lost it is taken anew, which is possible as long
    /// as nothing was committed since.
    pub(super) fn number_on(&self, link: &Link) -> Result<u32> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.generation == link.generation {
            return Ok(place.number);
        }
        let (new, tid) = keep(&self.shared, link)?;
        // Where the store was opened anew, commits that were not durable may be lost, and their numbers used again.
        let same = link.welcome.incarnation == self.incarnation
            || self.shared.welcome.durability == Durability::Power;
        if tid != self.tid || !same {
            release(link, new.number);
            return Err(Error::new(ErrorKind::TooOld, "read from a snapshot")
                .because("the connection to the server was lost, and others have committed since")
                .hint("Take a new snapshot."));
        }
        *place = new;
        Ok(place.number)
    }

    /// Visits the objects behind the first `done`, and counts them.
    fn load_rest(
        &self,
        oids: &[Oid],
        (done, patience): (&mut usize, &mut Patience),
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<(), Failure> {
        let link = self.shared.link(patience).map_err(Failure::Asked)?;
        let number = self.number_on(&link).map_err(Failure::Asked)?;
        let mut waiting: VecDeque<(&[Oid], Ticket)> = VecDeque::new();
        let mut rest = oids.get(*done..).unwrap_or_default().chunks(LOADS_AT_ONCE);
        let ask = |some: &[Oid]| {
            let ticket = link.ask(Kind::Load, |out| {
                put_u32(out, number);
                some.iter().for_each(|oid| put_u64(out, oid.0));
            });
            ticket.map_err(Failure::Asked)
        };
        loop {
            while waiting.len() < AHEAD
                && let Some(some) = rest.next()
            {
                waiting.push_back((some, ask(some)?));
            }
            let Some((mut some, ticket)) = waiting.pop_front() else {
                return Ok(());
            };
            let answer = ticket.wait().and_then(body_of).map_err(Failure::Asked)?;
            let mut body = Body::new(&answer);
            if body.is_empty() {
                return Err(Failure::Asked(nonsense()));
            }
            while !body.is_empty() {
                let Some((oid, left)) = some.split_first() else {
                    return Err(Failure::Asked(nonsense()));
                };
                self.show(*oid, &mut body, visit)?;
                *done += 1;
                some = left;
            }
            // An answer has a length, too.
            if !some.is_empty() {
                waiting.push_front((some, ask(some)?));
            }
        }
    }

    fn show(
        &self,
        oid: Oid,
        body: &mut Body<'_>,
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<(), Failure> {
        let loaded = take_loaded(body).ok_or_else(|| Failure::Asked(nonsense()))?;
        let record = match loaded {
            Loaded::Missing => None,
            Loaded::Failed(error) => return Err(Failure::Visited(error)),
            Loaded::Stored(stored) => {
                let record = Record::parse(oid, stored).map_err(Failure::Visited)?;
                let dictionary = self.shared.need_dictionary(record.payload());
                dictionary.map_err(Failure::Visited)?;
                Some(record)
            }
        };
        visit(oid, record).map_err(Failure::Visited)
    }
}

impl Snapshot for RemoteSnapshot {
    fn tid(&self) -> Tid {
        self.tid
    }

    fn incarnation(&self) -> u64 {
        match self.shared.welcome.durability {
            // What was confirmed is there whatever has happened.
            Durability::Power => 0,
            _ => self.incarnation,
        }
    }

    fn codecs(&self) -> &Codecs {
        &self.shared.codecs
    }

    fn load_with(&self, oid: Oid, visit: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<bool> {
        let mut found = false;
        self.load_many_with(&[oid], &mut |_, record| {
            found = record.is_some();
            record.map_or(Ok(()), &mut *visit)
        })?;
        Ok(found)
    }

    fn load_many_with(
        &self,
        oids: &[Oid],
        visit: &mut dyn FnMut(Oid, Option<Record<'_>>) -> Result<()>,
    ) -> Result<()> {
        let (mut done, mut patience) = (0, self.shared.patience());
        loop {
            match self.load_rest(oids, (&mut done, &mut patience), visit) {
                Ok(()) => return Ok(()),
                Err(Failure::Asked(error)) if patience.bears(&error) => {}
                Err(Failure::Asked(error) | Failure::Visited(error)) => return Err(error),
            }
        }
    }

    fn scan(&self, from: Oid) -> Result<Box<dyn Scan + '_>> {
        Ok(Box::new(RemoteScan::new(self, from)))
    }

    fn scan_with(
        &self,
        from: Oid,
        visit: &mut dyn FnMut(Record<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut scan = RemoteScan::new(self, from);
        while let Some(record) = Scan::next(&mut scan)? {
            if !visit(record)? {
                break;
            }
        }
        Ok(())
    }

    fn scan_stored(&self, from: Oid) -> Result<Box<dyn ScanStored + '_>> {
        Ok(Box::new(RemoteScan::new(self, from)))
    }
}

impl Drop for RemoteSnapshot {
    fn drop(&mut self) {
        let place = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        // While another connection is made nothing is kept on the one before.
        if let Some(link) = self.shared.current()
            && place.generation == link.generation
        {
            release(&link, place.number);
        }
    }
}

/// Has the server keep a snapshot of the newest state.
fn keep(shared: &Shared, link: &Link) -> Result<(Place, Tid)> {
    let number = loop {
        let number = shared.snapshots.fetch_add(1, Ordering::Relaxed);
        if number != NEWEST {
            break number;
        }
    };
    let answer = link.call(Kind::Snapshot, |out| put_u32(out, number))?;
    let place = Place {
        generation: link.generation,
        number,
    };
    Ok((place, Body::new(&answer).tid().ok_or_else(nonsense)?))
}

fn release(link: &Link, number: u32) {
    // Where the connection is lost nothing is kept.
    let _ = link
        .connection
        .tell(Kind::Release, |out| put_u32(out, number));
}
