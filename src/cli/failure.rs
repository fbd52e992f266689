//! How commands fail: one paragraph on standard error, and an exit code.

use std::io::Write as _;

use durum_core::{Error, ErrorKind};
use serde_json::json;

/// What a command ends with: an exit code, where it has printed its result.
pub(crate) type Outcome = Result<u8, Failure>;

/// The exit code for success.
pub(crate) const DONE: u8 = 0;
/// The exit code for findings of a check.
pub(crate) const FINDINGS: u8 = 6;

/// The exit code where there is no room.
pub(crate) const NO_ROOM: u8 = 5;
/// The exit code where objects were left out.
pub(crate) const REJECTS: u8 = 9;
/// How a failure is told, beyond the paragraph on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reporting {
    /// Not at all.
    Text,
    /// As a JSON object on standard output.
    Json,
    /// As a JSON object on standard error: what goes to standard output is data.
    JsonBesideData,
}

/// Why a command has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error, with the exit code that its kind has in the command's context.
    Error { error: Error, code: u8 },
    /// Arguments that do not parse, with clap's explanation.
    Arguments(String),
    /// Whoever read our standard output has stopped: there is nobody to tell.
    Unread,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = error.exit_code();
        Failure::Error { error, code }
    }
}

/// For errors of what a command reads: if that lies where nothing can be locked, it is not readable.
pub(crate) fn of_source(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::ReadOnly => Failure::Error { error, code: 3 },
        _ => error.into(),
    }
}

/// For errors of what a command creates: in use, or not to be written at all, is all the same.
pub(crate) fn of_destination(error: Error) -> Failure {
    use ErrorKind::{InUse, NotFound, Unreachable, Unreadable};
    match error.kind() {
        InUse | NotFound | Unreachable | Unreadable => Failure::Error { error, code: 4 },
        _ => error.into(),
    }
}

impl Failure {
    /// The arguments do not parse; `rendered` is clap's message.
    pub(crate) fn arguments(rendered: &str) -> Failure {
        let text = rendered
            .trim()
            .strip_prefix("error: ")
            .unwrap_or(rendered.trim());
        Failure::Arguments(text.to_owned())
    }

    /// Prints the failure and returns the exit code.
    pub(crate) fn report(&self, reporting: Reporting) -> u8 {
        let (kind, message, oids, code) = match self {
            Failure::Unread => return DONE,
            Failure::Arguments(text) => ("usage".to_owned(), text.clone(), Vec::new(), 2),
            Failure::Error { error, code } => {
                let oids: Vec<u64> = error.oids().iter().map(|oid| oid.0).collect();
                (kind_name(error.kind()), error.to_string(), oids, *code)
            }
        };
        // Where even this cannot be written the exit code has to do.
        let object = json!({ "error": { "kind": kind, "message": message, "oids": oids } });
        if reporting == Reporting::Json {
            let _ = writeln!(std::io::stdout(), "{object}");
        }
        let _ = writeln!(std::io::stderr(), "durum: {message}");
        if reporting == Reporting::JsonBesideData {
            let _ = writeln!(std::io::stderr(), "{object}");
        }
        code
    }
}

/// The kind in the style of our JSON keys: `in_use`.
fn kind_name(kind: ErrorKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_depends_on_the_side() {
        let busy = || Error::new(ErrorKind::InUse, "open");
        let code = |failure| match failure {
            Failure::Error { code, .. } => code,
            _ => 0,
        };
        assert_eq!(code(of_source(busy())), 5);
        assert_eq!(code(of_destination(busy())), 4);
        assert_eq!(code(of_source(Error::new(ErrorKind::ReadOnly, "open"))), 3);
        assert_eq!(
            code(of_destination(Error::new(ErrorKind::ReadOnly, "open"))),
            4
        );
        assert_eq!(code(Error::new(ErrorKind::TooLarge, "import").into()), 1);
        assert_eq!(code(of_source(Error::new(ErrorKind::Damaged, "read"))), 7);
        assert_eq!(kind_name(ErrorKind::InUse), "in_use");
        assert_eq!(kind_name(ErrorKind::Io), "io");
    }
}
