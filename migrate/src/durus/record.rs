//! Entries and the records in them: checked when read, composed when written.

use durum_core::{Error, ErrorKind, Oid, Result};

use super::{DurusObject, WRITE};
use crate::input::Window;
use crate::offsets::BEYOND;

/// Where the parts of an entry lie in the file. All offsets are known to be inside the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) oid: u64,
    data_at: u64,
    pub(super) data_bytes: u32,
    refs_bytes: u64,
    /// The offset after the entry.
    pub(super) end: u64,
}

/// An entry, or what is wrong with it.
pub(super) type Checked<T> = std::result::Result<T, Malformed>;

/// Something that does not follow the format.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) at: u64,
    pub(super) why: String,
}

impl Malformed {
    pub(super) fn new<T>(at: u64, why: impl Into<String>) -> Checked<T> {
        let why = why.into();
        Err(Malformed { at, why })
    }
}

/// The formats that have entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Shelf,
    Dfs20,
}

/// How many bytes the length of an entry has.
fn length_bytes(layout: Layout) -> u64 {
    match layout {
        Layout::Shelf => 8,
        Layout::Dfs20 => 4,
    }
}

/// Reads where the parts of the entry at `at` lie, all before `limit`.
pub(super) fn read_entry(
    window: &mut Window<'_>,
    layout: Layout,
    at: u64,
    limit: u64,
) -> Result<Checked<Entry>> {
    let limit = limit.min(window.input().len());
    let width = length_bytes(layout);
    let Some(length) = window.number(at, width as usize)? else {
        return Ok(Malformed::new(at, "the length of an entry is cut off"));
    };
    let start = at + width;
    let Some(end) = start.checked_add(length).filter(|end| *end <= limit) else {
        let why = format!("an entry of {length} bytes goes beyond byte {limit}");
        return Ok(Malformed::new(at, why));
    };
    let mut head = start;
    let mut entry_oid = None;
    if layout == Layout::Shelf {
        entry_oid = window.number(head, 8)?;
        head += 8;
    }
    let data_at = head + RECORD_HEAD_BYTES;
    if data_at > end {
        let why = format!("an entry of {length} bytes is too short");
        return Ok(Malformed::new(at, why));
    }
    let (Some(oid), Some(data_bytes)) = (window.number(head, 8)?, window.number(head + 8, 4)?)
    else {
        return Ok(Malformed::new(at, "the head of a record is cut off"));
    };
    if let Some(entry_oid) = entry_oid.filter(|entry_oid| *entry_oid != oid) {
        let why = format!("the entry is of object {entry_oid}, its record of object {oid}");
        return Ok(Malformed::new(at, why));
    }
    let body_bytes = end - data_at;
    let Some(refs_bytes) = body_bytes.checked_sub(data_bytes) else {
        let why = format!("object {oid} has {data_bytes} bytes of data in {body_bytes} bytes");
        return Ok(Malformed::new(at, why));
    };
    if refs_bytes % 8 != 0 {
        let why = format!("the references of object {oid} have {refs_bytes} bytes");
        return Ok(Malformed::new(at, why));
    }
    Ok(Ok(Entry {
        oid,
        data_at,
        // It was read from four bytes.
        data_bytes: data_bytes as u32,
        refs_bytes,
        end,
    }))
}

/// Reads the object of an entry. Both sizes are inside the file, so nothing larger is allocated.
pub(super) fn read_object(window: &mut Window<'_>, entry: &Entry) -> Result<DurusObject> {
    let input = window.input();
    let body_bytes = u64::from(entry.data_bytes) + entry.refs_bytes;
    let length = usize::try_from(body_bytes)
        .map_err(|_| input.fail(ErrorKind::TooLarge, "an object does not fit in memory"))?;
    let mut data = if length <= WINDOW_BYTES_MAX {
        let body = window.get(entry.data_at, length)?;
        body.map(<[u8]>::to_vec)
            .ok_or_else(|| input.damaged(entry.data_at, "an object is cut off"))?
    } else {
        let mut body = vec![0; length];
        input.read_at(&mut body, entry.data_at)?;
        body
    };
    let oid = Oid(entry.oid);
    let packed = data.get(entry.data_bytes as usize..).unwrap_or_default();
    let refs = packed
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| Oid(u64::from_be_bytes(*bytes)));
    let refs = normalised(refs.collect(), oid);
    data.truncate(entry.data_bytes as usize);
    if let Some(beyond) = refs.last().filter(|oid| !oid.is_valid()) {
        let why = format!("it references object {beyond}, {BEYOND}");
        return Err(input.fail(ErrorKind::Unreadable, why).with_oid(oid));
    }
    Ok(DurusObject { oid, refs, data })
}

/// References ascending, each once, without the object itself.
fn normalised(mut refs: Vec<Oid>, oid: Oid) -> Vec<Oid> {
    refs.retain(|target| *target != oid);
    refs.sort_unstable();
    refs.dedup();
    refs
}

/// Composes a record in `record`, which is cleared first.
///
/// # Errors
/// `TooLarge` for data of 4 GiB and more; `Usage` for OIDs from 2^63 on.
pub(super) fn compose(record: &mut Vec<u8>, object: &DurusObject) -> Result<()> {
    let oid = object.oid;
    let refuse = |kind, why: String| Err(Error::new(kind, WRITE).because(why).with_oid(oid));
    let Ok(data_bytes) = u32::try_from(object.data.len()) else {
        let why = format!("{} bytes of data; a record holds 4 GiB", object.data.len());
        return refuse(ErrorKind::TooLarge, why);
    };
    if let Some(beyond) = object.refs.iter().find(|target| !target.is_valid()) {
        return refuse(
            ErrorKind::Usage,
            format!("a reference to {beyond}, {BEYOND}"),
        );
    }
    record.clear();
    record.extend_from_slice(&oid.0.to_be_bytes());
    record.extend_from_slice(&data_bytes.to_be_bytes());
    record.extend_from_slice(&object.data);
    for target in normalised(object.refs.clone(), oid) {
        record.extend_from_slice(&target.0.to_be_bytes());
    }
    Ok(())
}

/// OID and data length.
const RECORD_HEAD_BYTES: u64 = 12;

/// Larger objects are read past the window.
const WINDOW_BYTES_MAX: usize = 64 << 10;
