//! The rows of the collector's tables; `docs/FORMAT.md` describes them for other readers.
//!
//! All of them can be rebuilt from the objects, but a wrong one could have a live object deleted. So
//! those that are decided by carry a CRC-32 over their key and content, like records do.

use crate::engine::{EngineSnapshot, Key, Table};
use crate::error::{Error, Result};
use crate::id::{Oid, Tid};
use crate::record::varint;

/// Referrers that the row of an object holds itself; those beyond are rows of `referrers_more`.
pub(crate) const INLINE_MAX: usize = 32;
/// OIDs in one row of the table of condemned objects.
pub(crate) const CONDEMNED_PART: usize = 1024;

/// Who refers to an object, as far as one row tells.
///
/// The row exists where the set of referrers is anything but exactly {anchor in the record}, or where
/// the object is pinned; it overrides the record's anchor. Without a row the referrers are the
/// record's anchor, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Links {
    /// The referrer through which the root reaches the object.
    pub(crate) anchor: Option<Oid>,
    /// How many rows in `pins` keep the object alive.
    pub(crate) pins: u64,
    /// Up to [`INLINE_MAX`] referrers, ascending.
    pub(crate) inline: Vec<Oid>,
    /// How many more referrers there are in `referrers_more`; none of them is also inline.
    pub(crate) more: u64,
}

impl Links {
    /// What holds for an object without a row, whose record has this anchor.
    pub(crate) fn of_anchor(anchor: Option<Oid>) -> Links {
        Links {
            anchor,
            inline: anchor.into_iter().collect(),
            ..Links::default()
        }
    }

    /// Whether a record with this anchor says the same without a row.
    pub(crate) fn is_implied_by(&self, anchor: Option<Oid>) -> bool {
        let alone = self.inline.iter().copied().eq(anchor);
        self.pins == 0 && self.more == 0 && self.anchor == anchor && alone
    }

    /// The row's value: CRC-32 as four little-endian bytes; as varints the anchor plus 1 (0: none), the
    /// number of pins, the number of rows in `referrers_more`, the number of referrers here, and these
    /// ascending (the first, then the differences).
    pub(crate) fn encode(&self, oid: Oid) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_to(oid, &mut out);
        out
    }

    /// Puts what [`Links::encode`] returns in the place of what `out` has.
    pub(crate) fn encode_to(&self, oid: Oid, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0; 4]);
        varint::put(out, self.anchor.map_or(0, |anchor| anchor.0 + 1));
        varint::put(out, self.pins);
        varint::put(out, self.more);
        put_oids(out, &self.inline);
        seal_in_place(Key::from(oid.0), out);
    }

    /// Reads what [`Links::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged`, naming the object.
    pub(crate) fn decode(oid: Oid, bytes: &[u8]) -> Result<Links> {
        let read = || {
            let mut rest = open(Key::from(oid.0), bytes)?;
            let anchor = varint::take(&mut rest)?.checked_sub(1).map(Oid);
            let pins = varint::take(&mut rest)?;
            let more = varint::take(&mut rest)?;
            let inline = take_oids(&mut rest)?;
            let links = Links {
                anchor,
                pins,
                inline,
                more,
            };
            rest.is_empty().then_some(links)
        };
        read().ok_or_else(|| damaged("the row of an object's referrers").with_oid(oid))
    }
}

/// The value of a row of `orphans`: the tid of the commit that cut the anchor.
pub(crate) fn encode_orphan(tid: Tid) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put(&mut out, tid.0);
    out
}

/// Reads what [`encode_orphan`] wrote; a damaged value only makes the orphan look old.
pub(crate) fn decode_orphan(mut bytes: &[u8]) -> Tid {
    Tid(varint::take(&mut bytes).unwrap_or(0))
}

/// The key and the value of a row of `condemned`: up to [`CONDEMNED_PART`] OIDs, ascending.
pub(crate) fn condemned_row(job: u64, oids: &[Oid]) -> (Key, Vec<u8>) {
    let key = Key::pair(job, oids.first().map_or(0, |oid| oid.0));
    let mut out = vec![0; 4];
    put_oids(&mut out, oids);
    (key, seal(key, out))
}

/// Reads what [`condemned_row`] wrote.
///
/// # Errors
/// `Damaged`.
pub(crate) fn condemned_oids(key: Key, bytes: &[u8]) -> Result<Vec<Oid>> {
    open(key, bytes)
        .and_then(|mut rest| take_oids(&mut rest).filter(|_| rest.is_empty()))
        .ok_or_else(|| damaged("a row of condemned objects"))
}

/// The collector's own state: row 2 of `meta`. It is missing as long as everything in it is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct JobState {
    /// The number of the newest job. Rows of `condemned` with another number than `condemned` are
    /// drafts; those that no running search owns are leftovers to be removed.
    pub(crate) last_job: u64,
    /// The job whose members are condemned: gone for everyone, and being deleted. 0: none.
    pub(crate) condemned: u64,
    /// The commit that condemned them: snapshots of earlier ones still show them.
    pub(crate) tid: Tid,
    /// Members that are not deleted yet.
    pub(crate) left: u64,
    /// All members below this one are deleted.
    pub(crate) next: Oid,
    /// How many of the references of `next` have been taken back already.
    pub(crate) next_refs: u64,
    /// The number of the newest session.
    pub(crate) last_session: u64,
}

impl JobState {
    /// Where the row lies.
    pub(crate) fn row() -> (Table, Key) {
        const NUMBER: u64 = 2;
        (Table::Meta, Key::from(NUMBER))
    }

    /// Reads the row.
    ///
    /// # Errors
    /// `Damaged`, and those of the engine's reading.
    pub(crate) fn load(view: &dyn EngineSnapshot) -> Result<JobState> {
        let (table, key) = JobState::row();
        let mut state = Ok(JobState::default());
        view.get(table, key, &mut |bytes| state = JobState::decode(bytes))?;
        state
    }

    /// The row's value: CRC-32, then the fields in their order here as varints.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        for field in [
            self.last_job,
            self.condemned,
            self.tid.0,
            self.left,
            self.next.0,
            self.next_refs,
            self.last_session,
        ] {
            varint::put(&mut out, field);
        }
        seal(JobState::row().1, out)
    }

    /// Reads what [`JobState::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<JobState> {
        let read = || {
            let mut rest = open(JobState::row().1, bytes)?;
            let mut field = || varint::take(&mut rest);
            let state = JobState {
                last_job: field()?,
                condemned: field()?,
                tid: Tid(field()?),
                left: field()?,
                next: Oid(field()?),
                next_refs: field()?,
                last_session: field()?,
            };
            rest.is_empty().then_some(state)
        };
        read().ok_or_else(|| damaged("the row of the collector's state"))
    }
}

/// Writes ascending OIDs: their number, the first, then the differences.
pub(crate) fn put_oids(out: &mut Vec<u8>, oids: &[Oid]) {
    varint::put(out, oids.len() as u64);
    let mut last = 0;
    for oid in oids {
        varint::put(out, oid.0.wrapping_sub(last));
        last = oid.0;
    }
}

/// Reads what [`put_oids`] wrote.
pub(crate) fn take_oids(input: &mut &[u8]) -> Option<Vec<Oid>> {
    let count = varint::take(input)?;
    let mut oids = Vec::with_capacity((count as usize).min(input.len()));
    let mut last = 0u64;
    for _ in 0..count {
        last = last.wrapping_add(varint::take(input)?);
        oids.push(Oid(last));
    }
    Some(oids)
}

/// Writes the checksum into the first four bytes of a row that is complete but for it.
pub(crate) fn seal(key: Key, mut row: Vec<u8>) -> Vec<u8> {
    seal_in_place(key, &mut row);
    row
}

fn seal_in_place(key: Key, row: &mut [u8]) {
    if let Some((slot, rest)) = row.split_first_chunk_mut::<4>() {
        *slot = checksum(key, rest).to_le_bytes();
    }
}

/// The content of a row that [`seal`] closed, if it is what was written.
pub(crate) fn open(key: Key, row: &[u8]) -> Option<&[u8]> {
    let (stored, rest) = row.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*stored) == checksum(key, rest)).then_some(rest)
}

fn checksum(key: Key, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let numbers = [key.first.to_be_bytes(), key.second.to_be_bytes()];
    hasher.update(numbers.as_flattened());
    hasher.update(rest);
    hasher.finalize()
}

fn damaged(what: &str) -> Error {
    Error::damaged("collect garbage", format!("{what} is damaged"))
        .hint("`durum check --repair` rebuilds the collector's tables from the objects.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_return_and_damage_is_found() {
        let links = Links {
            anchor: Some(Oid(3)),
            pins: 2,
            inline: [3, 700, Oid::MAX.0].map(Oid).to_vec(),
            more: 90,
        };
        let bytes = links.encode(Oid(5));
        assert_eq!(Links::decode(Oid(5), &bytes).unwrap(), links);
        assert!(Links::decode(Oid(6), &bytes).is_err());
        let (key, row) = condemned_row(7, &links.inline);
        assert_eq!(condemned_oids(key, &row).unwrap(), links.inline);
        assert!(condemned_oids(Key::pair(8, 3), &row).is_err());
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] ^= 4;
            assert!(Links::decode(Oid(5), &bad).is_err());
            assert!(Links::decode(Oid(5), &bytes[..position]).is_err());
        }
        let state = JobState {
            last_job: 9,
            next: Oid(1 << 40),
            ..JobState::default()
        };
        assert_eq!(JobState::decode(&state.encode()).unwrap(), state);
        assert!(JobState::decode(&state.encode()[1..]).is_err());
        assert_eq!(decode_orphan(&encode_orphan(Tid(1 << 50))), Tid(1 << 50));
    }

    #[test]
    fn a_row_is_implied_only_by_exactly_its_anchor() {
        assert!(Links::of_anchor(None).is_implied_by(None));
        let links = Links::of_anchor(Some(Oid(4)));
        assert!(links.is_implied_by(Some(Oid(4))));
        assert!(!links.is_implied_by(Some(Oid(5))) && !links.is_implied_by(None));
        let pinned = Links {
            pins: 1,
            ..links.clone()
        };
        let lost = Links {
            anchor: None,
            ..links
        };
        assert!(!pinned.is_implied_by(Some(Oid(4))) && !lost.is_implied_by(Some(Oid(4))));
    }
}
