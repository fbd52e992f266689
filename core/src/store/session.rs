//! Sessions: who OIDs are handed out to, and who keeps objects alive that are not linked yet.

use std::collections::BTreeMap;

use crate::collect::Hold;
use crate::id::SessionId;

/// What sort of client a session serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A part of the process that has the store open.
    Embedded,
    /// A client of the storage server.
    Client,
    /// A client of the storage server that speaks Durus's own protocol: what it unlinks is kept until
    /// its next commit, so that it can move an object in two commits.
    DurusClient,
    /// Brings in objects with OIDs of their own, in any order: references to objects that do not exist
    /// yet are allowed until the session ends, and so long everything that it unlinks is kept.
    Import,
}

impl SessionKind {
    pub(super) fn hold(self) -> Hold {
        match self {
            SessionKind::Embedded | SessionKind::Client => Hold::No,
            SessionKind::DurusClient => Hold::NextCommit,
            SessionKind::Import => Hold::End,
        }
    }
}

/// A session that has begun and not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveSession {
    pub(super) kind: SessionKind,
    /// The number under which its pins are stored. It gets a new one where those that it has are released
    /// and it goes on, so that what it pins meanwhile is not taken for one of them.
    pub(super) owner: SessionId,
}

/// The sessions that have begun since the store was opened, and have not ended.
#[derive(Debug)]
pub(super) struct Sessions {
    live: BTreeMap<SessionId, LiveSession>,
    next: u64,
    /// Numbers below this one are persisted as used, so that none comes twice.
    limit: u64,
}

/// How many numbers are persisted as used at once.
const BLOCK: u64 = 1024;

impl Sessions {
    /// `last` is the largest number that may have been used before.
    pub(super) fn new(last: u64) -> Sessions {
        let last = last.max(SessionId::EMBEDDED.0);
        let mut sessions = Sessions {
            live: BTreeMap::new(),
            next: last + 1,
            limit: last + 1,
        };
        let embedded = LiveSession {
            kind: SessionKind::Embedded,
            // Pins of the process before may still be there under its number.
            owner: sessions.new_owner(),
        };
        sessions.live.insert(SessionId::EMBEDDED, embedded);
        sessions
    }

    /// A number for pins. It needs not be persisted: where it comes again there are none under it.
    fn new_owner(&mut self) -> SessionId {
        let owner = SessionId(self.next);
        self.next += 1;
        self.limit = self.limit.max(self.next);
        owner
    }

    /// Begins a session; where numbers have to be persisted first, the last of them.
    pub(super) fn begin(&mut self, kind: SessionKind) -> Result<SessionId, u64> {
        if self.next >= self.limit {
            return Err(self.limit + BLOCK - 1);
        }
        let session = SessionId(self.next);
        self.next += 1;
        let owner = session;
        self.live.insert(session, LiveSession { kind, owner });
        Ok(session)
    }

    /// Numbers up to `last` were persisted as used.
    pub(super) fn persisted(&mut self, last: u64) {
        self.limit = self.limit.max(last + 1);
    }

    pub(super) fn get(&self, session: SessionId) -> Option<LiveSession> {
        self.live.get(&session).copied()
    }

    /// Whether there is a session of this kind.
    pub(super) fn has(&self, kind: SessionKind) -> bool {
        self.live.values().any(|live| live.kind == kind)
    }

    /// Has the session's later pins stored under a new number; the one that its pins have so far.
    pub(super) fn renew(&mut self, session: SessionId) -> Option<SessionId> {
        if !self.live.contains_key(&session) {
            return None;
        }
        let new = self.new_owner();
        let live = self.live.get_mut(&session)?;
        Some(std::mem::replace(&mut live.owner, new))
    }

    /// Ends the session; the number under which its pins are stored.
    pub(super) fn end(&mut self, session: SessionId) -> Option<SessionId> {
        self.live.remove(&session).map(|live| live.owner)
    }

    /// The numbers under which live sessions store pins.
    pub(super) fn owners(&self) -> Vec<SessionId> {
        self.live.values().map(|live| live.owner).collect()
    }
}
