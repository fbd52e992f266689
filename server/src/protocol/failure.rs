//! Errors on the wire: the kind, the objects, and what is said for people.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use durum_core::{Error, ErrorKind, Oid};

use super::bytes::{Body, put_bytes, put_u32, put_u64};

/// The kinds and their numbers, which stay.
const KINDS: [(ErrorKind, u8); 20] = [
    (ErrorKind::Other, 0),
    (ErrorKind::Usage, 1),
    (ErrorKind::NotFound, 2),
    (ErrorKind::Unreadable, 3),
    (ErrorKind::Exists, 4),
    (ErrorKind::ReadOnly, 5),
    (ErrorKind::InUse, 6),
    (ErrorKind::Full, 7),
    (ErrorKind::Conflict, 8),
    (ErrorKind::Gone, 9),
    (ErrorKind::TooOld, 10),
    (ErrorKind::Mismatch, 11),
    (ErrorKind::Damaged, 12),
    (ErrorKind::Interrupted, 13),
    (ErrorKind::Rejects, 14),
    (ErrorKind::TooLarge, 15),
    (ErrorKind::Unsupported, 16),
    (ErrorKind::Poisoned, 17),
    (ErrorKind::Io, 18),
    (ErrorKind::Unreachable, 19),
];
/// Objects that are named at most.
const OIDS_MAX: usize = 4096;

/// Appends an error.
pub(crate) fn put(out: &mut Vec<u8>, error: &Error) {
    let number = KINDS.iter().find(|(kind, _)| *kind == error.kind());
    out.push(number.map_or(0, |(_, number)| *number));
    let oids = error.oids().get(..OIDS_MAX).unwrap_or(error.oids());
    put_u32(out, oids.len() as u32);
    oids.iter().for_each(|oid| put_u64(out, oid.0));
    let reason = match error.path() {
        Some(path) => format!("at {}: {}", path.display(), error.reason()),
        None => error.reason().to_owned(),
    };
    let texts = [
        error.operation(),
        error.engine().unwrap_or_default(),
        &reason,
    ];
    texts
        .iter()
        .for_each(|text| put_bytes(out, text.as_bytes()));
    put_bytes(out, error.advice().unwrap_or_default().as_bytes());
}

/// What [`put`] has written.
pub(crate) fn take(body: &mut Body<'_>) -> Option<Error> {
    let number = body.u8()?;
    let kind = KINDS.iter().find(|(_, it)| *it == number);
    let kind = kind.map_or(ErrorKind::Other, |(kind, _)| *kind);
    let count = body.u32()?;
    let oids: Vec<Oid> = body.many(count, 8, Body::oid)?;
    let operation = lasting(body.text()?).unwrap_or("do that on the server");
    let mut error = Error::new(kind, operation).with_oids(oids);
    if let Some(engine) = lasting(body.text()?).filter(|engine| !engine.is_empty()) {
        error = error.with_engine(engine);
    }
    error = error.because(body.text()?);
    match body.text()? {
        "" => Some(error),
        advice => Some(error.hint(advice)),
    }
}

/// Different texts that are kept, each of [`LASTING_BYTES_MAX`] bytes at most: a server has few, and a
/// hostile one shall not fill the memory.
const LASTING_MAX: usize = 256;
const LASTING_BYTES_MAX: usize = 128;

/// The same text for as long as the process runs, as errors want the names of operations and engines.
pub(crate) fn lasting(text: &str) -> Option<&'static str> {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return Some(known);
    }
    if texts.len() >= LASTING_MAX || text.len() > LASTING_BYTES_MAX {
        return None;
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(kept);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was() {
        for (kind, _) in KINDS {
            let error = Error::new(kind, "commit")
                .because("two changed")
                .with_oids(vec![Oid(1), Oid(7)])
                .with_engine("lmdb")
                .hint("Read them again.");
            let mut bytes = Vec::new();
            put(&mut bytes, &error);
            let mut body = Body::new(&bytes);
            let arrived = take(&mut body).unwrap();
            assert!(body.is_empty());
            assert_eq!(arrived.kind(), kind);
            assert_eq!(arrived.oids(), error.oids());
            assert_eq!(arrived.to_string(), error.to_string());
            for end in 0..bytes.len() {
                assert!(take(&mut Body::new(&bytes[..end])).is_none());
            }
        }
    }
}
