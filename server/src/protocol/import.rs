//! Filling a store, on the wire.

use durum_core::record::Codec;
use durum_core::store::ImportSummary;
use durum_core::{Oid, Tid};

use super::bytes::{Body, put_bytes, put_u64};

/// The answer to `Import`: what there is to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// How the store compresses.
    pub(crate) codec: Codec,
    /// Objects of a store that is complete already, or 0.
    pub(crate) objects: u64,
    /// Bytes of a part, at most.
    pub(crate) part_bytes_max: u64,
    /// The last note of what was left.
    pub(crate) note: Option<Vec<u8>>,
}

impl Begun {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.codec.number());
        put_u64(out, self.objects);
        put_u64(out, self.part_bytes_max);
        out.push(u8::from(self.note.is_some()));
        put_bytes(out, self.note.as_deref().unwrap_or_default());
    }

    pub(crate) fn take(body: &mut Body<'_>) -> Option<Begun> {
        let codec = Codec::from_number(body.u8()?)?;
        let (objects, part_bytes_max) = (body.u64()?, body.u64()?);
        let has_note = body.u8()? != 0;
        let note = body.bytes()?.to_vec();
        Some(Begun {
            codec,
            objects,
            part_bytes_max,
            note: has_note.then_some(note),
        })
    }
}

/// Appends an object with its record, as in a scan, which `record` appends.
pub(crate) fn put_object(out: &mut Vec<u8>, oid: Oid, record: impl FnOnce(&mut Vec<u8>)) {
    put_u64(out, oid.0);
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    record(out);
    let length = (out.len() - begin - 4) as u32;
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends the request `Finish`: the last commit, the OID from which on none was handed out, and the last
/// note on both sides of the number of references that lead nowhere.
pub(crate) fn put_finish(out: &mut Vec<u8>, tid: Tid, oids_from: Oid, note: (&[u8], &[u8])) {
    put_u64(out, tid.0);
    put_u64(out, oids_from.0);
    put_bytes(out, note.0);
    put_bytes(out, note.1);
}

/// Appends what an import has brought.
pub(crate) fn put_summary(out: &mut Vec<u8>, summary: &ImportSummary) {
    put_u64(out, summary.objects);
    put_u64(out, summary.bytes);
    put_u64(out, summary.dangling);
}

/// What [`put_summary`] has written.
pub(crate) fn take_summary(body: &mut Body<'_>) -> Option<ImportSummary> {
    Some(ImportSummary {
        objects: body.u64()?,
        bytes: body.u64()?,
        dangling: body.u64()?,
    })
}
