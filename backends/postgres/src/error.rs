//! PostgreSQL's errors as Durum's.

use durum_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use crate::NAME;

/// Why something that was asked of a server was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's error, with the server's in it where that has answered.
    Database(tokio_postgres::Error),
    /// The connection is being closed.
    Closed,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Database(error)
    }
}

impl Failure {
    /// Whether the connection is gone, or the server is no longer the one that is written to: another
    /// connection may do better.
    pub(crate) fn is_lost(&self) -> bool {
        use std::error::Error as _;
        let Failure::Database(error) = self else {
            return true;
        };
        let code = error.code();
        let ended = code.is_some_and(|code| {
            // Class 08: connection exceptions; 57P: the server ends, or has ended the session.
            code.code().starts_with("08")
                || [
                    SqlState::ADMIN_SHUTDOWN,
                    SqlState::CRASH_SHUTDOWN,
                    SqlState::CANNOT_CONNECT_NOW,
                    SqlState::READ_ONLY_SQL_TRANSACTION,
                ]
                .contains(code)
                || code.code() == IDLE_SESSION_TIMEOUT
        });
        let by_system = || {
            let cause = error.source();
            cause.is_some_and(|cause| cause.is::<std::io::Error>())
        };
        ended || error.is_closed() || (code.is_none() && by_system() && self.distrust().is_none())
    }

    /// Why the two sides do not trust each other's certificates.
    fn distrust(&self) -> Option<&'static str> {
        let Failure::Database(error) = self else {
            return None;
        };
        match tls_error(error)? {
            rustls::Error::InvalidCertificate(_) => Some(
                "See whether it is the right server, and whether the certificates of ?sslrootcert=FILE vouch for it.",
            ),
            rustls::Error::AlertReceived(_) => Some(
                "The server does not take the client's certificate: name another one with ?sslcert=FILE&sslkey=FILE.",
            ),
            _ => None,
        }
    }

    /// The name of the constraint that was violated.
    pub(crate) fn constraint(&self) -> Option<&str> {
        match self {
            Failure::Database(error) => error.as_db_error()?.constraint(),
            Failure::Closed => None,
        }
    }

    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Failure::Database(error) => error.code(),
            Failure::Closed => None,
        }
    }

    /// The failure as Durum's error.
    pub(crate) fn during(self, operation: &'static str) -> Error {
        let kind = match self.code() {
            Some(code) => kind(code),
            None if self.distrust().is_some() => ErrorKind::Refused,
            None if self.is_lost() => ErrorKind::Unreachable,
            None => ErrorKind::Other,
        };
        let reason = match &self {
            Failure::Closed => "the connection is closed".to_owned(),
            Failure::Database(error) => match error.as_db_error() {
                Some(error) => {
                    let detail = error.detail().map(|text| format!(" ({text})"));
                    format!("{}{}", error.message(), detail.unwrap_or_default())
                }
                None => with_causes(error),
            },
        };
        let mut converted = Error::new(kind, operation)
            .with_engine(NAME)
            .because(reason);
        if let Some(hint) = self.distrust() {
            converted = converted.hint(hint);
        }
        if let Failure::Database(error) = self {
            converted = converted.caused_by(error);
        }
        match kind {
            ErrorKind::Damaged => converted.hint("Restore the database from a backup."),
            ErrorKind::Full => converted.hint("Make room on the server first."),
            ErrorKind::Unreachable => {
                converted.hint("See whether the server runs, and listens at that address.")
            }
            _ => converted,
        }
    }
}

/// A session was ended since nothing happened in it; newer than the names that the library has.
const IDLE_SESSION_TIMEOUT: &str = "57P05";

/// What has gone wrong with the encryption of a connection.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let wrapped = deeper.downcast_ref::<std::io::Error>();
        let inner = wrapped.and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        cause = deeper.source();
    }
    None
}

/// The error and what it comes from: the library's own says no more than "error connecting to server".
pub(crate) fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let reason = deeper.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = deeper.source();
    }
    text
}

fn kind(code: &SqlState) -> ErrorKind {
    match code.code() {
        "53100" => ErrorKind::Full,
        // Too many connections, out of memory, locks that cannot be had.
        "53300" | "53200" | "55P03" => ErrorKind::InUse,
        "54000" | "22001" => ErrorKind::TooLarge,
        "42501" => ErrorKind::ReadOnly,
        "3D000" => ErrorKind::NotFound,
        "XX001" | "XX002" => ErrorKind::Damaged,
        "42P06" => ErrorKind::Exists,
        "58030" => ErrorKind::Io,
        code if code.starts_with("28") => ErrorKind::Refused,
        code if code.starts_with("08") || code.starts_with("57P") => ErrorKind::Unreachable,
        "25006" => ErrorKind::Unreachable,
        // A table that is not there, or not as it was made; a key that nobody but somebody else can have put there.
        "42P01" | "42703" | "23505" => ErrorKind::Damaged,
        _ => ErrorKind::Other,
    }
}
