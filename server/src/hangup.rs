//! Why a connection ends.

use std::fmt;
use std::io;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum Hangup {
    /// The client said so, or closed it.
    Done,
    /// The server ends.
    Shutdown,
    /// It goes on, in Durum's own protocol.
    Upgrade,
    /// It failed.
    Io(io::Error),
    /// The client took longer than it may.
    Late(&'static str),
    /// The client did what it must not.
    Refused(String),
    /// The store could not do what it was asked for.
    Store(durum_core::Error),
}

impl From<io::Error> for Hangup {
    fn from(error: io::Error) -> Hangup {
        Hangup::Io(error)
    }
}

impl From<durum_core::Error> for Hangup {
    fn from(error: durum_core::Error) -> Hangup {
        Hangup::Store(error)
    }
}

impl fmt::Display for Hangup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hangup::Done => out.write_str("closed by the client"),
            Hangup::Shutdown => out.write_str("the server ends"),
            Hangup::Upgrade => out.write_str("it goes on in another protocol"),
            Hangup::Io(error) => error.fmt(out),
            Hangup::Late(what) => write!(out, "{what} took too long"),
            Hangup::Refused(why) => out.write_str(why),
            Hangup::Store(error) => error.fmt(out),
        }
    }
}
