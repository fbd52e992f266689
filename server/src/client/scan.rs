//! Walking over a snapshot behind a server: parts of it are asked for, the next one while one is looked at.

use std::ops::Range;
use std::sync::Arc;

use durum_core::record::Record;
use durum_core::store::{Scan, ScanStored};
use durum_core::{ErrorKind, Oid, Result};

use super::connection::Ticket;
use super::link::{Link, body_of, nonsense};
use super::shared::Patience;
use super::snapshot::RemoteSnapshot;
use crate::protocol::Kind;
use crate::protocol::bytes::Body;
use crate::protocol::records::{ScanRequest, take_next, take_scanned};

/// About how many bytes the first part has, so that short walks are cheap; the following ones are larger.
const BYTES_FIRST: u32 = 8 << 10;
const BYTES_MAX: u32 = 256 << 10;

/// A walk over a snapshot behind a server.
#[derive(Debug)]
pub(super) struct RemoteScan<'a> {
    snapshot: &'a RemoteSnapshot,
    /// Where the part that comes next begins; `None` at the end.
    from: Option<Oid>,
    bytes: u32,
    /// The part that comes next, where it was asked for.
    ahead: Option<Ticket>,
    part: Vec<u8>,
    /// The first byte of `part` that was not handed out.
    position: usize,
}

impl<'a> RemoteScan<'a> {
    pub(super) fn new(snapshot: &'a RemoteSnapshot, from: Oid) -> RemoteScan<'a> {
        RemoteScan {
            snapshot,
            from: from.is_valid().then_some(from),
            bytes: BYTES_FIRST,
            ahead: None,
            part: Vec::new(),
            position: 0,
        }
    }

    fn ask(&self, link: &Link, from: Oid) -> Result<Ticket> {
        let request = ScanRequest {
            snapshot: self.snapshot.number_on(link)?,
            from,
            bytes: self.bytes,
        };
        link.ask(Kind::Scan, |out| request.put(out))
    }

    /// Gets the part that begins at `from`.
    fn fill(&mut self, from: Oid) -> Result<()> {
        let shared = self.snapshot.shared.clone();
        let mut patience = shared.patience();
        let (part, link) = loop {
            match self.answer(from, &mut patience) {
                Ok(got) => break got,
                Err(error) if patience.bears(&error) => {}
                Err(error) => return Err(error),
            }
        };
        let mut body = Body::new(&part);
        let next = take_next(&mut body).ok_or_else(nonsense)?;
        // A server that goes round in circles is none.
        if next.is_some_and(|next| next <= from) {
            return Err(nonsense());
        }
        self.position = 8;
        self.part = part;
        self.from = next;
        self.bytes = (self.bytes * 4).min(BYTES_MAX);
        if let Some(next) = next {
            self.ahead = match self.ask(&link, next) {
                Err(error) if error.kind() == ErrorKind::Unreachable => None,
                asked => Some(asked?),
            };
        }
        Ok(())
    }

    fn answer(&mut self, from: Oid, patience: &mut Patience) -> Result<(Vec<u8>, Arc<Link>)> {
        let link = self.snapshot.shared.link(patience)?;
        let ticket = match self.ahead.take() {
            Some(ticket) => ticket,
            None => self.ask(&link, from)?,
        };
        Ok((body_of(ticket.wait()?)?, link))
    }

    /// Moves on; the next object, and where its bytes are.
    fn advance(&mut self) -> Result<Option<(Oid, Range<usize>)>> {
        while self.position >= self.part.len() {
            match self.from {
                Some(from) => self.fill(from)?,
                None => return Ok(None),
            }
        }
        let mut body = Body::new(self.part.get(self.position..).unwrap_or_default());
        let (oid, stored) = take_scanned(&mut body).ok_or_else(nonsense)?;
        let end = self.part.len() - body.rest().len();
        self.position = end;
        Ok(Some((oid, end - stored.len()..end)))
    }
}

impl ScanStored for RemoteScan<'_> {
    fn next(&mut self) -> Result<Option<(Oid, &[u8])>> {
        let Some((oid, range)) = self.advance()? else {
            return Ok(None);
        };
        let stored = self.part.get(range).unwrap_or_default();
        // Whoever takes it apart may need this.
        if let Ok(record) = Record::parse_unverified(oid, stored) {
            self.snapshot.shared.need_dictionary(record.payload())?;
        }
        Ok(Some((oid, stored)))
    }
}

impl Scan for RemoteScan<'_> {
    fn next(&mut self) -> Result<Option<Record<'_>>> {
        match ScanStored::next(self)? {
            Some((oid, stored)) => Record::parse(oid, stored).map(Some),
            None => Ok(None),
        }
    }
}
