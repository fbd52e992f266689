//! A client's sessions, which the server forgets with the connection, and the client does not.

use std::collections::HashMap;
use std::sync::PoisonError;

use durum_core::store::SessionKind;
use durum_core::{Error, ErrorKind, Result, SessionId};

use super::link::{Link, nonsense};
use super::shared::Shared;
use crate::protocol::Kind;
use crate::protocol::bytes::{Body, put_u64};

/// The sessions that have begun and not ended, by the numbers that their users know.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    bound: HashMap<SessionId, Option<Bound>>,
    last: u64,
}

/// Which session it is for the server.
#[derive(Clone, Copy, Debug)]
struct Bound {
    generation: u64,
    session: SessionId,
}

impl Shared {
    /// Begins a session.
    pub(super) fn begin_session(&self, kind: SessionKind) -> Result<SessionId> {
        if !matches!(kind, SessionKind::Client | SessionKind::Embedded) {
            return Err(Error::new(ErrorKind::Unsupported, "begin a session")
                .because("a server begins only those of ordinary clients"));
        }
        let session = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.last = sessions.last.max(SessionId::EMBEDDED.0) + 1;
            let session = SessionId(sessions.last);
            sessions.bound.insert(session, None);
            session
        };
        self.with_link(|link| self.session_on(link, session))?;
        Ok(session)
    }

    /// The session's number on this connection; it is begun there where that is necessary. None stands for the
    /// one that a connection has without asking.
    pub(super) fn session_on(&self, link: &Link, session: SessionId) -> Result<Option<SessionId>> {
        if session == SessionId::EMBEDDED {
            return Ok(None);
        }
        let known = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.bound.get(&session).copied()
        };
        let bound = known.ok_or_else(|| unknown(session))?;
        if let Some(bound) = bound.filter(|bound| bound.generation == link.generation) {
            return Ok(Some(bound.session));
        }
        let answer = link.call(Kind::Begin, |_| {})?;
        let begun = Body::new(&answer).u64().map(SessionId);
        let begun = begun.ok_or_else(nonsense)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bound) = sessions.bound.get_mut(&session) else {
            return Err(unknown(session));
        };
        // Another thread may have begun one meanwhile: that of both use is the first.
        let now = bound.filter(|bound| bound.generation == link.generation);
        let now = now.unwrap_or(Bound {
            generation: link.generation,
            session: begun,
        });
        *bound = Some(now);
        Ok(Some(now.session))
    }

    /// As [`Shared::session_on`], for a commit: one that has ended creates nothing, which is for the server to
    /// say.
    pub(super) fn committer_on(
        &self,
        link: &Link,
        session: SessionId,
    ) -> Result<Option<SessionId>> {
        match self.session_on(link, session) {
            Err(error) if error.kind() == ErrorKind::Usage => Ok(None),
            found => found,
        }
    }

    /// Ends a session.
    pub(super) fn end_session(&self, session: SessionId) -> Result<()> {
        let known = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.bound.remove(&session)
        };
        let Some(bound) = known else {
            return Err(unknown(session));
        };
        // While another connection is made there is none on which it could still be.
        let Some(link) = self.current() else {
            return Ok(());
        };
        let Some(bound) = bound.filter(|bound| bound.generation == link.generation) else {
            return Ok(());
        };
        match link.call(Kind::End, |out| put_u64(out, bound.session.0)) {
            // It has ended with the connection.
            Err(error) if error.kind() == ErrorKind::Unreachable => Ok(()),
            ended => ended.map(drop),
        }
    }
}

fn unknown(session: SessionId) -> Error {
    Error::new(ErrorKind::Usage, "use a session").because(format!(
        "there is no session {}, or it has ended",
        session.0
    ))
}
