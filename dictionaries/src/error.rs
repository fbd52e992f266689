//! What all homes refuse in the same words.

use durum_core::{Error, ErrorKind};

use crate::clock::RevisionId;
use crate::home::Marker;

/// `NotFound`: a class that nobody has defined.
pub(crate) fn undefined(class: &str) -> Error {
    Error::new(ErrorKind::NotFound, "use a class")
        .because(format!("no class `{class}` is defined here"))
        .hint("Define it first: `durum dict define`, or `Dictionaries::define`.")
}

/// `NotFound`: a revision that was to be superseded.
pub(crate) fn unknown(key: &str, id: RevisionId) -> Error {
    Error::new(ErrorKind::NotFound, "write a dictionary")
        .because(format!("`{key}` has no revision {id}"))
        .hint("It can have been pruned: read the dictionary again.")
}

/// `InUse`: an index that does not have all dictionaries yet.
pub(crate) fn unfinished(class: &str, index: &str) -> Error {
    Error::new(ErrorKind::InUse, "select dictionaries")
        .because(format!("the index `{index}` of `{class}` is still being made"))
        .hint("Wait for the one who defines it, or finish it: `durum dict heal`, or `Dictionaries::heal`.")
}

/// `Usage`: a marker from somewhere else.
pub(crate) fn foreign(marker: &Marker) -> Error {
    Error::new(ErrorKind::Usage, "read changes")
        .because(format!("`{marker}` is not a marker of this home"))
        .hint("Markers come with changes, and with those of the same home and class only.")
}
