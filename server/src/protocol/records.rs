//! Records in answers to `Load` and `Scan`: as they are stored, checksums included.

use durum_core::{Error, Oid};

use super::bytes::{Body, put_bytes, put_u32, put_u64};
use super::failure;

/// What is answered for one object that was asked for.
#[derive(Debug)]
pub(crate) enum Loaded<'a> {
    /// There is none.
    Missing,
    /// Its record.
    Stored(&'a [u8]),
    /// It cannot be read.
    Failed(Error),
}

const MISSING: u8 = 0;
const STORED: u8 = 1;
const FAILED: u8 = 2;

/// Appends a record that was asked for.
pub(crate) fn put_stored(out: &mut Vec<u8>, stored: &[u8]) {
    out.push(STORED);
    put_bytes(out, stored);
}

/// Appends that there is no such object.
pub(crate) fn put_missing(out: &mut Vec<u8>) {
    out.push(MISSING);
}

/// Appends that an object cannot be read.
pub(crate) fn put_failed(out: &mut Vec<u8>, error: &Error) {
    out.push(FAILED);
    failure::put(out, error);
}

/// The next object that was asked for.
pub(crate) fn take_loaded<'a>(body: &mut Body<'a>) -> Option<Loaded<'a>> {
    match body.u8()? {
        MISSING => Some(Loaded::Missing),
        STORED => body.bytes().map(Loaded::Stored),
        FAILED => failure::take(body).map(Loaded::Failed),
        _ => None,
    }
}

/// What a `Scan` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanRequest {
    pub(crate) snapshot: u32,
    pub(crate) from: Oid,
    /// About how many bytes of records.
    pub(crate) bytes: u32,
}

impl ScanRequest {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u32(out, self.snapshot);
        put_u64(out, self.from.0);
        put_u32(out, self.bytes);
    }

    pub(crate) fn take(body: &mut Body<'_>) -> Option<ScanRequest> {
        Some(ScanRequest {
            snapshot: body.u32()?,
            from: body.oid()?,
            bytes: body.u32()?,
        })
    }
}

/// In the place of where a scan goes on: at its end.
const END: u64 = u64::MAX;

/// Appends the head of a part of a scan, to be completed by [`end_scan`]; returns where it is.
pub(crate) fn begin_scan(out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    put_u64(out, END);
    begin
}

/// Says where the scan goes on whose head is at `begin`.
pub(crate) fn end_scan(out: &mut [u8], begin: usize, next: Oid) {
    if let Some(place) = out.get_mut(begin..begin + 8) {
        place.copy_from_slice(&next.0.to_be_bytes());
    }
}

/// Appends an object of a scan.
pub(crate) fn put_scanned(out: &mut Vec<u8>, oid: Oid, stored: &[u8]) {
    put_u64(out, oid.0);
    put_bytes(out, stored);
}

/// Where a scan goes on; the inner `None` at its end.
pub(crate) fn take_next(body: &mut Body<'_>) -> Option<Option<Oid>> {
    match body.u64()? {
        END => Some(None),
        next => Some(Some(Oid(next))),
    }
}

/// The next object of a scan, or of a part of an import.
pub(crate) fn take_scanned<'a>(body: &mut Body<'a>) -> Option<(Oid, &'a [u8])> {
    Some((body.oid()?, body.bytes()?))
}
