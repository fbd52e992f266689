//! Revisions as values of items.
//!
//! A byte for the format, 0xD2, the revision in MessagePack as an array of its fields, with the names and SHA-256 hashes of the large values, which are
//! objects of the bucket called `v/HASH`, and the XXH3-64 of all that, little-endian. Garage checks what it stores on disk; this also
//! checks what came to it, and what another program wrote.

use std::collections::BTreeMap;

use durum_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::revision::Revision;
use crate::value::Value;

const FORMAT: u8 = 0xD2;

/// How many bytes of fields an item holds at most, about.
const ITEM_BYTES_MAX: usize = 512 << 10;

#[derive(Serialize, Deserialize)]
struct Stored {
    revision: Revision,
    large: BTreeMap<String, String>,
}

/// A revision as an item, and what goes beside it.
pub(super) struct Encoded {
    pub(super) item: Vec<u8>,
    /// Names of objects, and what they hold.
    pub(super) objects: Vec<(String, Vec<u8>)>,
}

/// An item that was read; its large values are still to be fetched.
pub(super) struct Decoded {
    pub(super) revision: Revision,
    /// Fields, and the names of the objects that have their values.
    pub(super) large: BTreeMap<String, String>,
}

pub(super) fn encode(revision: &Revision) -> Result<Encoded> {
    let mut stored = Stored {
        revision: revision.clone(),
        large: BTreeMap::new(),
    };
    let mut objects = Vec::new();
    let mut weights: Vec<(usize, String)> = revision
        .fields
        .iter()
        .map(|(name, value)| (value.weight(), name.clone()))
        .collect();
    weights.sort_unstable();
    let mut bytes: usize = weights.iter().map(|(weight, _)| weight).sum();
    while bytes > ITEM_BYTES_MAX
        && let Some((weight, name)) = weights.pop()
        && let Some(value) = stored.revision.fields.remove(&name)
    {
        bytes -= weight;
        let value = pack(&value)?;
        let object = format!("v/{}", hex(&Sha256::digest(&value)));
        stored.large.insert(name, object.clone());
        objects.push((object, value));
    }
    let mut item = vec![FORMAT];
    item.extend(pack(&stored)?);
    item.extend(xxh3_64(&item).to_le_bytes());
    Ok(Encoded { item, objects })
}

/// Why it is none, where it is none.
pub(super) fn decode(item: &[u8]) -> Result<Decoded, String> {
    let (body, sum) = item.split_last_chunk::<8>().ok_or("it is too short")?;
    if xxh3_64(body) != u64::from_le_bytes(*sum) {
        return Err("its checksum is wrong".to_owned());
    }
    let (format, body) = body.split_first().ok_or("it is too short")?;
    if *format != FORMAT {
        return Err(format!(
            "its format is {format}, which this program does not know"
        ));
    }
    let stored: Stored = rmp_serde::from_slice(body).map_err(|error| error.to_string())?;
    stored.revision.check().map_err(|error| error.to_string())?;
    Ok(Decoded {
        revision: stored.revision,
        large: stored.large,
    })
}

/// The value that an object of this name has.
pub(super) fn decode_object(name: &str, bytes: &[u8]) -> Result<Value, String> {
    if format!("v/{}", hex(&Sha256::digest(bytes))) != name {
        return Err("its hash is wrong".to_owned());
    }
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec(value).map_err(|error| {
        Error::new(durum_core::ErrorKind::Other, "encode a dictionary").because(error.to_string())
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::value::Fields;

    #[test]
    fn revisions_are_read_back_and_damage_is_found() {
        let clock = Clock::new().unwrap();
        let large = Value::Bytes(vec![7; ITEM_BYTES_MAX]);
        let fields: Fields = [
            ("large".to_owned(), large.clone()),
            ("small".to_owned(), Value::Float(0.5)),
        ]
        .into();
        let revision = Revision::after(&clock, &[], Some(fields)).unwrap();
        let encoded = encode(&revision).unwrap();
        assert!(encoded.item.len() < 1000 && encoded.objects.len() == 1);
        let mut decoded = decode(&encoded.item).unwrap();
        let (name, bytes) = &encoded.objects[0];
        assert_eq!(decoded.large["large"], *name);
        decoded
            .revision
            .fields
            .insert("large".into(), decode_object(name, bytes).unwrap());
        assert_eq!(decoded.revision, revision);
        for at in 0..encoded.item.len() {
            let mut item = encoded.item.clone();
            item[at] ^= 0x10;
            assert!(decode(&item).is_err(), "byte {at}");
            assert!(decode(&encoded.item[..at]).is_err(), "up to byte {at}");
        }
        assert!(decode_object(name, b"another").is_err());
    }
}
