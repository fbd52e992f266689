//! The one error type of the workspace.
//!
//! An [`Error`] has a [`ErrorKind`] to decide by, and says which operation failed, on which engine,
//! object and path, why, and what to do about it. Context is added on the way up; the kind is never
//! changed by that.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::id::Oid;

/// A `Result` with Durum's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure this is: what callers decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A wrong argument, option, URL or configuration.
    Usage,
    /// A store or file that should be read does not exist.
    NotFound,
    /// A store or file exists and cannot be read: no permission, not a store, a newer format.
    Unreadable,
    /// What should be created exists already, or is not empty.
    Exists,
    /// The place to write to cannot be written to.
    ReadOnly,
    /// The server cannot be reached, or is no longer there.
    Unreachable,
    /// Nodes of a cluster can be reached, but too few of those that have the copies.
    NoQuorum,
    /// Whoever asks is not known, or may not do it.
    Refused,
    /// Somebody else has the store open.
    InUse,
    /// The disk, the quota or the engine's map is full; nothing was changed.
    Full,
    /// An object that the commit depends on was changed by another commit.
    Conflict,
    /// An object that the commit changes or refers to does not exist, or no longer.
    Gone,
    /// The snapshot reaches back further than the superseded records that are kept.
    TooOld,
    /// Two copies that should be equal are not, or a check found errors.
    Mismatch,
    /// Stored bytes are not what was written.
    Damaged,
    /// Stopped on request; can be resumed.
    Interrupted,
    /// Finished, but some objects were rejected.
    Rejects,
    /// An object is larger than the engine can hold.
    TooLarge,
    /// The engine does not offer what was asked for.
    Unsupported,
    /// A write failed earlier, so that the state on disk is uncertain; reopen the store.
    Poisoned,
    /// The engine needs all its snapshots closed and then [`crate::engine::Engine::make_room`].
    ///
    /// Passes between an engine and the store only; nothing was changed.
    NeedsRoom,
    /// The operating system reported a failure.
    Io,
    /// Anything else.
    Other,
}

/// A failure, with its context.
///
/// It is debugged as it is displayed, with its kind: that is what a program shows whose `main` returns it. `{:#?}`
/// shows its parts.
pub struct Error(Box<Inner>);

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match out.alternate() {
            true => fmt::Debug::fmt(&*self.0, out),
            false => write!(out, "{self} [{:?}]", self.0.kind),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, out)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source: &(dyn std::error::Error + 'static) = self.0.source.as_deref()?;
        Some(source)
    }
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    engine: Option<&'static str>,
    oids: Vec<Oid>,
    path: Option<PathBuf>,
    reason: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` while doing `operation`, which completes the sentence "could not ...".
    pub fn new(kind: ErrorKind, operation: &'static str) -> Error {
        Error(Box::new(Inner {
            kind,
            operation,
            engine: None,
            oids: Vec::new(),
            path: None,
            reason: String::new(),
            hint: None,
            source: None,
        }))
    }

    /// An error from the operating system; a full disk, a missing file and the like get their kind.
    pub fn io(error: std::io::Error, operation: &'static str) -> Error {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Full,
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::Unreadable,
            Io::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::Exists,
            _ => ErrorKind::Io,
        };
        let reason = error.to_string();
        Error::new(kind, operation).because(reason).caused_by(error)
    }

    /// Damage at `what`, found while doing `operation`.
    pub fn damaged(operation: &'static str, what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Damaged, operation).because(what)
    }

    /// States why, as a clause that can follow a colon.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Error {
        self.0.reason = reason.into();
        self
    }

    /// States what to do, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// States what else to do, as another sentence.
    #[must_use]
    pub fn hint_also(mut self, hint: impl AsRef<str>) -> Error {
        let hints = self.0.hint.get_or_insert_default();
        if !hints.is_empty() {
            hints.push(' ');
        }
        hints.push_str(hint.as_ref());
        self
    }

    /// Names the object, unless objects are named already.
    #[must_use]
    pub fn with_oid(mut self, oid: Oid) -> Error {
        if self.0.oids.is_empty() {
            self.0.oids.push(oid);
        }
        self
    }

    /// Names the objects, as conflicts do.
    #[must_use]
    pub fn with_oids(mut self, oids: Vec<Oid>) -> Error {
        self.0.oids = oids;
        self
    }

    /// Names the path, unless one is named already.
    #[must_use]
    pub fn with_path(mut self, path: impl AsRef<Path>) -> Error {
        self.0
            .path
            .get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }

    /// Names the engine, unless one is named already.
    #[must_use]
    pub fn with_engine(mut self, engine: &'static str) -> Error {
        self.0.engine.get_or_insert(engine);
        self
    }

    /// Changes the kind: only where a lower layer cannot know it, such as a missing file that makes
    /// a store damaged.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.0.kind = kind;
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.0.source = Some(Box::new(source));
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The objects that it is about: those in conflict, gone or damaged.
    pub fn oids(&self) -> &[Oid] {
        &self.0.oids
    }

    /// The path that it is about.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What failed: it completes the sentence "could not ...".
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The engine that it is about.
    pub fn engine(&self) -> Option<&'static str> {
        self.0.engine
    }

    /// Why it failed, as a clause.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether trying the same again can help, perhaps after reading anew or freeing space.
    pub fn retry(&self) -> bool {
        use ErrorKind::{Conflict, Full, Gone, InUse, NeedsRoom, NoQuorum, TooOld, Unreachable};
        matches!(
            self.kind(),
            Conflict | Gone | InUse | Full | TooOld | NeedsRoom | NoQuorum | Unreachable
        )
    }

    /// The exit code of a command that fails with this error.
    pub fn exit_code(&self) -> u8 {
        use ErrorKind as K;
        match self.kind() {
            K::Usage | K::Unsupported => 2,
            K::NotFound | K::Unreadable | K::Unreachable | K::Refused => 3,
            K::Exists | K::ReadOnly => 4,
            K::InUse | K::Full | K::Conflict | K::Gone | K::TooOld | K::NeedsRoom | K::NoQuorum => {
                5
            }
            K::Mismatch => 6,
            K::Damaged => 7,
            K::Interrupted => 8,
            K::Rejects => 9,
            K::TooLarge | K::Poisoned | K::Io | K::Other => 1,
        }
    }

    /// A second error of the same content, for several waiters on one failed write.
    ///
    /// The cause is not repeated: its text is part of the reason.
    pub fn duplicate(&self) -> Error {
        let inner = &self.0;
        Error(Box::new(Inner {
            kind: inner.kind,
            operation: inner.operation,
            engine: inner.engine,
            oids: inner.oids.clone(),
            path: inner.path.clone(),
            reason: inner.reason.clone(),
            hint: inner.hint.clone(),
            source: None,
        }))
    }
}

/// How many OIDs an error message lists before it only counts the rest.
const OIDS_SHOWN_MAX: usize = 8;

impl fmt::Display for Inner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "could not {}", self.operation)?;
        if let Some(path) = &self.path {
            write!(out, " at {}", path.display())?;
        }
        if let Some(engine) = self.engine {
            write!(out, " ({engine})")?;
        }
        if !self.reason.is_empty() {
            write!(out, ": {}", self.reason)?;
        }
        match self.oids.as_slice() {
            [] => {}
            [oid] => write!(out, " (object {oid})")?,
            oids => {
                let shown: Vec<_> = oids
                    .iter()
                    .take(OIDS_SHOWN_MAX)
                    .map(Oid::to_string)
                    .collect();
                write!(out, " (objects {}", shown.join(", "))?;
                if oids.len() > OIDS_SHOWN_MAX {
                    write!(out, " and {} more", oids.len() - OIDS_SHOWN_MAX)?;
                }
                write!(out, ")")?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(out, ". {hint}")?;
        }
        Ok(())
    }
}

/// Adds context to results.
pub trait ResultExt<T> {
    /// Names the path in an error.
    fn at_path(self, path: impl AsRef<Path>) -> Result<T>;
    /// Names the object in an error.
    fn at_oid(self, oid: Oid) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn at_path(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| error.with_path(path))
    }

    fn at_oid(self, oid: Oid) -> Result<T> {
        self.map_err(|error| error.with_oid(oid))
    }
}

/// Turns results of the standard library's I/O into ours.
pub trait IoResultExt<T> {
    /// Says what was being done, and where.
    fn during(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoResultExt<T> for std::io::Result<T> {
    fn during(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::io(error, operation).with_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_added_and_the_kind_stays() {
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io(io, "commit")
            .with_path("/data")
            .with_engine("lmdb")
            .with_oid(Oid(7));
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_eq!(error.exit_code(), 5);
        assert!(error.retry());
        let text = error.to_string();
        for part in ["commit", "/data", "lmdb", "object 7"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn many_objects_are_counted_and_not_listed() {
        let error = Error::new(ErrorKind::Conflict, "commit").with_oids((0..20).map(Oid).collect());
        assert!(error.to_string().contains("and 12 more"), "{error}");
        assert_eq!(error.duplicate().oids().len(), 20);
    }
}
