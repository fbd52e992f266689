//! The state of a typed object.
//!
//! ```text
//! bytes    content
//! 1        format: 0xD1
//! varint   number of the type, in the version that wrote the object, in the table of types
//! rest     the value, in MessagePack
//! ```
//! Structs are arrays of their fields, in their order; variants of enums have their names. References are
//! extensions, of type 1 (weak ones: 2), with the OID in 1, 2, 4 or 8 bytes, big-endian. Names of types and
//! fields are in the [table of types](crate::types), once for the store.
//!
//! Sources: <https://github.com/msgpack/msgpack/blob/master/spec.md>; varints are LEB128.

use durum_core::record::varint;
use durum_core::{Error, ErrorKind, Oid, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::strict::Strict;

/// The first byte of each state. It is none that a pickle, JSON or text begins with.
pub(crate) const FORMAT: u8 = 0xD1;

/// How deep a value may be nested: decoding it takes some kilobytes of the stack for each level.
const NESTING_MAX: usize = 256;
/// Bytes in which no value can be nested too deep for a stack.
const SMALL: usize = 2048;

/// Whether arrays and maps of a MessagePack value lie within each other more than `most` times. What is cut off
/// is for the decoder to find.
fn nests_deeper(bytes: &[u8], most: usize) -> bool {
    // Values that are still to come, on each level.
    let mut levels: Vec<u64> = vec![1];
    let mut rest = bytes;
    while let Some(left) = levels.last_mut() {
        if *left == 0 {
            levels.pop();
            continue;
        }
        *left -= 1;
        let Some((&marker, after)) = rest.split_first() else {
            return false;
        };
        rest = after;
        let number = |width: usize| {
            let bytes = rest.get(..width)?.iter();
            Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        // The width of the length, the bytes behind it, and the values within, for each of the length's units.
        let (width, bytes, within) = match marker {
            0x80..=0x8f => (0, 0, Some(2 * u64::from(marker & 0x0f))),
            0x90..=0x9f => (0, 0, Some(u64::from(marker & 0x0f))),
            0xa0..=0xbf => (0, u64::from(marker & 0x1f), None),
            0xc4 | 0xd9 => (1, number(1).unwrap_or(0), None),
            0xc5 | 0xda => (2, number(2).unwrap_or(0), None),
            0xc6 | 0xdb => (4, number(4).unwrap_or(0), None),
            0xc7 => (1, number(1).unwrap_or(0) + 1, None),
            0xc8 => (2, number(2).unwrap_or(0) + 1, None),
            0xc9 => (4, number(4).unwrap_or(0) + 1, None),
            0xcc | 0xd0 => (0, 1, None),
            0xcd | 0xd1 | 0xd4 => (0, 2, None),
            0xd5 => (0, 3, None),
            0xca | 0xce | 0xd2 => (0, 4, None),
            0xd6 => (0, 5, None),
            0xcb | 0xcf | 0xd3 => (0, 8, None),
            0xd7 => (0, 9, None),
            0xd8 => (0, 17, None),
            0xdc => (2, 0, Some(number(2).unwrap_or(0))),
            0xdd => (4, 0, Some(number(4).unwrap_or(0))),
            0xde => (2, 0, Some(2 * number(2).unwrap_or(0))),
            0xdf => (4, 0, Some(2 * number(4).unwrap_or(0))),
            _ => (0, 0, None),
        };
        let skipped = usize::try_from(bytes).map(|bytes| rest.get(width + bytes..));
        let Ok(Some(after)) = skipped else {
            return false;
        };
        rest = after;
        if let Some(within) = within {
            if levels.len() > most {
                return true;
            }
            levels.push(within);
        }
    }
    false
}

/// Appends `value` to `out`.
pub(crate) fn put_value<T: Serialize>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), rmp_serde::encode::Error> {
    value.serialize(Strict::new(&mut rmp_serde::Serializer::new(out)))
}

/// The value that `bytes` begin with. It says itself where it ends.
pub(crate) fn take_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    if bytes.len() > SMALL && nests_deeper(bytes, NESTING_MAX) {
        return Err(serde::de::Error::custom(format!(
            "it is nested more than {NESTING_MAX} levels deep: make objects of its parts"
        )));
    }
    rmp_serde::from_slice(bytes)
}

/// Begins a state of the type with this number.
pub(crate) fn put_header(out: &mut Vec<u8>, number: u32) {
    out.push(FORMAT);
    varint::put(out, u64::from(number));
}

/// The type's number, and the value's bytes.
pub(crate) fn take_header(oid: Oid, state: &[u8]) -> Result<(u32, &[u8])> {
    let Some((&FORMAT, mut rest)) = state.split_first() else {
        return Err(Error::new(ErrorKind::Unreadable, "load an object")
            .because("it is not a typed object")
            .with_oid(oid));
    };
    let number = varint::take(&mut rest).and_then(|number| u32::try_from(number).ok());
    match number {
        Some(number) => Ok((number, rest)),
        None => Err(Error::damaged("load an object", "its type's number is cut off").with_oid(oid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_seen_wherever_it_is() {
        for (level, end) in [
            (&b"\x91"[..], &b"\xc0"[..]),
            (b"\x81\xa1N", b"\xc0"),
            (b"\xdc\0\x02\xcb12345678", b"\x05"),
        ] {
            let nested = |levels| [level.repeat(levels).as_slice(), end].concat();
            assert!(!nests_deeper(&nested(256), 256));
            assert!(nests_deeper(&nested(257), 256));
        }
        let flat = rmp_serde::to_vec(
            &(0..10_000_u64)
                .map(|it| (it, "text", [1.5], -it.cast_signed()))
                .collect::<Vec<_>>(),
        );
        assert!(!nests_deeper(&flat.unwrap(), 4) && !nests_deeper(&[], 1));
    }
}
